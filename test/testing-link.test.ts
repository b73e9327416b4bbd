/** The link of hawser/testing, as a user's test sees it. */
import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, createClient, createTransport } from "../src/index.ts";
import type { HandlerContext } from "../src/server.ts";
import type { World } from "../src/testing.ts";
import { chatting, countingWorld, elapsedMs } from "./support/counting-world.ts";
import { aborted, stillAt, until } from "./support/gate.ts";
import { failureOf, next } from "./support/read.ts";

test("cut() ends every connection; a call with a session continues over the next", async () => {
  await using it = await countingWorld();
  const chat = await chatting(it);
  expect(await it.link.cut()).toBe(1);
  await chat.send({ content: "b" });
  expect(await next(chat)).toMatchObject({ reply: "2: b" });
  expect(it.contexts).toHaveLength(1);
  expect(it.link.accepted).toBe(2);
  chat.cancel();
});

test.each(["rst", "fin"] as const)("cut(%j) ends a call without a session", async (kind) => {
  await using it = await countingWorld();
  const chat = await chatting(it, false);
  it.link.cut(kind);
  expect((await failureOf(chat)).code).toBe(Code.Unavailable);
  await aborted((it.contexts[0] as HandlerContext).signal);
  await until("the link lets go", () => it.link.open === 0);
});

test("cut() before the first connection ends none, and the first call is served", async () => {
  await using it = await countingWorld();
  expect(await it.link.cut()).toBe(0);
  expect(await it.greeter.sayHello({ content: "hi" })).toMatchObject({ reply: "hi" });
});

test("cutAfter() ends a connection in the middle of a message, which then arrives once", async () => {
  await using it = await countingWorld();
  const chat = await chatting(it);
  const cut = it.link.cutAfter("up", 5_000);
  await chat.send({ content: "b".repeat(20_000) });
  await cut;
  expect(await next(chat)).toMatchObject({ reply: `2: ${"b".repeat(20_000)}` });
  chat.cancel();
});

test("cutAfter() rejects if a later call for the same direction replaces it", async () => {
  await using it = await countingWorld();
  const chat = await chatting(it);
  const first = it.link.cutAfter("up", 1_000_000);
  await chat.send({ content: "b" });
  await next(chat);
  const other = it.link.cutAfter("down", 10);
  const second = it.link.cutAfter("up", 5_000);
  const error = await failureOf(first);
  expect(error.code).toBe(Code.Canceled);
  expect(error.rawMessage).toMatch(
    /^link\.cutAfter: a later call for "up" replaced this one after [1-9]\d* of its 1000000 B: /,
  );
  await chat.send({ content: "c" });
  await other;
  await chat.send({ content: "d".repeat(20_000) });
  await second;
  chat.cancel();
});

test("cutAfter() rejects if the world is disposed before the cut, and throws afterwards", async () => {
  let first: Promise<void> | undefined;
  let link: World["link"] | undefined;
  {
    await using it = await countingWorld();
    link = it.link;
    first = link.cutAfter("down", 1_000_000);
    await it.greeter.sayHello({});
  }
  const error = await failureOf(first);
  expect(error.code).toBe(Code.Canceled);
  expect(error.rawMessage).toMatch(
    /^link\.cutAfter: the world was disposed after [1-9]\d* of the 1000000 B "down": /,
  );
  expect(() => link.cutAfter("down", 1)).toThrow(
    "link.cutAfter: the world was disposed: start another with startWorld()",
  );
});

test("a cutAfter() that was replaced, or is left when the world is disposed, need not be awaited", async () => {
  await using it = await countingWorld();
  it.link.cutAfter("up", 1_000_000);
  it.link.cutAfter("up", 1_000_000);
  await it.greeter.sayHello({});
});

test("stall() holds all bytes until it is disposed, and a deadline passes meanwhile", async () => {
  await using it = await countingWorld();
  const chat = await chatting(it);
  {
    using _stall = it.link.stall();
    const failed = failureOf(it.greeter.sayHello({}, { timeoutMs: 50 }));
    expect((await failed).code).toBe(Code.DeadlineExceeded);
    await chat.send({ content: "b" });
  }
  expect(await next(chat)).toMatchObject({ reply: "2: b" });
  expect(it.link.accepted).toBe(1);
  chat.cancel();
});

test("stall() of one direction holds only its bytes", async () => {
  await using it = await countingWorld();
  const chat = await chatting(it);
  let requests = 0;
  it.link.stall("down");
  await chat.send({ content: "b" });
  const reply = next(chat).then((reply) => {
    requests++;
    return reply;
  });
  expect(await stillAt(() => requests, 50)).toBe(0);
  it.link.resume("up");
  expect(await stillAt(() => requests, 50)).toBe(0);
  it.link.resume("down");
  expect(await reply).toMatchObject({ reply: "2: b" });
  chat.cancel();
});

