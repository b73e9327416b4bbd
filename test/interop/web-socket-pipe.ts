import { connect } from "node:net";
import { pipeline } from "node:stream";
import { createWebSocketStream, type ServerOptions, WebSocketServer } from "ws";

/** Passes the bytes in WebSockets on to a gRPC server, and back. */
export function openPipe(grpcPort: number, options: ServerOptions): WebSocketServer {
  const server = new WebSocketServer({ handleProtocols: () => "hawser.h2.v1", ...options });
  server.on("connection", (webSocket) => {
    const tcp = connect({ host: "127.0.0.1", port: grpcPort, noDelay: true });
    const stream = createWebSocketStream(webSocket);
    pipeline(stream, tcp, stream, () => webSocket.terminate());
  });
  return server;
}
