/** The receive window of a stream over a link with a delay: two engines without sockets, and a clock that a test moves. */
import { describe, expect, test } from "vitest";
import { CONTROL_FRAMES } from "../src/session/control.ts";
import { upload } from "./support/upload-world.ts";

const KB = 1024;
const MB = 1024 * KB;
const FIRST = 65_535;

/** 10 MB/s. */
const bytesPerMs = 10_000;

describe("over a link of 10 MB/s", () => {
  test.each([
    ["", undefined],
    [" of a session", CONTROL_FRAMES],
  ])(
    "with 50 ms there and back, a window%s grows to what is under way, and the link is used",
    (_, controlFrames) => {
      const { pass, received, windowBytes } = upload({
        roundTripMs: 50,
        bytesPerMs,
        controlFrames,
      });
      pass(1000);
      const before = received();
      pass(500);
      expect(received() - before).toBeGreaterThan(0.95 * 500 * bytesPerMs);
      expect(windowBytes()).toBeGreaterThan(50 * bytesPerMs);
      expect(windowBytes()).toBeLessThan(3.3 * 50 * bytesPerMs);
    },
  );

  test("without a delay, a window stays small, and the link is used", () => {
    const { pass, received, windowBytes } = upload({ roundTripMs: 0, bytesPerMs });
    pass(1000);
    const before = received();
    pass(500);
    expect(received() - before).toBeGreaterThan(0.95 * 500 * bytesPerMs);
    expect(windowBytes()).toBeLessThanOrEqual(2 * FIRST);
  });
});

test("a window does not grow for a peer that sends less than it may", () => {
  const { pass, windowBytes, pings } = upload({ roundTripMs: 50, bytesPerMs, offeredPerMs: 500 });
  pass(5000);
  expect(windowBytes()).toBe(FIRST);
  // At most one for each half of a window.
  expect(pings()).toBeLessThanOrEqual((5000 * 500) / (FIRST / 2));
});

test("a window that does not grow any more is measured a hundred times a second at most", () => {
  const { pass, pings } = upload({ roundTripMs: 0, bytesPerMs });
  pass(1000);
  const before = pings();
  pass(1000);
  expect(pings() - before).toBeGreaterThan(0);
  expect(pings() - before).toBeLessThanOrEqual(100);
});

test("windows grow by half of the connection's budget, and no further, all together", () => {
  const { pass, windowBytes } = upload({
    roundTripMs: 50,
    bytesPerMs,
    budgetBytes: 2 * MB,
    streams: 3,
  });
  pass(3000);
  expect(windowBytes()).toBeGreaterThan(MB);
  expect(windowBytes()).toBeLessThanOrEqual(MB + 3 * FIRST);
});

test("windows of small messages grow less: each message that waits costs more than its bytes", () => {
  const { pass, windowBytes } = upload({
    ...{ roundTripMs: 300, bytesPerMs },
    ...{ budgetBytes: 2 * MB, messageBytes: 19 },
  });
  pass(3000);
  // 24 bytes of each message with its prefix, and 192 that it costs.
  expect(windowBytes()).toBeGreaterThan(FIRST);
  expect(windowBytes()).toBeLessThan(FIRST + (1.01 * MB * 24) / (24 + 192));
});

test("a window that is not used becomes small again when another stream needs its capacity", () => {
  const world = upload({ roundTripMs: 300, bytesPerMs, budgetBytes: 2 * MB });
  world.pass(4000);
  const [first] = world.windows();
  expect(first).toBeGreaterThan(0.9 * MB);
  world.pause();
  world.pass(5000);
  expect(world.windows()).toEqual([first]);
  world.open();
  world.pass(5000);
  const [idle, used] = world.windows();
  expect(idle).toBe(FIRST);
  expect(used).toBeGreaterThan(0.9 * MB);
});
