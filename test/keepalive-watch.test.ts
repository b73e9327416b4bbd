/** When a silent connection is noticed, to the millisecond: the keepalive on a clock that the test sets. */
import { once } from "node:events";
import { connect } from "node:net";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CLIENT_TIMES, Keepalive, SERVER_TIMES } from "../src/connection/keepalive.ts";
import { until } from "./support/gate.ts";

/** A fake connection: the test sets what it receives, and reads when it was pinged and when it was closed. */
function fakeConnection(keepalive: Keepalive) {
  const fake = {
    bytes: 0,
    open: 0,
    pings: [] as number[],
    answer: undefined as (() => void) | undefined,
    deadAt: undefined as number | undefined,
    deadAfterMs: undefined as number | undefined,
    byte: () => void fake.bytes++,
    openCall: () => {
      if (fake.open++ === 0) watch.onBusy();
    },
    closeCall: () => void fake.open--,
    useHawserKeepalive: () => watch.useHawserKeepalive(),
    ask: () => watch.ask(),
  };
  const watch = keepalive.watch({
    get bytesRead() {
      return fake.bytes;
    },
    hasUnread: false,
    get isBusy() {
      return fake.open > 0;
    },
    ping(onAnswer) {
      fake.pings.push(performance.now());
      fake.answer = onAnswer;
    },
    onDead(afterMs) {
      fake.deadAt = performance.now();
      fake.deadAfterMs = afterMs;
      watch[Symbol.dispose]();
    },
  });
  return fake;
}

/** The milliseconds by which rounding, of the ping and of its answer, may delay it. */
const GRAIN_MS = 2;

