/** The budget of a connection for frames that bring nothing (src/http2/abuse.ts). */

import { describe, expect, test } from "vitest";
import { AbuseBudget, PingStrikes } from "../../src/http2/abuse.ts";
import type { Frame } from "../support/frame-splitter.ts";
import { data, Flag, frame, rst, settings, Type, uint32, windowUpdate } from "../support/wire.ts";
import { Alone, FakeClock, headersOf, request, response } from "./support/pair.ts";

/** How many single units may be spent now. */
function left(budget: AbuseBudget): number {
  for (let n = 0; ; n++) {
    try {
      budget.spend("too_many_pings");
    } catch {
      return n;
    }
  }
}

describe("a budget", () => {
  test("is full at first, and is refilled by time, 200 units a second, up to its capacity", () => {
    const clock = new FakeClock();
    const budget = new AbuseBudget(clock);
    expect(left(budget)).toBe(1000);
    clock.advance(5);
    // One unit was spent in vain.
    expect(left(budget)).toBe(0);
    clock.advance(2500);
    expect(left(budget)).toBe(499);
    clock.advance(1_000_000);
    expect(left(budget)).toBe(1000);
  });

  test("refills the same however often it is looked at", () => {
    const clock = new FakeClock();
    const budget = new AbuseBudget(clock, 100);
    budget.spend("too_many_pings", 100);
    for (let n = 0; n < 700; n++) {
      clock.advance(1);
      budget.spend("too_many_pings", 0);
    }
    expect(left(budget)).toBe(100);
    for (let n = 0; n < 3; n++) clock.advance(3);
    expect(left(budget)).toBe(0);
  });

  test("is refilled by work, up to its capacity", () => {
    const budget = new AbuseBudget(new FakeClock(), 100);
    budget.earn(1000);
    expect(left(budget)).toBe(100);
    budget.earn(11);
    expect(left(budget)).toBe(10);
  });

  test("says what it was spent on, and its size", () => {
    const budget = new AbuseBudget(new FakeClock(), 10);
    budget.spend("too_many_resets", 10);
    expect(() => budget.spend("too_many_settings")).toThrow(
      expect.objectContaining({
        code: 11,
        debugData: "too_many_settings",
        message: "too_many_settings: over the abuse budget of 10 units",
      }),
    );
  });

  test("lets two frames answer each DATA frame and each KiB of it, and no more than 4,096 together", () => {
    const budget = new AbuseBudget(new FakeClock(), 0);
    const answers = (dataFrames: number, dataBytes: number) => {
      for (let n = 0; ; n++) {
        try {
          budget.spendOnAnswer("too_many_window_updates", { dataFrames, dataBytes });
        } catch {
          return n;
        }
      }
    };
    expect([answers(0, 0), answers(3, 15), answers(3, 15)]).toEqual([0, 6, 0]);
    expect([answers(3, 511), answers(3, 512), answers(4, 16_896)]).toEqual([0, 1, 34]);
    expect(answers(10_000, 20_000)).toBe(4096);
  });

  test("counts settings by eight, and a list by each KiB above 8 KiB beyond its block", () => {
    const spent = (spend: (budget: AbuseBudget) => void) => {
      const budget = new AbuseBudget(new FakeClock(), 1000);
      spend(budget);
      return 1000 - left(budget);
    };
    expect([0, 1, 8, 9, 16, 17].map((n) => spent((b) => b.spendOnSettings(n)))).toEqual([
      ...[1, 1, 1, 2, 2, 3],
    ]);
    const list = (bytes: number, block: number) => spent((b) => b.spendOnList(bytes, block));
    expect([list(8192, 0), list(9000, 1000), list(8193, 0), list(65_536, 100)]).toEqual([
      ...[0, 0, 1, 56],
    ]);
  });
});

