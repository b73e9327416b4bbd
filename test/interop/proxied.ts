/** Our client and our servers with a proxy between them: every scenario, and the faults that sessions outlast. */
import assert from "node:assert/strict";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { Code, ConnectError } from "../../src/index.ts";
import { createServer, type HandlerContext } from "../../src/server.ts";
import { openLink } from "../../src/testing/link.ts";
import { until } from "../support/gate.ts";
import { Chatter } from "./chatter.ts";
import { switchedGreeter } from "./greeter.ts";
import { runScenarios } from "./our-client.ts";
import type { ProxyProcess } from "./proxy-process.ts";
import { check } from "./report.ts";
import { type Capabilities, EVERYTHING, worldOf } from "./world.ts";

/** Starts the proxy before the servers on these two ports. */
export type StartProxy = (backends: readonly [number, number]) => Promise<ProxyProcess>;

/** One run of the handler of Chat. */
interface Run {
  /** The name of the chat: metadata `x-chat`. */
  readonly chat: string;
  readonly server: number;
  readonly requests: string[];
  end: "running" | "half-closed" | ConnectError;
}

/** The proxy before two servers, and a client, with a link between it and the proxy. */
async function proxied(startProxy: StartProxy) {
  const runs: Run[] = [];
  const servers = await Promise.all([0, 1].map((server) => startServer(server, runs)));
  const [first, second] = servers.map(({ port }) => port) as [number, number];
  const proxy = await startProxy([first, second]);
  const link = await openLink({ host: "127.0.0.1", port: proxy.port });
  const { greeter, [Symbol.asyncDispose]: close } = worldOf({ baseUrl: link.url });
  return {
    proxy,
    link,
    startChats: (count: number) =>
      Array.from({ length: count }, (_, i) => new Chatter(greeter, `chat ${i}`, BURST)),
    /** The run of a chat's handler; there must be just one. */
    runOf({ name }: Chatter): Run {
      const found = runs.filter(({ chat }) => chat === name);
      assert.equal(found.length, 1, `${found.length} handlers ran`);
      return found[0] as Run;
    },
    async [Symbol.asyncDispose]() {
      await close();
      await link[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
      for (const { server } of servers) await server.close({ graceMs: 0 });
    },
  };
}

async function startServer(number: number, runs: Run[]) {
  const server = createServer({
    routes: (router) =>
      router.service(Greeter, {
        ...switchedGreeter(),
        async *chat(requests, context: HandlerContext) {
          const chat = String(context.requestHeader.get("x-chat"));
          const run: Run = { chat, server: number, requests: [], end: "running" };
          runs.push(run);
          try {
            for await (const { content } of requests) {
              run.requests.push(content);
              yield { reply: `Received: ${content}` };
            }
          } finally {
            // If the call is cancelled while it waits at yield, the loop neither ends nor throws.
            const { aborted, reason } = context.signal;
            run.end = aborted ? ConnectError.from(reason) : "half-closed";
          }
        },
      }),
  });
  const { port } = await server.listen({ port: 0 });
  return { server, port: port as number };
}

/** The messages before each pause of a chat: enough for some to be in flight at every moment. */
const BURST = 16;

/** Ends a chat; every message must have arrived once and in order, at the one handler and back. */
async function finish(chatter: Chatter, run: Run): Promise<void> {
  await chatter.stop();
  assert(chatter.chat.resumable, "it has no session");
  assert.deepEqual(run.requests, chatter.sent);
  assert.equal(run.end, "half-closed");
}

/** Checks that sessions continue after `fault`, which must cut every one of them at the proxy. */
async function continueAfter(
  startProxy: StartProxy,
  fault: (proxy: ProxyProcess) => Promise<void>,
): Promise<void> {
  await using world = await proxied(startProxy);
  const chatters = world.startChats(10);
  await Promise.all(chatters.map((chatter) => chatter.receives(50)));
  await fault(world.proxy);
  await until("each was cut", () => chatters.every(({ resumes }) => resumes > 0), 10_000);
  await Promise.all(chatters.map((chatter) => chatter.receives(50)));
  await Promise.all(chatters.map((chatter) => finish(chatter, world.runOf(chatter))));
}

/** Checks that each session finds its server again, among two, when the connection to the proxy is cut many times. */
async function findsItsServer(startProxy: StartProxy): Promise<void> {
  await using world = await proxied(startProxy);
  const chatters = world.startChats(20);
  for (let cut = 0; cut < 10; cut++) {
    await Promise.all(chatters.map((chatter) => chatter.receives(20)));
    world.link.cut(cut % 2 === 0 ? "rst" : "fin");
  }
  await Promise.all(chatters.map((chatter) => chatter.receives(20)));
  const runs = chatters.map(world.runOf);
  await Promise.all(chatters.map((chatter, i) => finish(chatter, runs[i] as Run)));
  assert(chatters.every(({ resumes }) => resumes >= 10));
  assert.deepEqual(new Set(runs.map(({ server }) => server)), new Set([0, 1]));
}

async function cancelArrives(startProxy: StartProxy): Promise<void> {
  await using world = await proxied(startProxy);
  const [chatter] = world.startChats(1) as [Chatter];
  await chatter.receives(10);
  chatter.chat.cancel();
  const run = world.runOf(chatter);
  await until("the handler was told", () => run.end !== "running");
  assert(run.end instanceof ConnectError && run.end.code === Code.Canceled, `${run.end}`);
}

/** What our server does not do, or what a proxy takes away: a proxy has as many connections as it likes. */
const CAPABILITIES: Capabilities = {
  ...EVERYTHING,
  gzipResponses: false,
  wire: false,
  oneConnection: false,
};

export interface ThroughProxy {
  /** Whether the calls have sessions. */
  readonly session: boolean;
  /** What cannot be done through this proxy. */
  readonly lacks?: Partial<Capabilities>;
  /** Chooses some of the scenarios by name. */
  readonly isChosen?: (name: string) => boolean;
}

/** Runs the scenarios of every peer on one server, which remembers how calls ended. */
export async function everyScenario(
  name: string,
  startProxy: StartProxy,
  { session, lacks, isChosen }: ThroughProxy,
): Promise<void> {
  const server = createServer({
    routes: (router) => router.service(Greeter, switchedGreeter()),
  });
  const { port } = await server.listen({ port: 0 });
  {
    await using proxy = await startProxy([port as number, port as number]);
    await using world = worldOf({ baseUrl: `http://127.0.0.1:${proxy.port}`, sessions: session });
    const what = `${name}, ${session ? "sessions" : "plain calls"}`;
    await runScenarios(what, world, { ...CAPABILITIES, ...lacks }, isChosen);
  }
  await server.close({ graceMs: 0 });
}

/** Sessions while the proxy is reloaded, killed and started again, and while their connections to it are cut. */
export async function sessionsThrough(name: string, startProxy: StartProxy): Promise<void> {
  await check(`${name}: sessions continue after a reload`, () =>
    continueAfter(startProxy, (proxy) => proxy.reload()),
  );
  await check(`${name}: sessions continue after it was killed and started again`, () =>
    continueAfter(startProxy, async (proxy) => {
      await proxy.kill();
      await proxy.start();
    }),
  );
  await check(`${name}, two servers: each session finds its own again`, () =>
    findsItsServer(startProxy),
  );
  await check(`${name}: a cancel reaches the handler`, () => cancelArrives(startProxy));
}
