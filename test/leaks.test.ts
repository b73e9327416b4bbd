import { createHook } from "node:async_hooks";
import { getEventListeners } from "node:events";
import { expect, test, vi } from "vitest";
import { Code, ConnectError } from "../src/index.ts";
import { census } from "./support/census.ts";
import { runText } from "./support/child.ts";
import { aborted, until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { newId, sessionPeer } from "./support/session-peer.ts";
import { start, type World } from "./support/world.ts";

// A thousand calls take a second or two, and longer where others are at work.
vi.setConfig({ testTimeout: 30_000 });

/** Timers that are set and neither fired nor cleared, those that keep no process alive included. */
class LiveTimers implements Disposable {
  readonly #live = new Set<number>();
  readonly #hook = createHook({
    init: (id, type) => void (type === "Timeout" && this.#live.add(id)),
    destroy: (id) => void this.#live.delete(id),
  }).enable();

  get count(): number {
    return this.#live.size;
  }

  [Symbol.dispose](): void {
    this.#hook.disable();
  }
}

/**
 * Makes a call, does the same twenty times, and then again and again: no stream, timer or listener may be there
 * afterwards that was not there after the first twenty. What is made once (the connection, what is known of its server,
 * a cache) is made by then.
 */
async function expectNoResidue(world: World, times: number, once: (n: number) => Promise<unknown>) {
  using timers = new LiveTimers();
  const controller = new AbortController();
  const round = async (calls: number) => {
    for (let n = 0; n < calls; n++) await once(n);
    // Cancels of sessions are sent a few at a time, and again 100 ms later if the server was still busy with resets.
    const inTime = 20_000;
    await until("no call is open", () => census.clientStreams + census.serverStreams === 0, inTime);
    await until("the server counts none", () => world.server.openCalls === 0);
  };
  // The outcome of the call does not matter: not every world has a handler for it.
  await Promise.allSettled([all(world.greeter.subscribe({ count: 1 }))]);
  await round(20);
  const before = { timers: timers.count, listeners: census.listeners };
  await round(times);
  await until(
    `no more timers than ${before.timers}, and no more listeners than ${before.listeners}`,
    () => timers.count <= before.timers + 1 && census.listeners <= before.listeners,
  );
  expect(getEventListeners(controller.signal, "abort")).toEqual([]);
}

/** Calls again after ENHANCE_YOUR_CALM: for a moment node:http2 counts a thousand streams that were reset as open. */
async function greeted(world: World) {
  for (let tries = 1; ; tries++) {
    try {
      return await world.greeter.sayHello({ content: "you" });
    } catch (error) {
      if (tries === 10 || ConnectError.from(error).code !== Code.ResourceExhausted) throw error;
    }
  }
}

/** The moments at which a call is cancelled. */
const moments: Record<string, (world: World, signal: AbortSignal) => Promise<unknown>> = {
  "before anything was sent": async ({ greeter }) => {
    const chat = greeter.chat();
    chat.cancel();
    await failureOf(chat);
  },
  "with a message on its way": async ({ greeter }) => {
    const chat = greeter.chat();
    void chat.send({ content: "x" });
    chat.cancel();
    await failureOf(chat);
  },
  "after an exchange": async ({ greeter }) => {
    const chat = greeter.chat();
    await chat.send({ content: "x" });
    await next(chat);
    chat.cancel();
    await failureOf(chat);
  },
  "by leaving the loop": async ({ greeter }) => {
    const chat = greeter.chat();
    await chat.send({ content: "x" });
    for await (const _ of chat) break;
  },
  "by the caller's signal": async ({ greeter }) => {
    const controller = new AbortController();
    const chat = greeter.chat({ signal: controller.signal, timeoutMs: 60_000 });
    await chat.send({ content: "x" });
    controller.abort();
    await failureOf(chat);
    expect(getEventListeners(controller.signal, "abort")).toEqual([]);
  },
  "by a deadline": async ({ greeter }) => {
    await failureOf(greeter.chat({ timeoutMs: 2 }));
  },
};

