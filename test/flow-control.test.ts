/** What peers may send before an application has read it: on one stream, on a connection, and on a server. */
import { describe, expect, test } from "vitest";
import { Code } from "../src/index.ts";
import { census } from "./support/census.ts";
import { type FakeCall, fakeServer, scripted } from "./support/fake-server.ts";
import { gate, stillAt, until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { message, request, watchedServer } from "./support/watched-server.ts";
import { data, messages, Type } from "./support/wire.ts";
import { start } from "./support/world.ts";

const MB = 1024 * 1024;

test.each([
  ["with a session", true],
  ["without a session", false],
])(
  "messages of 30 MiB pass both ways, %s",
  async (_, sessions) => {
    const limits = { readMaxBytes: 32 * MB, writeMaxBytes: 32 * MB };
    await using world = await start({
      server: limits,
      transport: { ...limits, sessions },
      greeter: {
        async *chat(requests) {
          for await (const { content } of requests) yield { reply: content };
        },
      },
    });
    const content = "x".repeat(30 * MB);
    const chat = world.greeter.chat();
    for (let n = 0; n < 2; n++) {
      void chat.send({ content });
      expect((await next(chat))?.reply).toHaveLength(content.length);
    }
    chat.closeSend();
    expect(await next(chat)).toBeUndefined();
  },
  60_000,
);

test("a push that is read is not slowed by 100 pushes on its connection that nobody reads", async () => {
  let pushed = 0;
  await using world = await start({
    transport: { sessions: false },
    greeter: {
      async *subscribe({ count }) {
        for (let sequence = 1n; sequence <= count; sequence++) {
          pushed++;
          yield { sequence, content: "x".repeat(4000) };
        }
      },
    },
  });
  const connections = census.connections;
  const unread = Array.from({ length: 100 }, () => world.greeter.subscribe({ count: 10_000 }));
  await Promise.all(unread.map(({ headers }) => headers));
  const held = await stillAt(() => pushed);
  const read = world.greeter.subscribe({ count: 2000 });
  let sequence = 0n;
  for await (const notification of read) sequence = notification.sequence;
  expect(sequence).toBe(2000n);
  expect(pushed - held).toBe(2000);
  // Each was sent the window of its stream, and its handler waits with a message or two.
  expect(held * 4000).toBeLessThan(100 * 80_000);
  // What the window has brought is there when it is read.
  for (const push of unread) expect((await next(push))?.sequence).toBe(1n);
  expect(census.connections - connections).toBe(1);
  for (const push of unread) push.cancel();
  await Promise.all(unread.map(failureOf));
}, 30_000);

test("a chat that is read is not slowed by 100 chats on its connection whose handlers read nothing", async () => {
  const mayRead = gate();
  await using world = await start({
    transport: { sessions: false },
    greeter: {
      async *chat(requests, { requestHeader }) {
        if (requestHeader.has("x-unread")) await mayRead.opened;
        for await (const { content } of requests) yield { reply: content.slice(0, 10) };
      },
    },
  });
  const connections = census.connections;
  const content = "x".repeat(4000);
  let sent = 0;
  const unread = Array.from({ length: 100 }, async () => {
    const chat = world.greeter.chat({ headers: { "x-unread": "1" } });
    const sending = (async () => {
      for (let n = 0; n < 40; n++) {
        await chat.send({ content });
        sent++;
      }
      chat.closeSend();
    })();
    const replies = await all(chat);
    await sending;
    return replies.length;
  });
  const held = await stillAt(() => sent);
  expect(held).toBeLessThan(100 * 40);
  const read = world.greeter.chat();
  for (let n = 0; n < 1000; n++) {
    await read.send({ content: `${n} ${content}` });
    expect((await next(read))?.reply).toBe(`${n} ${content}`.slice(0, 10));
  }
  read.closeSend();
  expect(await next(read)).toBeUndefined();
  expect([sent, census.connections - connections]).toEqual([held, 1]);
  // What has waited is there when it is read.
  mayRead.open();
  expect(await Promise.all(unread)).toEqual(new Array(100).fill(40));
}, 30_000);

test.each([
  ["with a session", true],
  ["without a session", false],
])(
  "a reader that pauses gets everything afterwards, in order, %s",
  async (_, sessions) => {
    let pushed = 0;
    await using world = await start({
      transport: { sessions },
      greeter: {
        async *subscribe({ count }) {
          for (let sequence = 1n; sequence <= count; sequence++) {
            pushed++;
            yield { sequence, content: "x".repeat(1000) };
          }
        },
      },
    });
    const count = 5000;
    const push = world.greeter.subscribe({ count });
    expect((await next(push))?.sequence).toBe(1n);
    const held = await stillAt(() => pushed, 1000);
    expect(held).toBeLessThan(count);
    const rest = await all(push);
    expect(rest.map(({ sequence }) => sequence)).toEqual(
      Array.from({ length: count - 1 }, (_, n) => BigInt(n + 2)),
    );
  },
  20_000,
);

describe("on a connection above its budget", () => {
  test("calls are served beside eight messages of 4 MiB of which half has come, and those pass one after the other", async () => {
    await using world = await watchedServer({ readMaxBytes: 5 * MB, writeMaxBytes: 5 * MB });
    const peer = await world.dial();
    const large = message("x".repeat(4 * MB));
    const streams = Array.from({ length: 8 }, (_, n) => 2 * n + 1);
    for (const stream of streams) peer.write(request(stream, "SayHello"));
    const halves = streams.map((stream) => peer.flow(stream, large.subarray(0, 2 * MB)));
    // The first one has credit until it is whole, the others as long as the connection is below its budget.
    await halves[0];
    for (let stream = 101; stream < 121; stream += 2) {
      peer.write(request(stream, "SayHello"), data(stream, message("hello"), true));
      expect(await peer.ended(stream)).toMatchObject({ status: 0 });
    }
    for (const [n, stream] of streams.entries()) {
      await halves[n];
      await peer.flow(stream, large.subarray(2 * MB));
      peer.write(data(stream, Buffer.alloc(0), true));
      const { status, body, message: why } = await peer.ended(stream);
      expect(status, why).toBe(0);
      expect(messages(body)[0]?.length).toBe(large.length - 5);
    }
  }, 60_000);

  test("the largest unread call is ended at once at twice the budget, and others continue", async () => {
    await using world = await watchedServer({ connectionBudgetBytes: 100_000 });
    const peer = await world.dial();
    const idle = { "x-handler": "idle" };
    const sizes = [60_000, 50_000, 55_000];
    for (const [n, size] of sizes.entries()) {
      const stream = 2 * n + 1;
      peer.write(request(stream, "Chat", idle));
      await peer.flow(stream, message("x".repeat(size)));
    }
    peer.write(request(7, "Chat", idle));
    await peer.flow(7, message("x".repeat(40_000)));
    const ended = await peer.ended(1);
    expect(ended.status).toBe(Code.ResourceExhausted);
    expect(decodeURIComponent(ended.message ?? "")).toMatch(
      /the client's connection holds 2\d{5} B of messages that are not taken, 60\d{3} B of them for this call: that is over connectionBudgetBytes 100000 B/,
    );
    peer.write(request(9, "SayHello"), data(9, message("hello"), true));
    expect(await peer.ended(9)).toMatchObject({ status: 0 });
    for (const stream of [3, 5, 7]) expect(peer.stream(stream).ended).toBe(false);
  });
});

test("a client widens the window of a call before it sends much, and of no other call", async () => {
  await using world = await fakeServer(() => {});
  const widenedBy = async (content: string) => {
    const chat = world.client.chat(scripted);
    const calls = world.calls.length;
    await chat.send({ content });
    await until("the call has arrived", () => world.calls.length > calls);
    const { peer, stream } = world.calls.at(-1) as FakeCall;
    const sent = await peer.frame(Type.DATA, stream);
    const before = peer.frames.slice(0, peer.frames.indexOf(sent));
    chat.cancel();
    return before
      .filter((frame) => frame.type === Type.WINDOW_UPDATE && frame.stream === stream)
      .map(({ payload }) => payload.readUInt32BE(0));
  };
  expect(await widenedBy("x".repeat(4_000))).toEqual([]);
  expect(await widenedBy("x".repeat(8_192))).toEqual([256 * 1024 - 65_535]);
});
