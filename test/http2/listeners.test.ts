/** Listeners that throw, and listeners that call the engine back. */

import { describe, expect, test } from "vitest";
import type { ConnectionListener, StreamListener } from "../../src/http2/types.ts";
import type { Frame } from "../support/frame-splitter.ts";
import { type Header, HeaderDecoder } from "../support/hpack.ts";
import { data, Flag, frame, goaway, rst, settings, Type, windowUpdate } from "../support/wire.ts";
import {
  Alone,
  bytesOf,
  headersOf,
  type RecordingStream,
  request,
  response,
} from "./support/pair.ts";

/** A server, or a client, with a stream; then each callback is called by one of these. */
interface Scene {
  readonly side: Alone;
  readonly log: RecordingStream;
}

function server(): Scene {
  const side = new Alone();
  side.receive(headersOf(1, request()));
  return { side, log: side.streams[0] as RecordingStream };
}

function client(): Scene {
  const side = new Alone({ role: "client" });
  return { side, log: side.open() };
}

type Name = keyof StreamListener | keyof ConnectionListener;

const callbacks: readonly (readonly [Name, () => Scene, (scene: Scene) => void])[] = [
  ["onRequest", server, ({ side }) => side.receive(headersOf(3, request()))],
  ["onHeaders", client, ({ side }) => side.receive(headersOf(1, response()))],
  ["onData", server, ({ side }) => side.receive(data(1, bytesOf("hello")))],
  ["onTrailers", server, ({ side }) => side.receive(headersOf(1, ["x", "1"], true))],
  ["onEnd", server, ({ side }) => side.receive(data(1, bytesOf("hello"), true))],
  [
    "onDrain",
    server,
    ({ side, log }) => {
      log.stream.sendHeaders(response());
      log.stream.write(new Uint8Array(65_536));
      side.receive(windowUpdate(0, 100), windowUpdate(1, 100));
    },
  ],
  ["onClosed", server, ({ side }) => side.receive(rst(1, 8))],
  ["onSettings", server, ({ side }) => side.receive(settings({ 3: 1 }))],
  ["onGoaway", client, ({ side }) => side.receive(goaway(0, 0))],
  ["onOutput", server, ({ log }) => log.stream.sendHeaders(response())],
  [
    "onFull",
    server,
    ({ side, log }) => {
      side.receive(settings({ 4: 2 ** 30 }), windowUpdate(0, 2 ** 30));
      log.stream.sendHeaders(response());
      log.stream.write(new Uint8Array(1_000_000));
    },
  ],
];

/** Lets a callback do something: that of the stream if it has one of that name, else that of the connection. */
function override({ side, log }: Scene, name: Name, run: (...args: unknown[]) => unknown): void {
  Object.assign(name in log ? log : side, { [name]: run });
}

describe.each(callbacks)("%s", (name, makeScene, cause) => {
  test("that throws ends the connection with INTERNAL_ERROR, and nobody else hears of it", () => {
    const scene = makeScene();
    override(scene, name, () => {
      throw new Error("a bug");
    });
    cause(scene);
    expect(scene.side.end).toEqual({ by: "failed", code: 2, reason: "a listener threw: a bug" });
    scene.side.frames();
    const last = scene.side.sent.at(-1);
    expect(last?.type).toBe(Type.GOAWAY);
    expect(last?.payload.toString("latin1", 8)).toBe("internal error");
    expect(scene.side.connection.openStreams).toBe(0);
  });

  const actions: readonly (readonly [string, (scene: Scene) => void])[] = [
    ["reset the stream", ({ log }) => log.stream.reset(8)],
    ["close the connection", ({ side }) => side.connection.close(0)],
    ["end the input", ({ side }) => side.connection.endOfInput()],
    ["go away", ({ side }) => side.connection.goaway()],
    ["stop to read", ({ log }) => log.stream.stopReading()],
    ["block the pipe", ({ side }) => side.connection.block()],
    ["unblock the pipe", ({ side }) => side.connection.unblock()],
    ["take the output", ({ side }) => void side.frames()],
    [
      "answer",
      ({ log }) => {
        const { stream } = log;
        if (!stream.headersSent) stream.sendHeaders(response());
        stream.writeMessage(0, new Uint8Array(100_000));
        stream.end(["grpc-status", "0"]);
      },
    ],
    [
      "open another stream",
      ({ side }) => {
        if (side.connection.isUsable) side.open();
        side.connection.ping(() => {});
      },
    ],
  ];

  test.each(actions)("may %s", (_, act) => {
    const scene = makeScene();
    const { side, log } = scene;
    let calls = 0;
    const owner = name in log ? log : side;
    const before: unknown = Reflect.get(owner, name);
    override(scene, name, (...args: unknown[]) => {
      if (calls++ === 0) act(scene);
      return typeof before === "function" ? Reflect.apply(before, owner, args) : undefined;
    });
    cause(scene);
    expect(calls).toBeGreaterThan(0);
    // The connection continues, or has ended as it should.
    side.frames();
    if (side.end === undefined) {
      side.connection.unblock();
      side.receive(frame(Type.PING, 0, 0, Buffer.alloc(8)));
      side.connection.endOfInput();
    }
    expect(side.end?.by === "failed").toBe(false);
    expect([side.connection.openStreams, side.clock.timers]).toEqual([0, 0]);
    const ends = log.events.filter((event) => event.startsWith("closed")).length;
    expect(ends).toBe(name === "onClosed" ? ends : 1);
    side.frames();
    expect(misplaced(side.sent)).toEqual([]);
  });
});

