import { Code } from "@connectrpc/connect";
import { afterEach, expect, test, vi } from "vitest";
import type { NewRecord, TopicItem } from "../../src/topics/log.ts";
import {
  bytes,
  type Engine,
  made,
  numbered,
  openLog,
  pages,
  type Shared,
  shown,
  texts,
} from "./engine.ts";

/** Rule 1: acknowledged records are stored, in order and unchanged. */
export function describeAppend(engine: Engine, shared: Shared): void {
  afterEach(() => void vi.useRealTimers());

  test.each([
    ["text as data", { data: "text" }],
    ["an ArrayBuffer as data", { data: new ArrayBuffer(4) }],
    ["a number as sequence", { data: bytes("x"), id: { producer: "p", sequence: 1 } }],
    ["a sequence below 0", made("p", -1n)],
    ["a sequence of more than 64 bits", made("p", 2n ** 64n)],
    ["a producer without a name", { data: bytes("x"), id: { sequence: 1n } }],
    ["a producer with half a surrogate pair", made("half \ud800", 1n)],
  ])("a record with %s is refused, and other appends are stored", async (_, record) => {
    const { log, t } = await shared.borrow();
    const before = log.append(t, texts("before"));
    const refused = log.append(t, [made("q", 1n), record as NewRecord]);
    const after = log.append(t, texts("after"));
    await expect(refused).rejects.toMatchObject({ code: Code.InvalidArgument });
    await Promise.all([before, after]);
    expect(shown(await pages(log, t)).toSorted()).toEqual(["after", "before"]);
  });

  test("records are read in the order of their appends", async () => {
    const { log, t } = await shared.borrow();
    for (const text of ["a", "b", "c"]) await log.append(t, texts(text));
    await log.append(t, texts("d", "e"));
    const items = await pages(log, t);
    expect(shown(items)).toEqual(["a", "b", "c", "d", "e"]);
    expect(increases(items.map(({ position }) => position))).toBe(true);
  });

  test("appends that are not awaited are stored in the order of the calls", async () => {
    const { log, t } = await shared.borrow();
    await Promise.all(numbered(200).map((record) => log.append(t, [record])));
    const inOrder = Array.from({ length: 200 }, (_, n) => `${n}`);
    expect(shown(await pages(log, t))).toEqual(inOrder);
  });

  test("append() returns the cursor of each record", async () => {
    const { log, t } = await shared.borrow();
    const appended = await log.append(t, texts("a", "b"));
    expect(appended.map(({ repeated }) => repeated)).toEqual([false, false]);
    const items = await pages(log, t);
    expect(items.map(({ cursor }) => cursor)).toEqual(appended.map(({ cursor }) => cursor));
  });

  test("the records of one append are next to each other while others append too", async () => {
    const { log, t } = await shared.borrow();
    const writers = Array.from({ length: 20 }, async (_, writer) => {
      for (let turn = 0; turn < 10; turn++) await log.append(t, numbered(3, `${writer}.${turn}.`));
    });
    await Promise.all(writers);
    const all = shown(await pages(log, t));
    expect(all.length).toBe(600);
    for (let at = 0; at < all.length; at += 3) {
      const first = (all[at] as string).replace(/0$/, "");
      expect(all.slice(at, at + 3)).toEqual([`${first}0`, `${first}1`, `${first}2`]);
    }
  });

  test("an append without records stores nothing", async () => {
    const { log, t } = await shared.borrow();
    expect(await log.append(t, [])).toEqual([]);
    expect(await log.page(t, undefined)).toEqual([]);
  });

  test("records of any bytes are read unchanged, empty ones and large ones too", async () => {
    const { log, t } = await shared.borrow();
    const binary = Uint8Array.from({ length: 256 }, (_, n) => n);
    const big = new Uint8Array(engine.can.largestBytes).map((_, n) => (n * 31) >> 3);
    const all = [new Uint8Array(), binary, big, Buffer.from("buffer"), new Uint8Array(3)];
    await log.append(
      t,
      all.slice(0, 2).map((data) => ({ data })),
    );
    for (const data of all.slice(2)) await log.append(t, [{ data }]);
    const items = await pages(log, t);
    expect(items.length).toBe(all.length);
    for (const [n, item] of items.entries()) {
      if (item.kind !== "record") throw new Error("a gap");
      expect(item.data).toBeInstanceOf(Uint8Array);
      expect(Buffer.compare(item.data, all[n] as Uint8Array)).toBe(0);
    }
  });

  test("a stored record does not change when the caller changes its bytes after the append", async () => {
    const { log, t } = await shared.borrow();
    const [data, slice] = [Buffer.from("before"), Buffer.from("..within..").subarray(2, 8)];
    await log.append(t, [{ data }, { data: slice }]);
    data.fill("x");
    slice.fill("x");
    expect(shown(await pages(log, t))).toEqual(["before", "within"]);
  });

  test.runIf(engine.can.ownClock)(
    "the time of a record is now, but never before that of the previous record",
    async () => {
      await using opened = await openLog(engine);
      const { log } = opened;
      vi.useFakeTimers({ toFake: ["Date"] });
      const times: number[] = [];
      for (const now of [5_000_000, 5_000_007, 4_000_000, 5_000_006, 5_000_009]) {
        vi.setSystemTime(now);
        await log.append("t", texts("x"));
        times.push(timesOf(await pages(log, "t")).at(-1) as number);
      }
      expect(times).toEqual([5_000_000, 5_000_007, 5_000_007, 5_000_007, 5_000_009]);
    },
  );

  test.runIf(!engine.can.ownClock)(
    "the time of a record is about now, and never before that of the previous record",
    async () => {
      const { log, t } = await shared.borrow();
      for (const record of numbered(50)) await log.append(t, [record]);
      const times = timesOf(await pages(log, t));
      expect(times).toEqual(times.toSorted((a, b) => a - b));
      for (const time of times) expect(Math.abs(time - Date.now())).toBeLessThan(3_600_000);
    },
  );

  test.runIf(engine.can.durable)(
    "acknowledged records are in the log when it is opened again",
    async () => {
      await using store = await engine.store();
      const before = await store.open();
      const [first] = await before.append("t", numbered(5));
      const cursors = (await pages(before, "t")).map(({ cursor }) => cursor);
      await before[Symbol.asyncDispose]();
      await using log = await store.open();
      expect(log.epoch).toBe(before.epoch);
      expect((await pages(log, "t")).map(({ cursor }) => cursor)).toEqual(cursors);
      await log.append("t", numbered(2, "", 5));
      expect(shown(await pages(log, "t", first?.cursor))).toEqual(["1", "2", "3", "4", "5", "6"]);
    },
  );

  test.runIf(engine.can.shared)(
    "a record that another log appended is in the next page",
    async () => {
      await using opened = await openLog(engine);
      await using other = await opened.store.open();
      expect(other.epoch).toBe(opened.log.epoch);
      for (let n = 0; n < 50; n++) {
        await other.append("t", numbered(1, "", n));
        const page = await opened.log.page("t", undefined);
        expect(page.length).toBe(n + 1);
      }
    },
  );
}

