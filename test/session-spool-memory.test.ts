/** The memory of spools: what they copy, share, use again and free. */
import { expect, test } from "vitest";
import { IN_NO_RUN } from "../src/call-stream.ts";
import { frameRuns } from "../src/codec/frame-runs.ts";
import { Spool } from "../src/session/spool.ts";
import { expectSame, message, nextOf, oneOfRun, others, read } from "./support/spool-messages.ts";

/** More than a chunk of several messages takes. */
const LARGE = 16 * 1024;

/** The bytes of all pieces that a spool gives out, without those that are in the buffer of `payload`. */
function ownBytes(spool: Spool, payload: Uint8Array): number {
  let bytes = 0;
  for (let piece = nextOf(spool); piece !== undefined; piece = nextOf(spool)) {
    if (piece.buffer !== payload.buffer) bytes += piece.length;
  }
  return bytes;
}

test("spools share the bytes of a message that many sessions send, unless it is smaller than a reference", () => {
  const shared = message(1000);
  for (const spool of [new Spool(), new Spool()]) {
    spool.push(0, shared, IN_NO_RUN);
    expect(ownBytes(spool, shared)).toBe(5);
  }
  const tiny = message(15);
  const spool = new Spool();
  spool.push(0, tiny, IN_NO_RUN);
  expect(ownBytes(spool, tiny)).toBe(20);
});

/** The messages of a run, for the spools of several sessions. */
function runOf(count: number, size: number) {
  return Array.from({ length: count }, () => oneOfRun(size));
}

test("spools keep messages that many sessions send as parts of one run, and give them out as one piece", () => {
  // All of them are in a new run.
  while (oneOfRun(2000).frame.start !== 0);
  const run = runOf(50, 60);
  const [one, two] = [new Spool(), new Spool()].map((spool) => {
    for (const { payload, frame } of run) spool.push(0, payload, frame);
    return spool;
  }) as [Spool, Spool];
  const piece = nextOf(one) as Uint8Array;
  expect(piece).toHaveLength(50 * 65);
  expect(nextOf(two)?.buffer).toBe(piece.buffer);
});

test("a spool copies the messages of a run if each of them is alone there: a part of a run takes more memory than one message", () => {
  const spool = new Spool();
  const mine: Uint8Array[] = [];
  for (let n = 0; n < 10; n++) {
    const { payload, frame } = oneOfRun(20);
    spool.push(0, payload, frame);
    mine.push(payload);
    oneOfRun(20);
  }
  expect(nextOf(spool)).toHaveLength(25);
  expect(nextOf(spool)).toHaveLength(9 * 25);
});

test("a spool copies messages rather than keep many runs alive by a few messages of each", () => {
  const spool = new Spool();
  const runs = new Set<ArrayBufferLike>();
  for (let n = 0; n < 100; n++) {
    for (const { payload, frame } of runOf(2, 20)) spool.push(0, payload, frame);
    for (const other of others) frameRuns.add(other);
  }
  for (let piece = spool.next(); piece !== undefined; piece = spool.next()) {
    if (piece.buffer.byteLength === 16 * 1024) runs.add(piece.buffer);
  }
  // Each of the 100 pairs, of 40 bytes, is in another run.
  expect(runs.size).toBeGreaterThan(0);
  expect(runs.size).toBeLessThanOrEqual(3);
});

test("the memory of a run is freed when newer runs have begun, and calls that are late send each message by itself", () => {
  const { payload, frame } = oneOfRun(20);
  expect(frame.run.bytes).toBeDefined();
  for (let n = 0; n < 3; n++) for (const other of others) frameRuns.add(other);
  expect(frame.run.bytes).toBeUndefined();
  const spool = new Spool();
  spool.push(0, payload, frame);
  expectSame(read(spool), [{ flags: 0, payload }]);
});

