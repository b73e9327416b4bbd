import { setDefaultCACertificates } from "node:tls";
import { afterAll, expect } from "vitest";
import { greeter as example } from "../../examples/greeter/handlers.ts";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { setRuntime } from "../../src/flow/runtime.ts";
import {
  type Client,
  createClient,
  createTransport,
  type TransportOptions,
} from "../../src/index.ts";
import type { ConnectRouter, ListenOptions, ServerOptions, ServiceImpl } from "../../src/server.ts";
import type { TcpLink } from "../../src/testing/link.ts";
import { startWorld, type World as TestedWorld } from "../../src/testing.ts";
import { webRuntime } from "../../src/web/runtime.ts";
import { createTransport as createWebTransport } from "../../src/web.ts";
import { census, countPage } from "./census.ts";
import { settles } from "./gate.ts";
import { memo } from "./memo.ts";
import { inPage, inWebSocket, isWeb, sessions } from "./mode.ts";
import type { PageClient } from "./page/page-client.ts";
import { certs } from "./tls.ts";
import { openWebSocketPipe } from "./web-socket-pipe.ts";

if (isWeb) setRuntime(webRuntime);

export interface Setup {
  /** Handlers of the Greeter; one that is left out is UNIMPLEMENTED. The example's by default. */
  greeter?: Partial<ServiceImpl<typeof Greeter>>;
  /**
   * Further options of the server, of listen(), and of the client's transport. Calls have sessions or not as
   * the run says (mode.ts), unless `sessions` is set here.
   */
  server?: Partial<ServerOptions>;
  listen?: ListenOptions;
  transport?: Partial<TransportOptions>;
  /** The client reaches the server through a link. */
  linked?: boolean;
}

/** The world of hawser/testing with the Greeter in it, whose client may reach the server without the link. */
export interface World extends Omit<TestedWorld, "link"> {
  /** The address on which the server listens, without the link. */
  readonly url: string;
  readonly greeter: Client<typeof Greeter>;
  /** The network between the two, in a world that is linked. */
  readonly link: TcpLink;
  /** The errors that the server has logged. */
  readonly logged: readonly unknown[][];
}

/**
 * Starts a world. When it is disposed, every call must be over on both sides. Then all is closed, and no stream,
 * socket or timer may be left, nor may a rejection have gone unhandled.
 */
export async function start(setup: Setup = {}): Promise<World> {
  const page = await pageOfTests?.();
  const before = resources();
  const logged: unknown[][] = [];
  const { greeter = example } = setup;
  const { routes = (router: ConnectRouter) => router.service(Greeter, greeter), ...server } =
    setup.server ?? {};
  const { baseUrl, ...options } = setup.transport ?? {};
  const transportOptions = { sessions, ...options };
  const world = await startWorld({
    routes,
    server: {
      logger: { error: (...words: unknown[]) => void logged.push(words) },
      ...(inWebSocket || isWeb ? { webSocket: {} } : {}),
      ...(page && { webSocket: { origins: [page.origin] } }),
      ...server,
    },
    transport: transportOptions,
    listen: setup.listen,
  });
  const { url } = world.server;
  const pipe = inWebSocket
    ? await openWebSocketPipe(setup.linked ? world.link.url : url, { ca: certs.ca })
    : undefined;
  const webUrl = setup.linked ? world.link.url : url;
  // Most tests count sockets, or bytes, of one connection: they do without the link.
  const createWeb = page?.createTransport ?? createWebTransport;
  const transport =
    isWeb || page !== undefined
      ? createWeb({ baseUrl: baseUrl ?? webUrl, ...withoutTls(transportOptions) })
      : setup.linked && pipe === undefined
        ? world.transport
        : createTransport({
            ...transportOptions,
            ...(pipe === undefined
              ? { baseUrl: baseUrl ?? url }
              : { baseUrl: baseUrl ?? pipe.url, tls: undefined }),
          });
  const clientOf = page?.createClient ?? createClient;

  return {
    server: world.server,
    url,
    transport,
    greeter: clientOf(Greeter, transport),
    client: (service) => clientOf(service, transport),
    get link() {
      if (!setup.linked) throw new Error("this world was not started with `linked: true`");
      // Every world has a TcpLink, of which users see less.
      return world.link as TcpLink;
    },
    logged,
    async [Symbol.asyncDispose]() {
      // The test has ended: its calls must end before anything is closed.
      await settles(() => surplus(before, streams()).length === 0);
      const calls = surplus(before, streams());
      await transport.close();
      // In order, and not as the world itself does, so that each test sees whether close() leaves something.
      await world.server.close({ graceMs: 0 });
      await pipe?.[Symbol.asyncDispose]();
      await world[Symbol.asyncDispose]();
      await settles(() => leftSince(before).length === 0);
      const rest = leftSince(before);
      // A soft check, which does not hide a failure of the test itself.
      expect
        .soft({ calls, rest, strays: takeStrays() }, "resources left open")
        .toEqual({ calls: [], rest: [], strays: [] });
    },
  };
}

/** The page in which the calls of the tests of this file are made. */
const pageOfTests = inPage ? memo(openPage) : undefined;

let closePage = async () => {};
if (inPage) afterAll(() => closePage());

async function openPage(): Promise<PageClient> {
  // With Playwright, which takes its time to load.
  const { openPageClient } = await import("./page/page-client.ts");
  const page = await openPageClient((error) => strays.push(error));
  countPage(page.census);
  closePage = async () => page[Symbol.asyncDispose]();
  return page;
}

/** The options of a transport of hawser/web: the certificates that it accepts are those of its platform. */
function withoutTls({ tls: _, ...options }: Partial<TransportOptions>) {
  setDefaultCACertificates([certs.ca]);
  return options;
}

/** Unhandled rejections, and warnings (of too many listeners, of timers that overflow). */
const strays: unknown[] = [];
process.on("unhandledRejection", (reason) => strays.push(reason));
process.on("warning", (warning) => strays.push(warning));

/** Returns the rejections and warnings since the previous call. */
export function takeStrays(): unknown[] {
  return strays.splice(0);
}

type Counts = Map<string, number>;

/** The HTTP/2 streams that are open in this process. */
function streams(): Counts {
  return new Map([
    ["streams of the client", census.clientStreams],
    ["streams of the server", census.serverStreams],
  ]);
}

/** All open resources: streams, sockets, and others that keep this process alive. */
export function resources(): Counts {
  const counts = streams()
    .set("sockets of the client", census.clientSockets)
    .set("sockets of the server", census.serverSockets);
  for (const kind of process.getActiveResourcesInfo()) {
    if (/TCP|TLS|Pipe|Timeout/.test(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

/** All resources that are open now and were not when `before` was counted. */
export function leftSince(before: Counts): string[] {
  return surplus(before, resources());
}

/** Returns the counts that are higher now than before, as text. */
function surplus(before: Counts, now: Counts): string[] {
  return [...now]
    .map(([kind, count]): [string, number] => [kind, count - (before.get(kind) ?? 0)])
    .filter(([, more]) => more > 0)
    .map(([kind, more]) => `${more} ${kind}`);
}
