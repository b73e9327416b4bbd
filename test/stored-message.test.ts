import { create, toBinary } from "@bufbuild/protobuf";
import { beforeAll, expect, test } from "vitest";
import { MessageSchema } from "../gen/chat/v1/room_pb.js";
import { decodeMessage, encodeMessage } from "../src/topics.ts";

const messageOf = (n: number) => ({ name: `ada ${n}`, text: `message ${n} `.repeat(n % 50) });

// Types are compiled after some uses.
beforeAll(() => {
  for (let n = 0; n < 1000; n++) {
    decodeMessage(MessageSchema, encodeMessage(MessageSchema, messageOf(n)));
  }
});

test("the bytes are those of toBinary, and of no other message afterwards", () => {
  const encoded = Array.from({ length: 500 }, (_, n) => encodeMessage(MessageSchema, messageOf(n)));
  for (const [n, bytes] of encoded.entries()) {
    expect(bytes).toEqual(toBinary(MessageSchema, create(MessageSchema, messageOf(n))));
    expect(decodeMessage(MessageSchema, bytes)).toEqual(create(MessageSchema, messageOf(n)));
  }
});

test("the bytes are not a part of a larger buffer, which a log would hold", () => {
  for (const n of [0, 1, 49]) {
    const bytes = encodeMessage(MessageSchema, messageOf(n));
    expect(bytes.buffer.byteLength).toBe(bytes.length);
  }
});

test("bytes that are no message are refused, and so is what cannot be encoded", () => {
  const half = encodeMessage(MessageSchema, { text: "whole" }).subarray(0, 4);
  expect(() => decodeMessage(MessageSchema, half)).toThrow(Error);
  expect(() => encodeMessage(MessageSchema, "whole" as never)).toThrow(TypeError);
});
