/** A server of grpc-go that browsers reach through a pipe: WebSockets on one side, its own port on the other. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { WebSocket } from "ws";
import { openWebSocketPipe, SUBPROTOCOL, webSocketUrl } from "../support/web-socket-pipe.ts";
import { runScenarios } from "./our-client.ts";
import { go, startServer } from "./programs.ts";
import { check } from "./report.ts";
import { openPipe } from "./web-socket-pipe.ts";
import { EVERYTHING, worldOf } from "./world.ts";

export async function oursThroughPipe(): Promise<void> {
  await using server = await startServer(go);
  const port = Number(server.address.split(":").at(-1));
  const pipe = openPipe(port, {
    ...{ host: "127.0.0.1", port: 0, path: "/hawser" },
    verifyClient: ({ origin }: { origin?: string }) =>
      [undefined, "https://app.example.com"].includes(origin),
  });
  await once(pipe, "listening");
  const url = `http://127.0.0.1:${(pipe.address() as { port: number }).port}`;
  {
    // Our client on Node knows only TCP.
    await using near = await openWebSocketPipe(url);
    await using world = worldOf({ baseUrl: near.url });
    await runScenarios("Go server behind a WebSocket", world, EVERYTHING);
  }
  await check("Go server behind a WebSocket: a page of another host is refused", async () => {
    const origin = "https://evil.example";
    const webSocket = new WebSocket(webSocketUrl(url), SUBPROTOCOL, { origin });
    const [error] = await once(webSocket, "error");
    assert.match(String(error), /401/);
  });
  pipe.close();
}
