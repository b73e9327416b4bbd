/** The memory in which large messages are put together: it is used again, unless something refers to it. */
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  AnySchema,
  BytesValueSchema,
  StringValueSchema,
  StructSchema,
} from "@bufbuild/protobuf/wkt";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import type { Received } from "../src/call-stream.ts";
import { decodeByClosures } from "../src/codec/decode.ts";
import { MessageBuffers, messageBuffers } from "../src/flow/message-buffers.ts";
import { runtime, setRuntime } from "../src/flow/runtime.ts";
import { FrameReader } from "../src/grpc/framing.ts";
import { decode } from "./support/codecs.ts";
import { envelope } from "./support/wire.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** Poisons what buffers get back, until the end of the test. */
function poisoned(): void {
  setRuntime({ ...runtime, poison: (memory) => void memory.fill(0xdd) });
}

const ofThisProgram = runtime;
afterEach(() => setRuntime(ofThisProgram));

describe("buffers", () => {
  test("a buffer that was given back is used for the next message of about its size", () => {
    const buffers = new MessageBuffers();
    expect(buffers.reuse(64 * KIB)).toBeUndefined();
    const buffer = buffers.take(64 * KIB + 20);
    expect(buffer.length).toBeGreaterThanOrEqual(64 * KIB + 20);
    expect(buffer.length).toBeLessThanOrEqual((64 * KIB * 17) / 16);
    expect(buffer.buffer.byteLength).toBe(buffer.length);
    buffers.giveBack(buffer);
    expect(buffers.reuse(128 * KIB)).toBeUndefined();
    expect(buffers.reuse(32 * KIB)).toBeUndefined();
    expect(buffers.take(64 * KIB + 21)).toBe(buffer);
    expect(buffers.take(64 * KIB + 21)).not.toBe(buffer);
  });

  test("no buffer is used twice at the same time", () => {
    const buffers = new MessageBuffers();
    const taken = Array.from({ length: 10 }, () => buffers.take(20 * KIB));
    for (const buffer of taken) buffers.giveBack(buffer);
    expect(new Set(Array.from({ length: 20 }, () => buffers.take(20 * KIB))).size).toBe(20);
  });

  test("few unused buffers are kept, and those that were used last: neither small nor very large ones", () => {
    const buffers = new MessageBuffers();
    const kept = (bytes: number) => {
      let count = 0;
      while (buffers.reuse(bytes) !== undefined) count++;
      return count;
    };
    for (const bytes of [1, KIB, 15 * KIB, 3 * MIB]) {
      buffers.giveBack(buffers.take(bytes));
      expect(kept(bytes)).toBe(0);
    }
    const old = Array.from({ length: 200 }, () => buffers.take(64 * KIB));
    const recent = Array.from({ length: 50 }, () => buffers.take(32 * KIB));
    for (const buffer of [...old, ...recent]) buffers.giveBack(buffer);
    expect(kept(32 * KIB)).toBe(50);
    expect(kept(64 * KIB)).toBe((8 * MIB - 50 * 32 * KIB) / (64 * KIB));
  });

  test("unused buffers are dropped when none was given back for two seconds", () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const buffers = new MessageBuffers();
    const buffer = buffers.take(64 * KIB);
    for (let second = 0; second < 10; second++) {
      buffers.giveBack(buffer);
      vi.advanceTimersByTime(1000);
      expect(buffers.reuse(64 * KIB)).toBe(buffer);
    }
    buffers.giveBack(buffer);
    vi.advanceTimersByTime(4000);
    expect(buffers.reuse(64 * KIB)).toBeUndefined();
    expect(vi.getTimerCount()).toBe(0);
    // It keeps others again, and as many.
    const others = Array.from({ length: 200 }, () => buffers.take(64 * KIB));
    for (const other of others) buffers.giveBack(other);
    expect(others.filter(() => buffers.reuse(64 * KIB) !== undefined)).toHaveLength(128);
  });

  test("in a program that poisons, a buffer is overwritten when it is given back, and used by nobody again", () => {
    poisoned();
    const buffers = new MessageBuffers();
    const buffer = buffers.take(64 * KIB);
    buffers.giveBack(buffer);
    expect(new Set(buffer)).toEqual(new Set([0xdd]));
    expect(buffers.reuse(64 * KIB)).toBeUndefined();
  });
});

/** Decodes with the closures, and, as types do that are used often, with generated code. */
const decoders = {
  "by closures": decodeByClosures,
  "by generated code": ((desc, bytes) => {
    for (let use = 0; use < 200; use++) decode(desc, { ...bytes, isReusable: false });
    return decode(desc, bytes);
  }) as typeof decode,
};

function encoded<Desc extends DescMessage>(desc: Desc, message: MessageInitShape<Desc>) {
  return toBinary(desc, create(desc, message));
}

const TEXT = "ahoy ".repeat(10 * KIB);
const text = encoded(StringValueSchema, { value: TEXT });
const bytes = encoded(BytesValueSchema, { value: Buffer.from(TEXT) });

