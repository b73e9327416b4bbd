/** What an engine sends when windows, or the pipe, take no more: what waits, in which order, and whose turn it is. */

import { expect, test } from "vitest";
import type { Frame } from "../support/frame-splitter.ts";
import { Flag, settings, Type, windowUpdate } from "../support/wire.ts";
import { Alone, bytesOf, headersOf, request, response } from "./support/pair.ts";

const INITIAL_WINDOW_SIZE = 4;
const WIDE = 2 ** 31 - 1 - 65_535;

/** A server with open streams, whose response headers were sent. */
function serverWith(streams: number, options = {}) {
  const server = new Alone(options);
  for (let n = 0; n < streams; n++) server.receive(headersOf(2 * n + 1, request()));
  for (const { stream } of server.streams) stream.sendHeaders(response());
  server.take();
  return { server, streams: server.streams.map(({ stream }) => stream), logs: server.streams };
}

const dataOf = (frames: readonly Frame[]) =>
  frames
    .filter(({ type }) => type === Type.DATA)
    .map(({ stream, payload }) => [stream, payload.length]);

const bytesBy = (frames: readonly Frame[], id: number) =>
  dataOf(frames).reduce((sum, [stream, bytes]) => sum + (stream === id ? (bytes as number) : 0), 0);

test("write() returns true while all goes to the output, then false; onDrain() is called when nothing waits", () => {
  const { server, streams, logs } = serverWith(1);
  const [stream] = streams;
  expect(stream?.writeMessage(0, new Uint8Array(60_000))).toBe(true);
  expect(stream?.writeMessage(0, new Uint8Array(10_000))).toBe(false);
  expect(stream?.write(bytesOf("more"))).toBe(false);
  expect(stream?.waitingBytes).toBe(60_005 + 10_005 + 4 - 65_535);
  expect(bytesBy(server.frames(), 1)).toBe(65_535);
  expect(logs[0]?.events).not.toContain("drain");
  server.receive(windowUpdate(0, 1000), windowUpdate(1, 1000));
  expect(stream?.waitingBytes).toBe(60_005 + 10_005 + 4 - 66_535);
  server.receive(windowUpdate(1, 100_000), windowUpdate(0, 100_000));
  expect([stream?.waitingBytes, logs[0]?.events.at(-1)]).toEqual([0, "drain"]);
  expect(stream?.write(new Uint8Array(0))).toBe(true);
});

test("the writer may write more when it is called back, and is called again", () => {
  const { server, streams, logs } = serverWith(1);
  const [stream] = streams;
  let left = 3;
  if (logs[0]) {
    logs[0].onDrain = () => {
      if (left-- > 0) stream?.write(new Uint8Array(65_535));
      else stream?.end(["grpc-status", "0"]);
    };
  }
  stream?.write(new Uint8Array(65_536));
  for (let n = 0; n < 5; n++) server.receive(windowUpdate(0, 65_535), windowUpdate(1, 65_535));
  expect(stream?.isLocalEnded).toBe(true);
  expect(left).toBe(-1);
});

test("trailers, and the end without trailers, wait for the data before them", () => {
  const { server, streams } = serverWith(2);
  const [one, two] = streams;
  server.receive(windowUpdate(0, WIDE));
  one?.write(new Uint8Array(65_536));
  one?.end(["grpc-status", "0"]);
  two?.write(new Uint8Array(65_536));
  two?.end();
  expect([one?.isLocalEnded, one?.write(bytesOf("late"))]).toEqual([true, true]);
  expect(server.frames().filter(({ flags }) => flags & Flag.END_STREAM)).toEqual([]);
  const frames = server.receive(windowUpdate(1, 1), windowUpdate(3, 1));
  expect(frames.map(({ type, stream, flags }) => [type, stream, flags])).toEqual([
    [Type.DATA, 1, 0],
    [Type.HEADERS, 1, 5],
    [Type.DATA, 3, 1],
  ]);
});

test("a stream whose window is used up does not hold back the others, nor their order", () => {
  const { server, streams } = serverWith(2);
  server.receive(windowUpdate(0, WIDE));
  streams[0]?.write(new Uint8Array(100_000));
  expect(streams[1]?.writeMessage(0, bytesOf("x"))).toBe(true);
  expect(dataOf(server.frames()).at(-1)).toEqual([3, 6]);
});

