import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { WebSocketServer } from "ws";

/**
 * Opens a server that passes the bytes of each WebSocket to a connection of its own to `port`, as anybody may write it in
 * front of a gRPC server.
 */
export async function openPipe(port: number) {
  const http = createServer((_, response) => response.end()).listen(0, "127.0.0.1");
  const server = new WebSocketServer({
    ...{ server: http, perMessageDeflate: false },
    handleProtocols: (offered) => offered.has("hawser.h2.v1") && "hawser.h2.v1",
  });
  server.on("connection", (webSocket) => {
    const socket = connect(port, "127.0.0.1").setNoDelay(true);
    socket.on("data", (bytes) => webSocket.send(bytes));
    webSocket.on("message", (bytes) => socket.write(bytes as Buffer));
    // As a network does that is gone: without a closing handshake.
    socket.on("close", () => webSocket.terminate());
    socket.on("error", () => {});
    webSocket.on("close", () => socket.destroy());
    webSocket.on("error", () => {});
  });
  await once(http, "listening");
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    get open() {
      return server.clients.size;
    },
    async close() {
      for (const client of server.clients) client.terminate();
      server.close();
      http.close();
      http.closeAllConnections();
      await once(http, "close");
    },
  };
}
