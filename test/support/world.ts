import type { DescService } from "@bufbuild/protobuf";
import { expect } from "vitest";
import { greeter as example } from "../../examples/greeter/handlers.ts";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { type Client, createClient, createTransport } from "../../src/index.ts";
import { createServer, type ServiceImpl } from "../../src/server.ts";
import { census } from "./census.ts";
import { settles } from "./gate.ts";
import { type Link, openLink } from "./link.ts";
import { sessions } from "./mode.ts";

type Server = ReturnType<typeof createServer>;
type Transport = ReturnType<typeof createTransport>;

export interface Setup {
  /** Handlers of the Greeter; one that is left out is UNIMPLEMENTED. The example's by default. */
  greeter?: Partial<ServiceImpl<typeof Greeter>>;
  /**
   * Further options of the server, of where it listens, and of the client's transport. Calls have sessions or not as
   * the run says (mode.ts), unless `session` is set here.
   */
  server?: Partial<Parameters<typeof createServer>[0]>;
  listen?: Parameters<Server["listen"]>[0];
  transport?: Partial<Parameters<typeof createTransport>[0]>;
  /** The client reaches the server through a link. */
  linked?: boolean;
}

/** A server and a client of it, on real sockets, in one process. */
export interface World extends AsyncDisposable {
  readonly server: Server;
  /** Where the server listens. */
  readonly url: string;
  readonly transport: Transport;
  readonly greeter: Client<typeof Greeter>;
  client<S extends DescService>(service: S): Client<S>;
  /** The wire between the two, in a world that is linked. */
  readonly link: Link;
  /** What the server's logger was told as an error. */
  readonly logged: readonly unknown[][];
}

/**
 * Starts a world. When it is disposed, every call must be over on both sides. Then all is closed, and no stream,
 * socket or timer may be left, nor may a rejection have gone unhandled.
 */
export async function start(setup: Setup = {}): Promise<World> {
  const before = resources();
  const logged: unknown[][] = [];
  const server = createServer({
    routes: (router) => router.service(Greeter, setup.greeter ?? example),
    logger: { error: (...words: unknown[]) => void logged.push(words) },
    ...setup.server,
  });
  const { url, port } = await server.listen(setup.listen ?? { port: 0 });
  const link = setup.linked ? await openLink({ host: "127.0.0.1", port: port ?? 0 }) : undefined;
  const transport = createTransport({
    baseUrl: link?.url ?? url,
    sessions,
    ...setup.transport,
  });

  return {
    server,
    url,
    transport,
    greeter: createClient(Greeter, transport),
    client: (service) => createClient(service, transport),
    get link() {
      if (link === undefined) throw new Error("this world was not started with `linked: true`");
      return link;
    },
    logged,
    async [Symbol.asyncDispose]() {
      // The test is over, so its calls are, and before anything is closed.
      await settles(() => surplus(before, streams()).length === 0);
      const calls = surplus(before, streams());
      await transport.close();
      await server.close({ graceMs: 0 });
      await link?.[Symbol.asyncDispose]();
      await settles(() => surplus(before, resources()).length === 0);
      const rest = surplus(before, resources());
      // Soft: it stands beside a failure of the test itself, and does not hide it.
      expect
        .soft({ calls, rest, strays: strays.splice(0) }, "left behind")
        .toEqual({ calls: [], rest: [], strays: [] });
    },
  };
}

/** Rejections that nobody handled, and warnings (of too many listeners, of timers that overflow). */
const strays: unknown[] = [];
process.on("unhandledRejection", (reason) => strays.push(reason));
process.on("warning", (warning) => strays.push(warning));

type Counts = Map<string, number>;

/** The HTTP/2 streams that are open in this process. */
function streams(): Counts {
  return new Map([
    ["streams of the client", census.clientStreams],
    ["streams of the server", census.serverStreams],
  ]);
}

/** All that is open: streams, sockets, and what else keeps this process alive. */
function resources(): Counts {
  const counts = streams()
    .set("sockets of the client", census.clientSockets)
    .set("sockets of the server", census.serverSockets);
  for (const kind of process.getActiveResourcesInfo()) {
    if (/TCP|TLS|Pipe|Timeout/.test(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

/** What there is now and was not before. */
function surplus(before: Counts, now: Counts): string[] {
  return [...now]
    .map(([kind, count]): [string, number] => [kind, count - (before.get(kind) ?? 0)])
    .filter(([, more]) => more > 0)
    .map(([kind, more]) => `${more} ${kind}`);
}
