/** The options that limit what one HTTP/2 connection may cost: budgets of unread bytes, floods, pings. */
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { createClient, createTransport } from "../src/index.ts";
import { Code, createServer } from "../src/server.ts";
import { writeAsk } from "../src/session/headers.ts";
import { census } from "./support/census.ts";
import { gate, until } from "./support/gate.ts";
import { next } from "./support/read.ts";
import { message, otherCall, request, watchedServer } from "./support/watched-server.ts";
import { data, dial, Flag, frame, Http2Code, type Peer, Type } from "./support/wire.ts";

const MiB = 2 ** 20;
const ping = frame(Type.PING, 0, 0, Buffer.alloc(8));
const IDLE = { "x-handler": "idle" };
/** Nearly the whole window with which each stream begins. */
const WINDOW_FULL = message("x".repeat(60_000));

async function debugDataOf(peer: Peer): Promise<string> {
  return (await peer.frame(Type.GOAWAY)).payload.subarray(8).toString();
}

describe.each([
  ["gRPC", {}],
  ["Connect", { "content-type": "application/connect+proto" }],
])("connectionBudgetBytes, over %s", (protocol, headers) => {
  test("calls that are not read end above twice the budget, the error names it, and others continue", async () => {
    await using world = await watchedServer({ connectionBudgetBytes: 200_000 });
    const peer = await world.dial();
    const { stillWorks } = await otherCall(peer);
    for (let stream = 3; stream < 43; stream += 2) {
      peer.write(request(stream, "Chat", { ...headers, ...IDLE }));
      await peer.flow(stream, WINDOW_FULL);
    }
    const ended = () =>
      world.calls.filter(
        ({ end }) => typeof end === "object" && end.code === Code.ResourceExhausted,
      );
    await until("some have ended", () => ended().length > 0);
    const [first] = ended();
    expect(first?.context.signal.reason.message).toMatch(
      /the client's connection holds \d+ B of messages that are not taken.* over connectionBudgetBytes 200000 B/,
    );
    if (protocol === "gRPC") {
      const stream = 1 + 2 * world.calls.indexOf(first as (typeof world.calls)[number]);
      expect((await peer.ended(stream)).status).toBe(Code.ResourceExhausted);
    }
    await stillWorks();
    await peer[Symbol.asyncDispose]();
    await world.idle();
  });
});

test("the budgets grow with the readMaxBytes of a route, so that its messages may wait for a handler", async () => {
  const mayRead = gate();
  await using server = createServer({
    routes: (router) =>
      router.rpc(
        Greeter.method.collect,
        async (requests) => {
          let count = 0;
          await mayRead.opened;
          for await (const _ of requests) count++;
          return { count };
        },
        { readMaxBytes: 32 * MiB },
      ),
  });
  const { port } = await server.listen({ port: 0 });
  await using peer = await dial(port as number);
  peer.write(request(1, "Collect"));
  await peer.flow(1, message("x".repeat(20 * MiB)));
  peer.write(data(1, Buffer.alloc(0), true));
  await peer.ping();
  mayRead.open();
  expect((await peer.ended(1)).status).toBe(0);
});

test("the budgets count what arrives while the caller of a session is identified", async () => {
  const never = gate<string>();
  await using world = await watchedServer({
    connectionBudgetBytes: 200_000,
    authenticate: () => never.opened.then((identity) => ({ identity })),
  });
  const peer = await world.dial();
  const streams = Array.from({ length: 10 }, (_, n) => 1 + 2 * n);
  for (const stream of streams) {
    const session = `${stream}`.padStart(32, "0");
    const ask = { session, attach: 1, received: 0, window: { bytes: 1_000_000, messages: 100 } };
    const headers = writeAsk({ ...ask, epoch: session, openedMs: Date.now(), cancel: false });
    peer.write(request(stream, "Chat", headers));
    await peer.flow(stream, WINDOW_FULL);
  }
  const code = await peer.until(() =>
    streams.map((stream) => peer.stream(stream).reset).find((reset) => reset !== undefined),
  );
  expect(code).toBe(Http2Code.ENHANCE_YOUR_CALM);
  await peer[Symbol.asyncDispose]();
});

