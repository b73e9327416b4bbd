/** The queue of a sender, as its consumer reads it by an iterator. */
import { expect, test } from "vitest";
import { Queue } from "../src/flow/queue.ts";
import { pumpTo } from "../src/flow/writer.ts";

const END = { done: true, value: undefined };

/** A queue whose consumer has called next() three times, before there was a message. */
function awaited() {
  const queue = new Queue<number>(16);
  const messages = queue[Symbol.asyncIterator]();
  return { queue, messages, results: [messages.next(), messages.next(), messages.next()] };
}

test("each next() gets a message of its own, in the order of the calls", async () => {
  const { queue, messages, results } = awaited();
  for (const n of [1, 2, 3, 4]) await queue.push(n);
  expect(await Promise.all([...results, messages.next()])).toEqual(
    [1, 2, 3, 4].map((value) => ({ done: false, value })),
  );
});

test("the end of the queue ends every next() that waits", async () => {
  const { queue, results } = awaited();
  await queue.push(1);
  queue.end();
  expect(await Promise.all(results)).toEqual([{ done: false, value: 1 }, END, END]);
});

test("an error of the queue is thrown by the first next() that waits, and ends the others", async () => {
  const { queue, results } = awaited();
  const failed = new Error("the call has failed");
  queue.fail(failed);
  expect(await Promise.allSettled(results)).toEqual([
    { status: "rejected", reason: failed },
    { status: "fulfilled", value: END },
    { status: "fulfilled", value: END },
  ]);
});

test("an error at the end of the queue comes after the queued messages", async () => {
  const queue = new Queue<number>(1);
  const pushed = [queue.push(1), queue.push(2)];
  const failed = new Error("the sender has failed");
  queue.end({ error: failed });
  const messages = queue[Symbol.asyncIterator]();
  expect(await messages.next()).toEqual({ done: false, value: 1 });
  expect(await messages.next()).toEqual({ done: false, value: 2 });
  await expect(messages.next()).rejects.toBe(failed);
  await Promise.all(pushed);
});

test("an error at the end of the queue is thrown by the first next() that waits, and ends the others", async () => {
  const { queue, results } = awaited();
  queue.end({ error: undefined });
  expect(await Promise.allSettled(results)).toEqual([
    { status: "rejected", reason: undefined },
    { status: "fulfilled", value: END },
    { status: "fulfilled", value: END },
  ]);
  expect(queue.isFailed).toBe(true);
});

test("a writer is told of the error at the end of the queue after the last message", async () => {
  const queue = new Queue<number>(1);
  const capacity = Promise.withResolvers<void>();
  const seen: unknown[] = [];
  const writer = {
    write(n: number) {
      seen.push(n);
      return n === 1 ? capacity.promise : undefined;
    },
    end: () => seen.push("end"),
    fail: (error: unknown) => seen.push(error),
  };
  queue[pumpTo](writer);
  const pushed = [queue.push(1), queue.push(2)];
  queue.end({ error: "failed" });
  expect(seen).toEqual([1]);
  capacity.resolve();
  await Promise.all(pushed);
  expect(seen).toEqual([1, 2, "failed"]);
});
