import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import type { TopicItem } from "../../src/topics/log.ts";
import { gate, until } from "../support/gate.ts";
import { memoryInUse } from "../support/memory.ts";
import {
  type Engine,
  numbered,
  openLog,
  pages,
  readItems,
  type Shared,
  shown,
  texts,
} from "./engine.ts";

/** Rules 3, 5 and 6: read(). */
export function describeReading(engine: Engine, shared: Shared): void {
  test("read() returns the stored records, then new ones as they are appended", async () => {
    const { log, t } = await shared.borrow();
    await log.append(t, texts("a", "b"));
    const leave = new AbortController();
    const items: TopicItem[] = [];
    const reading = (async () => {
      for await (const item of log.read(t, undefined, leave.signal)) items.push(item);
    })();
    await until("the history is read", () => items.length === 2);
    await log.append(t, texts("c"));
    await until("the first live record is read", () => items.length === 3);
    await log.append("other", texts("x"));
    await log.append(t, texts("d", "e"));
    await until("all is read", () => items.length === 5);
    expect(items).toEqual(await pages(log, t));
    leave.abort(new Error("enough"));
    await expect(reading).rejects.toThrow("enough");
  });

  test("read() waits for the first record of a topic that does not exist yet", async () => {
    const { log, t } = await shared.borrow();
    const fromStart = readItems(log.read(t, undefined, AbortSignal.timeout(20_000)), 1);
    const { cursor } = await log.end(t);
    const fromEnd = readItems(log.read(t, cursor, AbortSignal.timeout(20_000)), 1);
    await log.append(t, texts("a"));
    expect(shown(await fromStart)).toEqual(["a"]);
    expect(shown(await fromEnd)).toEqual(["a"]);
  });

  test("read() returns each record after a cursor once", async () => {
    const { log, t } = await shared.borrow();
    const appended = await log.append(t, numbered(10));
    for (const [n, { cursor }] of appended.slice(0, 9).entries()) {
      const items = await readItems(log.read(t, cursor, AbortSignal.timeout(20_000)), 9 - n);
      expect(shown(items)).toEqual(shown(await pages(log, t, cursor)));
    }
  });

  test("300 readers that begin while others append get each record once, stored and live", async () => {
    const { log, t } = await shared.borrow();
    const records = 1_200;
    const signal = AbortSignal.timeout(20_000);
    const cursors: string[] = [];
    const done = gate();
    const readings: Promise<void>[] = [];
    const isLast = (item: TopicItem) => shown([item])[0] === `${records - 1}`;
    const follow = async (begin: number) => {
      const after = begin === 0 ? undefined : cursors[begin - 1];
      const items = await readItems(log.read(t, after, signal), isLast);
      const expected = Array.from({ length: records - begin }, (_, n) => `${begin + n}`);
      expect(shown(items)).toEqual(expected);
    };
    const write = async () => {
      for (let n = 0; n < records; ) {
        const batch = numbered(Math.min(1 + (n % 5), records - n), "", n);
        cursors.push(...(await log.append(t, batch)).map(({ cursor }) => cursor));
        n += batch.length;
        // Some begin at the start, some at the newest record, some between.
        for (const begin of [0, cursors.length, cursors.length >> 1]) {
          if (readings.length < 300 && begin < records) readings.push(follow(begin));
        }
      }
      done.open();
    };
    await Promise.all([write(), done.opened]);
    await Promise.all(readings);
    expect(readings.length).toBe(300);
  });

  test("all readers see the records of several writers in the same order", async () => {
    const { log, t } = await shared.borrow();
    const signal = AbortSignal.timeout(20_000);
    const readers = Array.from({ length: 5 }, () => readItems(log.read(t, undefined, signal), 200));
    const writers = Array.from({ length: 10 }, async (_, writer) => {
      for (let n = 0; n < 20; n++) await log.append(t, texts(`${writer}.${n}`));
    });
    await Promise.all(writers);
    const all = await pages(log, t);
    for (const items of await Promise.all(readers)) expect(items).toEqual(all);
  });

  test.runIf(engine.can.shared)("a live reader gets records that another log appends", async () => {
    await using opened = await openLog(engine);
    await using other = await opened.store.open();
    const reading = readItems(opened.log.read("t", undefined, AbortSignal.timeout(20_000)), 100);
    for (const record of numbered(100)) await other.append("t", [record]);
    expect(shown(await reading)).toEqual(shown(await pages(other, "t")));
  });

  test("read() throws the reason of the signal: before it reads, while it reads, and while it waits", async () => {
    const { log, t } = await shared.borrow();
    await log.append(t, numbered(5));
    const before = readItems(log.read(t, undefined, AbortSignal.abort(new Error("before"))), 1);
    await expect(before).rejects.toThrow("before");

    const within = new AbortController();
    let seen = 0;
    const reading = (async () => {
      for await (const _ of log.read(t, undefined, within.signal)) {
        if (++seen === 2) within.abort(new Error("within"));
      }
    })();
    await expect(reading).rejects.toThrow("within");
    expect(seen).toBe(2);

    const waits = new AbortController();
    const items: TopicItem[] = [];
    const waiting = (async () => {
      for await (const item of log.read(t, undefined, waits.signal)) items.push(item);
    })();
    await until("all is read", () => items.length === 5);
    waits.abort(new Error("while it waits"));
    await expect(waiting).rejects.toThrow("while it waits");
  });

  test("the log can be read and closed after loops over read() were left", async () => {
    const { log, t } = await shared.borrow();
    await log.append(t, numbered(5));
    const leave = new AbortController();
    for (let n = 0; n < 20; n++) await readItems(log.read(t, undefined, leave.signal), 2);
    expect((await pages(log, t)).length).toBe(5);
  });

  test("read() throws UNAVAILABLE when the log is closed", async () => {
    await using opened = await openLog(engine);
    const { log } = opened;
    await log.append("t", texts("a"));
    const items: TopicItem[] = [];
    const reading = (async () => {
      const signal = AbortSignal.timeout(20_000);
      for await (const item of log.read("t", undefined, signal)) items.push(item);
    })();
    const outcome = reading.catch((error) => error);
    await until("the history is read", () => items.length === 1);
    await log[Symbol.asyncDispose]();
    expect(await outcome).toMatchObject({ code: Code.Unavailable });
  });

  test("a reader that stops reading keeps no more than about two pages in memory", async () => {
    const { log, t } = await shared.borrow();
    const data = new Uint8Array(64 * 1024);
    for (let n = 0; n < 128; n++) await log.append(t, [{ data }]);
    const leave = new AbortController();
    const before = await memoryInUse();
    const readers = Array.from({ length: 24 }, () =>
      log.read(t, undefined, leave.signal)[Symbol.asyncIterator](),
    );
    await Promise.all(readers.map((reader) => reader.next()));
    // Records that are appended meanwhile must wait in the log.
    for (let n = 0; n < 128; n++) await log.append(t, [{ data }]);
    // All records for all readers would be 384 MiB, the new half 192 MiB; the memory engine itself
    // keeps 8 MiB more.
    expect(((await memoryInUse()) - before) / 2 ** 20).toBeLessThan(64);
    for (const reader of readers) await reader.return?.();
    leave.abort();
  });
}
