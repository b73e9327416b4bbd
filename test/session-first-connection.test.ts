import { expect, test } from "vitest";
import { Code, SessionLostReason } from "../src/index.ts";
import { until } from "./support/gate.ts";
import { failureOf, next } from "./support/read.ts";
import { lossOf, type SessionWorld, sessionWorld } from "./support/session-world.ts";

// Sessions whose server has said its settings, and which have had no stream yet.

/**
 * Two chats on a connection that takes one call at a time: the first is open, and the second, whose session has begun,
 * waits for its first stream. No other connection can be made.
 */
async function waitingChat({ greeter, link }: SessionWorld) {
  // Makes the connection.
  await greeter.sayHello({ content: "hello" });
  link.refuse();
  const [open, waiting] = [greeter.chat(), greeter.chat()];
  await open.send({ content: "first" });
  expect(await next(open)).toMatchObject({ reply: "first" });
  await until("the second chat has a session", () => waiting.resumable);
  expect(waiting.state).toBe("connecting");
  return { open, waiting };
}

const oneCall = { linked: true, server: { maxConcurrentStreams: 1 } };

test("a session whose connection is lost before its first stream looks for another, and begins there", async () => {
  await using world = await sessionWorld(oneCall);
  const { link } = world;
  const { open, waiting } = await waitingChat(world);
  const reply = waiting.send({ content: "second" }).then(() => next(waiting));
  await link.cut();
  await until("both look for a server", () => {
    return [open, waiting].every(({ state }) => state === "resuming");
  });
  const before = link.accepted;
  await until("it was refused more than once", () => link.accepted >= before + 2);
  link.accept();
  expect(await reply).toMatchObject({ reply: "second" });
  expect(waiting.state).toBe("open");
  for (const chat of [open, waiting]) {
    chat.closeSend();
    expect(await next(chat)).toBeUndefined();
  }
  expect(world.asked.map(({ attach }) => attach).sort()).toEqual([1, 1, 2]);
  expect(world.runs).toMatchObject([
    { requests: ["first"], end: "half-closed" },
    { requests: ["second"], end: "half-closed" },
  ]);
});

test("a session is lost when no server could be reached for its grace: UNREACHABLE, and nothing had arrived", async () => {
  await using world = await sessionWorld({ ...oneCall, sessions: { graceMs: 400 } });
  const { open, waiting } = await waitingChat(world);
  const began = performance.now();
  await world.link.cut();
  expect(await lossOf(waiting)).toMatchObject({
    reason: SessionLostReason.UNREACHABLE,
    arrived: 0n,
  });
  expect(await lossOf(open)).toMatchObject({ reason: SessionLostReason.UNREACHABLE });
  expect(performance.now() - began).toBeGreaterThan(390);
});

test("a call that is cancelled while it looks for a server ends immediately", async () => {
  await using world = await sessionWorld(oneCall);
  const { open, waiting } = await waitingChat(world);
  await world.link.cut();
  await until("it looks for a server", () => waiting.state === "resuming");
  for (const chat of [waiting, open]) {
    chat.cancel();
    expect(await failureOf(chat)).toMatchObject({ code: Code.Canceled });
  }
  world.link.accept();
});

test("a call whose address was never reached fails immediately", async () => {
  await using world = await sessionWorld({ linked: true });
  world.link.refuse();
  const chat = world.greeter.chat();
  const error = await failureOf(chat);
  expect(error).toMatchObject({ code: Code.Unavailable });
  expect(error.message).toMatch(/cannot reach/);
  expect(chat.resumable).toBe(false);
  expect(world.link.accepted).toBe(1);
});