test("twenty responses of 3 MiB at the same time reach a client that reads", async () => {
  await using server = createServer({
    routes: (router) => router.rpc(Greeter.method.sayHello, () => ({ reply: "x".repeat(3 * MiB) })),
  });
  const { url } = await server.listen({ port: 0 });
  await using transport = createTransport({ baseUrl: url });
  const greeter = createClient(Greeter, transport);
  const replies = await Promise.all(Array.from({ length: 20 }, () => greeter.sayHello({})));
  expect(replies.map(({ reply }) => reply.length)).toEqual(Array(20).fill(3 * MiB));
});

test("serverBudgetBytes limits the calls of all connections together", async () => {
  await using world = await watchedServer({ serverBudgetBytes: 200_000 });
  const other = await otherCall(await world.dial());
  const peers = await Promise.all(Array.from({ length: 20 }, () => world.dial()));
  for (const peer of peers) {
    peer.write(request(1, "Chat", IDLE));
    await peer.flow(1, WINDOW_FULL);
  }
  await until("one has ended", () => peers.some((peer) => peer.stream(1).status !== undefined));
  const ended = peers.find((peer) => peer.stream(1).status !== undefined)?.stream(1);
  expect(ended?.status).toBe(Code.ResourceExhausted);
  expect(ended?.message).toContain("over its share of serverBudgetBytes 200000 B");
  await other.stillWorks();
});

describe("abuse", () => {
  test.each([
    ["strict", 500],
    [undefined, 1_000],
    [{ budget: 50 }, 50],
  ] as const)(
    "a flood of pings ends the connection beyond the units of %j",
    async (abuse, units) => {
      await using world = await watchedServer(abuse === undefined ? {} : { abuse });
      const peer = await world.dial();
      peer.write(...new Array(units - 10).fill(ping));
      await peer.ping();
      peer.write(...new Array(1_000).fill(ping));
      expect(await peer.goaway()).toBe(Http2Code.ENHANCE_YOUR_CALM);
      expect(await debugDataOf(peer)).toBe("too_many_pings");
      await peer.closed;
      await world.expectServed();
    },
  );

  test('"lenient" allows ten times as much', async () => {
    await using world = await watchedServer({ abuse: "lenient" });
    const peer = await world.dial();
    peer.write(...new Array(9_000).fill(ping));
    await peer.ping();
    expect(peer.frames.filter(({ flags }) => flags === Flag.ACK).length).toBeGreaterThan(9_000);
  });
});

describe("minPingIntervalMs", () => {
  test("a client that pings more often three times is told too_many_pings", async () => {
    await using world = await watchedServer({ minPingIntervalMs: 60_000 });
    const peer = await world.dial();
    for (let n = 0; n < 3; n++) await peer.ping();
    peer.write(ping);
    expect(await peer.goaway()).toBe(Http2Code.ENHANCE_YOUR_CALM);
    expect(await debugDataOf(peer)).toBe("too_many_pings");
  });

  test("Hawser's clients may ping more often, also without sessions", async () => {
    await using world = await watchedServer({ minPingIntervalMs: 60_000 });
    await using transport = createTransport({
      baseUrl: `http://127.0.0.1:${world.port}`,
      keepalive: { intervalMs: 20 },
      sessions: false,
    });
    const chat = createClient(Greeter, transport).chat();
    await chat.send({ content: "before" });
    await next(chat);
    const before = census.pings.client;
    await until("it has pinged", () => census.pings.client >= before + 6);
    await chat.send({ content: "after" });
    expect(await next(chat)).toMatchObject({ reply: "after" });
  });

  test("pings after data that the server has sent are allowed", async () => {
    await using world = await watchedServer({ minPingIntervalMs: 60_000 });
    const peer = await world.dial();
    peer.write(request(1, "Chat"));
    for (let n = 1; n <= 10; n++) {
      peer.write(data(1, message("x")));
      await peer.until(() => peer.stream(1).bytes === n * message("x").length);
      await peer.ping();
    }
  });
});
