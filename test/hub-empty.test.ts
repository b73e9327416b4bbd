/** Topics without records in a log whose positions grow with other topics, like those of JetStream. */
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { cursorsOf } from "../src/topics/cursor.ts";
import { createHub } from "../src/topics/hub/hub.ts";
import type { TopicRecord } from "../src/topics/log.ts";
import { memoryLog } from "../src/topics/memory.ts";
import { aborted, gate, until } from "./support/gate.ts";
import { drain, TOPIC } from "./support/hub-world.ts";
import { logWith } from "./support/log-with.ts";

test("a subscriber before the end of a topic without records reads one page, then waits", async () => {
  const cursors = cursorsOf("0".repeat(16), TOPIC);
  const at = (position: number) => ({ position, cursor: cursors.write(position) });
  const record: TopicRecord = { kind: "record", ...at(600), data: new Uint8Array(1), timeMs: 1 };
  await using inner = memoryLog({ epoch: "0".repeat(16) });
  const appended = gate();
  let pages = 0;
  const log = logWith(inner, {
    async page(_, after) {
      pages++;
      await turn();
      const from = cursors.read(after as string) as number;
      return appended.isOpen && from < record.position ? [record] : [];
    },
    async *read(_, after, signal) {
      expect(after).toBe(at(500).cursor);
      await Promise.race([appended.opened, aborted(signal)]);
      signal.throwIfAborted();
      yield record;
      await aborted(signal);
      throw signal.reason;
    },
    end: async () => (appended.isOpen ? at(600) : at(500)),
  });
  await using hub = createHub(log, { lingerMs: 0 });
  const leaving = new AbortController();
  const early = drain(hub.subscribe(TOPIC, { after: at(90).cursor }, leaving.signal));
  await until("it is open", () => early.events.length === 1);
  // Each page takes one turn, so that a subscriber that did not wait would have read about a hundred.
  for (let n = 0; n < 100; n++) await turn();
  expect(pages).toBe(1);
  expect(early.events.length).toBe(1);
  appended.open();
  await until("it has the record", () => early.events.length === 2);
  leaving.abort(new Error("left"));
});

test.each(["records", "bytes", "totalBytes", "pageBytes", "pagesAtOnce", "patienceMs"] as const)(
  "createHub() refuses a value of %s that is not above 0",
  async (name) => {
    await using log = memoryLog();
    for (const limit of [0, -1, Number.NaN]) {
      expect(() => createHub(log, { [name]: limit })).toThrow(`${name} is ${limit}`);
    }
    expect(() => createHub(log, { lingerMs: -1 })).toThrow("lingerMs is -1");
  },
);
