/** A Socket.IO server, over WebSockets only. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Server } from "socket.io";
import { emit, onCommand } from "../../commands.ts";

/** So many messages are sent before the server waits until the WebSocket has taken those before them. */
const TURN = 256;

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });

io.on("connection", (socket) => {
  socket.on("chat", ({ content }) => socket.emit("reply", { reply: `Received: ${content}` }));
  socket.on("push", (size) => {
    const content = "x".repeat(size);
    const send = () => {
      if (!socket.connected) return;
      // "drain": what was sent before these is with the socket. It does not poll.
      socket.conn.once("drain", () => setImmediate(send));
      for (let n = 0; n < TURN; n++) socket.emit("message", { content });
    };
    send();
  });
});

http.listen(0, "127.0.0.1", () => {
  onCommand(() => {});
  emit({ event: "ready", address: `127.0.0.1:${(http.address() as AddressInfo).port}` });
});
