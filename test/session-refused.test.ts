import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { failure } from "../src/failure.ts";
import { Code, createClient, createTransport } from "../src/index.ts";
import { gate } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { newId } from "./support/session-peer.ts";
import { type SessionWorld, sessionWorld } from "./support/session-world.ts";

// What a call is where the server takes no more sessions: a call without one, unless it requires a session.

/** A server that takes one session, which is open until `free()`. */
async function fullWorld(): Promise<SessionWorld & { free(): Promise<void> }> {
  const world = await sessionWorld({ sessions: { maxSessions: 1 } });
  const first = world.greeter.chat();
  await first.send({ content: "first" });
  await next(first);
  expect(first.resumable).toBe(true);
  const free = async () => {
    first.closeSend();
    await all(first);
  };
  return Object.create(world, { free: { value: free } }) as SessionWorld & {
    free(): Promise<void>;
  };
}

const contents = (...texts: string[]) => texts.map((content) => ({ content }));

async function* iterated<T>(values: readonly T[]): AsyncGenerator<T> {
  yield* values;
}

test("a call is made without a session where the server takes no more, and says that it is not resumable", async () => {
  await using world = await fullWorld();
  const states: string[] = [];
  const chat = world.greeter.chat();
  using _listening = chat.onState((state) => states.push(state));
  await chat.send({ content: "one" });
  expect(await next(chat)).toMatchObject({ reply: "one" });
  expect(chat.resumable).toBe(false);
  await chat.send({ content: "two" });
  expect(await next(chat)).toMatchObject({ reply: "two" });
  chat.closeSend();
  expect(await all(chat)).toEqual([]);
  expect(states.filter((state) => state !== "open")).toEqual(["closed"]);
  expect(world.runs.map(({ requests, end }) => ({ requests, end }))[1]).toEqual({
    requests: ["one", "two"],
    end: "half-closed",
  });
  await world.free();
  const later = world.greeter.chat();
  await later.send({ content: "later" });
  expect(await next(later)).toMatchObject({ reply: "later" });
  expect(later.resumable).toBe(true);
  later.closeSend();
  await all(later);
});

test("what a call has sent before the refusal arrives once and in order, with its half-close, in each kind of call", async () => {
  await using world = await fullWorld();
  const { greeter } = world;
  const texts = Array.from({ length: 300 }, (_, n) => `${n} ${"x".repeat(n)}`);
  const replies = await all(greeter.chat(iterated(contents(...texts))));
  expect(replies.map(({ reply }) => reply)).toEqual(texts);
  expect(await greeter.collect(iterated(contents("a", "b", "c")))).toMatchObject({ count: 3 });
  const push = greeter.subscribe({ count: 3 });
  expect((await all(push)).map(({ sequence }) => sequence)).toEqual([1n, 2n, 3n]);
  expect(push.resumable).toBe(false);
  await world.free();
});

test("messages that waited for the window of the session are sent after the others", async () => {
  await using world = await fullWorld();
  const chat = world.greeter.chat({ sessions: { windowMessages: 2 } });
  const sent = ["1", "2", "3", "4", "5"];
  const sends = sent.map((content) => chat.send({ content }));
  for (const reply of sent) expect(await next(chat)).toMatchObject({ reply });
  await Promise.all(sends);
  chat.closeSend();
  await all(chat);
  await world.free();
});

test("messages of more bytes than another attempt would send again arrive too, compressed as they were", async () => {
  await using world = await fullWorld();
  const texts = ["a", "b", "c"].map((text) => text.repeat(200_000));
  for (const compress of [false, true]) {
    const replies = await all(world.greeter.chat(iterated(contents(...texts)), { compress }));
    expect(replies.map(({ reply }) => reply.length)).toEqual([200_000, 200_000, 200_000]);
  }
  await world.free();
});

test('sessions: "required" of a call, or of a transport: the refusal is its error', async () => {
  await using world = await fullWorld();
  const { greeter, url } = world;
  const refusals = [await failureOf(greeter.chat({ sessions: "required" }))];
  await using transport = createTransport({ baseUrl: url, sessions: "required" });
  const requiring = createClient(Greeter, transport);
  refusals.push(await failureOf(requiring.chat()));
  refusals.push(await failureOf(requiring.chat({ sessions: { windowMessages: 5 } })));
  for (const error of refusals) {
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.message).toMatch(/1 sessions of 1 \(maxSessions\)/);
    expect([...error.metadata.keys()]).not.toContain("hawser-session");
  }
  expect(await requiring.sayHello({ content: "unary" })).toMatchObject({ reply: "unary" });
  const free = requiring.chat({ sessions: true });
  await free.send({ content: "one" });
  expect(await next(free)).toMatchObject({ reply: "one" });
  free.closeSend();
  await all(free);
  await world.free();
});

test('sessions: "required" fails at a server that keeps none, and asks nothing of unary calls', async () => {
  await using world = await sessionWorld({
    sessions: false,
    transport: { sessions: "required" },
  });
  const error = await failureOf(world.greeter.chat());
  expect(error.code).toBe(Code.FailedPrecondition);
  expect(error.message).toContain('keeps no sessions, and this call has sessions: "required"');
  expect(await world.greeter.sayHello({ content: "unary" })).toMatchObject({ reply: "unary" });
  const plain = world.greeter.chat({ sessions: false });
  plain.closeSend();
  expect(await all(plain)).toEqual([]);
  expect(world.runs).toHaveLength(1);
});

test("a call that continues without a session has its deadline and its cancel, and gets new headers", async () => {
  await using world = await fullWorld();
  let asked = 0;
  const chat = world.greeter.chat({
    timeoutMs: 400,
    headers: () => ({ "x-hold": "1", "x-asked": `${++asked}` }),
  });
  await chat.send({ content: "one" });
  await next(chat);
  const [, run] = world.runs;
  expect(run?.context.requestHeader.get("x-asked")).toBe(`${asked}`);
  expect(run?.context.requestHeader.has("hawser-session")).toBe(false);
  chat.closeSend();
  expect((await failureOf(chat)).code).toBe(Code.DeadlineExceeded);
  const cancelled = world.greeter.chat();
  await cancelled.send({ content: "two" });
  await next(cancelled);
  cancelled.cancel();
  expect((await failureOf(cancelled)).code).toBe(Code.Canceled);
  await world.free();
});

test("a call that is cancelled when it hears of the refusal is made no second time", async () => {
  await using world = await fullWorld();
  const refused = gate();
  // The function is called for the stream without a session.
  let streams = 0;
  const chat = world.greeter.chat({
    headers: async () => {
      if (++streams === 2) refused.open();
      return {};
    },
  });
  const failed = failureOf(chat);
  await chat.send({ content: "one" }).catch(() => {});
  await refused.opened;
  chat.cancel(failure(Code.Aborted, "enough"));
  expect((await failed).code).toBe(Code.Aborted);
  expect(await world.greeter.sayHello({ content: "still" })).toMatchObject({ reply: "still" });
  expect(world.runs).toHaveLength(1);
  await world.free();
});

test("the refusal names itself in its trailers", async () => {
  await using world = await fullWorld();
  const { status, trailers } = await (await world.peer()).attach(newId()).ended();
  expect({ status, session: trailers["hawser-session"] }).toEqual({
    status: Code.ResourceExhausted,
    session: "full",
  });
  await world.free();
});