test("streams that wait for the connection's window take turns of 32 KiB", () => {
  const { server, streams } = serverWith(3);
  server.receive(settings({ [INITIAL_WINDOW_SIZE]: 2 ** 30 }));
  streams[0]?.write(new Uint8Array(65_535));
  for (const stream of streams) expect(stream.write(new Uint8Array(200_000))).toBe(false);
  server.frames();
  const frames = server.receive(windowUpdate(0, 3 * 65_536));
  expect([1, 3, 5].map((id) => bytesBy(frames, id))).toEqual([65_536, 65_536, 65_536]);
  const order = dataOf(frames).map(([stream]) => stream);
  expect(order.slice(0, 6)).toEqual([1, 1, 3, 3, 5, 5]);
  // A small message of another stream does not overtake what waits.
  expect(streams[0]?.writeMessage(0, bytesOf("x"))).toBe(false);
});

test("a writer that fills its stream in onDrain() takes no more than its turn", () => {
  const { server, streams, logs } = serverWith(2);
  server.receive(settings({ [INITIAL_WINDOW_SIZE]: 2 ** 30 }));
  streams[0]?.write(new Uint8Array(65_535));
  if (logs[0]) logs[0].onDrain = () => void streams[0]?.write(new Uint8Array(100_000));
  streams[0]?.write(new Uint8Array(1000));
  streams[1]?.write(new Uint8Array(100_000));
  server.frames();
  const frames = server.receive(windowUpdate(0, 66_536));
  expect([bytesBy(frames, 1), bytesBy(frames, 3)]).toEqual([1000 + 32_768, 32_768]);
});

test("a smaller initial window makes windows negative: nothing is sent until they are positive again", () => {
  const { server, streams } = serverWith(1);
  streams[0]?.write(new Uint8Array(50_000));
  server.frames();
  server.receive(settings({ [INITIAL_WINDOW_SIZE]: 10_000 }));
  expect(streams[0]?.write(new Uint8Array(100))).toBe(false);
  expect(dataOf(server.receive(windowUpdate(1, 40_000)))).toEqual([]);
  expect(dataOf(server.receive(windowUpdate(1, 30)))).toEqual([[1, 30]]);
  expect(dataOf(server.receive(settings({ [INITIAL_WINDOW_SIZE]: 10_050 })))).toEqual([[1, 50]]);
});

test("while the pipe takes no more, only control frames are sent; then headers, data and ends in order", () => {
  const { server, streams } = serverWith(1);
  server.receive(headersOf(3, request()));
  const answered = server.streams[1]?.stream;
  server.connection.block();
  expect(streams[0]?.writeMessage(0, bytesOf("x"))).toBe(false);
  answered?.sendHeaders([":status", "103"]);
  answered?.sendHeaders(response());
  answered?.writeMessage(0, bytesOf("y"));
  answered?.end(["grpc-status", "0"]);
  server.connection.ping(() => {});
  expect(server.frames().map(({ type }) => type)).toEqual([Type.PING]);
  expect(server.connection.openStreams).toBe(2);
  server.connection.unblock();
  expect(server.frames().map(({ type, stream }) => [type, stream])).toEqual([
    [Type.DATA, 1],
    [Type.HEADERS, 3],
    [Type.HEADERS, 3],
    [Type.DATA, 3],
    [Type.HEADERS, 3],
  ]);
});

test("headers and ends need no window: they are sent when the pipe takes more, though the connection's window is used up", () => {
  const { server, streams } = serverWith(3);
  streams[0]?.write(new Uint8Array(70_000));
  server.frames();
  server.connection.block();
  streams[1]?.end(["grpc-status", "0"]);
  streams[2]?.write(bytesOf("waits"));
  streams[2]?.end(["grpc-status", "0"]);
  server.connection.unblock();
  const frames = server.frames();
  expect(frames.map(({ type, stream }) => [type, stream])).toEqual([[Type.HEADERS, 3]]);
});

