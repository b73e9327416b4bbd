import { afterEach, expect, test, vi } from "vitest";
import { sleep } from "../../src/flow/wait.ts";
import type { TopicLog } from "../../src/topics/log.ts";
import {
  type Engine,
  made,
  numbered,
  openLog,
  pages,
  readItems,
  type Shared,
  shown,
  texts,
} from "./engine.ts";

/** Rule 4: dropped records leave a gap, and no other records are dropped. */
export function describeRetention(engine: Engine, shared: Shared): void {
  afterEach(() => void vi.useRealTimers());

  const canLimit = (limit: "ageMs" | "records" | "bytes") => engine.can.retention.includes(limit);

  test("trim() drops the records up to and including the cursor's", async () => {
    const { log, t } = await shared.borrow();
    const appended = await log.append(t, numbered(6));
    const [first, , third] = appended.map(({ cursor }) => cursor);
    await log.trim(t, third as string);
    expect(shown(await pages(log, t))).toEqual(["3", "4", "5"]);
    // After the cursor of the newest dropped record nothing is missing.
    expect(shown(await pages(log, t, third))).toEqual(["3", "4", "5"]);
    const items = await pages(log, t, first);
    expect(shown(items)).toEqual(["(gap)", "3", "4", "5"]);
    expect(shown(await pages(log, t, items[0]?.cursor))).toEqual(["3", "4", "5"]);
    const read = readItems(log.read(t, first, AbortSignal.timeout(20_000)), 4);
    expect(await read).toEqual(items);
    // Neither an older cursor nor the same one changes anything.
    for (const cursor of [first, third]) await log.trim(t, cursor as string);
    expect(shown(await pages(log, t))).toEqual(["3", "4", "5"]);
  });

  test("trim() does not change other topics", async () => {
    const { log, t } = await shared.borrow();
    for (const topic of ["a", t, "z"]) await log.append(topic, numbered(3));
    await log.trim(t, (await log.end(t)).cursor);
    expect((await pages(log, "a")).length).toBe(3);
    expect((await pages(log, "z")).length).toBe(3);
  });

  test("a topic that was trimmed to its end continues after that", async () => {
    const { log, t } = await shared.borrow();
    const [first, second] = (await log.append(t, numbered(2))).map(({ cursor }) => cursor);
    await log.trim(t, second as string);
    expect(await pages(log, t)).toEqual([]);
    expect(await pages(log, t, (await log.end(t)).cursor)).toEqual([]);
    const { cursor } = await log.end(t);
    await log.append(t, texts("next"));
    expect(shown(await pages(log, t))).toEqual(["next"]);
    for (const after of [second, cursor])
      expect(shown(await pages(log, t, after))).toEqual(["next"]);
    expect(shown(await pages(log, t, first))).toEqual(["(gap)", "next"]);
  });

  test("a topic without records is not listed until a record is appended", async () => {
    await using opened = await openLog(engine);
    const { log } = opened;
    for (const topic of ["a", "t", "z"]) await log.append(topic, numbered(600));
    const { cursor } = await log.end("t");
    await log.trim("t", cursor);
    expect(await log.topics()).toEqual(["a", "z"]);
    await log.append("t", texts("next"));
    expect(await log.topics()).toEqual(["a", "t", "z"]);
    expect(shown(await pages(log, "t", cursor))).toEqual(["next"]);
  });

  test("a trimmed record can be stored again, a kept one cannot", async () => {
    const { log, t } = await shared.borrow();
    const [first] = await log.append(t, [made("p", 1n), made("p", 2n)]);
    await log.trim(t, first?.cursor as string);
    const again = await log.append(t, [made("p", 1n), made("p", 2n)]);
    expect(again.map(({ repeated }) => repeated)).toEqual([false, true]);
    expect(shown(await pages(log, t))).toEqual(["p2", "p1"]);
    expect((await log.append(t, [made("p", 1n)]))[0]).toEqual({ ...again[0], repeated: true });
  });

  test("a large trim does not disturb appends at the same time", async () => {
    const { log, t } = await shared.borrow();
    const appended = await log.append(t, numbered(3_000));
    const upTo = appended[2_499]?.cursor as string;
    const [, ...more] = await Promise.all([
      log.trim(t, upTo),
      ...numbered(20, "n").map((record) => log.append(t, [record])),
    ]);
    expect(more.flat().length).toBe(20);
    const all = shown(await pages(log, t));
    expect(all.length).toBe(520);
    expect([all[0], all[499], all[519]]).toEqual(["2500", "2999", "n19"]);
  });

  test.runIf(engine.can.durable)(
    "trimmed records stay dropped when the log is opened again",
    async () => {
      await using store = await engine.store();
      const before = await store.open();
      const appended = await before.append("t", [...numbered(1_500), made("p", 1n)]);
      await before.trim("t", appended[1_399]?.cursor as string);
      await before[Symbol.asyncDispose]();
      await using log = await store.open();
      expect(shown(await pages(log, "t")).slice(0, 2)).toEqual(["1400", "1401"]);
      expect(shown(await pages(log, "t", appended[0]?.cursor)).slice(0, 2)).toEqual([
        "(gap)",
        "1400",
      ]);
      expect((await log.append("t", [made("p", 1n)]))[0]?.repeated).toBe(true);
    },
  );

  test.runIf(engine.can.durable)(
    "a topic that was trimmed to its end is not listed when the log is opened again",
    async () => {
      await using store = await engine.store();
      const before = await store.open();
      const [first, last] = await before.append("t", texts("a", "b"));
      await before.trim("t", last?.cursor as string);
      await before[Symbol.asyncDispose]();
      await using log = await store.open();
      expect(await log.topics()).toEqual([]);
      await log.append("t", texts("c"));
      expect(shown(await pages(log, "t", last?.cursor))).toEqual(["c"]);
      expect(shown(await pages(log, "t", first?.cursor))).toEqual(["(gap)", "c"]);
    },
  );

  test("a reader that a trim overtakes gets a gap, then the remaining records", async () => {
    const { log, t } = await shared.borrow();
    const appended = await log.append(t, numbered(2_000));
    const reader = log.read(t, undefined, AbortSignal.timeout(20_000))[Symbol.asyncIterator]();
    const seen = [(await reader.next()).value];
    await log.trim(t, appended[1_989]?.cursor as string);
    for (;;) {
      const { value } = await reader.next();
      seen.push(value);
      if (shown([value])[0] === "1999") break;
    }
    await reader.return?.();
    const all = shown(seen);
    const at = all.indexOf("(gap)");
    expect(all.slice(0, at)).toEqual(Array.from({ length: at }, (_, n) => `${n}`));
    expect(at).toBeLessThan(1_990);
    expect(all.slice(at + 1)).toEqual(Array.from({ length: 10 }, (_, n) => `${1_990 + n}`));
  });

  /** Waits until the oldest record has this text: engines drop records some time after they exceed the limits. */
  async function oldestIs(log: TopicLog, topic: string, oldest: string | undefined): Promise<void> {
    const giveUpAtMs = performance.now() + 20_000;
    for (;;) {
      const [first] = await log.page(topic, undefined, { records: 1 });
      if ((first && shown([first])[0]) === oldest) return;
      if (performance.now() > giveUpAtMs) expect(first && shown([first])[0]).toBe(oldest);
      await sleep(5, undefined);
    }
  }

  test.runIf(canLimit("records"))(
    "a log keeps no more than retention.records of each topic",
    async () => {
      await using opened = await openLog(engine, { retention: { records: 100 } });
      const { log } = opened;
      await log.append("few", numbered(100));
      const [first] = await log.append("t", numbered(60));
      for (let n = 60; n < 900; n += 60) await log.append("t", numbered(60, "", n));
      await oldestIs(log, "t", "800");
      expect((await pages(log, "t")).length).toBe(100);
      expect((await pages(log, "few")).length).toBe(100);
      expect(shown(await pages(log, "t", first?.cursor)).slice(0, 2)).toEqual(["(gap)", "800"]);
    },
  );

  test.runIf(canLimit("records"))(
    "a record that retention dropped can be stored again",
    async () => {
      await using opened = await openLog(engine, { retention: { records: 2 } });
      const { log } = opened;
      await log.append("t", [made("p", 1n), made("p", 2n), made("p", 3n)]);
      await oldestIs(log, "t", "p2");
      expect((await log.append("t", [made("p", 1n)]))[0]?.repeated).toBe(false);
    },
  );

  test.runIf(canLimit("bytes"))(
    "a log keeps no more than retention.bytes of each topic, and one record at least",
    async () => {
      await using opened = await openLog(engine, { retention: { bytes: 10_000 } });
      const { log } = opened;
      const data = new Uint8Array(1_000);
      for (let n = 0; n < 25; n++) await log.append("t", [{ data }]);
      await log.append("t", texts("last"));
      const kept = async () => (await pages(log, "t")).length;
      await vi.waitUntil(async () => (await kept()) === 10, { timeout: 20_000 });
      await log.append("large", [{ data }, { data: new Uint8Array(20_000) }]);
      await vi.waitUntil(async () => (await pages(log, "large")).length === 1, { timeout: 20_000 });
    },
  );

  test.runIf(canLimit("ageMs") && engine.can.ownClock)(
    "a log keeps records for retention.ageMs",
    async () => {
      vi.useFakeTimers({ toFake: ["Date"] });
      vi.setSystemTime(1_000_000);
      await using opened = await openLog(engine, { retention: { ageMs: 1_000 } });
      const { log } = opened;
      const [first] = await log.append("t", texts("a", "b"));
      await log.append("idle", texts("x"));
      vi.setSystemTime(1_000_900);
      await log.append("t", texts("c"));
      // The clock goes back: records neither become younger nor are dropped earlier.
      vi.setSystemTime(900_000);
      await log.append("t", texts("d"));
      expect((await pages(log, "t")).length).toBe(4);
      vi.setSystemTime(1_001_001);
      await oldestIs(log, "t", "c");
      await oldestIs(log, "idle", undefined);
      expect(await log.topics()).toEqual(["t"]);
      expect(shown(await pages(log, "t", first?.cursor))).toEqual(["(gap)", "c", "d"]);
      vi.setSystemTime(1_002_000);
      await oldestIs(log, "t", undefined);
      await log.append("t", texts("e"));
      expect(shown(await pages(log, "t"))).toEqual(["e"]);
    },
  );

  test.runIf(canLimit("ageMs") && !engine.can.ownClock)(
    "a log drops records after retention.ageMs",
    async () => {
      await using opened = await openLog(engine, { retention: { ageMs: 1_000 } });
      const { log } = opened;
      const [first] = await log.append("t", texts("a", "b"));
      await oldestIs(log, "t", undefined);
      expect(await log.topics()).toEqual([]);
      await log.append("t", texts("c"));
      expect(shown(await pages(log, "t", first?.cursor))).toEqual(["(gap)", "c"]);
    },
  );

  test.runIf(canLimit("records"))("a slow reader that retention overtakes gets a gap", async () => {
    await using opened = await openLog(engine, { retention: { records: 50 } });
    const { log } = opened;
    await log.append("t", numbered(40));
    const reader = log.read("t", undefined, AbortSignal.timeout(20_000))[Symbol.asyncIterator]();
    const seen = [(await reader.next()).value];
    for (let n = 40; n < 1_000; n += 40) await log.append("t", numbered(40, "", n));
    await oldestIs(log, "t", "950");
    for (;;) {
      const { value } = await reader.next();
      seen.push(value);
      if (shown([value])[0] === "999") break;
    }
    await reader.return?.();
    const all = shown(seen);
    const at = all.indexOf("(gap)");
    expect(at).toBeGreaterThan(0);
    expect(all.slice(0, at)).toEqual(Array.from({ length: at }, (_, n) => `${n}`));
    expect(all.slice(at + 1)).toEqual(Array.from({ length: 50 }, (_, n) => `${950 + n}`));
  });

  test("a log without retention keeps every record", async () => {
    await using opened = await openLog(engine, { retention: {} });
    await opened.log.append("t", numbered(2_000));
    expect((await pages(opened.log, "t")).length).toBe(2_000);
  });
}
