import { expect, test } from "vitest";
import { FirstRequestTimer } from "../src/grpc/first-request-timer.ts";
import { FakeTime } from "./support/session-sim-clock.ts";

function setup() {
  const time = new FakeTime();
  const told: [name: string, atMs: number][] = [];
  const timer = new FirstRequestTimer(time.clock(), (run) => run());
  const call = (name: string, then = () => {}) => ({
    onFirstRequestLate() {
      told.push([name, time.nowMs]);
      then();
    },
  });
  return { time, told, timer, call };
}

test("each call is notified 50 ms after it began to wait, in that order", () => {
  const { time, told, timer, call } = setup();
  timer.add(call("first"));
  timer.add(call("second"));
  time.pass(20);
  timer.add(call("third"));
  time.pass(29);
  expect(told).toEqual([]);
  time.pass(100);
  expect(told).toEqual([
    ["first", 50],
    ["second", 50],
    ["third", 70],
  ]);
});

test("thousands of waiting calls share one timer, and no timer runs when no call waits", () => {
  const { time, told, timer, call } = setup();
  expect(time.timers).toBe(0);
  for (let n = 0; n < 10_000; n++) {
    timer.add(call(`${n}`));
    if (n % 1000 === 0) time.pass(10);
    expect(time.timers).toBe(1);
  }
  time.pass(50);
  expect(time.timers).toBe(0);
  expect(told).toHaveLength(10_000);
});

test("a call that begins to wait when another is notified is notified 50 ms later", () => {
  const { time, told, timer, call } = setup();
  timer.add(call("first", () => timer.add(call("second"))));
  time.pass(1000);
  expect(told).toEqual([
    ["first", 50],
    ["second", 100],
  ]);
  expect(time.timers).toBe(0);
});