describe.each(Object.entries(decoders))("decoding %s", (_, decode) => {
  /** Decodes a message from a buffer of its own. Returns it, and whether the buffer was given back. */
  function decoded<Desc extends DescMessage>(desc: Desc, bytes: Uint8Array, isReusable: boolean) {
    const buffer = messageBuffers.take(bytes.length);
    buffer.set(bytes);
    const message = decode(desc, { bytes: buffer, start: 0, end: bytes.length, isReusable });
    const isUsedAgain = messageBuffers.reuse(bytes.length) === buffer;
    return { message, isUsedAgain };
  }

  test("the buffer of a message of texts is used again", () => {
    const { message, isUsedAgain } = decoded(StringValueSchema, text, true);
    expect(message.value).toBe(TEXT);
    expect(isUsedAgain).toBe(true);
    const fields = { a: { kind: { case: "stringValue" as const, value: TEXT } } };
    expect(decoded(StructSchema, encoded(StructSchema, { fields }), true).isUsedAgain).toBe(true);
  });

  test("a buffer that may hold other messages is not used again", () => {
    expect(decoded(StringValueSchema, text, false).isUsedAgain).toBe(false);
  });

  test("the buffer of a message that has a part of it is not used again", () => {
    poisoned();
    const field = decoded(BytesValueSchema, bytes, true);
    expect(Buffer.from(field.message.value).toString()).toBe(TEXT);
    // A field that the type does not have.
    const unknown = decoded(
      StructSchema,
      Buffer.concat([Buffer.from([0x7a]), bytes.subarray(1)]),
      true,
    );
    expect(unknown.message.$unknown?.[0]?.data.subarray(3).length).toBe(TEXT.length);
    expect(unknown.message.$unknown?.[0]?.data).toEqual(new Uint8Array(bytes.subarray(1)));
  });

  test("a small part of a message is copied, and the buffer is used again", () => {
    const small = Buffer.from("small");
    const any = encoded(AnySchema, { typeUrl: TEXT, value: small });
    expect(decoded(AnySchema, any, true).isUsedAgain).toBe(true);
    poisoned();
    expect(Buffer.from(decoded(AnySchema, any, true).message.value)).toEqual(small);
  });
});

describe("framing", () => {
  /** A reader, and what it has read. */
  function reading() {
    const came: Received[] = [];
    const reader = new FrameReader(
      { readMaxBytes: 100 * MIB },
      { onFrame: (frame) => void came.push(frame) },
    );
    const push = (bytes: Uint8Array, size = 10_000) => {
      for (let at = 0; at < bytes.length; at += size) {
        reader.push(bytes, at, Math.min(at + size, bytes.length));
      }
    };
    return { came, push };
  }

  const payloadOf = ({ bytes, start, end }: Received) => Buffer.from(bytes.subarray(start, end));

  test("a message that comes in parts may be put together where an earlier one was", () => {
    const { came, push } = reading();
    for (let n = 0; n < 10; n++) {
      const payload = Buffer.alloc(64 * KIB + n, n);
      push(envelope(payload));
      const frame = came[n] as Received;
      expect(payloadOf(frame).equals(payload)).toBe(true);
      expect(frame.isReusable).toBe(true);
      messageBuffers.giveBack(frame.bytes);
    }
    expect(new Set(came.slice(1).map(({ bytes }) => bytes.buffer)).size).toBe(1);
  });

  test("a message within a chunk is not reusable: the chunk may hold others", () => {
    const { came, push } = reading();
    push(envelope(Buffer.alloc(20 * KIB)), MIB);
    expect(came.map(({ isReusable }) => isReusable)).toEqual([undefined]);
  });

  test("a message has as much memory as has arrived, eightfold at most, unless an unused buffer fits", () => {
    while (messageBuffers.reuse(800 * KIB) !== undefined);
    const allocated: number[] = [];
    const { allocateAlone } = ofThisProgram;
    setRuntime({
      ...ofThisProgram,
      allocateAlone: (bytes) => {
        allocated.push(bytes);
        return allocateAlone(bytes);
      },
    });
    const { came, push } = reading();
    const frame = envelope(Buffer.alloc(800 * KIB));
    while (messageBuffers.reuse(16 * KIB) !== undefined);
    push(frame.subarray(0, 100));
    expect(allocated).toEqual([16 * KIB]);
    push(frame.subarray(100, 16 * KIB + 5));
    expect(allocated).toEqual([16 * KIB]);
    push(frame.subarray(16 * KIB + 5));
    expect(allocated).toEqual([16 * KIB, 128 * KIB, 800 * KIB]);
    expect((came[0] as Received).bytes.buffer.byteLength).toBe(800 * KIB);
    // Those that became too small are used again.
    expect(messageBuffers.reuse(16 * KIB)).toBeDefined();
    expect(messageBuffers.reuse(128 * KIB)).toBeDefined();
  });
});
