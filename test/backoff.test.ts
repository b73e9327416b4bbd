import { expect, test } from "vitest";
import { Backoff, GRPC_JITTER } from "../src/flow/backoff.ts";
import { FakeTime } from "./support/session-sim-clock.ts";

const OPTIONS = { initialMs: 100, factor: 2, maxMs: 1000, jitter: GRPC_JITTER };

function pausesOf(backoff: Backoff, failures: number): number[] {
  return Array.from({ length: failures }, () => Math.round(backoff.failed()));
}

test("pauses grow by the factor, up to the longest", () => {
  const backoff = new Backoff(OPTIONS, new FakeTime().clock());
  expect(pausesOf(backoff, 6)).toEqual([100, 200, 400, 800, 1000, 1000]);
  expect(backoff.failures).toBe(6);
});

test("the jitter spreads each pause between its bounds, the longest one too", () => {
  const time = new FakeTime();
  expect(
    pausesOf(
      new Backoff(
        OPTIONS,
        time.clock(0, () => 0),
      ),
      5,
    ),
  ).toEqual([80, 160, 320, 640, 800]);
  expect(
    pausesOf(
      new Backoff(
        OPTIONS,
        time.clock(0, () => 1),
      ),
      5,
    ),
  ).toEqual([120, 240, 480, 960, 1200]);
  const halved = { ...OPTIONS, jitter: [0.5, 1] } as const;
  expect(
    pausesOf(
      new Backoff(
        halved,
        time.clock(0, () => 0),
      ),
      3,
    ),
  ).toEqual([50, 100, 200]);
  expect(
    pausesOf(
      new Backoff(
        halved,
        time.clock(0, () => 1),
      ),
      3,
    ),
  ).toEqual([100, 200, 400]);
});

test("the attempt after the first failure comes immediately with firstAtOnce", () => {
  const backoff = new Backoff({ ...OPTIONS, firstAtOnce: true }, new FakeTime().clock());
  expect(pausesOf(backoff, 4)).toEqual([0, 100, 200, 400]);
});

test("an attempt that succeeded clears the failures, or lowers their number to at most keptFailures", () => {
  const backoff = new Backoff(OPTIONS, new FakeTime().clock());
  pausesOf(backoff, 3);
  backoff.succeeded(1);
  expect(pausesOf(backoff, 1)).toEqual([200]);
  backoff.succeeded();
  expect(pausesOf(backoff, 1)).toEqual([100]);
  backoff.succeeded();
  backoff.succeeded(5);
  expect(pausesOf(backoff, 1)).toEqual([100]);
});

test("an attempt that lasted steadyMs clears the failures before it", () => {
  const time = new FakeTime();
  const backoff = new Backoff({ ...OPTIONS, steadyMs: 5000 }, time.clock());
  backoff.begin();
  pausesOf(backoff, 3);
  backoff.begin();
  time.pass(4999);
  expect(backoff.elapsedMs).toBe(4999);
  expect(pausesOf(backoff, 1)).toEqual([800]);
  time.pass(1);
  expect(pausesOf(backoff, 2)).toEqual([100, 100]);
});

test("a pause that the server asks for takes the place of the pause that is due, and counts as a failure", () => {
  const backoff = new Backoff(OPTIONS, new FakeTime().clock());
  expect(backoff.failed(7)).toBe(7);
  expect(pausesOf(backoff, 1)).toEqual([200]);
});

test("changed options hold from the next pause on", () => {
  const backoff = new Backoff(OPTIONS, new FakeTime().clock());
  pausesOf(backoff, 1);
  backoff.options = { ...OPTIONS, initialMs: 10 };
  expect(pausesOf(backoff, 2)).toEqual([20, 40]);
});
