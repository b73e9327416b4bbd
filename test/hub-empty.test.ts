/** Topics without records in a log whose positions go on all the same, as those of JetStream do. */
import { expect, test } from "vitest";
import { cursorsOf } from "../src/topics/cursor.ts";
import { createHub } from "../src/topics/hub/hub.ts";
import type { TopicItem } from "../src/topics/log.ts";
import { memoryLog } from "../src/topics/memory.ts";
import { stillAt, until } from "./support/gate.ts";
import { drain, TOPIC } from "./support/hub-world.ts";
import { logWith } from "./support/log-with.ts";

test("a cursor before the end of a topic without records is waited behind, not asked for again and again", async () => {
  const cursors = cursorsOf("0".repeat(16), TOPIC);
  const at = (position: number) => ({ position, cursor: cursors.write(position) });
  await using inner = memoryLog({ epoch: "0".repeat(16) });
  let [pages, last] = [0, 500];
  const more: TopicItem[] = [];
  const log = logWith(inner, {
    async page(_, after) {
      pages++;
      await new Promise(setImmediate);
      const from = after === undefined ? 0 : (cursors.read(after) as number);
      return more.filter(({ position }) => position > from);
    },
    async *read(_, after, signal) {
      let from = cursors.read(after as string) as number;
      for (;;) {
        signal.throwIfAborted();
        for (const item of more) {
          if (item.position <= from) continue;
          from = item.position;
          yield item;
        }
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    },
    end: async () => at(last),
  });
  await using hub = createHub(log, { lingerMs: 0 });
  const leaving = new AbortController();
  const early = drain(hub.subscribe(TOPIC, { after: at(90).cursor }, leaving.signal));
  await until("it is open", () => early.events.length === 1);
  await stillAt(() => early.events.length, 50);
  expect(pages).toBeLessThan(5);
  last = 600;
  more.push({ kind: "record", ...at(600), data: new Uint8Array(1), timeMs: 1 });
  await until("it has the record", () => early.events.length === 2);
  leaving.abort(new Error("left"));
});

test.each(["records", "bytes", "totalBytes", "pageBytes", "pagesAtOnce", "patienceMs"] as const)(
  "%s that is not above 0 is refused, for nobody would be served",
  async (name) => {
    await using log = memoryLog();
    for (const limit of [0, -1, Number.NaN]) {
      expect(() => createHub(log, { [name]: limit })).toThrow(`${name} is ${limit}`);
    }
    expect(() => createHub(log, { lingerMs: -1 })).toThrow("lingerMs is -1");
  },
);
