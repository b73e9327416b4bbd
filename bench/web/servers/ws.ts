/**
 * The WebSockets that are written by hand, with `ws` and its defaults:
 *
 *     /echo                    answers JSON: a message, or an array of them
 *     /push?size=N&each=M      sends messages with N bytes of content as JSON; if M > 1, arrays of M
 *     /binary?size=N           sends frames of N bytes
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { emit, onCommand } from "../../commands.ts";

/** So many bytes are sent before the server waits until the socket has taken them. */
const TURN_BYTES = 128 * 1024;

interface Request {
  readonly content: string;
}

const replyTo = ({ content }: Request) => ({ reply: `Received: ${content}` });

function echo(webSocket: WebSocket): void {
  webSocket.on("message", (data) => {
    const request: Request | Request[] = JSON.parse(data.toString());
    const reply = Array.isArray(request) ? request.map(replyTo) : replyTo(request);
    webSocket.send(JSON.stringify(reply));
  });
}

/** Sends frames for as long as the WebSocket is open. It waits for the socket, and does not poll it. */
function push(webSocket: WebSocket, frame: () => string | Buffer): void {
  const frames = Math.max(1, Math.floor(TURN_BYTES / frame().length));
  const send = () => {
    if (webSocket.readyState !== webSocket.OPEN) return;
    for (let n = 1; n < frames; n++) webSocket.send(frame());
    // A turn of the event loop for whoever else there is: the kernel may take all at once.
    webSocket.send(frame(), () => setImmediate(send));
  };
  send();
}

const http = createServer();
const server = new WebSocketServer({ server: http });
server.on("connection", (webSocket, { url = "/" }) => {
  webSocket.on("error", () => {});
  const { pathname, searchParams } = new URL(url, "http://localhost");
  const size = Number(searchParams.get("size"));
  const each = Number(searchParams.get("each"));
  switch (pathname) {
    case "/push": {
      const content = "x".repeat(size);
      const message = () => ({ content });
      const messages = () => Array.from({ length: each }, message);
      push(webSocket, () => JSON.stringify(each > 1 ? messages() : message()));
      break;
    }
    case "/binary": {
      const bytes = Buffer.alloc(size);
      push(webSocket, () => bytes);
      break;
    }
    default:
      echo(webSocket);
  }
});
http.listen(0, "127.0.0.1", () => {
  onCommand(() => {});
  emit({ event: "ready", address: `127.0.0.1:${(http.address() as AddressInfo).port}` });
});