test.each(Object.entries(moments))(
  "1,000 calls opened and cancelled %s leave no stream, timer or listener on either side",
  async (_, cancelled) => {
    await using world = await start();
    const { signal } = new AbortController();
    await expectNoResidue(world, 1_000, () => cancelled(world, signal));
    expect((await greeted(world)).reply).toBe("Hello, you");
  },
);

test("1,000 calls cancelled before there is a connection leave no stream or timer on either side", async () => {
  await using world = await start({ linked: true });
  using timers = new LiveTimers();
  world.link.stall();
  for (let n = 0; n < 1_000; n++) {
    const chat = world.greeter.chat();
    chat.cancel();
    expect((await failureOf(chat)).code).toBe(Code.Canceled);
  }
  await until("the client connects", () => world.link.accepted === 1);
  world.link.resume();
  await all(world.greeter.subscribe({ count: 1 }));
  // Each side watches over the connection with a timer, and the look at them takes another.
  await until("no more timers than three", () => timers.count <= 3);
  await until("no call is open", () => census.clientStreams + census.serverStreams === 0);
  await until("the server counts none", () => world.server.openCalls === 0);
  expect(world.link.accepted).toBe(1);
});

test("1,000 calls that are open at the same time and cancelled together leave no stream, timer or listener on either side", async () => {
  let running = 0;
  await using world = await start({
    greeter: {
      async *chat(_requests, { signal }) {
        running++;
        yield {};
        await aborted(signal);
        running--;
      },
      sayHello: () => ({}),
    },
  });
  let round = 0;
  await expectNoResidue(world, 1, async () => {
    const controller = new AbortController();
    const chats = Array.from({ length: round++ < 20 ? 10 : 1_000 }, () =>
      world.greeter.chat({ signal: controller.signal, timeoutMs: 60_000 }),
    );
    await Promise.all(chats.map((chat) => next(chat)));
    expect(running).toBe(chats.length);
    controller.abort();
    for (const chat of chats) expect((await failureOf(chat)).code).toBe(Code.Canceled);
    await until("every handler has ended", () => running === 0);
    expect(getEventListeners(controller.signal, "abort")).toEqual([]);
  });
});

test("1,000 calls of every kind that end well leave no stream, timer or listener on either side", async () => {
  await using world = await start();
  const { greeter } = world;
  await expectNoResidue(world, 250, async () => {
    await greeter.sayHello({}, { timeoutMs: 60_000 });
    await all(greeter.subscribe({ count: 2, interval: {} }, { timeoutMs: 60_000 }));
    const sink = greeter.collect({ timeoutMs: 60_000 });
    await sink.send({});
    await sink.finish();
    const chat = greeter.chat({ timeoutMs: 60_000 });
    await chat.send({});
    chat.closeSend();
    await all(chat);
  });
});

test("500 calls that fail in the handler leave no stream, timer or listener on either side", async () => {
  await using world = await start({
    greeter: {
      async *chat(requests) {
        await next(requests);
        yield {};
        throw new Error("a bug");
      },
    },
  });
  await expectNoResidue(world, 500, async () => {
    const chat = world.greeter.chat({ timeoutMs: 60_000 });
    await chat.send({});
    await failureOf(chat);
  });
});

test("50 connections that are lost during plain calls leave no session, socket or timer on either side", async () => {
  await using world = await start({ linked: true, transport: { sessions: false } });
  using timers = new LiveTimers();
  const lose = async (n: number) => {
    const chat = world.greeter.chat({ timeoutMs: 60_000 });
    await chat.send({ content: "x" });
    await next(chat);
    world.link.cut(n % 2 ? "fin" : "rst");
    expect((await failureOf(chat)).code).toBe(Code.Unavailable);
    await until(
      "both sides have closed their streams",
      () => census.http2Connections === 0 && world.link.open === 0,
    );
  };
  for (let n = 0; n < 5; n++) await lose(n);
  const before = timers.count;
  for (let n = 0; n < 50; n++) await lose(n);
  await until(`no more timers than ${before}`, () => timers.count <= before + 1);
  expect(census.clientSockets + census.serverSockets).toBe(0);
});

