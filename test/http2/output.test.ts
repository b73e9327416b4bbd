/** The output buffer of an engine: frames that extend each other, a buffer that is held only while there is output. */
import { expect, test } from "vitest";
import { createOutputBuffers } from "../../src/http2/buffers.ts";
import { Output } from "../../src/http2/output.ts";
import { Type } from "../support/wire.ts";
import { bytesOf, framesOf } from "./support/pair.ts";

/** Counts the buffers that are out. */
class Buffers {
  out = 0;
  readonly maxBytes: number;

  constructor(bytes: number) {
    this.maxBytes = bytes;
  }

  take() {
    this.out++;
    return new Uint8Array(this.maxBytes);
  }
  giveBack() {
    this.out--;
  }
}

function output({ bytes = 128 * 1024, onOutput = () => {}, onFull = () => {} } = {}) {
  const buffers = new Buffers(bytes);
  return { buffers, out: new Output(buffers, { onOutput, onFull }) };
}

const framesIn = (out: Output) => framesOf(out.take() ?? new Uint8Array());

test("messages of one stream that follow each other are one DATA frame, which its end joins", () => {
  const { out } = output();
  out.message(1, 0, bytesOf("a"));
  out.part(1, bytesOf("-raw-"), { start: 1, end: 4 });
  out.message(1, 1, bytesOf("bc"));
  out.endStream(1);
  const [frame, ...others] = framesIn(out);
  expect(others).toEqual([]);
  expect(frame).toMatchObject({ type: Type.DATA, flags: 1, stream: 1 });
  expect([...(frame?.payload ?? [])]).toEqual([
    ...[0, 0, 0, 0, 1, 97, ...bytesOf("raw")],
    ...[1, 0, 0, 0, 2, 98, 99],
  ]);
  expect(out.dataFrames).toBe(1);
});

test("a message begins a new frame after another stream's, after a control frame, after take(), and at 16,384 bytes", () => {
  const { out } = output();
  out.message(1, 0, bytesOf("a"));
  out.message(3, 0, bytesOf("b"));
  out.message(3, 0, bytesOf("c"));
  out.settingsAck();
  out.message(3, 0, bytesOf("d"));
  expect(framesIn(out).map(({ type, stream }) => [type, stream])).toEqual([
    [Type.DATA, 1],
    [Type.DATA, 3],
    [Type.SETTINGS, 0],
    [Type.DATA, 3],
  ]);
  for (let n = 0; n < 4; n++) out.message(3, 0, new Uint8Array(5000));
  expect(framesIn(out).map(({ payload }) => payload.length)).toEqual([15_015, 5005]);
});

test("an end without data before it is an empty DATA frame", () => {
  const { out } = output();
  out.message(1, 0, bytesOf("a"));
  out.message(3, 0, bytesOf("a"));
  out.endStream(1);
  expect(framesIn(out).at(-1)).toMatchObject({ type: Type.DATA, flags: 1, stream: 1 });
});

test("a buffer is held only while there is output, and onOutput() tells when there is some again", () => {
  let outputs = 0;
  const { out, buffers } = output({ onOutput: () => outputs++ });
  expect(out.isEmpty).toBe(true);
  expect(out.take()).toBeUndefined();
  expect(buffers.out).toBe(0);
  out.settingsAck();
  out.settingsAck();
  expect([outputs, buffers.out, out.isEmpty]).toEqual([1, 1, false]);
  out.take();
  out.settingsAck();
  expect([outputs, buffers.out]).toEqual([2, 2]);
});

test("onOutput() is called after the first frame: a listener that writes or takes in it meets whole frames", () => {
  const taken: number[] = [];
  const writing = output({ onOutput: () => writing.out.settingsAck() });
  writing.out.headers(1, bytesOf("block"), false);
  expect(framesIn(writing.out).map(({ type }) => type)).toEqual([Type.HEADERS, Type.SETTINGS]);
  const taking = output({ onOutput: () => taken.push(taking.out.take()?.length ?? 0) });
  taking.out.message(1, 0, bytesOf("message"));
  taking.out.goaway(1, 0, bytesOf("bye"));
  expect([taken, taking.out.isEmpty]).toEqual([[21, 20], true]);
});

test("a long header block is HEADERS and CONTINUATIONs, without anything between them", () => {
  const { out } = output({ bytes: 16 * 1024, onFull: () => out.settingsAck() });
  const block = Uint8Array.from({ length: 40_000 }, (_, at) => at);
  out.headers(1, block, true);
  const frames = framesIn(out);
  expect(frames.slice(0, 3).map(({ type, flags }) => [type, flags])).toEqual([
    [Type.HEADERS, 1],
    [Type.CONTINUATION, 0],
    [Type.CONTINUATION, 4],
  ]);
  expect(Buffer.concat(frames.slice(0, 3).map(({ payload }) => payload))).toEqual(
    Buffer.from(block),
  );
});

