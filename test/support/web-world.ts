/**
 * A client of hawser/web on Node's own WebSocket, with a browser's runtime, and a server behind a WebSocket-to-TCP pipe as
 * anybody may write it. Cuts and silence are made between the pipe and the server.
 */

import { expect } from "vitest";
import { greeter as example } from "../../examples/greeter/handlers.ts";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { setRuntime } from "../../src/flow/runtime.ts";
import type { ConnectRouter, ServerOptions, ServiceImpl } from "../../src/server.ts";
import type { TcpLink } from "../../src/testing/link.ts";
import { startWorld, type WorldServer } from "../../src/testing.ts";
import { webRuntime } from "../../src/web/runtime.ts";
import {
  type Client,
  type ClosableTransport,
  createClient,
  createTransport,
  type TransportOptions,
} from "../../src/web.ts";
import { settles } from "./gate.ts";
import { openPipe } from "./web-socket-to-tcp.ts";

setRuntime(webRuntime);

export interface WebSetup {
  /** Handlers of the Greeter; the example's by default. */
  greeter?: Partial<ServiceImpl<typeof Greeter>>;
  routes?: ServerOptions["routes"];
  server?: Partial<ServerOptions>;
  transport?: Partial<TransportOptions>;
}

export interface WebWorld extends AsyncDisposable {
  readonly url: string;
  readonly greeter: Client<typeof Greeter>;
  readonly transport: ClosableTransport;
  readonly server: WorldServer;
  /** The network between the pipe and the server. */
  readonly link: TcpLink;
  /** The paths of the WebSockets that were opened so far. */
  readonly opened: readonly string[];
}

/** Starts a world. When it is disposed, every call must be over on both sides, and no WebSocket may be left. */
export async function startWeb(setup: WebSetup = {}): Promise<WebWorld> {
  const {
    greeter = example,
    routes = (router: ConnectRouter) => router.service(Greeter, greeter),
  } = setup;
  const world = await startWorld({ routes, ...(setup.server && { server: setup.server }) });
  const link = world.link as TcpLink;
  const pipe = await openPipe(link.port);
  const transport = createTransport({ baseUrl: pipe.url, ...setup.transport });
  return {
    url: pipe.url,
    greeter: createClient(Greeter, transport),
    transport,
    server: world.server,
    link,
    opened: pipe.opened,
    async [Symbol.asyncDispose]() {
      await settles(() => world.server.openCalls === 0);
      expect.soft(world.server.openCalls, "calls left open").toBe(0);
      await transport.close();
      await settles(() => pipe.open === 0);
      expect.soft(pipe.open, "WebSockets left open").toBe(0);
      await pipe.close();
      await world[Symbol.asyncDispose]();
    },
  };
}
