/** A Socket.IO server with rooms, as in the documentation of Socket.IO, over WebSockets only. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Server } from "socket.io";
import { emit, onCommand } from "../../commands.ts";

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });

io.on("connection", (socket) => {
  socket.on("hello", (done) => done());
  socket.on("watch", (room, done) => {
    socket.join(room);
    done();
  });
  socket.on("post", ({ room, name, text }, done) => {
    io.to(room).emit("message", { name, text, time: Date.now() });
    done();
  });
});

http.listen(0, "127.0.0.1", () => {
  onCommand(() => {});
  emit({ event: "ready", address: `127.0.0.1:${(http.address() as AddressInfo).port}` });
});