describe("ping strikes", () => {
  test("three pings that come too early, without data between them, are too many", () => {
    const strikes = new PingStrikes(5000);
    strikes.onPing(0, 0);
    strikes.onPing(100, 0);
    strikes.onPing(200, 0);
    expect(() => strikes.onPing(300, 0)).toThrow(
      expect.objectContaining({ code: 11, debugData: "too_many_pings" }),
    );
  });

  test("a ping after headers or data is none, and forgives those before", () => {
    const strikes = new PingStrikes(5000);
    for (let at = 0; at < 100; at++) strikes.onPing(at, at >> 1);
  });

  test("a ping after the interval is none", () => {
    const strikes = new PingStrikes(5000);
    for (let at = 0; at < 100; at++) strikes.onPing(at * 5000, 0);
  });

  test("a server sends GOAWAY too_many_pings, unless the pings are those of this engine, or not limited", () => {
    const ping = frame(Type.PING, 0, 0, Buffer.alloc(8));
    const strict = new Alone();
    const frames = strict.receive(ping, ping, ping, ping);
    expect(frames.map(({ type }) => type)).toEqual([...Array(3).fill(Type.PING), Type.GOAWAY]);
    expect(frames.at(-1)?.payload.toString("latin1", 8)).toBe("too_many_pings");
    const own = new Alone();
    const ownPing = frame(Type.PING, 0, 0, Buffer.from("haws\0\0\0\x01", "latin1"));
    own.receive(...Array(900).fill(ownPing));
    const unlimited = new Alone({ minPingIntervalMs: 0 });
    unlimited.receive(...Array(900).fill(ping));
    const client = new Alone({ role: "client" });
    client.receive(...Array(900).fill(ping));
    expect([own, unlimited, client].map(({ end }) => end)).toEqual(Array(3).fill(undefined));
    expect(own.receive(...Array(200).fill(ownPing)).at(-1)?.type).toBe(Type.GOAWAY);
  });

  test("the pings of a bandwidth estimator, one for each DATA that it gets, are free", () => {
    const server = new Alone();
    server.receive(headersOf(1, request()));
    const stream = server.streams[0]?.stream;
    stream?.sendHeaders(response());
    for (let n = 0; n < 5000; n++) {
      stream?.writeMessage(0, new Uint8Array(1000));
      server.take();
      server.receive(frame(Type.PING, 0, 0, Buffer.alloc(8)), windowUpdate(1, 1005));
      if (n % 30 === 0) server.receive(windowUpdate(0, 30_150));
    }
    expect(server.end).toBeUndefined();
  });
});

const informational = (id: number) => headersOf(id, [":status", "103"]);

/** Each makes the n-th frame, or frames, of a flood of a server. */
const floods: Record<string, (n: number) => readonly Uint8Array[]> = {
  too_many_resets: (n) => [headersOf(2 * n + 3, request()), rst(2 * n + 3, 8)],
  too_many_stream_errors: (n) => [headersOf(2 * n + 3, ["x", "1"])],
  too_many_refused_streams: (n) => [headersOf(2 * n + 3, request())],
  too_many_frames_for_closed_streams: () => [data(1, Buffer.alloc(10))],
  too_many_continuations: (n) => [
    frame(Type.HEADERS, Flag.END_STREAM, 2 * n + 3, headersOf(1, request()).subarray(9)),
    ...[0, 0, Flag.END_HEADERS].map((flags) => frame(Type.CONTINUATION, flags, 2 * n + 3)),
  ],
  too_many_tiny_data_frames: () => [data(1, Buffer.alloc(1))],
  too_much_padding: () => [frame(Type.DATA, Flag.PADDED, 1, Buffer.alloc(17).fill(9, 0, 1))],
  too_many_settings: () => [settings({ 3: 1 })],
  too_many_pings: () => [frame(Type.PING, 0, 0, Buffer.alloc(8))],
  too_many_window_updates: () => [windowUpdate(0, 1)],
  too_many_priorities: () => [frame(Type.PRIORITY, 0, 7, Buffer.alloc(5))],
  too_many_goaways: () => [frame(Type.GOAWAY, 0, 0, Buffer.concat([uint32(0), uint32(0)]))],
  too_many_unknown_frames: () => [frame(0xee, 0, 0)],
};

/** What the server is before the flood. */
const before: Record<string, (server: Alone) => void> = {
  too_many_frames_for_closed_streams: (server) => void server.receive(rst(1, 8)),
};

describe.each(Object.keys(floods))("a flood: %s", (name) => {
  const options = {
    minPingIntervalMs: 0,
    ...(name === "too_many_refused_streams" ? { maxConcurrentStreams: 1 } : {}),
  };

  test("ends the connection within 2,000 frames, and GOAWAY names it", () => {
    const server = new Alone(options);
    server.receive(headersOf(1, request()));
    before[name]?.(server);
    let sent: Frame[] = [];
    let frames = 0;
    for (let n = 0; server.end === undefined; n++) {
      const next = (floods[name] as (n: number) => readonly Uint8Array[])(n);
      frames += next.length;
      sent = server.receive(...next);
      // What was answered is no flood.
      if (name === "too_many_continuations") server.streams.at(-1)?.stream.reset(0);
      if (frames > 5000) break;
    }
    expect(server.end).toMatchObject({ by: "failed", code: 11 });
    expect(frames).toBeLessThanOrEqual(name === "too_many_continuations" ? 4000 : 2000);
    expect(sent.at(-1)?.payload.toString("latin1", 8)).toBe(name);
  });
});

