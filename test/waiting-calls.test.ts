import { expect, test } from "vitest";
import { Code, type ConnectError } from "../src/index.ts";
import { stillAt } from "./support/gate.ts";
import { memoryInUse } from "./support/memory.ts";
import { failureOf, next } from "./support/read.ts";
import { start } from "./support/world.ts";

// Calls that wait while the only connection is full and a second one cannot be opened.

async function full(options: { sessions?: boolean; connectTimeoutMs?: number } = {}) {
  const world = await start({
    linked: true,
    server: { maxConcurrentStreams: 1 },
    transport: { sessions: false, ...options },
  });
  world.link.onAccepted = () => world.link.refuse();
  const chat = world.greeter.chat();
  // Waits already when the connection comes.
  const second = world.greeter.sayHello({ content: "second" });
  await chat.send({});
  await next(chat);
  return { world, chat, second };
}

test("waiting calls are served in their order when the server takes calls again, however long ago they began to wait", async () => {
  const { world, chat, second } = await full({ connectTimeoutMs: 300 });
  await using _world = world;
  const order: string[] = [];
  const calls = ["second", "third", "fourth"].map(async (content) => {
    await (content === "second" ? second : world.greeter.sayHello({ content }));
    order.push(content);
  });
  await stillAt(() => order.length, 450);
  chat.closeSend();
  await Promise.all(calls);
  expect(order).toEqual(["second", "third", "fourth"]);
  expect(await next(chat)).toBeUndefined();
});

test("waiting calls fail immediately when that connection is lost and the next attempt is far away in time", async () => {
  const { world, chat, second } = await full({ connectTimeoutMs: 300 });
  await using _world = world;
  const third = world.greeter.sayHello({});
  await stillAt(() => 0, 450);
  const lostAt = performance.now();
  world.link.cut();
  for (const call of [second, third]) {
    const error = (await call.catch((error) => error)) as ConnectError;
    expect(error.code).toBe(Code.Unavailable);
    expect(error.message).toContain("the next attempt is in");
  }
  expect(performance.now() - lostAt).toBeLessThan(300);
  await failureOf(chat);
});

test.each([
  ["without sessions", false],
  ["with sessions", true],
])("waiting calls %s leave no stream and no timer when they are cancelled", async (_, sessions) => {
  const { world, chat, second } = await full({ sessions });
  await using _world = world;
  const used = await memoryInUse();
  for (let n = 0; n < 2_000; n++) {
    const call = world.greeter.chat();
    call.send({ content: `${n}`.repeat(2_000) }).catch(() => {});
    call.cancel();
  }
  expect((await memoryInUse()) - used).toBeLessThan(4_000_000);
  chat.closeSend();
  await second;
  expect(await next(chat)).toBeUndefined();
});