test("onFull() is called at 96 KiB, and not while the output is blocked: then the buffer grows, and the small one goes back", () => {
  const taken: number[] = [];
  const { out, buffers } = output({ onFull: () => taken.push(out.take()?.length ?? 0) });
  for (let n = 0; n < 100; n++) out.message(n * 2 + 1, 0, new Uint8Array(986));
  expect(taken).toEqual([99_000]);
  out.take();
  buffers.out = 0;
  out.isBlocked = true;
  for (let n = 0; n < 300; n++) out.message(n * 2 + 1, 0, new Uint8Array(986));
  expect(taken).toHaveLength(1);
  expect(buffers.out).toBe(0);
  expect(out.take()?.length).toBe(300_000);
});

test("data gets a whole frame, or what is free in the buffer, but not a tiny rest", () => {
  const { out } = output({ bytes: 32 * 1024 });
  expect(out.dataCapacity).toBe(16_384);
  out.isBlocked = true;
  out.headers(1, new Uint8Array(15_000), false);
  out.headers(1, new Uint8Array(10_000), false);
  expect(out.dataCapacity).toBe(32 * 1024 - 25_000 - 3 * 9);
  out.headers(1, new Uint8Array(7000), false);
  expect(out.dataCapacity).toBe(16_384);
});

test("what is written after the end is never taken", () => {
  const { out } = output();
  out.goaway(0, 0, bytesOf("bye"));
  out.end();
  out.settingsAck();
  expect(framesIn(out).map(({ type }) => type)).toEqual([Type.GOAWAY]);
  out.settingsAck();
  expect(out.take()).toBeUndefined();
  expect(out.isEmpty).toBe(true);
});

test("over 1 MiB of control frames the limit is exceeded; DATA and headers do not count", () => {
  const { out } = output();
  out.isBlocked = true;
  for (let n = 0; n < 100; n++) out.headers(1, new Uint8Array(16_000), false);
  expect(out.isOverControlLimit).toBe(false);
  const ping = new Uint8Array(8);
  for (let n = 0; n < 1024 * 1024; n += 17) out.ping(true, ping, 0);
  expect(out.isOverControlLimit).toBe(true);
  out.take();
  expect(out.isOverControlLimit).toBe(false);
});

test("a small buffer grows up to the largest size, and no frame is shorter or split because of it", () => {
  const sizes: number[] = [];
  let out = 0;
  const maxBytes = 64 * 1024;
  const buffers = {
    maxBytes,
    take(bytes: number) {
      out++;
      sizes.push(bytes);
      return new Uint8Array(bytes);
    },
    giveBack() {
      out--;
    },
  };
  const output = new Output(buffers, { onOutput() {}, onFull() {} });
  expect(output.dataCapacity).toBe(16_384);
  for (let n = 0; n < 100; n++) output.message(1, 0, new Uint8Array(95).fill(n));
  expect(out).toBe(1);
  expect(sizes.length).toBeGreaterThan(3);
  expect(output.dataCapacity).toBe(16_384);
  output.message(1, 0, new Uint8Array(5_000));
  output.message(3, 0, new Uint8Array(40_000));
  expect(Math.max(...sizes)).toBeLessThanOrEqual(maxBytes);
  const frames = framesIn(output);
  expect(frames.map(({ stream, payload }) => [stream, payload.length])).toEqual([
    [1, 100 * 100 + 5_005],
    [3, 40_005],
  ]);
  const messages = Array.from({ length: 100 }, (_, n) => frames[0]?.payload.readUInt8(n * 100 + 5));
  expect(messages).toEqual(Array.from({ length: 100 }, (_, n) => n));
});

test("a few connections have large buffers at the same time, the others small ones; all are used again", () => {
  const pool = createOutputBuffers();
  const take = (bytes: number) => pool.take(bytes);
  const large = Array.from({ length: 32 }, () => take(100));
  expect(large.map(({ length }) => length)).toEqual(Array(32).fill(pool.maxBytes));
  const small = Array.from({ length: 1000 }, () => take(100));
  expect(new Set(small.map(({ length }) => length))).toEqual(new Set([8 * 1024]));
  expect(take(20_000)).toHaveLength(32 * 1024);
  for (const buffer of small) pool.giveBack(buffer.subarray(0, 10));
  const again = new Set(small.map(({ buffer }) => buffer));
  expect(again).toContain(take(100).buffer);
  // A small one does not do.
  expect(again).not.toContain(take(10_000).buffer);
  pool.giveBack(large[0] as Uint8Array);
  expect(take(10_000).buffer).toBe(large[0]?.buffer);
});