test("a server that floods a client with informational headers is left", () => {
  const client = new Alone({ role: "client" });
  client.open();
  for (let n = 0; n < 1001; n++) client.receive(informational(1));
  expect(client.end?.reason).toMatch(/^too_many_informational_headers/);
});

test("a table that makes header lists large is limited", () => {
  const server = new Alone();
  const field = Buffer.concat([
    Buffer.from([0x40, 1, 0x78, 0x7f, 0xa1, 0x1e]),
    Buffer.alloc(4000, "v"),
  ]);
  const block = headersOf(1, request()).subarray(9);
  server.receive(frame(Type.HEADERS, 5, 1, Buffer.concat([block, field])));
  const bomb = Buffer.concat([block, Buffer.alloc(14, 0xbe)]);
  let blocks = 0;
  for (; server.end === undefined; blocks++)
    server.receive(frame(Type.HEADERS, 5, 2 * blocks + 3, bomb));
  expect(server.end?.reason).toMatch(/^too_large_header_lists/);
  expect(blocks).toBeLessThan(30);
});

test("100,000 messages of one byte, a frame each, in one chunk per window, cost nothing", () => {
  const server = new Alone();
  server.receive(headersOf(1, request()));
  const message = data(1, Buffer.from([0, 0, 0, 0, 1, 120]));
  const window = Buffer.concat(Array(5000).fill(message));
  for (let n = 0; n < 20; n++) server.receive(window);
  expect(server.end).toBeUndefined();
  expect(server.streams[0]?.data).toHaveLength(600_000);
});

test("a request that came after the last GOAWAY may send what a stream's window allows; more costs units", () => {
  const server = new Alone({ connectionWindowBytes: 10_000_000 });
  server.receive(headersOf(1, request()));
  server.connection.goaway();
  server.clock.advance(1000);
  server.receive(headersOf(3, request()));
  let frames = 0;
  for (; server.end === undefined && frames < 20_000; frames++)
    server.receive(data(3, Buffer.alloc(5)));
  expect(server.end?.reason).toMatch(/^too_many_frames_for_closed_streams/);
  expect(frames).toBe(65_535 / 5 + 1000);
});

test.each([0, 4])(
  "DATA of %i bytes for a request that came after the last GOAWAY costs a unit",
  (size) => {
    const server = new Alone();
    server.receive(headersOf(1, request()));
    server.connection.goaway();
    server.clock.advance(1000);
    server.receive(headersOf(3, request()));
    let frames = 0;
    for (; server.end === undefined && frames < 2000; frames++)
      server.receive(data(3, Buffer.alloc(size)));
    expect(server.end?.reason).toMatch(/^too_many_frames_for_closed_streams/);
    expect(frames).toBe(1000);
  },
);

test("resets that cross the end of a stream cost nothing", () => {
  const server = new Alone();
  for (let id = 1; id < 10_000; id += 2) {
    server.receive(headersOf(id, request(), true));
    server.streams.pop()?.stream.sendHeaders(response(), true);
  }
  for (let id = 1; id < 10_000; id += 2) server.receive(rst(id, 8));
  expect(server.end).toBeUndefined();
});

test("a client that cancels thousands of calls at once bears the answers that were in flight", () => {
  const client = new Alone({ role: "client" });
  const calls = Array.from({ length: 5000 }, () => client.open());
  for (const call of calls) call.stream.reset(8);
  for (let id = 1; id < 10_000; id += 2) {
    client.receive(headersOf(id, response()), data(id, Buffer.alloc(20)));
    client.receive(headersOf(id, ["grpc-status", "0"], true));
  }
  expect(client.end).toBeUndefined();
});

test("a peer that provokes frames and does not read them is left at 1 MiB", () => {
  const server = new Alone({ abuseBudget: Number.POSITIVE_INFINITY, minPingIntervalMs: 0 });
  server.connection.block();
  const pings = Buffer.concat(Array(1000).fill(frame(Type.PING, 0, 0, Buffer.alloc(8))));
  let sent = 0;
  for (; server.end === undefined; sent += 1000) server.connection.receive(pings);
  expect(server.end).toMatchObject({ by: "failed", code: 11 });
  expect(sent * 17).toBeGreaterThan(1024 * 1024);
  expect(sent * 17).toBeLessThan(1024 * 1024 + 17_001);
});
