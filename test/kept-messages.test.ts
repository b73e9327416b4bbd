/** The memory of messages that wait for their consumer. */
import { expect, test } from "vitest";
import { KeptMessages } from "../src/grpc/kept-messages.ts";

/** What a socket has read. */
const chunk = Uint8Array.from({ length: 65_536 }, (_, at) => at % 251);

const received = (start: number, length: number) => {
  return { flags: 1, bytes: chunk, start, end: start + length };
};

test("a small part of a large buffer is copied, a large part is not", () => {
  const kept = new KeptMessages();
  const lengths = [0, 1, 64, 65, 300, 1024, 1025, 5000, 16_383];
  for (const [n, length] of lengths.entries()) {
    const { flags, bytes, start, end } = kept.keep(received(100, length), n === 0);
    expect(bytes.buffer).not.toBe(chunk.buffer);
    expect(flags).toBe(1);
    expect([...bytes.subarray(start, end)]).toEqual([...chunk.subarray(100, 100 + length)]);
  }
  const large = received(0, 16_384);
  expect(kept.keep(large, false)).toBe(large);
});

test("the copies of one call share no memory with those of another, and none with Node's pool", () => {
  const calls = [new KeptMessages(), new KeptMessages()];
  const buffers = calls.map((kept) => {
    const copies = Array.from({ length: 1000 }, (_, n) => kept.keep(received(n, 20), n === 0));
    return new Set(copies.map(({ bytes }) => bytes.buffer));
  });
  const pool = Buffer.allocUnsafe(1).buffer;
  for (const buffer of buffers[0] ?? []) {
    expect(buffers[1]?.has(buffer)).toBe(false);
    expect(buffer).not.toBe(pool);
  }
});

test("many small copies take little more memory than their bytes", () => {
  const kept = new KeptMessages();
  const count = 5000;
  const copies = Array.from({ length: count }, (_, n) => kept.keep(received(n, 20), n === 0));
  const buffers = new Set(copies.map(({ bytes }) => bytes.buffer));
  const allocated = [...buffers].reduce((sum, { byteLength }) => sum + byteLength, 0);
  expect(allocated).toBeLessThan(1.3 * 20 * count);
  expect(buffers.size).toBeLessThan(40);
});

test("a message that waits alone keeps no large buffer", () => {
  const kept = new KeptMessages();
  for (let n = 0; n < 5000; n++) kept.keep(received(n, 20), n === 0);
  const { bytes } = kept.keep(received(0, 20), true);
  expect(bytes.buffer.byteLength).toBe(256);
});
