import { expect, test } from "vitest";
import { Redial } from "../src/session/redial.ts";
import { FakeTime } from "./support/session-sim-clock.ts";

// When a session that has lost its stream dials again, and when it gives up.

const GRACE_MS = 30_000;

/** A session whose attempts bring nothing, unless the test says so. */
function cutOff(random?: () => number) {
  const time = new FakeTime();
  const dialledMs: number[] = [];
  let resuming = 0;
  let givenUpMs: number | undefined;
  let onResuming = () => {};
  const redial = new Redial(time.clock(0, random), GRACE_MS, {
    onResuming() {
      resuming++;
      onResuming();
    },
    onDue() {
      redial.onDial();
      dialledMs.push(time.nowMs);
    },
    onGivenUp() {
      givenUpMs = time.nowMs;
      redial.stop();
    },
  });
  redial.onDial();
  return {
    time,
    redial,
    dialledMs,
    get resuming() {
      return resuming;
    },
    /** Calls `listener` when the session is told that it resumes. */
    whenResuming(listener: () => void) {
      onResuming = listener;
    },
    get givenUpMs() {
      return givenUpMs;
    },
    /** Lets the next attempts fail immediately; returns how long each waited for its turn. */
    pausesOf(attempts: number): number[] {
      return Array.from({ length: attempts }, () => {
        const lostMs = time.nowMs;
        const before = dialledMs.length;
        redial.onLost();
        while (dialledMs.length === before) time.pass((time.nextMs as number) - time.nowMs);
        return Math.round(time.nowMs - lostMs);
      });
    },
  };
}

test("the first attempt comes immediately, the next after pauses that grow to 5 s", () => {
  expect(cutOff().pausesOf(7)).toEqual([0, 100, 160, 256, 410, 655, 1049]);
  expect(cutOff().pausesOf(12).slice(9)).toEqual([4295, 5000, 5000]);
});

test("the pauses are spread by a fifth either way", () => {
  expect(cutOff(() => 0).pausesOf(3)).toEqual([0, 80, 128]);
  expect(cutOff(() => 1).pausesOf(3)).toEqual([0, 120, 192]);
});

test.each([
  ["that brought something", [0, 100], 0, (redial: Redial) => redial.onArrival()],
  ["by which more had arrived", [0, 100], 0, (redial: Redial) => redial.onAnswer(true)],
  ["that was answered, and no more", [100, 160], 0, (redial: Redial) => redial.onAnswer(false)],
  ["that held for 10 s", [0, 100], 10_000, (redial: Redial) => redial.onAnswer(false)],
  ["that held for less", [100, 160], 9_999, (redial: Redial) => redial.onAnswer(false)],
])("the pauses after a stream %s are of %j ms", (_, pausesMs, heldMs, bring) => {
  const session = cutOff();
  session.pausesOf(5);
  bring(session.redial);
  session.time.pass(heldMs);
  expect(session.pausesOf(2)).toEqual(pausesMs);
});

test("a session gives up when the grace has passed since the loss, however often it dialled", () => {
  const session = cutOff();
  session.time.pass(7_000);
  session.pausesOf(10);
  expect(session.resuming).toBe(1);
  session.time.pass(GRACE_MS);
  expect(session.givenUpMs).toBe(7_000 + GRACE_MS);
  expect(session.time.timers).toBe(0);
});

test("the grace ends with an answer, and begins anew with the next loss", () => {
  const session = cutOff();
  session.redial.onLost();
  session.time.pass(GRACE_MS - 1);
  session.redial.onAnswer(false);
  session.time.pass(GRACE_MS);
  expect(session.givenUpMs).toBeUndefined();
  session.redial.onLost();
  expect(session.resuming).toBe(2);
  session.time.pass(GRACE_MS);
  expect(session.givenUpMs).toBe(3 * GRACE_MS - 1);
});

test("a session dials after the server's pushback, and the grace counts from there", () => {
  const session = cutOff();
  session.redial.onLost();
  session.time.pass(1_000);
  session.redial.onLost(20_000);
  session.time.pass(19_999);
  expect(session.dialledMs).toEqual([0]);
  session.time.pass(1);
  expect(session.dialledMs).toEqual([0, 21_000]);
  session.time.pass(GRACE_MS);
  expect(session.givenUpMs).toBe(21_000 + GRACE_MS);
});

test("a session that has ended dials no more, and leaves no timer", () => {
  const session = cutOff();
  session.pausesOf(3);
  session.redial.onLost();
  session.redial.stop();
  expect(session.time.timers).toBe(0);
});

test.each([
  ["it has just been lost", 0, undefined],
  ["an attempt has failed before", 1, undefined],
  ["the server asks to wait", 0, 20_000],
])(
  "a session that ends when it is told that it resumes dials no more, and leaves no timer: %s",
  (_, failures, waitMs) => {
    const session = cutOff();
    session.pausesOf(failures);
    session.redial.onAnswer(false);
    const { length } = session.dialledMs;
    session.whenResuming(() => session.redial.stop());
    session.redial.onLost(waitMs);
    expect(session.resuming).toBe(failures + 1);
    expect(session.time.timers).toBe(0);
    expect(session.dialledMs).toHaveLength(length);
  },
);

test("a pause ends when the network may have returned, and the pauses after it begin anew", () => {
  const session = cutOff();
  session.pausesOf(6);
  session.redial.onLost();
  session.redial.endPause();
  expect(session.dialledMs.at(-1)).toBe(session.time.nowMs);
  const before = session.dialledMs.length;
  session.time.pass(10_000);
  expect(session.dialledMs).toHaveLength(before);
  expect(session.pausesOf(3)).toEqual([0, 100, 160]);
});

test("a pause that the server asks for lasts, also if the network may have returned", () => {
  const session = cutOff();
  session.redial.onLost(500);
  session.redial.endPause();
  expect(session.dialledMs).toEqual([]);
  session.time.pass(500);
  expect(session.dialledMs).toEqual([500]);
});

test("no attempt follows if the network returns after the session has ended", () => {
  const session = cutOff();
  session.redial.onLost(500);
  session.redial.stop();
  session.redial.endPause();
  session.time.pass(1000);
  expect(session.dialledMs).toEqual([]);
});
