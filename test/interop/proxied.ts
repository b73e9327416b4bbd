/** Our client and our servers with a proxy between them: what a call with a session makes of it. */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { Code, ConnectError, type Duplex, type TransportOptions } from "../../src/index.ts";
import { createServer, type HandlerContext } from "../../src/server.ts";
import { openLink } from "../../src/testing/link.ts";
import { until } from "../support/gate.ts";
import { switchedGreeter } from "./greeter.ts";
import type { ProxyProcess } from "./proxy-process.ts";
import { check } from "./report.ts";
import { scenarios } from "./scenarios.ts";
import { numbered, sameReplies, type World, worldOf } from "./world.ts";

/** Starts the proxy before the servers on these two ports. */
export type StartProxy = (backends: readonly [number, number]) => Promise<ProxyProcess>;

type Greeting = World["greeter"];

/** One run of the handler of Chat. */
interface Run {
  /** The header x-talk of the call. */
  readonly talk: string;
  readonly server: number;
  readonly requests: string[];
  end: "running" | "half-closed" | ConnectError;
}

/** The proxy before two servers, and a client, with a link between it and the proxy. */
async function proxied(startProxy: StartProxy, options?: Partial<TransportOptions>) {
  const runs: Run[] = [];
  const servers = await Promise.all([0, 1].map((server) => startServer(server, runs)));
  const [first, second] = servers.map(({ port }) => port) as [number, number];
  const proxy = await startProxy([first, second]);
  const link = await openLink({ host: "127.0.0.1", port: proxy.port });
  const { greeter, [Symbol.asyncDispose]: close } = worldOf({ baseUrl: link.url, ...options });
  return {
    greeter,
    proxy,
    link,
    /** The run of a talk's handler; there must be just one. */
    runOf(talk: string): Run {
      const found = runs.filter((run) => run.talk === talk);
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
          const talk = String(context.requestHeader.get("x-talk"));
          const run: Run = { talk, server: number, requests: [], end: "running" };
          runs.push(run);
          try {
            for await (const { content } of requests) {
              run.requests.push(content);
              yield { reply: `Received: ${content}` };
            }
            run.end = "half-closed";
          } catch (error) {
            run.end = ConnectError.from(error);
            throw error;
          }
        },
      }),
  });
  const { port } = await server.listen({ port: 0 });
  return { server, port: port as number };
}

/** A chat that sends until it is stopped, and gets each message back. */
class Talk {
  readonly name: string;
  readonly chat: Duplex<{ content: string }, { reply: string }>;
  readonly replies: string[] = [];
  /** How often it continued over another connection. */
  resumes = 0;
  #sent = 0;
  #stopped = false;
  readonly #over: Promise<unknown>;

  constructor(greeter: Greeting, name: string) {
    this.name = name;
    this.chat = greeter.chat({ headers: { "x-talk": name } });
    this.chat.onState((state) => {
      if (state === "resuming") this.resumes++;
    });
    this.#over = Promise.all([this.#say(), this.#hear()]);
    this.#over.catch(() => {});
  }

