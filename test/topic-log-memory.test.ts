import { expect, test, vi } from "vitest";
import { memoryLog } from "../src/topics/memory.ts";
import { describeTopicLog } from "./contract/topic-log.ts";

describeTopicLog({
  name: "memory",
  can: {
    durable: false,
    shared: false,
    ownClock: true,
    retention: ["ageMs", "records", "bytes"],
    largestBytes: 4 * 1024 * 1024,
  },
  store: async (options) => ({
    open: async () => memoryLog(options),
    async [Symbol.asyncDispose]() {},
  }),
});

test("a page of a thousand topics reads the clock once, and leaves out those whose records have expired", async () => {
  await using log = memoryLog({ retention: { ageMs: 60_000 } });
  const data = new Uint8Array(1);
  using now = vi.spyOn(Date, "now");
  now.mockReturnValue(1_000_000);
  await log.append("expired", [{ data }]);
  now.mockReturnValue(1_000_000 + 60_001);
  const names = Array.from({ length: 1000 }, (_, n) => `topic ${String(n).padStart(4, "0")}`);
  for (const name of names) await log.append(name, [{ data }]);
  now.mockClear();
  expect(await log.topics()).toEqual(names);
  // Once more for the topic that has expired.
  expect(now.mock.calls.length).toBeLessThanOrEqual(2);
});
