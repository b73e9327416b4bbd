/**
 * A client of hawser/web on Node's own WebSocket, with a browser's runtime, and a server that takes WebSockets; or one that
 * takes TCP alone, with a WebSocket-to-TCP pipe before it.
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
  /** Whether the server takes no WebSockets, and a pipe does. */
  hasPipe?: boolean;
}

export interface WebWorld extends AsyncDisposable {
  /** What clients connect to. */
  readonly url: string;
  readonly greeter: Client<typeof Greeter>;
  readonly transport: ClosableTransport;
  readonly server: WorldServer;
  /** The network before the server. Each WebSocket is a connection of it. */
  readonly link: TcpLink;
}

/** Starts a world. When it is disposed, every call must be over on both sides, and no WebSocket may be left. */
export async function startWeb(setup: WebSetup = {}): Promise<WebWorld> {
  const {
    greeter = example,
    routes = (router: ConnectRouter) => router.service(Greeter, greeter),
  } = setup;
  const webSocket = setup.hasPipe ? undefined : {};
  const world = await startWorld({ routes, server: { webSocket, ...setup.server } });
  const link = world.link as TcpLink;
  const pipe = setup.hasPipe ? await openPipe(link.port) : undefined;
  const url = pipe?.url ?? link.url;
  const transport = createTransport({ baseUrl: url, ...setup.transport });
  return {
    url,
    greeter: createClient(Greeter, transport),
    transport,
    server: world.server,
    link,
    async [Symbol.asyncDispose]() {
      await settles(() => world.server.openCalls === 0);
      expect.soft(world.server.openCalls, "calls left open").toBe(0);
      await transport.close();
      await settles(() => link.open === 0);
      expect.soft(link.open, "WebSockets left open").toBe(0);
      await pipe?.close();
      await world[Symbol.asyncDispose]();
    },
  };
}
