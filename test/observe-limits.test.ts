/** What the observer, the logger and the stats of a server tell of its limits. */
import { createClient as createStockClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { afterEach, describe, expect, test, vi } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { REFUSED_STREAM } from "../src/http2/frames.ts";
import { Code } from "../src/index.ts";
import type { ServerOptions } from "../src/server.ts";
import { aborted, gate, until } from "./support/gate.ts";
import { failureOf, next } from "./support/read.ts";
import { serverRecorder } from "./support/recorder.ts";
import { message, request, watchedServer } from "./support/watched-server.ts";
import { start } from "./support/world.ts";

afterEach(() => void vi.useRealTimers());

/** A world whose chats stay open, and what it was told of its limits. */
async function limitedWorld(server: Partial<ServerOptions>, sessions: false | "required" = false) {
  const observe = serverRecorder();
  const warnings: string[] = [];
  const world = await start({
    greeter: {
      async *chat(_, { signal }) {
        yield {};
        await aborted(signal);
      },
    },
    server: {
      ...server,
      observe: observe.observer,
      logger: { error() {}, warn: (line) => void warnings.push(line) },
    },
    transport: { sessions },
  });
  const open = async () => {
    const chat = world.greeter.chat();
    await next(chat);
    return chat;
  };
  return Object.assign(world, { observe, warnings, open });
}

describe("a limit that refuses a caller", () => {
  test("of calls is told, logged and counted", async () => {
    await using world = await limitedWorld({
      maxOpenCalls: 2,
      authenticate: () => ({ identity: "bob" }),
    });
    const chats = [await world.open(), await world.open()];
    expect((await failureOf(world.open())).code).toBe(Code.ResourceExhausted);
    expect(world.observe.of("limitRefused")).toMatchObject([
      { limit: "maxOpenCalls", caller: { identity: "bob", peer: { address: "127.0.0.1" } } },
    ]);
    expect(world.observe.of("callStarted")).toHaveLength(2);
    expect(world.warnings).toEqual(['the caller "bob" was refused by the limit maxOpenCalls']);
    expect(world.server.stats()).toMatchObject({
      connections: 1,
      // Bob, and the client's address before bob was authenticated.
      callers: 2,
      calls: { open: 2, started: 2, succeeded: 0, failed: {} },
      limits: { maxOpenCalls: { held: 2, total: 2, refused: 1 } },
    });
    for (const chat of chats) chat.cancel();
    await until("both have ended", () => world.server.openCalls === 0);
    expect(world.server.stats().limits.maxOpenCalls).toEqual({ held: 0, total: 2, refused: 1 });
    expect(world.server.stats().calls).toMatchObject({ open: 0, failed: { CANCELED: 2 } });
  });

  test("of calls is told for the attachment of a session whose caller is not known yet", async () => {
    const observe = serverRecorder();
    const known = gate();
    await using server = await watchedServer({
      observe: observe.observer,
      maxOpenCalls: 1,
      async authenticate() {
        await known.opened;
        return { identity: "bob" };
      },
    });
    const peer = await server.dial();
    for (const stream of [1, 3]) {
      peer.write(request(stream, "Chat", { "hawser-session": "a".repeat(32) }));
    }
    expect((await peer.ended(3)).reset).toBe(REFUSED_STREAM);
    expect(observe.of("limitRefused")).toMatchObject([{ limit: "maxOpenCalls" }]);
    known.open();
    await peer[Symbol.asyncDispose]();
  });

  test("is logged with its proxy if that does not name it", async () => {
    await using world = await limitedWorld({ maxOpenCalls: 1, trustedProxies: ["loopback"] });
    const chat = await world.open();
    await failureOf(world.greeter.sayHello({}));
    expect(world.warnings).toEqual([
      "a client, which its proxy 127.0.0.1 does not name, was refused by the limit maxOpenCalls",
    ]);
    chat.cancel();
  });

  test("of calls over Connect is told too", async () => {
    await using world = await limitedWorld({ maxOpenCalls: 1 });
    const chat = await world.open();
    const stock = createConnectTransport({ baseUrl: world.url, httpVersion: "2" });
    await failureOf(createStockClient(Greeter, stock).sayHello({}));
    expect(world.observe.of("limitRefused")).toMatchObject([
      { limit: "maxOpenCalls", caller: { identity: undefined } },
    ]);
    chat.cancel();
  });

  test("of sessions is told, logged and counted", async () => {
    await using world = await limitedWorld({ sessions: { maxSessions: 1 } }, "required");
    const chat = await world.open();
    await failureOf(world.open());
    expect(world.observe.of("limitRefused")).toMatchObject([{ limit: "maxSessions" }]);
    expect(world.warnings).toEqual(["the client 127.0.0.1 was refused by the limit maxSessions"]);
    expect(world.server.stats()).toMatchObject({
      sessions: { open: 1, detached: 0 },
      limits: { maxSessions: { held: 1, total: 1, refused: 1 }, resumesPerSecond: { held: 0 } },
    });
    chat.cancel();
  });

  test("of resumes is told, and the session continues later", async () => {
    const observe = serverRecorder();
    await using world = await start({
      linked: true,
      server: { observe: observe.observer, sessions: { resumesPerSecond: 1 } },
    });
    const chats = [world.greeter.chat(), world.greeter.chat()];
    for (const chat of chats) {
      await chat.send({ content: "one" });
      await next(chat);
    }
    await world.link.cut();
    await until("one was refused", () => observe.names.includes("limitRefused"));
    expect(observe.of("limitRefused")[0]).toMatchObject({ limit: "resumesPerSecond" });
    for (const chat of chats) {
      await chat.send({ content: "two" });
      expect(await next(chat)).toMatchObject({ reply: "Received: two" });
      chat.cancel();
    }
    expect(observe.of("sessionResumed")).toHaveLength(2);
  });

  test("of unread bytes is told for each call that ends", async () => {
    const observe = serverRecorder();
    await using server = await watchedServer({
      observe: observe.observer,
      connectionBudgetBytes: 200_000,
    });
    const peer = await server.dial();
    for (let stream = 1; stream < 43; stream += 2) {
      peer.write(request(stream, "Chat", { "x-handler": "idle" }));
      await peer.flow(stream, message("x".repeat(60_000)));
    }
    await until("some have ended", () => observe.names.includes("limitRefused"));
    expect(observe.of("limitRefused")[0]).toMatchObject({
      limit: "connectionBudgetBytes",
      caller: { peer: { address: "127.0.0.1" } },
    });
    expect(server.server.stats().unreadBytes).toBeGreaterThan(100_000);
    const { limits } = server.server.stats();
    expect(limits.serverBudgetBytes?.held).toBe(server.server.stats().unreadBytes);
    await peer[Symbol.asyncDispose]();
    await server.idle();
    expect(server.server.stats().unreadBytes).toBe(0);
  });

  test("of unread bytes is told for a call that is refused, of an identity with more than its share", async () => {
    const observe = serverRecorder();
    await using server = await watchedServer({
      observe: observe.observer,
      serverBudgetBytes: 200_000,
      authenticate: ({ header }) => ({ identity: String(header.get("x-name")) }),
    });
    const peer = await server.dial();
    const open = (stream: number) =>
      peer.write(request(stream, "Chat", { "x-name": "bob", "x-handler": "idle" }));
    open(1);
    // The oldest incomplete message is not ended: it exceeds the share of its caller, and not what the server may hold.
    const incomplete = message("x".repeat(600_000)).subarray(0, 300_000);
    await peer.flow(1, incomplete);
    await until("it has arrived", () => server.server.stats().unreadBytes >= incomplete.length);
    open(3);
    expect((await peer.ended(3)).reset).toBe(REFUSED_STREAM);
    expect(observe.of("limitRefused")).toMatchObject([
      { limit: "serverBudgetBytes", caller: { identity: "bob" } },
    ]);
    expect(server.server.stats().limits.serverBudgetBytes?.refused).toBe(1);
    await peer[Symbol.asyncDispose]();
  });

  test("is logged once a minute and limit, with how many there were", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    await using world = await limitedWorld({ maxOpenCalls: 1 });
    const chat = await world.open();
    const refused = "the client 127.0.0.1 was refused by the limit maxOpenCalls";
    for (let n = 0; n < 3; n++) await failureOf(world.greeter.sayHello({}));
    expect(world.warnings).toEqual([refused]);
    vi.advanceTimersByTime(60_000);
    await failureOf(world.greeter.sayHello({}));
    expect(world.warnings).toEqual([refused, `${refused}; and 2 more since the last such message`]);
    chat.cancel();
  });
});

test("the default logger shows problems on the console, and not that the server listens and closes", async () => {
  const shown: unknown[][] = [];
  const spies = (["error", "warn", "info", "log"] as const).map((level) =>
    vi.spyOn(console, level).mockImplementation((...words) => void shown.push([level, ...words])),
  );
  try {
    const bug = new Error("a bug");
    await using world = await start({
      greeter: {
        sayHello: () => {
          throw bug;
        },
        async *chat(_, { signal }) {
          yield {};
          await aborted(signal);
        },
      },
      server: { logger: undefined, maxOpenCalls: 1 },
      transport: { sessions: false },
    });
    await failureOf(world.greeter.sayHello({}));
    const chat = world.greeter.chat();
    await next(chat);
    await failureOf(world.greeter.chat());
    chat.cancel();
    await until("it has ended", () => world.server.openCalls === 0);
    await world.server.close();
    expect(shown).toEqual([
      ["error", "the handler of /example.Greeter/SayHello failed:", bug],
      ["warn", "the client 127.0.0.1 was refused by the limit maxOpenCalls"],
    ]);
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
});