test("50 connections that are lost during calls that continue leave no connection, stream or timer on either side", async () => {
  await using world = await start({ linked: true, transport: { sessions: true } });
  using timers = new LiveTimers();
  const lose = async (n: number) => {
    const chat = world.greeter.chat({ timeoutMs: 60_000 });
    await chat.send({ content: "before" });
    expect(await next(chat)).toMatchObject({ reply: "Received: before" });
    world.link.cut(n % 2 ? "fin" : "rst");
    await chat.send({ content: "after" });
    expect(await next(chat)).toMatchObject({ reply: "Received: after" });
    if (n % 3 === 0) chat.cancel();
    else chat.closeSend();
    await Promise.allSettled([all(chat)]);
    await until("no call is open", () => census.clientStreams + census.serverStreams === 0);
    await until("the server counts none", () => world.server.openCalls === 0);
    await until("one connection is left", () => census.http2Connections === 2);
    await until("and one link", () => world.link.open === 1);
  };
  for (let n = 0; n < 5; n++) await lose(n);
  const before = { timers: timers.count, listeners: census.listeners };
  for (let n = 0; n < 50; n++) await lose(n);
  await until(
    `no more timers than ${before.timers}, and no more listeners than ${before.listeners}`,
    () => timers.count <= before.timers + 1 && census.listeners <= before.listeners,
  );
  expect(world.link.accepted).toBe(56);
});

test.each([
  ["client", "down"],
  ["server", "up"],
] as const)(
  "a connection that is lost while the %s waits for the answer to a ping leaves no timer",
  async (asker, direction) => {
    const keepalive = { intervalMs: 20, timeoutMs: 60_000 };
    using timers = new LiveTimers();
    await using world = await start({
      linked: true,
      transport: { sessions: true, keepalive },
      server: { keepalive },
    });
    const chat = world.greeter.chat();
    await chat.send({ content: "x" });
    await next(chat);
    world.link.stall(direction);
    const before = census.pings[asker];
    await until("a ping was sent", () => census.pings[asker] > before);
    world.link.refuse();
    world.link.cut();
    await until("both sides have closed their streams", () => census.http2Connections === 0);
    chat.cancel();
    await failureOf(chat);
    await world.transport.close();
    await world.server.close({ graceMs: 0 });
    // until() itself has one timer.
    await until("no timer is left", () => timers.count <= 1);
  },
);

test("the heap is flat over 1,200 calls, half of them cancelled", async () => {
  await using world = await start();
  const someCalls = async () => {
    for (let n = 0; n < 300; n++) {
      const chat = world.greeter.chat();
      await chat.send({ content: "x".repeat(1_000) });
      await next(chat);
      if (n % 2) chat.cancel();
      else chat.closeSend();
      await all(chat).catch(() => {});
      await world.greeter.sayHello({});
    }
  };
  const heap = () => {
    gc?.();
    return process.memoryUsage().heapUsed;
  };
  await someCalls();
  const before = heap();
  await someCalls();
  await someCalls();
  expect(heap() - before).toBeLessThan(1024 * 1024);
});

test("a session that waits for its client does not keep the connection that it has lost", async () => {
  const module = new URL("../src/connection/server-connection.ts", import.meta.url).href;
  // A process of its own: the census keeps the sockets of a test.
  await using child = runText(`
    import { queryObjects } from "node:v8";
    import { ServerConnection } from "${module}";
    async function* chat(requests) {
      for await (const _ of requests) yield {};
    }
    const server = createServer({ routes: (router) => router.service(Greeter, { chat }) });
    const { port } = await server.listen({ port: 0 });
    console.log(port);
    setInterval(() => console.log(server.openCalls, queryObjects(ServerConnection)), 100);
  `);
  const port = Number(await child.line());
  const sessions = 20;
  for (let n = 0; n < sessions; n++) {
    await using peer = await sessionPeer(port);
    await peer.attach(newId()).answer();
  }
  let counts = "";
  const giveUp = performance.now() + 10_000;
  while (counts !== `${sessions} 0` && performance.now() < giveUp) counts = await child.line();
  expect(counts).toBe(`${sessions} 0`);
});
