/**
 * A thread that serves the page and has the channel to it, so that the thread of the test can wait for an answer of the page
 * without a turn of its event loop.
 */
import { createServer } from "node:http";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { type WebSocket, WebSocketServer } from "ws";
import { AT_ONCE } from "./at-once.ts";
import type { WorkerData } from "./channel.ts";

const { script, answers, isAnswered } = workerData as WorkerData;
const port = parentPort as MessagePort;
let page: WebSocket | undefined;

const server = createServer(({ url }, response) => {
  if (url === "/page.js") {
    response.setHeader("content-type", "text/javascript").end(script);
    return;
  }
  response.setHeader("content-type", "text/html");
  response.end('<!doctype html><title>test</title><script type="module" src="/page.js"></script>');
});

new WebSocketServer({ server, path: "/channel" }).on("connection", (webSocket) => {
  page = webSocket;
  webSocket.on("message", (bytes: Buffer) => {
    const text = bytes.toString();
    if (!text.startsWith(AT_ONCE)) {
      port.postMessage({ text });
      return;
    }
    answers.postMessage(text.slice(AT_ONCE.length));
    Atomics.store(isAnswered, 0, 1);
    Atomics.notify(isAnswered, 0);
  });
  port.postMessage({ isOpen: true });
});

port.on("message", (text: string) => page?.send(text));

server.listen(0, "127.0.0.1", () => {
  port.postMessage({ url: `http://127.0.0.1:${(server.address() as { port: number }).port}` });
});
