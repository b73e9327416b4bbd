import { timestampMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { pause } from "../examples/pause.ts";
import { Code } from "../src/index.ts";
import { all, failureOf, next } from "./support/read.ts";
import { start } from "./support/world.ts";

test("subscribe numbers its notifications and says when it sent them", async () => {
  await using world = await start();
  const before = Date.now();
  const pushed = await all(world.greeter.subscribe({ count: 3, interval: {} }));
  expect(pushed.map(({ sequence }) => sequence)).toEqual([1n, 2n, 3n]);
  expect(pushed.map(({ content }) => content)).toEqual([
    "Notification 1",
    "Notification 2",
    "Notification 3",
  ]);
  const times = pushed.map(({ time }) => timestampMs(time!));
  expect(times).toEqual(times.toSorted((a, b) => a - b));
  expect(times[0]).toBeGreaterThanOrEqual(before);
});

test("subscribe pauses for the interval between two notifications, and only there", async () => {
  await using world = await start();
  const startedAt = performance.now();
  await all(world.greeter.subscribe({ count: 3, interval: { nanos: 50_000_000 } }));
  const tookMs = performance.now() - startedAt;
  expect(tookMs).toBeGreaterThanOrEqual(98);
  expect(tookMs).toBeLessThan(1000);
});

test("subscribe with an interval beyond 31 bits of milliseconds waits, and ends when it is cancelled", async () => {
  await using world = await start();
  const push = world.greeter.subscribe({ interval: { seconds: 315_576_000_000n } });
  expect(await next(push)).toMatchObject({ sequence: 1n });
  const second = failureOf(push);
  push.cancel();
  expect((await second).code).toBe(Code.Canceled);
});

test.each([
  ["-1 s and 0 ns", { seconds: -1n }],
  ["0 s and -1 ns", { nanos: -1 }],
  ["0 s and 1000000000 ns", { nanos: 1_000_000_000 }],
  ["315576000001 s and 0 ns", { seconds: 315_576_000_001n }],
])("subscribe refuses an interval of %s and names the field", async (numbers, interval) => {
  await using world = await start();
  const error = await failureOf(world.greeter.subscribe({ count: 1, interval }));
  expect(error.code).toBe(Code.InvalidArgument);
  expect(error.rawMessage).toContain(`interval of ${numbers} is out of range`);
});

test("collect counts requests, and bytes of UTF-8", async () => {
  await using world = await start();
  const sink = world.greeter.collect();
  for (const content of ["ahoy", "жук", "🚢", ""]) await sink.send({ content });
  expect(await sink.finish()).toMatchObject({ count: 4, bytes: 14n });
});

test("a pause ends with the signal's reason, even when the signal had aborted before", async () => {
  const controller = new AbortController();
  const pausing = pause(2 ** 40, controller.signal);
  controller.abort(new Error("enough"));
  await expect(pausing).rejects.toThrow("enough");
  await expect(pause(0, controller.signal)).rejects.toThrow("enough");
});
