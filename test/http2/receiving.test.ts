/** What an engine does with received frames: windows and credit, padding, content-length, streams that are closed. */

import { describe, expect, test } from "vitest";
import type { Frame } from "../support/frame-splitter.ts";
import {
  data,
  Flag,
  frame,
  Http2Code,
  rst,
  settings,
  Type,
  uint32,
  windowUpdate,
} from "../support/wire.ts";
import { Alone, bytesOf, headersOf, Pair, request, response } from "./support/pair.ts";

const updates = (frames: readonly Frame[]) =>
  frames
    .filter(({ type }) => type === Type.WINDOW_UPDATE)
    .map(({ stream, payload }) => [stream, payload.readUInt32BE()]);
const resets = (frames: readonly Frame[]) =>
  frames
    .filter(({ type }) => type === Type.RST_STREAM)
    .map(({ stream, payload }) => [stream, payload.readUInt32BE()]);

function serverWithRequest(options = {}) {
  const server = new Alone(options);
  server.receive(headersOf(1, request()));
  const [log] = server.streams;
  if (log === undefined) throw new Error("no request");
  log.returnsCredit = false;
  return { server, log, stream: log.stream };
}

describe("the window of a stream", () => {
  test("is extended when a quarter of it was returned", () => {
    const { server, log, stream } = serverWithRequest();
    server.receive(data(1, new Uint8Array(16_000)));
    expect(stream.unreturnedBytes).toBe(16_000);
    stream.returnCredit(16_000);
    expect(updates(server.frames())).toEqual([]);
    server.receive(data(1, new Uint8Array(384)));
    stream.returnCredit(384);
    expect(updates(server.frames())).toEqual([[1, 16_384]]);
    expect(log.data).toHaveLength(16_384);
  });

  test("is extended by 256 KiB if a quarter of it is more", () => {
    const { server, stream } = serverWithRequest();
    stream.setWindow(4_000_000);
    server.frames();
    for (let n = 0; n < 16; n++) {
      server.receive(data(1, new Uint8Array(16_000)));
      stream.returnCredit(16_000);
    }
    expect(updates(server.frames())).toEqual([]);
    server.receive(data(1, new Uint8Array(6144)));
    stream.returnCredit(6144);
    expect(updates(server.frames())).toEqual([[1, 262_144]]);
  });

  test("is kept: more DATA is a stream error FLOW_CONTROL_ERROR", () => {
    const { server, log } = serverWithRequest();
    for (let n = 0; n < 4; n++) server.receive(data(1, new Uint8Array(16_000)));
    server.receive(data(1, new Uint8Array(1535)));
    expect(log.end).toBeUndefined();
    expect(resets(server.receive(data(1, bytesOf("x"))))).toEqual([[1, 3]]);
    expect(log.end).toMatchObject({
      by: "invalid",
      code: 3,
      reason: "DATA over the stream's window",
    });
  });

  test("set to more is announced at once; set to less, it shrinks as bytes come", () => {
    const { server, stream } = serverWithRequest();
    stream.setWindow(1_000_000);
    expect(updates(server.frames())).toEqual([[1, 934_465]]);
    stream.setWindow(1);
    for (let n = 0; n < 60; n++) {
      server.receive(data(1, new Uint8Array(15_600)));
      stream.returnCredit(15_600);
    }
    // 936,000 of 1,000,000 bytes came; the window that is kept up is 65,535.
    expect(updates(server.frames())).toEqual([]);
    for (let n = 0; n < 3; n++) server.receive(data(1, new Uint8Array(15_600)));
    stream.returnCredit(46_800);
    expect(updates(server.frames())).toEqual([[1, 48_335]]);
  });

  test("is not extended when the peer has ended its side", () => {
    const { server, stream } = serverWithRequest();
    for (let n = 0; n < 3; n++) server.receive(data(1, new Uint8Array(16_000)));
    server.receive(data(1, new Uint8Array(10), true));
    stream.returnCredit(48_010);
    expect(updates(server.frames())).toEqual([]);
  });

  test("below 65 535 bytes holds for the peer from its acknowledgement on", () => {
    const pair = new Pair({ server: { streamWindowBytes: 100 } });
    const call = pair.client.open();
    // The client has not read the server's SETTINGS.
    expect(call.stream.write(new Uint8Array(50_000))).toBe(true);
    pair.server.onStream = (log) => {
      log.returnsCredit = false;
    };
    pair.moveOnce(pair.client, pair.server);
    expect(pair.server.streams[0]?.data).toHaveLength(50_000);
    pair.move();
    expect(call.stream.write(new Uint8Array(60_000))).toBe(false);
    pair.move();
    expect(call.stream.waitingBytes).toBe(60_000);
    pair.server.streams[0]?.stream.returnCredit(50_000);
    pair.move();
    expect(call.stream.waitingBytes).toBe(59_900);
    expect(pair.server.end).toBeUndefined();
  });
});