/** The frames of streams that are not in the order headers, data, trailers, RST_STREAM. Decodes all header blocks. */
function misplaced(frames: readonly Frame[]): string[] {
  const decoder = new HeaderDecoder();
  const next = new Map<number, "headers" | "data" | "nothing">();
  return frames.flatMap(({ type, stream, flags, payload }) => {
    const isEnd = (flags & Flag.END_STREAM) !== 0;
    let isWrong = false;
    if (type === Type.HEADERS) {
      const [first] = decoder.decode(payload) as [Header];
      const expected = next.get(stream) ?? "headers";
      isWrong = expected !== (first[0].startsWith(":") ? "headers" : "data");
      next.set(stream, isEnd ? "nothing" : "data");
    } else if (type === Type.DATA) {
      isWrong = next.get(stream) !== "data";
      if (isEnd) next.set(stream, "nothing");
    } else if (type === Type.RST_STREAM) next.set(stream, "nothing");
    return isWrong ? [`${type} on stream ${stream}`] : [];
  });
}

test("a listener that is closed in onRequest() hears it before the connection does, and after it was returned", () => {
  const side = new Alone();
  const order: string[] = [];
  side.onStream = (log) => {
    log.onClosed = () => order.push("stream");
    side.connection.close(0);
    order.push("returned");
  };
  side.onClosed = () => order.push("connection");
  side.receive(headersOf(1, request()));
  expect(order).toEqual(["returned", "stream", "connection"]);
});

test("a request that is answered in onRequest(), without a listener, is dropped after its answer", () => {
  const side = new Alone();
  side.onRequest = (stream) => {
    stream.sendHeaders(response("grpc-status", "12"), true);
    return undefined as unknown as StreamListener;
  };
  const frames = side.receive(headersOf(1, request()), data(1, bytesOf("late"), true));
  expect(frames.map(({ type }) => type)).toEqual([Type.HEADERS, Type.RST_STREAM]);
  expect(side.receive(headersOf(3, request(), true)).map(({ flags }) => flags)).toEqual([
    Flag.END_HEADERS | Flag.END_STREAM,
  ]);
  expect(side.connection.openStreams).toBe(0);
});

test("a stream that reads no more drops data and trailers, and gives back their credit", () => {
  const side = new Alone();
  side.onStream = (log) => {
    log.returnsCredit = false;
  };
  side.receive(headersOf(1, request()), data(1, new Uint8Array(16_000)));
  const log = side.streams[0] as RecordingStream;
  log.stream.stopReading();
  const frames = side.receive(...Array(20).fill(data(1, new Uint8Array(16_000))));
  expect(frames.filter(({ type }) => type === Type.WINDOW_UPDATE).length).toBeGreaterThan(5);
  side.receive(headersOf(1, ["x", "1"], true));
  expect(log.events).toEqual(["request", "data 16000"]);
  expect(log.stream.isRemoteEnded).toBe(true);
  log.stream.sendHeaders(response(), true);
  expect(log.end).toMatchObject({ by: "ended" });
});

test("a closed stream ignores everything", () => {
  const { side, log } = server();
  const { stream } = log;
  stream.reset(8);
  side.take();
  stream.sendHeaders(response());
  stream.end(["grpc-status", "0"]);
  stream.reset(8);
  stream.stopReading();
  stream.returnCredit(100);
  stream.setWindow(1_000_000);
  expect([stream.write(bytesOf("x")), stream.writeMessage(0, bytesOf("x"))]).toEqual([true, true]);
  expect(side.take()).toEqual([]);
});

test("headers twice, and data before headers, are errors of the application", () => {
  const { log } = server();
  const { stream } = log;
  expect(() => stream.write(bytesOf("x"))).toThrow(/before its headers/);
  expect(() => stream.writeMessage(0, bytesOf("x"))).toThrow(/before its headers/);
  expect(() => stream.end()).toThrow(/before its headers/);
  stream.sendHeaders(response());
  expect(() => stream.sendHeaders(response())).toThrow(/sent already/);
});
