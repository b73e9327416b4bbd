/** The bytes of several messages: calls that send the same messages share them, other calls do not. */
import { expect, test } from "vitest";
import { batchOf } from "../src/node/http2/batch.ts";

const PREFIX_BYTES = 5;
const [a, b, c] = ["a", "bb", "ccc"].map((text) => Buffer.from(text)) as [Buffer, Buffer, Buffer];

function batch(payloads: Buffer[], flags = payloads.map(() => 0)): Buffer {
  const size = payloads.reduce((sum, { length }) => sum + length + PREFIX_BYTES, 0);
  return batchOf({ payloads, flags }, size);
}

test("a batch has the frames of its messages, in order and with their flags", () => {
  expect([...batch([b, a], [1, 0])]).toEqual([...[1, 0, 0, 0, 2, ...b], ...[0, 0, 0, 0, 1, ...a]]);
});

test("calls that send the same messages one after the other share one batch", () => {
  const first = batch([a, b, c]);
  expect(batch([a, b, c])).toBe(first);
  // The same contents are not the same messages.
  expect(batch([a, Buffer.from(b), c])).not.toBe(first);
});

test.each<[what: string, payloads: Buffer[], flags: number[]]>([
  ["fewer messages", [a, b], [0, 0]],
  ["more messages", [a, b, c, a], [0, 0, 0, 0]],
  ["another message at the end", [a, b, a], [0, 0, 0]],
  ["the same messages in another order", [b, a, c], [0, 0, 0]],
  ["the same messages, one of them compressed", [a, b, c], [0, 1, 0]],
])("calls that send %s have another batch", (_, payloads, flags) => {
  const first = batch([a, b, c]);
  const second = batch(payloads, flags);
  expect(second).not.toBe(first);
  const frames = payloads.flatMap((payload, n) => [flags[n], 0, 0, 0, payload.length, ...payload]);
  expect([...second]).toEqual(frames);
});