describe("the window of the connection", () => {
  test("is extended at receipt, at half, whether streams are read or not", () => {
    const server = new Alone({ connectionWindowBytes: 100_000 });
    const frames = [1, 3, 5].flatMap((id) =>
      server.receive(headersOf(id, request()), ...Array(2).fill(data(id, new Uint8Array(16_000)))),
    );
    expect(updates(frames).filter(([stream]) => stream === 0)).toEqual([[0, 64_000]]);
  });
});

describe("padding", () => {
  const padded = (id: number, bytes: Uint8Array, padding: number, end = false) =>
    frame(
      Type.DATA,
      Flag.PADDED | (end ? Flag.END_STREAM : 0),
      id,
      Buffer.concat([Buffer.of(padding), bytes, Buffer.alloc(padding)]),
    );

  test("is dropped, counts for the window, and returns its credit itself", () => {
    const { server, log, stream } = serverWithRequest();
    const frames: Frame[] = [];
    for (let n = 0; n < 70; n++)
      frames.push(...server.receive(padded(1, bytesOf("x".repeat(235)), 234)));
    expect(log.data).toHaveLength(70 * 235);
    expect(stream.unreturnedBytes).toBe(70 * 235);
    // 70 frames of 470 bytes: half of the credit comes from padding, and is less than a quarter of the window until the end.
    expect(updates(frames)).toEqual([[1, 16_450]]);
    server.receive(padded(1, bytesOf("x".repeat(300)), 20, true));
    expect(log.events.slice(-2)).toEqual(["data 300", "end"]);
  });

  test.each([
    ["DATA", Type.DATA],
    ["HEADERS", Type.HEADERS],
  ])("of %s that is longer than the frame ends the connection", (_, type) => {
    const { server } = serverWithRequest();
    const id = type === Type.DATA ? 1 : 3;
    server.receive(frame(type, Flag.PADDED | Flag.END_HEADERS, id, Buffer.from([3, 1, 1])));
    expect(server.end).toMatchObject({ by: "failed", code: Http2Code.PROTOCOL_ERROR });
  });

  test.each([0, 1, 255])("of %i bytes may be cut anywhere", (padding) => {
    const bytes = padded(1, bytesOf("hello"), padding, true);
    for (let cut = 1; cut < bytes.length; cut++) {
      const { server, log } = serverWithRequest();
      server.receive(bytes.subarray(0, cut), bytes.subarray(cut));
      expect(Buffer.from(log.data).toString()).toBe("hello");
      expect(log.events.at(-1)).toBe("end");
    }
  });
});

describe("content-length", () => {
  const withLength = (length: number) => request("content-length", `${length}`);

  test("equal to the DATA is fine", () => {
    const server = new Alone();
    server.receive(
      headersOf(1, withLength(6)),
      data(1, bytesOf("abc")),
      data(1, bytesOf("def"), true),
    );
    expect(server.streams[0]?.events.at(-1)).toBe("end");
  });

  test.each([
    ["more DATA", [data(1, bytesOf("abcdefg"))], /more DATA than content-length/],
    ["less DATA", [data(1, bytesOf("abc"), true)], /3 bytes are missing/],
    [
      "less DATA, and trailers",
      [data(1, bytesOf("ab")), headersOf(1, ["x", "1"], true)],
      /4 bytes/,
    ],
  ] as const)("and %s is a stream error", (_, frames, reason) => {
    const server = new Alone();
    server.receive(headersOf(1, withLength(6)));
    expect(resets(server.receive(...frames))).toEqual([[1, 1]]);
    expect(server.streams[0]?.end).toMatchObject({ by: "invalid", code: 1 });
    expect(server.streams[0]?.end?.reason).toMatch(reason);
    expect(server.streams[0]?.events).not.toContain("end");
  });

  test("of a request without a body, or that is no number, is a stream error", () => {
    const server = new Alone();
    expect(resets(server.receive(headersOf(1, withLength(6), true)))).toEqual([[1, 1]]);
    const wrong = request("content-length", "six");
    expect(resets(server.receive(headersOf(3, wrong)))).toEqual([[3, 1]]);
    expect(server.requests).toEqual([]);
  });

  test.each([
    ["of a response to HEAD", "HEAD", "200"],
    ["of a response 204", "GET", "204"],
    ["of a response 304", "GET", "304"],
  ])("%s says nothing about DATA, and there may be none", (_, method, status) => {
    const get = [":method", method, ":scheme", "http", ":path", "/"];
    const answer = [":status", status, "content-length", "17"];
    const client = new Alone({ role: "client" });
    const good = client.open(get, true);
    client.receive(headersOf(1, answer, true));
    expect(good.end).toMatchObject({ by: "ended" });
    const bad = client.open(get, true);
    client.receive(headersOf(3, answer), data(3, bytesOf("x"), true));
    expect(bad.end).toMatchObject({ by: "invalid", code: 1 });
  });
});

