import { describe, expect, test } from "vitest";
import { RoomService } from "../gen/chat/v1/room_pb.js";
import { Code, type ServerStream } from "../src/index.ts";
import { createHub, memoryLog } from "../src/topics.ts";
import { gate, until } from "./support/gate.ts";
import { failureOf } from "./support/read.ts";
import { roomWorld } from "./support/toy-room.ts";
import { start } from "./support/world.ts";

/** How a loop over an iterable ends. */
async function loop(values: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _ of values) count++;
  return count;
}

const iterated = { code: Code.FailedPrecondition, rawMessage: expect.stringMatching(/once/) };

/** Answers each request, and ends after the final one. */
const echo = {
  async *chat(requests: AsyncIterable<{ content: string }>) {
    for await (const { content } of requests) yield { reply: content };
  },
};

describe("a second loop over a call, which would get nothing,", () => {
  test.each([
    ["after the end", {}],
    ["after the end, through interceptors", { interceptors: [(next: unknown) => next as never] }],
  ])("a second loop throws %s", async (_, transport) => {
    await using world = await start({ greeter: echo, transport });
    const chat = world.greeter.chat();
    await chat.send({ content: "1" });
    chat.closeSend();
    expect(await loop(chat)).toBe(1);
    await expect(loop(chat)).rejects.toMatchObject(iterated);
    await expect(loop(chat)).rejects.toMatchObject({
      rawMessage: expect.stringContaining("the responses of example.Greeter.Chat"),
    });
  });

  test("a second loop throws after the first loop was left, and after the first loop failed", async () => {
    await using world = await start({ greeter: echo });
    const left = world.greeter.chat();
    await left.send({ content: "1" });
    for await (const _ of left) break;
    await expect(loop(left)).rejects.toMatchObject(iterated);

    const failed = world.greeter.chat();
    failed.cancel();
    expect((await failureOf(loop(failed))).code).toBe(Code.Canceled);
    expect([Code.Canceled, Code.FailedPrecondition]).toContain(
      (await failureOf(loop(failed))).code,
    );
  });

  test("a second loop throws while the first loop waits, and the first loop continues", async () => {
    await using world = await start({ greeter: echo });
    const chat = world.greeter.chat();
    let replies = 0;
    const first = (async () => {
      for await (const _ of chat) replies++;
    })();
    await expect(loop(chat)).rejects.toMatchObject(iterated);
    await until("it is open", () => chat.state === "open");
    await chat.send({ content: "1" });
    await until("the first loop waits again", () => replies === 1);
    await expect(loop(chat)).rejects.toMatchObject(iterated);
    chat.closeSend();
    await first;
    expect(replies).toBe(1);
  });

  test("a second loop throws even for a push that continues from a cursor", async () => {
    await using world = await roomWorld();
    const watch: ServerStream<unknown> = world.client(RoomService).watch({});
    const first = loop(watch);
    await expect(loop(watch)).rejects.toMatchObject(iterated);
    watch.cancel();
    expect((await failureOf(first)).code).toBe(Code.Canceled);
    await expect(loop(watch)).rejects.toMatchObject(iterated);
  });
});

test("a loop may follow calls of next() that took the first responses", async () => {
  await using world = await start({ greeter: echo });
  const chat = world.greeter.chat();
  for (const content of ["1", "2", "3"]) await chat.send({ content });
  chat.closeSend();
  for (const reply of ["1", "2"]) {
    expect(await chat[Symbol.asyncIterator]().next()).toMatchObject({ value: { reply } });
  }
  expect(await loop(chat)).toBe(1);
});

test("finish() resolves with the same response the second time", async () => {
  await using world = await start();
  const sink = world.greeter.collect();
  await sink.send({ content: "1" });
  const [first, second] = await Promise.all([sink.finish(), sink.finish()]);
  expect(first.count).toBe(1);
  expect(second).toBe(first);
});

test("a handler that loops over its requests twice ends the call with INTERNAL, and the log says why", async () => {
  await using world = await start({
    greeter: {
      async *chat(requests) {
        yield { reply: `${await loop(requests)}` };
        yield { reply: `${await loop(requests)}` };
      },
    },
  });
  const chat = world.greeter.chat();
  await chat.send({});
  chat.closeSend();
  const error = await failureOf(chat);
  expect([error.code, error.rawMessage]).toEqual([Code.Internal, "internal error"]);
  expect(world.logged).toHaveLength(1);
  expect(String(world.logged[0]?.at(-1))).toContain("the requests of a call can be iterated once");
});

test("a handler may take its first request with next(), and loop over the rest", async () => {
  await using world = await start({
    greeter: {
      async *chat(requests) {
        const first = await requests[Symbol.asyncIterator]().next();
        yield { reply: `${first.value?.content}, then ${await loop(requests)}` };
      },
    },
  });
  const chat = world.greeter.chat();
  for (const content of ["a", "b", "c"]) await chat.send({ content });
  chat.closeSend();
  expect(await chat[Symbol.asyncIterator]().next()).toMatchObject({
    value: { reply: "a, then 2" },
  });
  expect(await loop(chat)).toBe(0);
});

test("a second loop over a subscription throws, while the first loop waits and after it", async () => {
  await using hub = createHub(memoryLog());
  const leaving = new AbortController();
  const events = hub.subscribe("t", {}, leaving.signal);
  const opened = gate();
  const first = (async () => {
    for await (const _ of events) opened.open();
  })();
  await opened.opened;
  await expect(loop(events)).rejects.toMatchObject(iterated);
  leaving.abort();
  await expect(first).rejects.toBe(leaving.signal.reason);
  await expect(loop(events)).rejects.toMatchObject(iterated);
});
