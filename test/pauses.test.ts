import { expect, test } from "vitest";
import { Pauses } from "../src/flow/pauses.ts";

test("all pauses end together, and later ones last", async () => {
  const pauses = new Pauses();
  const began = performance.now();
  const both = Promise.all([pauses.sleep(60_000), pauses.sleep(60_000)]);
  pauses.end();
  await both;
  await pauses.sleep(30);
  const tookMs = performance.now() - began;
  expect(tookMs).toBeGreaterThanOrEqual(29);
  expect(tookMs).toBeLessThan(10_000);
});

test("a pause ends when one of its signals aborts", async () => {
  const controller = new AbortController();
  const pause = new Pauses().sleep(60_000, undefined, controller.signal);
  controller.abort();
  await pause;
});