/** Rule 2: a record that its producer sends again is stored once. */
export function describeDedupe(engine: Engine, shared: Shared): void {
  test("a record that was stored before is not stored again", async () => {
    const { log, t } = await shared.borrow();
    const [first] = await log.append(t, [made("p", 1n)]);
    await log.append(t, texts("other"));
    expect(await log.append(t, [made("p", 1n)])).toEqual([{ ...first, repeated: true }]);
    expect(shown(await pages(log, t))).toEqual(["p1", "other"]);
  });

  test("a record that is repeated within one append, or among new records, is stored once", async () => {
    const { log, t } = await shared.borrow();
    const [a, b, c] = await log.append(t, [made("p", 1n), made("p", 2n), made("p", 1n)]);
    expect([a?.repeated, b?.repeated, c?.repeated]).toEqual([false, false, true]);
    expect(c?.cursor).toBe(a?.cursor);
    const [d, e, f] = await log.append(t, [made("p", 3n), made("p", 2n), made("p", 4n)]);
    expect([d?.repeated, e?.repeated, f?.repeated]).toEqual([false, true, false]);
    expect(e?.cursor).toBe(b?.cursor);
    expect(shown(await pages(log, t))).toEqual(["p1", "p2", "p3", "p4"]);
  });

  test("a record that is appended many times at the same time is stored once", async () => {
    const { log, t } = await shared.borrow();
    const sent = Array.from({ length: 50 }, (_, n) => log.append(t, [made("p", BigInt(n % 5))]));
    const appended = (await Promise.all(sent)).flat();
    expect(appended.filter(({ repeated }) => !repeated).length).toBe(5);
    expect(new Set(appended.map(({ cursor }) => cursor)).size).toBe(5);
    expect(shown(await pages(log, t))).toEqual(["p0", "p1", "p2", "p3", "p4"]);
  });

  test("records that differ in topic, producer or sequence are all stored; sequences have 64 bits", async () => {
    const { log, t } = await shared.borrow();
    const most = 2n ** 64n - 1n;
    const ids: [string, bigint][] = [0n, most, 2n ** 63n, 2n ** 53n, 2n ** 53n + 1n].map((n) => [
      "p",
      n,
    ]);
    for (const producer of ["P", "p ", "é *>.\u0000", ""]) ids.push([producer, 0n]);
    for (const topic of [t, "u"]) {
      for (const id of ids)
        expect((await log.append(topic, [made(...id)]))[0]?.repeated).toBe(false);
      for (const id of ids)
        expect((await log.append(topic, [made(...id)]))[0]?.repeated).toBe(true);
      expect((await pages(log, topic)).length).toBe(ids.length);
    }
  });

  test("records without a producer are all stored", async () => {
    const { log, t } = await shared.borrow();
    await log.append(t, texts("same", "same"));
    await log.append(t, texts("same"));
    expect(shown(await pages(log, t))).toEqual(["same", "same", "same"]);
  });

  test.runIf(engine.can.durable)(
    "a record that was stored before the log was opened again is not stored again",
    async () => {
      await using store = await engine.store();
      const before = await store.open();
      const first = await before.append("t", [made("p", 1n), made("p", 2n)]);
      await before[Symbol.asyncDispose]();
      await using log = await store.open();
      const again = await log.append("t", [made("p", 2n), made("p", 3n)]);
      expect(again[0]).toEqual({ cursor: first[1]?.cursor, repeated: true });
      expect(shown(await pages(log, "t"))).toEqual(["p1", "p2", "p3"]);
    },
  );

  test.runIf(engine.can.shared)(
    "a record that several logs append at the same time is stored once",
    async () => {
      await using opened = await openLog(engine);
      await using other = await opened.store.open();
      const sent = Array.from({ length: 40 }, (_, n) =>
        (n % 2 === 0 ? opened.log : other).append("t", [made("p", BigInt(n >> 2))]),
      );
      const appended = (await Promise.all(sent)).flat();
      expect(appended.filter(({ repeated }) => !repeated).length).toBe(10);
      expect((await pages(opened.log, "t")).length).toBe(10);
    },
  );
}

function timesOf(items: readonly TopicItem[]): number[] {
  return items.flatMap((item) => (item.kind === "record" ? [item.timeMs] : []));
}

function increases(numbers: readonly number[]): boolean {
  return numbers.every((number, n) => n === 0 || number > (numbers[n - 1] as number));
}