  /** Resolves when `count` more replies have come. */
  async hears(count: number): Promise<void> {
    const wanted = this.replies.length + count;
    const heard = until(
      `${this.name} got more replies`,
      () => this.replies.length >= wanted,
      15_000,
    );
    await Promise.race([heard, this.#over]);
  }

  /** Half-closes; every message must have arrived once and in order, at the one handler and back. */
  async ends(run: (talk: string) => Run): Promise<Run> {
    this.#stopped = true;
    await this.#over;
    assert(this.chat.resumable, "it has no session");
    const messages = numbered(this.#sent);
    sameReplies(this.replies, messages);
    const { requests, end, server } = run(this.name);
    assert.deepEqual(requests, messages);
    assert.equal(end, "half-closed");
    return { talk: this.name, requests, end, server };
  }

  async #say(): Promise<void> {
    while (!this.#stopped) {
      await this.chat.send({ content: `Message ${this.#sent++}` });
      if (this.#sent % 8 === 0) await pause(1);
    }
    this.chat.closeSend();
  }

  async #hear(): Promise<void> {
    for await (const { reply } of this.chat) this.replies.push(reply);
  }
}

/** Ten talks while `befall` happens to the proxy, which must cut every one of them. */
async function outlives(
  startProxy: StartProxy,
  befall: (proxy: ProxyProcess) => Promise<void>,
): Promise<void> {
  await using world = await proxied(startProxy);
  const talks = Array.from({ length: 10 }, (_, i) => new Talk(world.greeter, `talk ${i}`));
  await Promise.all(talks.map((talk) => talk.hears(50)));
  await befall(world.proxy);
  await until("each was cut", () => talks.every(({ resumes }) => resumes > 0), 10_000);
  await Promise.all(talks.map((talk) => talk.hears(50)));
  await Promise.all(talks.map((talk) => talk.ends(world.runOf)));
}

/** Checks that each session finds its server again, among two, when the connection to the proxy is cut many times. */
async function findsItsServer(startProxy: StartProxy): Promise<void> {
  await using world = await proxied(startProxy);
  const talks = Array.from({ length: 20 }, (_, i) => new Talk(world.greeter, `talk ${i}`));
  for (let cut = 0; cut < 10; cut++) {
    await Promise.all(talks.map((talk) => talk.hears(20)));
    world.link.cut(cut % 2 === 0 ? "rst" : "fin");
  }
  await Promise.all(talks.map((talk) => talk.hears(20)));
  const runs = await Promise.all(talks.map((talk) => talk.ends(world.runOf)));
  assert(talks.every(({ resumes }) => resumes >= 10));
  assert.deepEqual(new Set(runs.map(({ server }) => server)), new Set([0, 1]));
}

async function cancelArrives(startProxy: StartProxy): Promise<void> {
  await using world = await proxied(startProxy);
  const talk = new Talk(world.greeter, "cancelled");
  await talk.hears(10);
  talk.chat.cancel();
  const run = world.runOf("cancelled");
  await until("the handler was told", () => run.end !== "running");
  assert(run.end instanceof ConnectError && run.end.code === Code.Canceled, `${run.end}`);
}

/** Runs the scenarios of every peer on one server, which remembers. */
export async function everyScenario(
  name: string,
  startProxy: StartProxy,
  { session, without }: { session: boolean; without?: (title: string) => boolean },
): Promise<void> {
  const server = createServer({
    routes: (router) => router.service(Greeter, switchedGreeter()),
  });
  const { port } = await server.listen({ port: 0 });
  {
    await using proxy = await startProxy([port as number, port as number]);
    await using world = worldOf({ baseUrl: `http://127.0.0.1:${proxy.port}`, sessions: session });
    const what = session ? "sessions" : "plain calls";
    for (const { name: title, run, needs } of scenarios()) {
      if (needs !== undefined && needs !== "longDeadlines") continue;
      // A proxy has as many connections as it likes.
      if (title.startsWith("one connection") || without?.(title)) continue;
      await check(`${name}, ${what}: ${title}`, () => run(world));
    }
  }
  await server.close({ graceMs: 0 });
}

/** What a session makes of the proxy's reload and death, and of its own many connections. */
export async function sessionsThrough(name: string, startProxy: StartProxy): Promise<void> {
  await check(`${name}: a session outlives its reload`, () =>
    outlives(startProxy, (proxy) => proxy.reload()),
  );
  await check(`${name}: a session outlives its death`, () =>
    outlives(startProxy, async (proxy) => {
      await proxy.kill();
      await proxy.start();
    }),
  );
  await check(`${name}, two servers: a resume finds its own`, () => findsItsServer(startProxy));
  await check(`${name}: a cancel arrives`, () => cancelArrives(startProxy));
}
