/** Handlers that read requests in one place and send responses in another: duplex(). */
import { expect, test } from "vitest";
import type { Greeter } from "../gen/example/greeter_pb.js";
import { Code, ConnectError } from "../src/index.ts";
import { type DuplexCall, duplex, type HandlerContext, type ServiceImpl } from "../src/server.ts";
import { census } from "./support/census.ts";
import { aborted, gate, stillAt, until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { request } from "./support/watched-server.ts";
import { dial } from "./support/wire.ts";
import { start } from "./support/world.ts";

type Chat = ServiceImpl<typeof Greeter>["chat"];

/** What a handler of Chat is given. */
type ChatCall = DuplexCall<
  Parameters<Chat>[0] extends AsyncIterable<infer Request> ? Request : never,
  ReturnType<Chat> extends AsyncIterable<infer Response> ? Response : never
>;

/** A world whose Chat is this function. */
function startChat(handler: (call: ChatCall) => Promise<void> | void) {
  return start({ greeter: { chat: duplex(handler) } });
}

/** A world whose Chat shows each of its calls: the test reads and sends, and lets the handler return or throw. */
async function startHeld() {
  const calls: { call: ChatCall; ends: PromiseWithResolvers<void> }[] = [];
  const world = await startChat((call) => {
    const ends = Promise.withResolvers<void>();
    calls.push({ call, ends });
    return ends.promise;
  });
  return {
    world,
    async open() {
      const { length } = calls;
      const chat = world.greeter.chat();
      await until("the handler runs", () => calls.length > length);
      const { call, ends } = calls[length] as (typeof calls)[number];
      return { chat, ...call, signal: call.signal, ends };
    },
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

test("10,000 messages pass in each direction, while neither waits for the other", async () => {
  const received: string[] = [];
  const halfClosed = gate();
  await using world = await startChat(async ({ requests, send }) => {
    const reading = (async () => {
      for await (const { content } of requests) received.push(content);
      halfClosed.open();
    })();
    for (let n = 0; n < 10_000; n++) await send({ reply: `Reply ${n}` });
    await reading;
  });
  const chat = world.greeter.chat();
  const sending = (async () => {
    for (let n = 0; n < 10_000; n++) await chat.send({ content: `Message ${n}` });
    chat.closeSend();
  })();
  const replies = await all(chat);
  await Promise.all([sending, halfClosed.opened]);
  expect(replies.map(({ reply }) => reply)).toEqual(
    Array.from({ length: 10_000 }, (_, n) => `Reply ${n}`),
  );
  expect(received).toEqual(Array.from({ length: 10_000 }, (_, n) => `Message ${n}`));
});

test("responses arrive while the client has sent nothing, and requests while the handler sends nothing", async () => {
  await using held = await startHeld();
  const { chat, requests, send, ends } = await held.open();
  await send({ reply: "first" });
  expect(await next(chat)).toMatchObject({ reply: "first" });
  for (const content of ["a", "b"]) await chat.send({ content });
  expect([await next(requests), await next(requests)]).toMatchObject([
    { content: "a" },
    { content: "b" },
  ]);
  chat.closeSend();
  expect(await next(requests)).toBeUndefined();
  await send({ reply: "after the half-close" });
  expect(await next(chat)).toMatchObject({ reply: "after the half-close" });
  ends.resolve();
  expect(await next(chat)).toBeUndefined();
});

test("responses of 50 loops that send at the same time arrive whole, and those of each loop in order", async () => {
  const text = (place: number, n: number) =>
    `${place}/${n}/${"=".repeat((place * 97 + n * 31) % 3_000)}`;
  await using world = await startChat(async ({ send }) => {
    const places = Array.from({ length: 50 }, async (_, place) => {
      for (let n = 0; n < 100; n++) await send({ reply: text(place, n) });
    });
    await Promise.all(places);
  });
  const byPlace = Array.from({ length: 50 }, () => [] as string[]);
  for await (const { reply } of world.greeter.chat()) {
    byPlace[Number.parseInt(reply, 10)]?.push(reply);
  }
  expect(byPlace).toEqual(
    Array.from({ length: 50 }, (_, place) => Array.from({ length: 100 }, (_, n) => text(place, n))),
  );
});

test("responses that nothing has awaited arrive before the end of the call, in the order of the calls of send()", async () => {
  await using world = await startChat(({ send }) => {
    for (let n = 0; n < 2_000; n++) void send({ reply: `${n}` });
  });
  const replies = await all(world.greeter.chat());
  expect(replies.map(({ reply }) => reply)).toEqual(
    Array.from({ length: 2_000 }, (_, n) => `${n}`),
  );
});

const KIB_64 = { reply: "x".repeat(64 * 1024) };
const GIB_IN_64_KIB = 16 * 1024;
const MIB = 1024 * 1024;

test.each([
  ["from one place", 1],
  ["from 50 places", 50],
])(
  "send() waits when the client does not read: 1 GiB offered %s, memory stays flat",
  async (_, places) => {
    let sent = 0;
    const ended = gate<PromiseSettledResult<void>[]>();
    await using world = await startChat(async ({ send }) => {
      const offers = Array.from({ length: places }, async () => {
        for (; sent < GIB_IN_64_KIB; sent++) await send(KIB_64);
      });
      ended.open(await Promise.allSettled(offers));
    });
    const before = memory();
    const chat = world.greeter.chat();
    const stoodAt = await stillAt(() => sent);
    expect(stoodAt).toBeGreaterThan(0);
    expect(stoodAt * 64 * 1024).toBeLessThan(16 * MIB);
    expect(memory() - before).toBeLessThan(48 * MIB);

    // The handler continues as soon as the client reads.
    for (let n = 0; n <= stoodAt; n++) await next(chat);
    await until("the handler continues", () => sent > stoodAt);
    chat.cancel();
    for (const offer of await ended.opened) {
      expect(offer).toMatchObject({ status: "rejected", reason: { code: Code.Canceled } });
    }
  },
);

test("a handler that returns before the half-close ends the call with OK, at both ends", async () => {
  await using held = await startHeld();
  const { chat, signal, ends } = await held.open();
  await chat.send({ content: "nobody reads this" });
  ends.resolve();
  expect(await all(chat)).toEqual([]);
  await chat.trailers;
  await aborted(signal);
  await until("the server counts no call", () => held.world.server.openCalls === 0);
});

test("trailers that the handler sets at its end arrive", async () => {
  await using world = await startChat(async ({ send, context }) => {
    context.responseHeader.set("x-begin", "1");
    await send({ reply: "one" });
    context.responseTrailer.set("x-end", "2");
  });
  const chat = world.greeter.chat();
  expect(await all(chat)).toHaveLength(1);
  expect((await chat.headers).get("x-begin")).toBe("1");
  expect((await chat.trailers).get("x-end")).toBe("2");
});

test("the error that a handler throws arrives after the responses that it has sent", async () => {
  await using world = await startChat(async ({ send }) => {
    for (let n = 0; n < 100; n++) void send({ reply: `${n}` });
    throw new ConnectError("the room is closed", Code.Aborted);
  });
  const chat = world.greeter.chat();
  for (let n = 0; n < 100; n++) expect(await next(chat)).toMatchObject({ reply: `${n}` });
  expect(await failureOf(chat)).toMatchObject({
    code: Code.Aborted,
    rawMessage: "the room is closed",
  });
  expect(world.logged).toEqual([]);
});

test.each([
  ["an error", new TypeError("a bug")],
  ["undefined", undefined],
])(
  "a handler that throws %s that is no ConnectError is logged once, and its client gets INTERNAL",
  async (_, thrown) => {
    await using world = await startChat(async () => {
      throw thrown;
    });
    expect(await failureOf(world.greeter.chat())).toMatchObject({
      code: Code.Internal,
      rawMessage: "internal error",
    });
    expect(world.logged).toHaveLength(1);
    expect(world.logged[0]).toContain(thrown);
  },
);

test("a function that is not async is a handler too, and what it throws is the error of the call", async () => {
  await using world = await startChat(() => {
    throw new ConnectError("not today", Code.Unavailable, { "grpc-retry-pushback-ms": "-1" });
  });
  expect(await failureOf(world.greeter.chat())).toMatchObject({ rawMessage: "not today" });
});

test("if the client cancels, the signal aborts, the requests throw, and every send() rejects with CANCELED", async () => {
  await using held = await startHeld();
  const { chat, requests, send, signal, ends } = await held.open();
  const reading = failureOf(requests);
  const sending = (async () => {
    for (;;) await send(KIB_64);
  })();
  await next(chat);
  chat.cancel();
  await aborted(signal);
  expect((await reading).code).toBe(Code.Canceled);
  expect((await failureOf(sending)).code).toBe(Code.Canceled);
  expect((await failureOf(send({ reply: "late" }))).code).toBe(Code.Canceled);
  expect(signal.reason).toMatchObject({ code: Code.Canceled });
  ends.resolve();
});

test("at the deadline send() rejects with DEADLINE_EXCEEDED, also while it waits", async () => {
  const failed = gate<ConnectError>();
  await using world = await startChat(async ({ send }) => {
    const sending = (async () => {
      for (;;) await send(KIB_64);
    })();
    failed.open(await failureOf(sending));
  });
  // A client without a clock of its own: ours would cancel the call at the same time.
  await using peer = await dial(Number(new URL(world.url).port));
  peer.write(request(1, "Chat", { "grpc-timeout": "100m" }));
  expect((await failed.opened).code).toBe(Code.DeadlineExceeded);
});

test("send() rejects when the server ends its calls", async () => {
  await using held = await startHeld();
  const { chat, send, signal, ends } = await held.open();
  await send({ reply: "first" });
  await next(chat);
  const closed = held.world.server.close({ graceMs: 0 });
  await aborted(signal);
  expect((await failureOf(send({ reply: "late" }))).code).toBe(Code.Unavailable);
  ends.resolve();
  expect((await failureOf(chat)).code).toBe(Code.Unavailable);
  await closed;
});

test.each([
  ["returned", undefined],
  ["thrown", new ConnectError("enough", Code.Aborted)],
])(
  "after a handler has %s, send() rejects with FAILED_PRECONDITION, and says why",
  async (_, error) => {
    await using held = await startHeld();
    const { chat, send, ends } = await held.open();
    if (error === undefined) ends.resolve();
    else ends.reject(error);
    await all(chat).catch(() => {});
    expect(await failureOf(send({ reply: "late" }))).toMatchObject({
      code: Code.FailedPrecondition,
      rawMessage:
        "example.Greeter.Chat: nothing can be sent after the handler has returned or thrown: await what sends",
    });
  },
);

test("a send() that waits when the handler returns is sent: the client reads it before the end", async () => {
  const sent: Promise<void>[] = [];
  await using world = await startChat(({ send }) => {
    for (let n = 0; n < 100; n++) sent.push(send(KIB_64));
  });
  expect(await all(world.greeter.chat())).toHaveLength(100);
  await Promise.all(sent);
});

test("a value that is not a message ends the call, rejects its send(), and is logged once", async () => {
  const failed = gate<unknown>();
  await using world = await startChat(async ({ send }) => {
    // @ts-expect-error a reply is a string
    const wrong: { reply: string } = "no message";
    await send(wrong).catch((error) => {
      failed.open(error);
      throw error;
    });
  });
  expect((await failureOf(world.greeter.chat())).code).toBe(Code.Internal);
  expect(await failed.opened).toBeInstanceOf(TypeError);
  expect(world.logged).toHaveLength(1);
});

test("what a handler throws after its call has ended is logged, unless it is the error of the call", async () => {
  await using held = await startHeld();
  const [bug, told] = [await held.open(), await held.open()];
  for (const { chat } of [bug, told]) chat.cancel();
  await Promise.all([aborted(bug.signal), aborted(told.signal)]);
  told.ends.reject(told.signal.reason);
  const late = new TypeError("a bug at the end");
  bug.ends.reject(late);
  await until("the bug is logged", () => held.world.logged.length > 0);
  expect(held.world.logged).toHaveLength(1);
  expect(held.world.logged[0]).toContain(late);
});

test("a client that leaves its loop while the handler returns leaves nothing at either end", async () => {
  await using held = await startHeld();
  for (let n = 0; n < 200; n++) {
    const { chat, send, ends } = await held.open();
    await Promise.all([send({ reply: "one" }), chat.send({ content: "one" })]);
    for await (const _ of chat) {
      if (n % 2 === 0) ends.resolve();
      else ends.reject(new ConnectError("gone", Code.Aborted));
      break;
    }
  }
  await until("no stream is open", () => census.clientStreams + census.serverStreams === 0);
  await until("the server counts no call", () => held.world.server.openCalls === 0);
  expect(held.world.logged).toEqual([]);
});

test("a handler whose call ends before it begins is not left waiting", async () => {
  const seen: HandlerContext[] = [];
  await using world = await startChat(async ({ context, send, requests }) => {
    seen.push(context);
    for await (const _ of requests) await send({ reply: "one" });
  });
  for (let n = 0; n < 50; n++) {
    const chat = world.greeter.chat();
    void chat.send({ content: "x" });
    chat.cancel();
    await failureOf(chat);
  }
  await until("no call is open", () => world.server.openCalls === 0);
  for (const { signal } of seen) expect(signal.aborted).toBe(true);
});

test("duplex() refuses what is not a function", () => {
  // @ts-expect-error a handler is a function
  expect(() => duplex({})).toThrow(
    "[invalid_argument] duplex: handler is an object: a function is needed",
  );
});

/** Bytes that this process holds and needs. */
function memory(): number {
  gc?.();
  const { arrayBuffers, heapUsed } = process.memoryUsage();
  return arrayBuffers + heapUsed;
}
