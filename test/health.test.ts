/** grpc.health.v1: what balancers and orchestrators are told, and what strangers may cost by asking. */
import type { Transport } from "@connectrpc/connect";
import { createClient as createStockClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import {
  Health,
  HealthCheckResponse_ServingStatus as Status,
} from "../gen/grpc/health/v1/health_pb.js";
import { Code, ConnectError, createClient, createTransport } from "../src/index.ts";
import { createServer, type Interceptor, type ServerOptions } from "../src/server.ts";
import { gate, until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { recorders } from "./support/recorder.ts";
import { request } from "./support/request.ts";
import { protocols } from "./support/stock-protocols.ts";
import {
  data,
  dial,
  envelope,
  Http2Code,
  messages,
  type Peer,
  rst,
  Type,
  windowUpdate,
} from "./support/wire.ts";
import { type Setup, start } from "./support/world.ts";

/** A world whose server tells its health, and clients that ask. */
async function startAsked({ server, ...setup }: Setup = {}) {
  const world = await start({ ...setup, server: { health: true, ...server } });
  const { url, greeter } = world;
  const health = world.client(Health);
  return {
    ...{ server: world.server, url, greeter, health },
    watch: (service = "") => health.watch({ service }),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

/** RFC 9113, 6.5.2. */
const INITIAL_WINDOW_SIZE = 4;

const portOf = (url: string) => Number(new URL(url).port);

/** Opens Watches, whose requests it does not send. */
function openWatches(peer: Peer, count: number): void {
  const streams = Array.from({ length: count }, (_, n) => 2 * n + 1);
  peer.write(...streams.map((stream) => request(stream, "/grpc.health.v1.Health/Watch")));
}

/** Watches the server as a whole, on stream 1. */
function watchWhole(peer: Peer): void {
  peer.write(request(1, "/grpc.health.v1.Health/Watch"), data(1, envelope(Buffer.alloc(0)), true));
}

describe("what is told", () => {
  test("each service of the routes is SERVING, and so is the server as a whole", async () => {
    await using world = await startAsked();
    for (const service of ["", Greeter.typeName]) {
      expect(await world.health.check({ service })).toMatchObject({ status: Status.SERVING });
    }
    const { statuses } = await world.health.list({});
    expect(Object.keys(statuses).sort()).toEqual(["", "example.Greeter"]);
  });

  test("Check of a service that is not known fails with NOT_FOUND, and names it", async () => {
    await using world = await startAsked();
    expect(await failureOf(world.health.check({ service: "example.Gretter" }))).toMatchObject({
      code: Code.NotFound,
      rawMessage: 'the server has no service "example.Gretter"',
    });
  });

  test("what the application sets is told to all that ask and watch, once for each change", async () => {
    await using world = await startAsked();
    const watches = [world.watch(Greeter.typeName), world.watch(Greeter.typeName)];
    for (const watch of watches)
      expect(await next(watch)).toMatchObject({ status: Status.SERVING });
    const whole = world.watch();
    await next(whole);

    world.server.health.set(Greeter, "SERVING");
    world.server.health.set(Greeter, "NOT_SERVING");
    for (const watch of watches) {
      expect(await next(watch)).toMatchObject({ status: Status.NOT_SERVING });
    }
    const { status } = await world.health.check({ service: Greeter.typeName });
    expect(status).toBe(Status.NOT_SERVING);
    world.server.health.set("example.Greeter", "SERVING");
    for (const watch of watches)
      expect(await next(watch)).toMatchObject({ status: Status.SERVING });

    // The status of the whole server does not follow from those of its services.
    world.server.health.set("", "NOT_SERVING");
    expect(await next(whole)).toMatchObject({ status: Status.NOT_SERVING });
    for (const watch of [...watches, whole]) watch.cancel();
  });

  test("Watch of a service that is not known says so, and tells when it has become known", async () => {
    await using world = await startAsked();
    const watch = world.watch("database");
    expect(await next(watch)).toMatchObject({ status: Status.SERVICE_UNKNOWN });
    world.server.health.set("database", "SERVING");
    expect(await next(watch)).toMatchObject({ status: Status.SERVING });
    expect(await world.health.check({ service: "database" })).toMatchObject({
      status: Status.SERVING,
    });
    watch.cancel();
  });

  test("a client that does not read is told the newest status, and not each", async () => {
    await using world = await startAsked();
    // A message with its prefix has 7 B.
    const settings = { [INITIAL_WINDOW_SIZE]: 14 };
    await using peer = await dial(portOf(world.url), { settings });
    const { health } = world.server;
    watchWhole(peer);
    await until("it is told", () => peer.stream(1).bytes === 7);
    for (let n = 0; n < 1_000; n++) health.set("", n % 2 === 0 ? "NOT_SERVING" : "SERVING");
    await peer.ping();
    health.set("", "NOT_SERVING");
    peer.write(windowUpdate(1, 60_000));
    const told = () => messages(peer.stream(1).body).map((message) => message[1]);
    await until("it is told the newest", () => told().length > 2 && told().at(-1) === 2);
    expect(told().length).toBeLessThan(10);
    peer.write(rst(1, Http2Code.CANCEL));
  });

  test.each(Object.entries(protocols))("%s: Check, List and Watch are served", async (_, over) => {
    await using server = createServer({
      routes: (router) => router.service(Greeter, {}),
      health: true,
    });
    const { url } = await server.listen({ port: 0 });
    const transport: Transport = over(url);
    const health = createStockClient(Health, transport);
    expect((await health.check({})).status).toBe(Status.SERVING);
    expect(Object.keys((await health.list({})).statuses)).toHaveLength(2);
    const controller = new AbortController();
    const seen: Status[] = [];
    const watching = (async () => {
      for await (const { status } of health.watch({}, { signal: controller.signal })) {
        seen.push(status);
        if (seen.length === 1) server.health.set("", "NOT_SERVING");
        else break;
      }
    })();
    await watching;
    controller.abort();
    expect(seen).toEqual([Status.SERVING, Status.NOT_SERVING]);
    expect(server.openCalls).toBe(0);
  });
});

describe("how it is set", () => {
  test("a mistake in health.set() throws, and names the argument", async () => {
    await using world = await startAsked();
    const { health } = world.server;
    // @ts-expect-error a status is a word of two
    expect(() => health.set("", "UP")).toThrow(
      '[invalid_argument] health.set: status is "UP" (a string): "SERVING" or "NOT_SERVING" is needed',
    );
    // @ts-expect-error a service, or its name
    expect(() => health.set(undefined, "SERVING")).toThrow(
      "[invalid_argument] health.set: service",
    );
  });

  test("a server without the option does not serve it, and health.set() throws FAILED_PRECONDITION", async () => {
    await using world = await start();
    const failed = await failureOf(world.client(Health).check({}));
    expect(failed.code).toBe(Code.Unimplemented);
    expect(() => world.server.health.set(Greeter, "SERVING")).toThrow(
      '[failed_precondition] health.set("example.Greeter"): the server does not tell its health: createServer({ health: true })',
    );
  });

  test("a server whose routes register grpc.health.v1.Health too is refused", () => {
    const routes: ServerOptions["routes"] = (router) => void router.service(Health, {});
    expect(() => createServer({ routes, health: true })).toThrow(
      "[invalid_argument] createServer: health is true, and routes registers grpc.health.v1.Health too: leave one",
    );
  });
});

describe("who is served", () => {
  test("strangers are, and neither admit nor interceptors are asked", async () => {
    const asked: string[] = [];
    const note = (what: string) => void asked.push(what);
    const interceptor: Interceptor = (next) => (request) => {
      note("interceptor");
      return next(request);
    };
    await using world = await startAsked({
      server: {
        authenticate() {
          note("authenticate");
          throw new Error("nobody is known");
        },
        admit: () => note("admit"),
        interceptors: [interceptor],
        logger: { error() {} },
      },
    });
    await world.health.check({});
    const watch = world.watch();
    await next(watch);
    expect(asked).toEqual([]);
    expect((await failureOf(world.greeter.sayHello({}))).code).toBe(Code.Unauthenticated);
    expect(asked).toEqual(["authenticate"]);
    watch.cancel();
  });

  test("a server whose calls are all used up answers its probes", async () => {
    const over = gate();
    await using world = await startAsked({
      server: { maxOpenCalls: 1 },
      transport: { sessions: false },
      greeter: {
        async sayHello() {
          await over.opened;
          return {};
        },
      },
    });
    const held = world.greeter.sayHello({});
    await until("the call is open", () => world.server.openCalls === 1);
    expect((await failureOf(world.greeter.sayHello({}))).code).toBe(Code.ResourceExhausted);
    expect((await world.health.check({})).status).toBe(Status.SERVING);
    over.open();
    await held;
  });

  test("an address that opens all Watches that it can holds a part of 1000, and others still find some", async () => {
    await using world = await startAsked({
      server: { authenticate: () => ({ identity: "ada" }), logger: { error() {} } },
      transport: { sessions: false },
    });
    const port = portOf(world.url);
    const held = () => world.server.stats().limits.maxHealthCalls?.held ?? 0;
    const refused = () => world.server.stats().limits.maxHealthCalls?.refused ?? 0;
    await using peers = new AsyncDisposableStack();
    for (let n = 1; n <= 10; n++) {
      const peer = peers.use(await dial(port, { localAddress: "127.0.0.2" }));
      openWatches(peer, 900);
      await until("each is served or refused", () => held() + refused() === n * 900);
    }
    expect(held()).toBeGreaterThan(800);
    expect(held()).toBeLessThan(950);

    // Another address.
    const watches = Array.from({ length: 40 }, () => world.watch());
    for (const watch of watches)
      expect(await next(watch)).toMatchObject({ status: Status.SERVING });
    // Watches are no open calls, and take nothing of those.
    expect(world.server.openCalls).toBe(0);
    expect(world.server.stats().limits.maxOpenCalls?.held).toBe(0);
    expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
    for (const watch of watches) watch.cancel();
  });

  test("the refusal of a Watch says how many there are, and when to come again", async () => {
    await using world = await startAsked({ transport: { sessions: false } });
    const watches = Array.from({ length: 889 }, () => world.watch());
    const outcomes = await Promise.allSettled(watches.map((watch) => next(watch)));
    const [first] = outcomes.filter(({ status }) => status === "rejected");
    const error = ConnectError.from((first as PromiseRejectedResult).reason);
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.rawMessage).toMatch(
      /^the server has \d+ open calls of grpc.health.v1.Health of 1000 \(maxHealthCalls\); \d+ of them are this caller's: no more of its own begin now$/,
    );
    expect(error.findDetails(RetryInfoSchema)).toHaveLength(1);
    for (const watch of watches) watch.cancel();
  });

  test("Watches that were cancelled, or lost their connection, free their places", async () => {
    await using world = await startAsked({ transport: { sessions: false } });
    const held = () => world.server.stats().limits.maxHealthCalls?.held;
    for (let n = 0; n < 300; n++) {
      const watch = world.watch("any");
      if (n % 2 === 0) await next(watch);
      watch.cancel();
    }
    {
      await using peer = await dial(portOf(world.url));
      openWatches(peer, 100);
      await until("they are open", () => (held() ?? 0) >= 100);
    }
    await until("none is open", () => held() === 0);
  });

  test("a name of more than 4096 B is refused", async () => {
    await using world = await startAsked();
    expect((await failureOf(world.health.check({ service: "x".repeat(5_000) }))).code).toBe(
      Code.ResourceExhausted,
    );
  });
});

describe("what it does not count for", () => {
  test("Checks and Watches are no open calls, in no statistics, and not told to an observer", async () => {
    const { server: recorder, setup } = recorders();
    await using world = await startAsked({ server: setup.server });
    const watch = world.watch();
    await next(watch);
    await world.health.check({});
    expect(world.server.openCalls).toBe(0);
    expect(world.server.stats().calls).toEqual({ open: 0, started: 0, succeeded: 0, failed: {} });
    expect(recorder.of("callStarted")).toEqual([]);
    watch.cancel();
  });

  test("a Watch of a client with sessions has none, and is served", async () => {
    await using world = await startAsked({ transport: { sessions: true } });
    await world.greeter.sayHello({});
    const watch = world.watch();
    expect(await next(watch)).toMatchObject({ status: Status.SERVING });
    expect(watch.resumable).toBe(false);
    expect(world.server.stats().sessions.open).toBe(0);
    // The other calls of its connection have sessions as before.
    const chat = world.greeter.chat();
    await chat.send({ content: "x" });
    await next(chat);
    expect(chat.resumable).toBe(true);
    chat.closeSend();
    await all(chat);
    watch.cancel();
  });
});

describe("close()", () => {
  test("those who watch are told NOT_SERVING before the GOAWAY, and their calls end when the drain begins", async () => {
    await using world = await startAsked();
    await using peer = await dial(portOf(world.url));
    watchWhole(peer);
    await until("it is told", () => peer.stream(1).bytes > 0);
    const closed = world.server.close({ graceMs: 60_000 });
    const { status } = await peer.ended(1);
    expect(status).toBe(Code.Unavailable);
    await closed;
    const kinds = peer.frames.map(({ type, stream }) => `${type}/${stream}`);
    const lastData = kinds.lastIndexOf(`${Type.DATA}/1`);
    expect(lastData).toBeLessThan(kinds.indexOf(`${Type.GOAWAY}/0`));
    expect(kinds.filter((kind) => kind === `${Type.DATA}/1`)).toHaveLength(2);
  });

  test("during drainDelayMs calls are served as before, and the health is NOT_SERVING", async () => {
    await using world = await startAsked();
    const watch = world.watch(Greeter.typeName);
    await next(watch);
    const closed = world.server.close({ drainDelayMs: 60_000, graceMs: 60_000 });
    expect(await next(watch)).toMatchObject({ status: Status.NOT_SERVING });
    world.server.health.set(Greeter, "SERVING");
    expect((await world.health.check({ service: Greeter.typeName })).status).toBe(
      Status.NOT_SERVING,
    );
    expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
    await using other = createTransport({ baseUrl: world.url });
    const { reply } = await createClient(Greeter, other).sayHello({ content: "all" });
    expect(reply).toBe("Hello, all");

    // A second close() with a shorter delay ends the first one's.
    await world.server.close({ graceMs: 0 });
    await closed;
    expect((await failureOf(watch)).code).toBe(Code.Unavailable);
  });

  test.each(Object.entries(protocols))("%s: a Watch does not hold up close()", async (_, over) => {
    await using server = createServer({
      routes: (router) => router.service(Greeter, {}),
      health: true,
    });
    const { url } = await server.listen({ port: 0 });
    const watch = createStockClient(Health, over(url)).watch({});
    const updates = watch[Symbol.asyncIterator]();
    expect(await updates.next()).toMatchObject({ value: { status: Status.SERVING } });
    const closed = server.close({ graceMs: 60_000 });
    expect(await updates.next()).toMatchObject({ value: { status: Status.NOT_SERVING } });
    await expect(updates.next()).rejects.toMatchObject({ code: Code.Unavailable });
    await closed;
  });

  test("drainDelayMs delays the drain of a server without health too", async () => {
    await using world = await start();
    const closed = world.server.close({ drainDelayMs: 100 });
    expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
    await closed;
    expect((await failureOf(world.greeter.sayHello({}))).code).toBe(Code.Unavailable);
  });

  test("a delay that is not valid is refused, and closes nothing", async () => {
    await using world = await start();
    const failed = await failureOf(world.server.close({ drainDelayMs: -1 }));
    expect(failed.rawMessage).toContain("close: drainDelayMs is -1");
    expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
  });
});

test("a request that is not a message ends its call, and nothing else", async () => {
  await using world = await startAsked();
  await using peer = await dial(portOf(world.url));
  const broken = envelope(Buffer.of(0xff));
  peer.write(request(1, "/grpc.health.v1.Health/Check"), data(1, broken, true));
  expect((await peer.ended(1)).status).not.toBe(0);
  expect((await world.health.check({})).status).toBe(Status.SERVING);
});