describe("informational headers", () => {
  test("are sent before the response, and not reported", () => {
    const pair = new Pair();
    pair.server.onStream = ({ stream }) => {
      stream.sendHeaders([":status", "103", "link", "</x>"]);
      expect(stream.headersSent).toBe(false);
      expect(() => stream.sendHeaders([":status", "103"], true)).toThrow(/do not end a stream/);
      stream.sendHeaders(response(), true);
    };
    const call = pair.client.open(request(), true);
    pair.move();
    expect(call.events).toEqual(["headers, end", "end", "closed: ended 0"]);
  });

  test("that end the stream are a stream error, and so is DATA after them alone", () => {
    const client = new Alone({ role: "client" });
    const one = client.open();
    client.receive(headersOf(1, [":status", "100"], true));
    expect(one.end).toMatchObject({ by: "invalid", code: 1 });
    const two = client.open();
    client.receive(headersOf(3, [":status", "100"]), data(3, bytesOf("x")));
    expect(two.end?.reason).toBe("DATA before the response's headers");
  });
});

describe("a closed stream", () => {
  test("that this side has reset may get all that was in flight", () => {
    const { server, stream } = serverWithRequest();
    stream.reset(Http2Code.CANCEL);
    server.take();
    const late = [
      data(1, bytesOf("hello")),
      windowUpdate(1, 5),
      headersOf(1, ["x", "1"], true),
      rst(1, 8),
    ];
    expect(server.receive(...late)).toEqual([]);
    expect(server.end).toBeUndefined();
  });

  test("is remembered however many streams were reset", () => {
    const server = new Alone();
    for (let id = 1; id < 2001; id += 2) {
      server.receive(headersOf(id, request()));
      server.streams.pop()?.stream.reset(8);
    }
    server.take();
    for (let id = 1; id < 2001; id += 2) {
      expect(server.receive(data(id, bytesOf("hello")), headersOf(id, ["x", "1"], true))).toEqual(
        [],
      );
    }
    expect(server.end).toBeUndefined();
  });

  test("that the peer has ended or reset gets STREAM_CLOSED for DATA, and ends the connection for HEADERS", () => {
    const server = new Alone();
    server.receive(headersOf(1, request()), rst(1, 8));
    expect(resets(server.receive(data(1, bytesOf("hello"))))).toEqual([[1, 5]]);
    server.receive(headersOf(3, request(), true));
    server.streams[1]?.stream.sendHeaders(response(), true);
    server.receive(headersOf(3, ["x", "1"], true));
    expect(server.end).toMatchObject({ by: "failed", code: Http2Code.STREAM_CLOSED });
  });

  test("at the peer's side alone gets a stream error STREAM_CLOSED for DATA and HEADERS", () => {
    const server = new Alone();
    server.receive(headersOf(1, request(), true), headersOf(3, request(), true));
    expect(resets(server.receive(data(1, bytesOf("hello"))))).toEqual([[1, 5]]);
    expect(resets(server.receive(headersOf(3, ["x", "1"], true)))).toEqual([[3, 5]]);
    expect(server.streams.map(({ end }) => end?.by)).toEqual(["invalid", "invalid"]);
  });
});

