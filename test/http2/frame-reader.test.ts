/** Received bytes become frames wherever they are cut; the engine keeps none of the chunk. */
import { expect, test } from "vitest";
import {
  type FrameHandler,
  FrameReader,
  type ReceivedFrame,
} from "../../src/http2/frame-reader.ts";
import { data, frame, PREFACE, rst, settings, Type } from "../support/wire.ts";
import { Alone, bytesOf, headersOf, request } from "./support/pair.ts";

/** Writes down what a reader hands on; DATA for stream 9 is dropped. */
class Log implements FrameHandler {
  isClosed = false;
  readonly lines: string[] = [];
  #data = "";

  onDataFrame(stream: number, length: number): boolean {
    this.lines.push(`DATA ${stream} ${length}`);
    return stream !== 9;
  }
  onDataLength(dataBytes: number, paddingBytes: number, endStream: boolean): void {
    this.lines.push(`${dataBytes} and ${paddingBytes}${endStream ? ", the last" : ""}`);
  }
  onData(bytes: Uint8Array, start: number, end: number): void {
    this.#data += Buffer.from(bytes.subarray(start, end)).toString();
  }
  onDataEnd(): void {
    this.lines.push(this.#data);
    this.#data = "";
  }
  isIgnored(type: number): boolean {
    return type > Type.CONTINUATION;
  }
  onFrame({ type, stream, bytes, start, end }: ReceivedFrame): void {
    const payload = type === 0xee ? "" : Buffer.from(bytes.subarray(start, end)).toString("hex");
    this.lines.push(`${type} ${stream} ${payload}`);
  }
}

const padded = (text: string, padding: number) =>
  frame(Type.DATA, 8, 3, Buffer.concat([Buffer.of(padding), bytesOf(text), Buffer.alloc(padding)]));

const stream = Buffer.concat([
  settings({ 4: 70_000 }),
  data(1, bytesOf("hello")),
  data(1),
  padded("padded", 3),
  padded("", 0),
  data(9, bytesOf("dropped")),
  frame(Type.DATA, 8, 9, Buffer.from([2, 1, 1])),
  frame(0xee, 0, 0, bytesOf("unknown")),
  rst(5, 8),
  data(1, bytesOf("bye"), true),
]);

const expected = [
  `4 0 ${settings({ 4: 70_000 }).subarray(9).toString("hex")}`,
  ...["DATA 1 5", "5 and 0", "hello", "DATA 1 0", "0 and 0", ""],
  ...["DATA 3 10", "6 and 4", "padded", "DATA 3 1", "0 and 1", ""],
  ...["DATA 9 7", "DATA 9 3", "238 0 ", "3 5 00000008", "DATA 1 3", "3 and 0, the last", "bye"],
];

test("bytes are cut into frames, whole, byte by byte, and cut at each offset", () => {
  const read = (...chunks: readonly Uint8Array[]) => {
    const log = new Log();
    const reader = new FrameReader(log, false);
    for (const chunk of chunks) {
      const copy = new Uint8Array(chunk);
      reader.read(copy);
      copy.fill(0xbb);
    }
    return log.lines;
  };
  expect(read(stream)).toEqual(expected);
  expect(read(...Array.from(stream, (byte) => Uint8Array.of(byte)))).toEqual(expected);
  for (let cut = 1; cut < stream.length; cut++) {
    expect(read(stream.subarray(0, cut), stream.subarray(cut)), `${cut}`).toEqual(expected);
  }
});

test("a reader stops when its handler is closed", () => {
  const log = new Log();
  log.onDataEnd = () => {
    log.isClosed = true;
  };
  new FrameReader(log, false).read(stream);
  expect(log.lines).toEqual(expected.slice(0, 3));
});

test("a chunk may be read a number of frames at a time", () => {
  for (const maxFrames of [1, 2, 5]) {
    const log = new Log();
    const reader = new FrameReader(log, false);
    let calls = 0;
    for (let at = 0; at < stream.length; calls++) at = reader.read(stream, at, maxFrames);
    expect(log.lines).toEqual(expected);
    expect(calls).toBeGreaterThanOrEqual(10 / maxFrames);
  }
  const log = new Log();
  expect(new FrameReader(log, false).read(stream, 0, 1)).toBe(settings({ 4: 70_000 }).length);
  expect(log.lines).toEqual(expected.slice(0, 1));
});

test("a client's preface may come in parts, and must be right", () => {
  for (let cut = 0; cut <= PREFACE.length; cut++) {
    const log = new Log();
    const reader = new FrameReader(log, true);
    reader.read(PREFACE.subarray(0, cut));
    reader.read(Buffer.concat([PREFACE.subarray(cut), rst(5, 8)]));
    expect(log.lines).toEqual(["3 5 00000008"]);
    const wrong = Buffer.from(PREFACE);
    if (cut < PREFACE.length) wrong[cut] = 0;
    else continue;
    expect(() => new FrameReader(new Log(), true).read(wrong)).toThrow(/preface/);
  }
});

test("nothing of a chunk is kept, a Buffer's memory neither", () => {
  const server = new Alone();
  const block = headersOf(1, request("x", "first"));
  const more = block.subarray(20);
  const bytes = Buffer.concat([
    frame(Type.HEADERS, 0, 1, block.subarray(9, 20)),
    frame(Type.CONTINUATION, 4, 1, more),
  ]);
  for (let cut = 1; cut < bytes.length; cut += 5) {
    const alone = new Alone();
    for (const part of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
      const chunk = Buffer.from(part);
      alone.receive(chunk);
      chunk.fill(0xbb);
    }
    expect(alone.requests[0]?.fields, `${cut}`).toEqual(request("x", "first"));
  }
  expect(server.end).toBeUndefined();
});
