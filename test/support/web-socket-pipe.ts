import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { type ClientOptions, WebSocket } from "ws";

export const SUBPROTOCOL = "hawser.h2.v1";

/** A TCP port whose connections continue in WebSockets: clients that know only TCP so reach the WebSocket of a server. */
export interface WebSocketPipe extends AsyncDisposable {
  /** `http://127.0.0.1:port` */
  readonly url: string;
  /** The WebSockets that are open. */
  readonly webSockets: ReadonlySet<WebSocket>;
  /** How each WebSocket was closed: the code of its close frame, 1006 if there was none. */
  readonly closes: readonly number[];
}

/** Returns the URL of the WebSocket of a server. */
export function webSocketUrl(url: string, path = "/hawser"): string {
  return `${url.replace(/^http/, "ws")}${path}`;
}

/** @param url the URL of a server */
export async function openWebSocketPipe(
  url: string,
  options: ClientOptions = {},
): Promise<WebSocketPipe> {
  const webSockets = new Set<WebSocket>();
  const closes: number[] = [];
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    const webSocket = new WebSocket(webSocketUrl(url), SUBPROTOCOL, options);
    webSockets.add(webSocket);
    webSocket.on("close", (code) => {
      webSockets.delete(webSocket);
      closes.push(code);
    });
    join(socket, webSocket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    webSockets,
    closes,
    async [Symbol.asyncDispose]() {
      for (const webSocket of webSockets) webSocket.terminate();
      server.close();
      await once(server, "close");
    },
  };
}

/** Passes on bytes in both directions, and the end; neither side is given more than it takes. */
function join(socket: Socket, webSocket: WebSocket): void {
  socket.pause();
  webSocket.on("open", () => socket.resume());
  webSocket.on("error", () => {});
  socket.on("error", () => webSocket.terminate());
  socket.on("data", (bytes) => {
    socket.pause();
    webSocket.send(bytes, () => socket.resume());
  });
  webSocket.on("message", (bytes: Buffer) => {
    if (!socket.write(bytes)) webSocket.pause();
  });
  socket.on("drain", () => webSocket.resume());
  socket.on("end", () => webSocket.close());
  socket.on("close", () => webSocket.terminate());
  webSocket.on("close", (code) => {
    if (code === 1006) socket.resetAndDestroy();
    else socket.end();
  });
}
