/** The life of a connection: its beginning, GOAWAY both ways, deadlines for the peer, its end. */

import { describe, expect, test } from "vitest";
import { createOutputBuffers } from "../../src/http2/buffers.ts";
import { ConnectionUnusableError } from "../../src/http2/errors.ts";
import { StreamTable } from "../../src/http2/stream-table.ts";
import type { Frame } from "../support/frame-splitter.ts";
import { Flag, frame, goaway, Http2Code, PREFACE, settings, Type } from "../support/wire.ts";
import {
  Alone,
  bytesOf,
  FakeClock,
  framesOf,
  headersOf,
  Pair,
  RecordingStream,
  request,
  response,
  Side,
} from "./support/pair.ts";

const NO_MORE = 2 ** 31 - 1;
const lastIdOf = (one: Frame | undefined) => one?.payload.readUInt32BE(0);

function start(role: "client" | "server", options = {}) {
  const clock = new FakeClock();
  const side = new Side({ role, clock, buffers: createOutputBuffers(), ...options });
  return { clock, side };
}

describe("the beginning", () => {
  test("a client sends the preface and its SETTINGS, a server its SETTINGS, both a window", () => {
    const { side: client } = start("client", { streamWindowBytes: 100 });
    const bytes = Buffer.concat(client.take());
    expect(bytes.subarray(0, PREFACE.length)).toEqual(PREFACE);
    const [first, window] = framesOf(bytes.subarray(PREFACE.length));
    expect([...(first?.payload ?? [])]).toEqual([
      ...[0, 4, 0, 0, 0, 100],
      ...[0, 6, 0, 1, 0, 0],
      ...[0, 2, 0, 0, 0, 0],
    ]);
    expect(window).toMatchObject({ type: Type.WINDOW_UPDATE, stream: 0 });
    const { side: server } = start("server", { maxConcurrentStreams: 7, connectionWindowBytes: 1 });
    const frames = framesOf(Buffer.concat(server.take()));
    expect(frames).toHaveLength(1);
    expect([...(frames[0]?.payload ?? [])]).toEqual([
      ...[0, 4, 0, 0, 255, 255],
      ...[0, 6, 0, 1, 0, 0],
      ...[0, 3, 0, 0, 0, 7],
    ]);
  });

  test("windows are at most 2^31-1 bytes", () => {
    const { side } = start("server", {
      streamWindowBytes: 2 ** 32,
      connectionWindowBytes: 2 ** 32,
    });
    const [first, window] = framesOf(Buffer.concat(side.take()));
    expect(first?.payload.subarray(0, 6)).toEqual(Buffer.from([0, 4, 127, 255, 255, 255]));
    expect(window?.payload.readUInt32BE()).toBe(2 ** 31 - 1 - 65_535);
  });

  test("the peer's SETTINGS are reported once, and when they change", () => {
    const server = new Alone();
    server.receive(settings({ 3: 10 }), settings({ 3: 10, 4: 1000 }), settings({ 6: 5000 }));
    expect(server.settings).toEqual([
      {
        maxConcurrentStreams: Number.POSITIVE_INFINITY,
        maxHeaderListBytes: Number.POSITIVE_INFINITY,
      },
      { maxConcurrentStreams: 10, maxHeaderListBytes: Number.POSITIVE_INFINITY },
      { maxConcurrentStreams: 10, maxHeaderListBytes: 5000 },
    ]);
    expect(server.connection.peer).toBe(server.settings[2]);
  });

  test.each([
    ["SETTINGS_ENABLE_PUSH 2", "server", { 2: 2 }, 1],
    ["SETTINGS_ENABLE_PUSH 1 of a server", "client", { 2: 1 }, 1],
    ["SETTINGS_INITIAL_WINDOW_SIZE 2^31", "server", { 4: 2 ** 31 }, 3],
    ["SETTINGS_MAX_FRAME_SIZE 16383", "server", { 5: 16_383 }, 1],
    ["SETTINGS_MAX_FRAME_SIZE 2^24", "server", { 5: 2 ** 24 }, 1],
  ] as const)("%s ends the connection", (_, role, values, code) => {
    const side = new Alone({ role });
    side.receive(settings(values));
    expect(side.end).toMatchObject({ by: "failed", code });
  });

  test("unknown settings, and a table for headers of any size, are fine both ways", () => {
    const pair = new Pair();
    pair.move();
    const server = new Alone();
    server.receive(settings({ 1: 0, 99: 1 }), headersOf(1, request()));
    server.receive(settings({ 1: 2 ** 32 - 1 }), headersOf(3, request()));
    for (const { stream } of server.streams) stream.sendHeaders(response("x", "1"), true);
    expect(server.frames()).toHaveLength(2);
  });

  test("anything before the preface and SETTINGS ends the connection", () => {
    const { side: one } = start("server");
    one.connection.receive(bytesOf("GET / HTTP/1.1\r\n\r\n"));
    expect(one.end?.reason).toMatch(/not HTTP\/2's preface/);
    const { side: two } = start("server");
    two.connection.receive(Buffer.concat([PREFACE, headersOf(1, request())]));
    expect(two.end?.reason).toBe("HEADERS before the first SETTINGS");
    const { side: three } = start("client");
    three.connection.receive(frame(Type.SETTINGS, Flag.ACK, 0));
    expect(three.end?.reason).toBe("an acknowledgement before the first SETTINGS");
  });
});

describe("deadlines for the peer", () => {
  test("the preface and SETTINGS", () => {
    const { side, clock } = start("server");
    side.connection.receive(PREFACE);
    clock.advance(9999);
    expect(side.end).toBeUndefined();
    clock.advance(1);
    expect(side.end).toMatchObject({
      by: "failed",
      reason: "no SETTINGS within peerTimeoutMs 10000",
    });
    expect(clock.timers).toBe(0);
  });

  test("the acknowledgement of our SETTINGS", () => {
    const { side, clock } = start("client", { peerTimeoutMs: 500 });
    side.connection.receive(settings());
    clock.advance(500);
    expect(side.end).toMatchObject({ code: Http2Code.SETTINGS_TIMEOUT });
  });

  test("the end of a header block, also if it comes in many parts, or is one frame that was cut", () => {
    const block = headersOf(1, request());
    for (const begin of [[frame(Type.HEADERS, 0, 1)], [block.subarray(0, 20)]]) {
      const server = new Alone();
      expect(server.clock.timers).toBe(0);
      server.receive(...begin);
      expect(server.clock.timers).toBe(1);
      server.clock.advance(9000);
      server.receive(frame(Type.CONTINUATION, 0, 1).subarray(0, 5));
      server.clock.advance(1000);
      expect(server.end).toMatchObject({ by: "failed", code: Http2Code.ENHANCE_YOUR_CALM });
      expect(server.clock.timers).toBe(0);
    }
  });

  test("blocks that are cut one after the other are not one block", () => {
    const server = new Alone();
    const blocks = Array.from({ length: 30 }, (_, n) => headersOf(2 * n + 1, request()));
    let rest: Uint8Array = Buffer.alloc(0);
    for (const block of blocks) {
      server.receive(Buffer.concat([rest, block.subarray(0, 20)]));
      rest = block.subarray(20);
      server.clock.advance(1000);
    }
    server.receive(rest);
    expect([server.requests.length, server.end, server.clock.timers]).toEqual([30, undefined, 0]);
  });

  test("an idle connection has no timer", () => {
    const pair = new Pair();
    pair.move();
    pair.client.open();
    pair.move();
    expect(pair.clock.timers).toBe(0);
  });
});

describe("a server that goes away", () => {
  test("announces it, serves what was in flight, names the last request after a round trip, and closes after its end", () => {
    const server = new Alone();
    server.receive(headersOf(1, request()));
    server.connection.goaway("bye");
    const [first, ping] = server.frames();
    expect([first?.type, lastIdOf(first), first?.payload.toString("latin1", 8)]).toEqual([
      ...[Type.GOAWAY, NO_MORE, "bye"],
    ]);
    expect(ping?.type).toBe(Type.PING);
    server.receive(headersOf(3, request()));
    expect(server.requests).toHaveLength(2);
    const answer = frame(Type.PING, Flag.ACK, 0, ping?.payload);
    const [last] = server.receive(answer);
    expect([last?.type, lastIdOf(last)]).toEqual([Type.GOAWAY, 3]);
    expect(server.receive(headersOf(5, request()))).toEqual([]);
    expect(server.requests).toHaveLength(2);
    for (const { stream } of server.streams) stream.sendHeaders(response(), true);
    for (const { stream } of server.streams) {
      expect(server.end).toBeUndefined();
      stream.stopReading();
    }
    expect(server.end).toEqual({ by: "closed", code: 0, reason: "" });
    expect(server.clock.timers).toBe(0);
  });

  test("waits a second for the round trip, and no longer; a second goaway() changes nothing", () => {
    const server = new Alone();
    server.receive(headersOf(1, request()));
    server.connection.goaway();
    server.connection.goaway("again");
    expect(server.frames()).toHaveLength(2);
    server.clock.advance(999);
    expect(server.frames()).toEqual([]);
    server.clock.advance(1);
    expect(server.frames().map(lastIdOf)).toEqual([1]);
    expect(server.end).toBeUndefined();
  });

  test("closes at once after the round trip if it has no streams", () => {
    const pair = new Pair();
    pair.move();
    pair.server.connection.goaway();
    pair.move();
    expect(pair.server.end).toEqual({ by: "closed", code: 0, reason: "" });
    expect(pair.client.events).toEqual([`goaway 0 ${NO_MORE} `, "goaway 0 0 "]);
  });

  test("ignores what comes for streams that it did not accept", () => {
    const server = new Alone();
    server.receive(headersOf(1, request()));
    server.connection.goaway();
    server.clock.advance(1000);
    server.take();
    const ignored = [headersOf(3, request()), frame(Type.DATA, 0, 3, Buffer.alloc(100))];
    expect(server.receive(...ignored, headersOf(3, ["x-sum", "100"], true))).toEqual([]);
    expect(server.end).toBeUndefined();
    server.receive(headersOf(5, request("x-table", "entry")));
    // The table for headers is the same at both ends all the same.
    server.receive(headersOf(1, ["x-table", "entry"], true));
    expect(server.streams[0]?.trailers).toEqual(["x-table", "entry"]);
  });
});

describe("a client", () => {
  test("closes streams after the last id of GOAWAY: they were not processed", () => {
    const client = new Alone({ role: "client" });
    const calls = [client.open(), client.open(), client.open()];
    client.receive(goaway(NO_MORE, 0), goaway(3, 11, "too_many_pings"));
    expect(client.events).toEqual([`goaway 0 ${NO_MORE} `, "goaway 11 3 too_many_pings"]);
    expect(calls.map(({ end }) => end)).toEqual([
      undefined,
      undefined,
      { by: "peer", code: 7, reason: "", unprocessed: true },
    ]);
    client.receive(goaway(1, 0));
    expect(calls[1]?.end?.unprocessed).toBe(true);
    client.connection.endOfInput();
    expect(calls[0]?.end).toEqual({ by: "connection", code: 0, reason: "", unprocessed: false });
    expect(client.end).toEqual({ by: "goaway", code: 0, reason: "" });
  });

  test("learns from REFUSED_STREAM that a stream was not processed, and from no other code", () => {
    const client = new Alone({ role: "client" });
    const calls = [client.open(), client.open()];
    client.receive(
      frame(Type.RST_STREAM, 0, 1, Buffer.from([0, 0, 0, 7])),
      frame(Type.RST_STREAM, 0, 3, Buffer.from([0, 0, 0, 8])),
    );
    expect(calls.map(({ end }) => end?.unprocessed)).toEqual([true, false]);
  });

  test("is not usable after GOAWAY, its own goaway(), and its end", () => {
    const ends: ((client: Alone) => void)[] = [
      (client) => client.receive(goaway(0, 0)),
      (client) => {
        client.open();
        client.connection.goaway();
      },
      ({ connection }) => connection.close(0),
      ({ connection }) => connection.endOfInput(),
    ];
    for (const end of ends) {
      const client = new Alone({ role: "client" });
      expect(client.connection.isUsable).toBe(true);
      end(client);
      expect(client.connection.isUsable).toBe(false);
      expect(() => client.open()).toThrow(ConnectionUnusableError);
    }
    const server = new Alone();
    expect(server.connection.isUsable).toBe(false);
    expect(() => server.connection.open(request(), new RecordingStream())).toThrow(
      ConnectionUnusableError,
    );
  });

  test("that goes away closes after its calls", () => {
    const pair = new Pair();
    pair.server.onStream = ({ stream }) => stream.sendHeaders(response(), true);
    const call = pair.client.open(request(), true);
    pair.client.connection.goaway();
    expect(pair.client.end).toBeUndefined();
    pair.move();
    expect(call.end?.by).toBe("ended");
    expect(pair.client.end).toEqual({ by: "closed", code: 0, reason: "" });
    expect(pair.server.events).toEqual(["goaway 0 0 "]);
  });

  test("has ids for 2^30 streams", () => {
    const table = new StreamTable(false, 2 ** 31 - 3);
    expect([table.hasIds, table.takeId(), table.hasIds, table.takeId(), table.hasIds]).toEqual([
      ...[true, 2 ** 31 - 3, true, 2 ** 31 - 1, false],
    ]);
  });
});

describe("the end", () => {
  test("close() sends GOAWAY, closes the streams, then the connection; the output can still be taken", () => {
    const server = new Alone();
    server.receive(headersOf(1, request()), headersOf(3, request()));
    server.streams[0]?.stream.sendHeaders(response());
    server.connection.close(2, "broken");
    expect(server.streams.map(({ end }) => end)).toEqual(
      Array(2).fill({ by: "connection", code: 2, reason: "", unprocessed: false }),
    );
    expect(server.end).toEqual({ by: "closed", code: 2, reason: "" });
    const frames = server.frames();
    expect(frames.map(({ type }) => type)).toEqual([Type.HEADERS, Type.GOAWAY]);
    expect([lastIdOf(frames[1]), frames[1]?.payload.toString("latin1", 8)]).toEqual([3, "broken"]);
    server.connection.close(0);
    server.connection.endOfInput();
    server.connection.goaway();
    server.connection.ping(() => {});
    expect([server.frames(), server.connection.hasOutput]).toEqual([[], false]);
    expect(server.events).toEqual(["closed: closed 2"]);
  });

  test("a pipe that is lost closes all; nothing is left to take", () => {
    const pair = new Pair();
    const call = pair.client.open();
    pair.client.connection.endOfInput();
    expect(call.end).toEqual({ by: "connection", code: 0, reason: "", unprocessed: false });
    expect(pair.client.end).toEqual({ by: "lost", code: 0, reason: "" });
    expect(pair.client.take()).toEqual([]);
    expect(pair.client.connection.isClosed).toBe(true);
  });

  test("the streams of a connection that fails, or that the peer ends by GOAWAY, learn the reason", () => {
    const server = new Alone();
    server.receive(headersOf(1, request()), headersOf(2, request()));
    expect(server.streams[0]?.end).toEqual({
      by: "connection",
      code: 1,
      reason: "HEADERS with an even stream id",
      unprocessed: false,
    });
    const client = new Alone({ role: "client" });
    const call = client.open();
    client.receive(goaway(1, 11, "too_many_pings"));
    client.connection.endOfInput();
    expect(call.end).toMatchObject({ by: "connection", code: 11, reason: "too_many_pings" });
  });

  test("a ping is answered once, and never after the end", () => {
    const server = new Alone();
    let answers = 0;
    for (let n = 0; n < 2; n++) server.connection.ping(() => answers++);
    const [one, two] = server.frames();
    const answer = (to: Frame | undefined) => frame(Type.PING, Flag.ACK, 0, to?.payload);
    server.receive(answer(two), answer(two), frame(Type.PING, Flag.ACK, 0, Buffer.alloc(8)));
    expect(answers).toBe(1);
    server.connection.endOfInput();
    server.connection.receive(answer(one));
    expect(answers).toBe(1);
  });
});
