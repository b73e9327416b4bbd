import { expect, test } from "vitest";
import { A_FIFTH, Backoff } from "../src/flow/backoff.ts";
import { FakeTime } from "./support/session-sim-clock.ts";

const OPTIONS = { initialMs: 100, factor: 2, maxMs: 1000, jitter: A_FIFTH };

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

test("reset() forgets all failures, or all but as many as it is told", () => {
  const backoff = new Backoff(OPTIONS, new FakeTime().clock());
  pausesOf(backoff, 3);
  backoff.reset(1);
  expect(pausesOf(backoff, 1)).toEqual([200]);
  backoff.reset();
  expect(pausesOf(backoff, 1)).toEqual([100]);
  backoff.reset();
  backoff.reset(5);
  expect(pausesOf(backoff, 1)).toEqual([100]);
});

test("an attempt that lasted steadyMs does not count as a failure", () => {
  const time = new FakeTime();
  const backoff = new Backoff({ ...OPTIONS, steadyMs: 5000 }, time.clock());
  backoff.begin();
  pausesOf(backoff, 3);
  backoff.begin();
  time.pass(4999);
  expect(backoff.lastedMs).toBe(4999);
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