describe("on a clock that the test sets", () => {
  beforeEach(() => {
    vi.useFakeTimers({
      toFake: ["setTimeout", "clearTimeout", "setImmediate", "clearImmediate", "performance"],
    });
  });
  afterEach(() => {
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  const sides = [
    ["a server, of a plain client", SERVER_TIMES, false, 60_000, 20_000],
    ["a server, of a client with sessions", SERVER_TIMES, true, 30_000, 10_000],
    ["a client, of a foreign server", CLIENT_TIMES, false, 300_000, 20_000],
    ["a client, of a Hawser server", CLIENT_TIMES, true, 30_000, 10_000],
  ] as const;

  test("a silent Hawser server is pinged when the network may have returned, and is dead after the timeout", () => {
    const fake = fakeConnection(new Keepalive({}, CLIENT_TIMES));
    fake.useHawserKeepalive();
    fake.openCall();
    vi.advanceTimersByTime(4000);
    fake.ask();
    expect(fake.pings).toEqual([]);
    vi.advanceTimersByTime(2000);
    fake.ask();
    fake.ask();
    expect(fake.pings).toHaveLength(1);
    vi.advanceTimersByTime(10_000 + GRAIN_MS);
    expect(fake.deadAfterMs).toBe(10_000);
  });

  test("no ping is sent early to other servers, nor without open calls", () => {
    const other = fakeConnection(new Keepalive({}, CLIENT_TIMES));
    other.openCall();
    const idle = fakeConnection(new Keepalive({}, CLIENT_TIMES));
    idle.useHawserKeepalive();
    vi.advanceTimersByTime(20_000);
    other.ask();
    idle.ask();
    expect([...other.pings, ...idle.pings]).toEqual([]);
    other.closeCall();
    vi.advanceTimersByTime(20_000);
  });

  test.each(sides)(
    "%s: a dead peer is known within interval, timeout and 5 percent of the interval, whenever its last byte came",
    (_, defaults, isHawser, intervalMs, timeoutMs) => {
      for (let at = 1; at <= intervalMs; at += intervalMs / 500 + 1) {
        const fake = fakeConnection(new Keepalive({}, defaults));
        if (isHawser) fake.useHawserKeepalive();
        fake.openCall();
        vi.advanceTimersByTime(at);
        fake.byte();
        const lastByteAt = performance.now();
        vi.advanceTimersByTime(2 * (intervalMs + timeoutMs));
        // The ping is not sent sooner, because servers count pings that come too often.
        expect(fake.pings[0]! - lastByteAt).toBeGreaterThanOrEqual(intervalMs);
        expect(fake.deadAt! - lastByteAt).toBeLessThanOrEqual(
          1.05 * intervalMs + timeoutMs + GRAIN_MS,
        );
        expect(fake.deadAfterMs).toBe(timeoutMs);
      }
    },
  );

  test("a peer whose last byte came just after a look, the worst case, is known as dead within 83 s at 60 s and 20 s", () => {
    const fake = fakeConnection(new Keepalive({}, SERVER_TIMES));
    fake.openCall();
    vi.advanceTimersByTime(57_001);
    fake.byte();
    const lastByteAt = performance.now();
    vi.advanceTimersByTime(200_000);
    expect(fake.deadAt! - lastByteAt).toBeGreaterThanOrEqual(80_000);
    expect(fake.deadAt! - lastByteAt).toBeLessThanOrEqual(83_000 + GRAIN_MS);
  });

  test("a peer that answers is never taken for dead, however silent its call is", () => {
    const fake = fakeConnection(new Keepalive({}, SERVER_TIMES));
    fake.openCall();
    for (let minute = 0; minute < 600; minute++) {
      vi.advanceTimersByTime(60_000);
      fake.byte();
      fake.answer?.();
    }
    expect(fake.deadAt).toBeUndefined();
    expect(fake.pings.length).toBeGreaterThan(500);
    fake.closeCall();
    vi.advanceTimersByTime(3_000);
  });

  test("any byte counts as an answer: a peer that sends a message slowly is not taken for dead", () => {
    const fake = fakeConnection(new Keepalive({ intervalMs: 1_000, timeoutMs: 500 }, SERVER_TIMES));
    fake.openCall();
    vi.advanceTimersByTime(1_000);
    expect(fake.pings).toHaveLength(1);
    for (let n = 0; n < 100; n++) {
      vi.advanceTimersByTime(400);
      fake.byte();
    }
    expect(fake.deadAt).toBeUndefined();
    // The silence is measured from that byte, not from the end of the wait for an answer.
    const lastByteAt = performance.now();
    vi.advanceTimersByTime(10_000);
    expect(fake.deadAt! - lastByteAt).toBeLessThanOrEqual(1_550 + GRAIN_MS);
  });

  test("no timer runs without open calls, and the silence counts from the next call", () => {
    const fake = fakeConnection(new Keepalive({}, SERVER_TIMES));
    expect(vi.getTimerCount()).toBe(0);
    fake.openCall();
    fake.byte();
    fake.closeCall();
    vi.advanceTimersByTime(3_000);
    expect(vi.getTimerCount()).toBe(0);
    vi.advanceTimersByTime(1_000_000);
    fake.openCall();
    vi.advanceTimersByTime(59_999);
    expect(fake.pings).toHaveLength(0);
    vi.advanceTimersByTime(3_001);
    expect(fake.pings).toHaveLength(1);
    fake.closeCall();
    vi.advanceTimersByTime(3_000);
    expect(fake.deadAt).toBeUndefined();
  });

  test("calls that begin and end do not delay the ping, which follows the newest byte", () => {
    const fake = fakeConnection(new Keepalive({}, SERVER_TIMES));
    fake.openCall();
    for (let second = 0; second < 59; second++) {
      fake.openCall();
      vi.advanceTimersByTime(1_000);
      fake.closeCall();
    }
    vi.advanceTimersByTime(4_000);
    expect(fake.pings).toHaveLength(1);
    fake.closeCall();
    vi.advanceTimersByTime(3_000);
  });

  test("calls that end by their deadlines, one after the other, do not hide a dead peer", () => {
    const fake = fakeConnection(new Keepalive({}, SERVER_TIMES));
    for (let second = 0; second < 83 && fake.deadAt === undefined; second++) {
      fake.openCall();
      vi.advanceTimersByTime(500);
      fake.closeCall();
      vi.advanceTimersByTime(500);
    }
    expect(fake.pings).toHaveLength(1);
    expect(fake.deadAfterMs).toBe(20_000);
  });

  test("a client whose server calls it too many pings waits twice as long", () => {
    const keepalive = new Keepalive({ intervalMs: 1_000, timeoutMs: 10 }, CLIENT_TIMES);
    const fake = fakeConnection(keepalive);
    keepalive.slowDown();
    fake.openCall();
    vi.advanceTimersByTime(1_999);
    expect(fake.pings).toHaveLength(0);
    vi.advanceTimersByTime(101);
    expect(fake.pings).toHaveLength(1);
    expect(fake.deadAt).toBeDefined();
  });
});

test("a process that was blocked past the timeout reads the answer that waits before it takes the peer for dead", async () => {
  // A peer on another thread, which answers while this thread is blocked.
  const worker = new Worker(
    `const { parentPort } = require("node:worker_threads");
     const server = require("node:net").createServer((socket) => socket.on("error", () => {}).pipe(socket));
     server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port));`,
    { eval: true },
  );
  const [port] = await once(worker, "message");
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  socket.resume();
  let pings = 0;
  let deadAt = 0;
  const keepalive = new Keepalive({ intervalMs: 20, timeoutMs: 50 }, SERVER_TIMES);
  using watch = keepalive.watch({
    get bytesRead() {
      return socket.bytesRead;
    },
    hasUnread: false,
    isBusy: true,
    ping() {
      socket.write("x");
      pings++;
      setImmediate(() => {
        const until = performance.now() + 150;
        while (performance.now() < until);
      });
    },
    onDead() {
      deadAt = pings;
    },
  });
  watch.onBusy();
  await until("five pings were answered", () => pings >= 5 || deadAt > 0);
  expect(deadAt).toBe(0);
  socket.destroy();
  await worker.terminate();
});
