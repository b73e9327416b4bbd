import { expect, test } from "vitest";
import { FirstRequestTimer } from "../src/grpc/first-request-timer.ts";
import { FakeTime } from "./support/session-sim-clock.ts";

function setup() {
  const time = new FakeTime();
  const fired: [name: string, atMs: number][] = [];
  const timer = new FirstRequestTimer(time.clock(), (run) => run());
  const call = (name: string, then = () => {}) => ({
    onFirstRequestLate() {
      fired.push([name, time.nowMs]);
      then();
    },
  });
  return { time, fired, timer, call };
}

test("each call is notified 50 ms after it began to wait, in that order", () => {
  const { time, fired, timer, call } = setup();
  timer.add(call("first"));
  timer.add(call("second"));
  time.pass(20);
  timer.add(call("third"));
  time.pass(29);
  expect(fired).toEqual([]);
  time.pass(100);
  expect(fired).toEqual([
    ["first", 50],
    ["second", 50],
    ["third", 70],
  ]);
});

test("thousands of waiting calls share one timer, and no timer runs when no call waits", () => {
  const { time, fired, timer, call } = setup();
  expect(time.timers).toBe(0);
  for (let n = 0; n < 10_000; n++) {
    timer.add(call(`${n}`));
    if (n % 1000 === 0) time.pass(10);
    expect(time.timers).toBe(1);
  }
  time.pass(50);
  expect(time.timers).toBe(0);
  expect(fired).toHaveLength(10_000);
});

test("a call that begins to wait when another is notified is notified 50 ms later", () => {
  const { time, fired, timer, call } = setup();
  timer.add(call("first", () => timer.add(call("second"))));
  time.pass(1000);
  expect(fired).toEqual([
    ["first", 50],
    ["second", 100],
  ]);
  expect(time.timers).toBe(0);
});
