import { afterEach, expect, test, vi } from "vitest";
import { OnceAMinute } from "../src/observe/once-a-minute.ts";

afterEach(() => void vi.useRealTimers());

test("the first occurrence is logged immediately, and a minute later the number of those since", () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  const limited = new OnceAMinute();
  const counts: number[] = [];
  const occur = () => limited.run((count) => counts.push(count));
  occur();
  expect(counts).toEqual([1]);
  for (let n = 0; n < 5; n++) occur();
  vi.advanceTimersByTime(59_999);
  occur();
  expect(counts).toEqual([1]);
  vi.advanceTimersByTime(1);
  occur();
  expect(counts).toEqual([1, 7]);
  vi.advanceTimersByTime(60_000);
  occur();
  expect(counts).toEqual([1, 7, 1]);
});