describe("what breaks the protocol for all", () => {
  test.each([
    ["an even stream id", [headersOf(2, request())], "HEADERS with an even stream id"],
    ["DATA for an idle stream", [data(5, bytesOf("hello"))], /DATA for a stream that was not/],
    ["WINDOW_UPDATE for an idle stream", [windowUpdate(5, 1)], /WINDOW_UPDATE for a stream/],
    ["RST_STREAM for an idle stream", [rst(5, 8)], /RST_STREAM for a stream/],
    ["DATA without a stream", [data(0, bytesOf("x"))], "DATA without a stream"],
    ["PING on a stream", [frame(Type.PING, 0, 1, Buffer.alloc(8))], "PING on a stream"],
    ["PING of 7 bytes", [frame(Type.PING, 0, 0, Buffer.alloc(7))], "PING of 7 bytes"],
    ["PUSH_PROMISE", [frame(Type.PUSH_PROMISE, 4, 1, uint32(2))], /push is not enabled/],
    ["SETTINGS of 5 bytes", [frame(Type.SETTINGS, 0, 0, Buffer.alloc(5))], "SETTINGS of 5 bytes"],
    ["an acknowledgement of 6 bytes", [frame(Type.SETTINGS, 1, 0, Buffer.alloc(6))], /6 bytes/],
    ["PRIORITY of 4 bytes", [frame(Type.PRIORITY, 0, 1, Buffer.alloc(4))], "PRIORITY of 4 bytes"],
    ["a stream on itself", [frame(Type.PRIORITY, 0, 1, Buffer.from([0, 0, 0, 1, 0]))], /itself/],
    ["CONTINUATION alone", [frame(Type.CONTINUATION, 4, 1)], /without a header block/],
    ["a block cut short", [frame(Type.HEADERS, 0, 1), data(1)], "DATA inside a header block"],
    ["a wrong block", [frame(Type.HEADERS, 4, 1, Buffer.from([0xff]))], /HPACK/],
    ["a frame of 16 385 bytes", [data(1, new Uint8Array(16_385))], /16385 bytes/],
    ["GOAWAY of 7 bytes", [frame(Type.GOAWAY, 0, 0, Buffer.alloc(7))], "GOAWAY of 7 bytes"],
    ["a window of 2^31", [windowUpdate(0, 2 ** 31 - 1)], /over 2\^31-1/],
    ["an empty WINDOW_UPDATE", [windowUpdate(0, 0)], "WINDOW_UPDATE of 0 bytes"],
  ] as const)("%s ends the connection, and GOAWAY says so", (_, frames, reason) => {
    const server = new Alone();
    const sent = server.receive(...frames);
    expect(server.end).toMatchObject({ by: "failed" });
    expect(server.end?.reason).toMatch(reason);
    expect(sent.at(-1)?.type).toBe(Type.GOAWAY);
    expect(sent.at(-1)?.payload.readUInt32BE(4)).toBe(server.end?.code);
    expect(sent.at(-1)?.payload.toString("latin1", 8)).toBe(server.end?.reason);
    expect(server.receive(headersOf(1, request()))).toEqual([]);
    expect(server.requests).toEqual([]);
  });

  test("SETTINGS that make the window of a stream larger than 2^31-1", () => {
    const { server, log } = serverWithRequest();
    server.receive(windowUpdate(1, 2 ** 31 - 1 - 65_535));
    expect(server.end).toBeUndefined();
    server.receive(settings({ 4: 65_536 }));
    expect(server.end).toMatchObject({ by: "failed", code: Http2Code.FLOW_CONTROL_ERROR });
    expect(log.end?.by).toBe("connection");
  });

  test("a WINDOW_UPDATE that does so, or that is empty, ends its stream alone", () => {
    const { server, log } = serverWithRequest();
    server.receive(headersOf(3, request()));
    expect(resets(server.receive(windowUpdate(1, 2 ** 31 - 65_535)))).toEqual([[1, 3]]);
    expect(resets(server.receive(windowUpdate(3, 0)))).toEqual([[3, 1]]);
    expect([log.end?.by, server.end]).toEqual(["invalid", undefined]);
  });

  test("a client takes no requests", () => {
    for (const id of [1, 2]) {
      const client = new Alone({ role: "client" });
      client.receive(headersOf(id, request()));
      expect(client.end?.reason).toBe("HEADERS for a stream that was not opened");
    }
  });

  test("frames of unknown types, and priorities, are ignored", () => {
    const server = new Alone();
    const unknown = frame(0xee, 0xff, 7, Buffer.alloc(1000));
    const priority = frame(Type.PRIORITY, 0, 9, Buffer.from([0, 0, 0, 1, 0]));
    for (const cut of [0, 1, 8, 9, 10, 500]) {
      expect(server.receive(unknown.subarray(0, cut), unknown.subarray(cut), priority)).toEqual([]);
    }
    server.receive(headersOf(1, request()));
    expect(server.requests).toHaveLength(1);
  });
});
