import { expect, test } from "vitest";
import { Code } from "../src/index.ts";
import { stillAt } from "./support/gate.ts";
import { failureOf, next } from "./support/read.ts";
import { start, type World } from "./support/world.ts";

const STREAMS = 100;
const ROUND_TRIPS = 20;
/** 99 streams × 20 echoes of 4 KiB are 8 MB each way: more than any window of a stream or a connection. */
const CONTENT = "x".repeat(4096);

/** Makes ROUND_TRIPS echoes, one after the other, on each of `count` streams; returns the milliseconds that this took. */
async function chatOn(world: World, count: number): Promise<number> {
  const started = performance.now();
  const chat = async () => {
    const call = world.greeter.chat();
    for (let n = 0; n < ROUND_TRIPS; n++) {
      await call.send({ content: CONTENT });
      expect(await next(call)).toMatchObject({ reply: `Received: ${CONTENT}` });
    }
    call.closeSend();
    expect(await next(call)).toBeUndefined();
  };
  await Promise.all(Array.from({ length: count }, chat));
  return performance.now() - started;
}

/** The others must not even notice; what a busy machine does to a measured time is allowed for. */
function expectUnharmed(alone: number, beside: number): void {
  expect(beside).toBeLessThan(alone * 3 + 500);
}

test("one stalled reader of a push among 100 streams does not slow the others", async () => {
  let pushed = 0;
  await using world = await start({
    greeter: {
      async *chat(requests) {
        for await (const { content } of requests) yield { reply: `Received: ${content}` };
      },
      async *subscribe(_request, { signal }) {
        while (!signal.aborted) yield { sequence: BigInt(++pushed), content: CONTENT };
      },
    },
  });
  await chatOn(world, STREAMS - 1); // warm-up
  const alone = await chatOn(world, STREAMS - 1);

  const push = world.greeter.subscribe({});
  expect((await next(push))?.sequence).toBe(1n);
  // The client reads no further, so the server comes to a halt.
  const halted = await stillAt(() => pushed);
  expect(halted * CONTENT.length).toBeLessThan(8 * 1024 * 1024);

  expectUnharmed(alone, await chatOn(world, STREAMS - 1));
  expect(pushed).toBe(halted);

  for (let sequence = 2n; sequence <= BigInt(halted) + 10n; sequence++) {
    expect((await next(push))?.sequence).toBe(sequence);
  }
  push.cancel();
  expect((await failureOf(push)).code).toBe(Code.Canceled);
});

test("one client that sends and does not read, among 100 streams, does not slow the others", async () => {
  await using world = await start();
  await chatOn(world, STREAMS - 1); // warm-up
  const alone = await chatOn(world, STREAMS - 1);

  const stalled = world.greeter.chat();
  let sent = 0;
  const sending = (async () => {
    for (;;) {
      await stalled.send({ content: CONTENT });
      sent++;
    }
  })();
  sending.catch(() => {});
  const halted = await stillAt(() => sent);
  expect(halted * CONTENT.length).toBeLessThan(16 * 1024 * 1024);

  expectUnharmed(alone, await chatOn(world, STREAMS - 1));
  expect(sent).toBe(halted);

  stalled.cancel();
  expect((await failureOf(sending)).code).toBe(Code.Canceled);
});

test("100 chats that fill the connection both ways do not wait for each other", async () => {
  await using world = await start();
  const content = "x".repeat(65_536);
  const chat = async () => {
    const call = world.greeter.chat();
    const sending = (async () => {
      for (let n = 0; n < 30; n++) await call.send({ content });
      call.closeSend();
    })();
    let replies = 0;
    for await (const { reply } of call) if (reply.length > content.length) replies++;
    await sending;
    return replies;
  };
  const replies = await Promise.all(Array.from({ length: 100 }, chat));
  expect(replies).toEqual(Array(100).fill(30));
}, 30_000);