test("an end that waited for the pipe does not wait for the connection's window, which data of others used up", () => {
  const { server, streams } = serverWith(2);
  server.receive(windowUpdate(1, 1000));
  streams[0]?.write(new Uint8Array(65_000));
  server.take();
  server.connection.block();
  streams[0]?.write(new Uint8Array(1000));
  streams[1]?.end(["grpc-status", "0"]);
  server.connection.unblock();
  expect(server.frames().map(({ type, stream }) => [type, stream])).toEqual([
    [Type.DATA, 1],
    [Type.HEADERS, 3],
  ]);
});

test("SETTINGS are acknowledged before what they allow is sent", () => {
  const { server, streams } = serverWith(1);
  server.receive(settings({ [INITIAL_WINDOW_SIZE]: 10 }));
  streams[0]?.write(new Uint8Array(20));
  server.take();
  const frames = server.receive(settings({ [INITIAL_WINDOW_SIZE]: 20 }));
  expect(frames.map(({ type }) => type)).toEqual([Type.SETTINGS, Type.DATA]);
});

test("a pipe that blocks in onFull() gets no more than the frame that made it full", () => {
  const { server, streams } = serverWith(1);
  server.receive(settings({ [INITIAL_WINDOW_SIZE]: 2 ** 30 }), windowUpdate(0, WIDE));
  let written = 0;
  server.onFull = () => {
    written += server.connection.take()?.length ?? 0;
    server.connection.block();
  };
  expect(streams[0]?.write(new Uint8Array(1_000_000))).toBe(false);
  expect(written).toBeLessThan(96 * 1024 + 16_393);
  expect(server.connection.hasOutput).toBe(false);
  let turns = 1;
  for (; (streams[0]?.waitingBytes ?? 0) > 0; turns++) server.connection.unblock();
  expect(turns).toBeLessThan(20);
  expect(written + (server.connection.take()?.length ?? 0)).toBeGreaterThan(1_000_000);
});

test("a reset drops what waits", () => {
  const { server, streams } = serverWith(1);
  streams[0]?.write(new Uint8Array(100_000));
  server.frames();
  streams[0]?.reset(8);
  const frames = server.receive(windowUpdate(0, 100_000));
  expect(frames.map(({ type }) => type)).toEqual([Type.RST_STREAM]);
  expect(streams[0]?.waitingBytes).toBe(0);
});

test.each([
  ["its prefix", 2],
  ["its payload", 12],
])(
  "a message in one piece, in pieces, and as bytes is the same if the window ends in %s",
  (_, left) => {
    for (const size of [0, 1, 48, 49, 8000, 8192, 20_000]) {
      const payload = Uint8Array.from({ length: size }, (_, at) => at % 256);
      const { server, streams } = serverWith(1, {});
      server.receive(windowUpdate(0, WIDE));
      streams[0]?.write(new Uint8Array(65_535 - left));
      server.frames();
      const written = payload.slice();
      streams[0]?.writeMessage(1, written);
      // Its memory is used again.
      written.fill(0xdd);
      const parts = server.frames();
      for (const step of [1, 1, 1, 7, 100_000])
        parts.push(...server.receive(windowUpdate(1, step)));
      const body = Buffer.concat(parts.map((one) => one.payload));
      const prefix = Buffer.from([1, 0, 0, size >> 8, size]);
      expect(body.equals(Buffer.concat([prefix, payload])), `${size}`).toBe(true);
    }
  },
);

test("what waits of a message is a copy, unless its bytes do not change", () => {
  const { server, streams } = serverWith(1);
  const [stream] = streams;
  stream?.write(new Uint8Array(65_535));
  server.frames();
  const [copied, kept] = [Buffer.from("copied"), Buffer.from("stable")];
  stream?.writeMessage(0, copied);
  stream?.writeMessage(0, kept, true);
  copied.fill("x");
  kept.fill("y");
  const frames = server.receive(windowUpdate(1, 100), windowUpdate(0, 100));
  const body = Buffer.concat(frames.map(({ payload }) => payload));
  expect(body.toString("latin1")).toBe("\0\0\0\0\x06copied\0\0\0\0\x06yyyyyy");
});