test("a spool copies messages that no other spool keeps: their memory may be used again", () => {
  const spool = new Spool();
  const payloads = [3, 600, LARGE, LARGE + 1, 70_000].map(message);
  const sent = payloads.map((payload) => ({ flags: 0, payload: payload.slice() }));
  for (const payload of payloads) {
    spool.push(0, payload);
    payload.fill(0xdd);
  }
  expectSame(read(spool), sent);
});

test("a large message has memory of its size", () => {
  const spool = new Spool();
  spool.push(0, message(15));
  spool.push(0, message(70_000));
  spool.push(0, message(15));
  const pieces = [nextOf(spool), nextOf(spool), nextOf(spool)];
  expect(pieces.map((piece) => piece?.length)).toEqual([20, 70_005, 20]);
  // Buffers that are used again have sizes rounded up by a sixteenth at most.
  expect(pieces[1]?.buffer.byteLength).toBeLessThanOrEqual((70_005 * 17) / 16);
});

/** Sends a large message, and returns the memory that the spool kept it in. */
function memoryOfLarge(spool: Spool): ArrayBufferLike {
  spool.push(0, message(70_000));
  return (nextOf(spool) as Uint8Array).buffer;
}

/** Sends a small message, and returns the memory that the spool kept it in. */
function memoryOfSmall(spool: Spool): Uint8Array {
  spool.push(0, message(100));
  const memory = spool.next() as Uint8Array;
  while (spool.next() !== undefined);
  return memory;
}

test.each([
  ["large", memoryOfLarge],
  ["small", memoryOfSmall],
])("the memory of an acknowledged %s message is used for the next one", (_, memoryOf) => {
  const spool = new Spool();
  const memory = memoryOf(spool);
  spool.drop(1, 0);
  expect(memoryOf(spool)).toBe(memory);
});

test("the memory of a small message is not used again while the stream may still read it", () => {
  const spool = new Spool();
  const memory = memoryOfSmall(spool);
  spool.drop(1, 1);
  expect(memoryOfSmall(spool)).not.toBe(memory);
  const sentBefore = memoryOfSmall(spool);
  spool.rewind(0);
  while (spool.next() !== undefined);
  spool.drop(2, 0);
  expect(memoryOfSmall(spool)).not.toBe(sentBefore);
});

test("the memory of acknowledged messages serves other sessions, and only some of it is kept", () => {
  const spools = Array.from({ length: 2000 }, () => new Spool());
  const before = new Set(spools.map(memoryOfSmall));
  expect(before.size).toBe(2000);
  for (const spool of spools) spool.drop(1, 0);
  const after = spools.map(memoryOfSmall);
  expect(new Set(after).size).toBe(2000);
  // 256 KiB of 512 bytes each.
  expect(after.filter((memory) => before.has(memory))).toHaveLength(512);
});

test("the memory of an acknowledged message is not used again while the stream may still read it", () => {
  const spool = new Spool();
  const waiting = memoryOfLarge(spool);
  spool.drop(1, 1);
  expect(memoryOfLarge(spool)).not.toBe(waiting);
  // Of two messages the first has left the stream, and the end of the second waits.
  const first = memoryOfLarge(spool);
  spool.drop(2, 70_005);
  expect(memoryOfLarge(spool)).not.toBe(first);
});

test("the memory of a message that was sent on an earlier stream is not used again: that stream may still read it", () => {
  const spool = new Spool();
  const memory = memoryOfLarge(spool);
  spool.rewind(0);
  nextOf(spool);
  spool.drop(1, 0);
  expect(memoryOfLarge(spool)).not.toBe(memory);
});

test("a spool frees the memory of acknowledged messages", () => {
  const spool = new Spool();
  for (let round = 0; round < 100; round++) {
    for (let n = 0; n < 100; n++) spool.push(0, message(100));
    read(spool);
    spool.drop(99 + (round === 0 ? 0 : 1));
  }
  expect(spool.messages).toBe(1);
  spool.rewind(0);
  const piece = nextOf(spool) as Uint8Array;
  // The message keeps only one chunk of memory alive.
  expect(piece.buffer.byteLength).toBeLessThanOrEqual(32 * 1024);
});
