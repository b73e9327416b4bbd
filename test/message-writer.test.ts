/** The memory in which a MessageWriter encodes: it is used again for the next message, and for none before. */
import { gunzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test } from "vitest";
import { NotificationSchema } from "../gen/example/greeter_pb.js";
import type { CallStream } from "../src/call-stream.ts";
import { compiledCodecs } from "../src/codec/compiled/compiled-codecs.ts";
import { setCodecCompiler } from "../src/codec/compiler.ts";
import { runtime, setRuntime } from "../src/flow/runtime.ts";
import { MessageWriter } from "../src/grpc/message.ts";
import { nodeGzip } from "../src/node/gzip.ts";
import { encodedOnce } from "../src/server.ts";

const ofThisProgram = runtime;

// The closures, which encode the first messages of a type, use memory only once.
beforeEach(() => {
  setCodecCompiler(compiledCodecs, 1);
  writerTo(() => undefined).write({});
});
afterEach(() => {
  setCodecCompiler(compiledCodecs);
  setRuntime(ofThisProgram);
});

function writerTo(write: CallStream["write"], compressFromBytes?: number) {
  const messages = { readMaxBytes: 0, writeMaxBytes: 1 << 20, compression: nodeGzip };
  const options = { messages: { ...messages, binaryOptions: undefined }, compressFromBytes };
  return new MessageWriter(NotificationSchema, options, { outgoing: () => ({ write }) });
}

const bytesOf = (content: string) =>
  Buffer.from(toBinary(NotificationSchema, create(NotificationSchema, { content })));

test("messages are encoded in the same memory, one after the other, also after one that could not be sent", () => {
  const memory = new Set<ArrayBufferLike>();
  const writer = writerTo((_, payload) => {
    memory.add(payload.buffer);
    if (payload.length > 100) throw new Error("the stream has ended");
    return undefined;
  });
  writer.write({ content: "one" });
  expect(() => writer.write({ content: "x".repeat(101) })).toThrow("the stream has ended");
  expect(() => writer.write({ content: "x".repeat(1 << 20) })).toThrow(/writeMaxBytes/);
  writer.write({ content: "two" });
  // That of the message over the limit was large, and is not kept.
  expect(memory.size).toBe(2);
  writer.write({ content: "three" });
  expect(memory.size).toBe(2);
});

test("a message that a stream writes while it is given another one does not change that", () => {
  const sent: string[] = [];
  const inner = writerTo((_, payload) => {
    sent.push(Buffer.from(payload).toString("hex"));
    return undefined;
  });
  const outer = writerTo((_, payload) => {
    inner.write({ content: "the other message" });
    sent.push(Buffer.from(payload).toString("hex"));
    inner.write({ content: "and one more" });
    sent.push(Buffer.from(payload).toString("hex"));
    return undefined;
  });
  outer.write({ content: "a message" });
  const contents = ["the other message", "a message", "and one more", "a message"];
  expect(sent).toEqual(contents.map((content) => bytesOf(content).toString("hex")));
});

test("the bytes of a message of encodedOnce are not in that memory", () => {
  setRuntime({ ...runtime, poison: (memory) => void memory.fill(0xdd) });
  const kept: Uint8Array[] = [];
  const writer = writerTo((_, payload, isShared) => {
    kept.push(isShared ? payload : new Uint8Array(payload));
    return undefined;
  });
  for (const content of ["shared", "x".repeat(16 * 1024 - 4)]) {
    const message = encodedOnce(NotificationSchema, { content });
    writer.write(message);
    writer.write({ content: "its own" });
    writer.write(message);
    const expected = [content, "its own", content].map(bytesOf);
    expect(kept.splice(0).map((bytes) => Buffer.from(bytes))).toEqual(expected);
  }
});

test.each([
  ["synchronously", 100],
  ["in a thread", 50_000],
])("a message that is compressed %s does not change with the next ones", async (_, length) => {
  setRuntime({ ...runtime, poison: (memory) => void memory.fill(0xdd) });
  const sent: string[] = [];
  const writer = writerTo((_, payload) => {
    sent.push(gunzipSync(payload).toString("hex"));
    return undefined;
  }, 50);
  const contents = Array.from({ length: 8 }, (_, n) => `${n}`.repeat(length));
  await Promise.all(contents.map((content) => writer.write({ content })));
  expect(sent.sort()).toEqual(contents.map((content) => bytesOf(content).toString("hex")).sort());
});