test("a stall lasts although another that overlaps it is disposed; resume() ends all", async () => {
  await using it = await countingWorld();
  const chat = await chatting(it);
  it.link.stall("up");
  {
    using _both = it.link.stall();
  }
  const failed = failureOf(it.greeter.sayHello({}, { timeoutMs: 50 }));
  expect((await failed).code).toBe(Code.DeadlineExceeded);
  it.link.resume();
  expect(await it.greeter.sayHello({ content: "hi" })).toMatchObject({ reply: "hi" });
  chat.cancel();
});

test("a stalled link does not let a client see that its server crashed", async () => {
  await using it = await countingWorld();
  const chat = await chatting(it, false);
  let failures = 0;
  const failed = failureOf(chat).finally(() => failures++);
  using stall = it.link.stall();
  await it.server.kill();
  expect(await stillAt(() => failures, 100)).toBe(0);
  stall[Symbol.dispose]();
  expect((await failed).code).toBe(Code.Unavailable);
});

test("refuse() resets new connections and keeps open ones, until accept()", async () => {
  await using it = await countingWorld({ transport: { connectTimeoutMs: 200 } });
  const chat = await chatting(it, false);
  it.link.refuse();
  await using other = createTransport({ baseUrl: it.world.url });
  const failed = failureOf(createClient(Greeter, other).sayHello({}));
  expect((await failed).code).toBe(Code.Unavailable);
  await chat.send({ content: "b" });
  expect(await next(chat)).toMatchObject({ reply: "2: b" });
  it.link.accept();
  expect(await createClient(Greeter, other).sayHello({ content: "hi" })).toMatchObject({
    reply: "hi",
  });
  chat.cancel();
});

test("refuse() ends when it is disposed, and another that overlaps it does not", async () => {
  await using it = await countingWorld();
  const outer = it.link.refuse();
  {
    using _inner = it.link.refuse();
  }
  expect((await failureOf(it.greeter.sayHello({}))).code).toBe(Code.Unavailable);
  outer[Symbol.dispose]();
  expect(await it.greeter.sayHello({ content: "hi" })).toMatchObject({ reply: "hi" });
});

test("delay() holds each byte back, both ways or one, until the next or its disposal", async () => {
  await using it = await countingWorld();
  await it.greeter.sayHello({});
  const oneCall = () => elapsedMs(it.greeter.sayHello({}));
  {
    using _delay = it.link.delay(300);
    expect(await oneCall()).toBeGreaterThan(590);
    it.link.delay(0, "up");
    const ms = await oneCall();
    expect(ms).toBeGreaterThan(290);
    expect(ms).toBeLessThan(590);
  }
  expect(await oneCall()).toBeLessThan(290);
});

test("disposing of a delay does not end the delay that replaced it", async () => {
  await using it = await countingWorld();
  await it.greeter.sayHello({});
  {
    using _first = it.link.delay(1);
    it.link.delay(100, "down");
  }
  expect(await elapsedMs(it.greeter.sayHello({}))).toBeGreaterThan(95);
});

test.each<[string, (link: World["link"]) => unknown]>([
  [
    'link.cut: kind is "RST" (a string): "rst" or "fin" is needed',
    (link) => link.cut("RST" as "rst"),
  ],
  [
    "link.cutAfter: bytes is -1: a whole number of 0 or more, or Infinity, is needed",
    (link) => link.cutAfter("up", -1),
  ],
  ["link.cutAfter: bytes is 1.5: a whole number", (link) => link.cutAfter("up", 1.5)],
  [
    'link.cutAfter: direction is missing: "up" or "down" is needed',
    (link) => link.cutAfter(undefined as never, 1),
  ],
  ['link.stall: direction is "both"', (link) => link.stall("both" as "up")],
  ["link.resume: direction is null", (link) => link.resume(null as never)],
  ["link.delay: ms is NaN: a number of 0 or more is needed", (link) => link.delay(Number.NaN)],
  ['link.delay: direction is ""', (link) => link.delay(1, "" as "up")],
])("an argument that is not valid fails with INVALID_ARGUMENT: %s", async (message, call) => {
  await using it = await countingWorld();
  await expect((async () => call(it.link))()).rejects.toMatchObject({
    code: Code.InvalidArgument,
    rawMessage: expect.stringContaining(message),
  });
});

test("a call that begins after a cut, or after a restart, is not lost with the old connection", async () => {
  await using it = await countingWorld();
  for (let n = 0; n < 100; n++) {
    await it.greeter.sayHello({});
    if (n % 10 === 0) await it.server.restart();
    else await it.link.cut(n % 2 === 0 ? "rst" : "fin");
  }
  await it.greeter.sayHello({});
});
