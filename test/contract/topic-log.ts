import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import { cursorsOf } from "../../src/topics/cursor.ts";
import type { Item, NewRecord, TopicLog } from "../../src/topics/log.ts";
import {
  bytes,
  type Engine,
  made,
  numbered,
  openLog,
  pages,
  Shared,
  shown,
  take,
  texts,
} from "./engine.ts";
import { describeReading } from "./topic-log-read.ts";
import { describeRetention } from "./topic-log-retention.ts";

/**
 * What every engine of logs must do: the rules of src/topics/log.ts, in their
 * order. Positions need not be contiguous, nor begin anywhere.
 */
export function describeTopicLog(engine: Engine): void {
  // What an engine needs for a thousand topics, where others are at work.
  vi.setConfig({ testTimeout: 30_000, hookTimeout: 30_000 });
  const shared = new Shared(engine);
  afterAll(() => shared[Symbol.asyncDispose]());
  describe(`${engine.name}: append`, () => describeAppend(engine, shared));
  describe(`${engine.name}: dedupe`, () => describeDedupe(engine, shared));
  describe(`${engine.name}: pages`, () => describePages(shared));
  describe(`${engine.name}: cursors`, () => describeCursors(engine, shared));
  describe(`${engine.name}: topics`, () => describeTopics(engine, shared));
  describe(`${engine.name}: read`, () => describeReading(engine, shared));
  describe(`${engine.name}: trim and retention`, () => describeRetention(engine, shared));
  describe(`${engine.name}: closing`, () => describeClosing(engine));
}

function describeAppend(engine: Engine, shared: Shared): void {
  afterEach(() => void vi.useRealTimers());

  test.each([
    ["data that is text", { data: "text" }],
    ["data in a buffer without a view", { data: new ArrayBuffer(4) }],
    ["a number as sequence", { data: bytes("x"), id: { producer: "p", sequence: 1 } }],
    ["a sequence below 0", made("p", -1n)],
    ["a sequence of more than 64 bits", made("p", 2n ** 64n)],
    ["a producer without a name", { data: bytes("x"), id: { sequence: 1n } }],
    ["a producer with half a surrogate pair", made("half \ud800", 1n)],
  ])("%s is refused, and nobody else's record with it", async (_, record) => {
    const { log, t } = await shared.borrow();
    const before = log.append(t, texts("before"));
    const refused = log.append(t, [made("q", 1n), record as NewRecord]);
    const after = log.append(t, texts("after"));
    await rejects(refused, Code.InvalidArgument);
    await Promise.all([before, after]);
    expect(shown(await pages(log, t)).toSorted()).toEqual(["after", "before"]);
  });

  test("records come back in the order of their appends", async () => {
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

  test("gives the cursor of each record", async () => {
    const { log, t } = await shared.borrow();
    const appended = await log.append(t, texts("a", "b"));
    expect(appended.map(({ repeated }) => repeated)).toEqual([false, false]);
    const items = await pages(log, t);
    expect(items.map(({ cursor }) => cursor)).toEqual(appended.map(({ cursor }) => cursor));
  });

  test("the records of one append lie together, whoever else appends", async () => {
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

  test("no records are no append", async () => {
    const { log, t } = await shared.borrow();
    expect(await log.append(t, [])).toEqual([]);
    expect(await log.page(t, undefined)).toEqual([]);
  });

  test("any bytes come back as they were, none and many", async () => {
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

  test("what the caller does with its bytes afterwards changes nothing", async () => {
    const { log, t } = await shared.borrow();
    const [data, slice] = [Buffer.from("before"), Buffer.from("..within..").subarray(2, 8)];
    await log.append(t, [{ data }, { data: slice }]);
    data.fill("x");
    slice.fill("x");
    expect(shown(await pages(log, t))).toEqual(["before", "within"]);
  });

  test.runIf(engine.can.ownClock)("the time of a record is now, and never goes back", async () => {
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
  });

  test.runIf(!engine.can.ownClock)("times are those of today, and never go back", async () => {
    const { log, t } = await shared.borrow();
    for (const record of numbered(50)) await log.append(t, [record]);
    const times = timesOf(await pages(log, t));
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    for (const time of times) expect(Math.abs(time - Date.now())).toBeLessThan(3_600_000);
  });

  test.runIf(engine.can.durable)(
    "what was acknowledged is there when it is opened again",
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

  test.runIf(engine.can.shared)("what another log appended is there at once", async () => {
    await using opened = await openLog(engine);
    await using other = await opened.store.open();
    expect(other.epoch).toBe(opened.log.epoch);
    for (let n = 0; n < 50; n++) {
      await other.append("t", numbered(1, "", n));
      const page = await opened.log.page("t", undefined);
      expect(page.length).toBe(n + 1);
    }
  });
}

function describeDedupe(engine: Engine, shared: Shared): void {
  test("a record that was stored before is not stored again", async () => {
    const { log, t } = await shared.borrow();
    const [first] = await log.append(t, [made("p", 1n)]);
    await log.append(t, texts("other"));
    expect(await log.append(t, [made("p", 1n)])).toEqual([{ ...first, repeated: true }]);
    expect(shown(await pages(log, t))).toEqual(["p1", "other"]);
  });

  test("within one append too, and among records that are new", async () => {
    const { log, t } = await shared.borrow();
    const [a, b, c] = await log.append(t, [made("p", 1n), made("p", 2n), made("p", 1n)]);
    expect([a?.repeated, b?.repeated, c?.repeated]).toEqual([false, false, true]);
    expect(c?.cursor).toBe(a?.cursor);
    const [d, e, f] = await log.append(t, [made("p", 3n), made("p", 2n), made("p", 4n)]);
    expect([d?.repeated, e?.repeated, f?.repeated]).toEqual([false, true, false]);
    expect(e?.cursor).toBe(b?.cursor);
    expect(shown(await pages(log, t))).toEqual(["p1", "p2", "p3", "p4"]);
  });

  test("one that is sent many times at once is stored once", async () => {
    const { log, t } = await shared.borrow();
    const sent = Array.from({ length: 50 }, (_, n) => log.append(t, [made("p", BigInt(n % 5))]));
    const appended = (await Promise.all(sent)).flat();
    expect(appended.filter(({ repeated }) => !repeated).length).toBe(5);
    expect(new Set(appended.map(({ cursor }) => cursor)).size).toBe(5);
    expect(shown(await pages(log, t))).toEqual(["p0", "p1", "p2", "p3", "p4"]);
  });

  test("another topic, producer or sequence is another record; sequences have 64 bits", async () => {
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

  test.runIf(engine.can.durable)("across a reopening", async () => {
    await using store = await engine.store();
    const before = await store.open();
    const first = await before.append("t", [made("p", 1n), made("p", 2n)]);
    await before[Symbol.asyncDispose]();
    await using log = await store.open();
    const again = await log.append("t", [made("p", 2n), made("p", 3n)]);
    expect(again[0]).toEqual({ cursor: first[1]?.cursor, repeated: true });
    expect(shown(await pages(log, "t"))).toEqual(["p1", "p2", "p3"]);
  });

  test.runIf(engine.can.shared)("across logs that append at the same time", async () => {
    await using opened = await openLog(engine);
    await using other = await opened.store.open();
    const sent = Array.from({ length: 40 }, (_, n) =>
      (n % 2 === 0 ? opened.log : other).append("t", [made("p", BigInt(n >> 2))]),
    );
    const appended = (await Promise.all(sent)).flat();
    expect(appended.filter(({ repeated }) => !repeated).length).toBe(10);
    expect((await pages(opened.log, "t")).length).toBe(10);
  });
}

function describePages(shared: Shared): void {
  test("a page ends with its count of records", async () => {
    const { log, t } = await shared.borrow();
    await log.append(t, numbered(10));
    const page = await log.page(t, undefined, { records: 4 });
    expect(shown(page)).toEqual(["0", "1", "2", "3"]);
    const next = await log.page(t, page.at(-1)?.cursor, { records: 100 });
    expect(shown(next)).toEqual(["4", "5", "6", "7", "8", "9"]);
    expect(await log.page(t, next.at(-1)?.cursor)).toEqual([]);
    expect(shown(await pages(log, t, undefined, { records: 1 }))).toEqual(
      shown([...page, ...next]),
    );
  });

  test("a page ends with its count of bytes, and has one record at least", async () => {
    const { log, t } = await shared.borrow();
    await log.append(
      t,
      Array.from({ length: 5 }, () => ({ data: new Uint8Array(1_000) })),
    );
    expect((await log.page(t, undefined, { bytes: 2_000 })).length).toBe(2);
    expect((await log.page(t, undefined, { bytes: 2_001 })).length).toBe(3);
    expect((await log.page(t, undefined, { bytes: 1 })).length).toBe(1);
    expect((await pages(log, t, undefined, { bytes: 1 })).length).toBe(5);
  });

  test("without limits a page is of 512 records or 256 KiB", async () => {
    const { log } = await shared.borrow();
    await log.append("small", numbered(513));
    expect((await log.page("small", undefined)).length).toBe(512);
    const large = { data: new Uint8Array(100 * 1024) };
    for (let n = 0; n < 4; n++) await log.append("large", [large]);
    expect((await log.page("large", undefined)).length).toBe(3);
  });

  test("end() is the last record, whose cursor leads to what follows", async () => {
    const { log, t } = await shared.borrow();
    const empty = await log.end(t);
    expect(await log.page(t, empty.cursor)).toEqual([]);
    const [, last] = await log.append(t, texts("a", "b"));
    const end = await log.end(t);
    expect(end.cursor).toBe(last?.cursor);
    expect(end.position).toBe((await pages(log, t)).at(-1)?.position);
    expect(empty.position).toBeLessThan(end.position);
    expect(shown(await pages(log, t, empty.cursor))).toEqual(["a", "b"]);
    await log.append("other", texts("x"));
    expect(await log.end(t)).toEqual(end);
    expect(await log.page(t, end.cursor)).toEqual([]);
    await log.append(t, texts("c"));
    expect(shown(await pages(log, t, end.cursor))).toEqual(["c"]);
  });
}

function describeCursors(engine: Engine, shared: Shared): void {
  const refused = (log: TopicLog, t: string, cursor: string) => [
    log.page(t, cursor),
    log.trim(t, cursor),
    take(log.read(t, cursor, AbortSignal.timeout(20_000)), 1),
  ];

  test("a malformed cursor is INVALID_ARGUMENT", async () => {
    const { log, t } = await shared.borrow();
    const [good] = await log.append(t, texts("a"));
    const flipped = (good as { cursor: string }).cursor.replace(/.$/, (c) =>
      c === "A" ? "B" : "A",
    );
    for (const cursor of ["", "x", "not a cursor", "a".repeat(32), "ü".repeat(32), flipped]) {
      for (const call of refused(log, t, cursor)) await rejects(call, Code.InvalidArgument);
    }
  });

  test("a cursor of another topic is INVALID_ARGUMENT", async () => {
    const { log, t } = await shared.borrow();
    const [other] = await log.append("other", texts("a"));
    await log.append(t, texts("b"));
    for (const call of refused(log, t, other?.cursor as string)) {
      await rejects(call, Code.InvalidArgument);
    }
  });

  test("a cursor of another epoch gives a gap, then the oldest that is kept", async () => {
    const { log, t } = await shared.borrow();
    await using foreign = await openLog(engine);
    const [cursor] = await foreign.log.append(t, texts("elsewhere"));
    await log.append(t, texts("a", "b"));
    expect(foreign.log.epoch).not.toBe(log.epoch);
    const items = await pages(log, t, cursor?.cursor);
    expect(shown(items)).toEqual(["(gap)", "a", "b"]);
    expect(shown(await pages(log, t, items[0]?.cursor))).toEqual(["a", "b"]);
    const read = take(log.read(t, cursor?.cursor, AbortSignal.timeout(20_000)), 3);
    expect(await read).toEqual(items);
    expect(shown(await pages(log, "empty", foreignCursor(foreign.log, "empty")))).toEqual([
      "(gap)",
    ]);
  });

  test("a cursor behind the end gives a gap, then what comes", async () => {
    const { log, t } = await shared.borrow();
    await log.append(t, texts("a", "b"));
    const far = cursorsOf(log.epoch, t).write(2 ** 52);
    const [gap, ...rest] = await pages(log, t, far);
    expect([gap?.kind, rest]).toEqual(["gap", []]);
    expect(gap?.position).toBe((await log.end(t)).position);
    const reading = log.read(t, far, AbortSignal.timeout(20_000))[Symbol.asyncIterator]();
    // Only then: the gap leads to where the end is.
    expect((await reading.next()).value).toEqual(gap);
    await log.append(t, texts("c", "d"));
    const coming = [await reading.next(), await reading.next()];
    expect(shown(coming.map(({ value }) => value))).toEqual(["c", "d"]);
    await reading.return?.();
    expect(shown(await pages(log, t, gap?.cursor))).toEqual(["c", "d"]);
  });

  test("a cursor of another epoch trims nothing", async () => {
    const { log, t } = await shared.borrow();
    await using foreign = await openLog(engine);
    const appended = await foreign.log.append(t, texts("a", "b", "c"));
    await log.append(t, texts("a", "b"));
    await log.trim(t, appended.at(-1)?.cursor as string);
    expect(shown(await pages(log, t))).toEqual(["a", "b"]);
  });
}

function describeTopics(engine: Engine, shared: Shared): void {
  const odd = [
    ...[
      " ",
      ".",
      "..",
      "a.b",
      "a..b",
      ".a",
      "a.",
      "*",
      ">",
      "a.*",
      "a.>",
      "$SYS.x",
      "%",
      "_",
      "A",
      "a",
    ],
    ...[
      "é",
      "e\u0301",
      "部屋",
      "🚢 ship",
      "with space",
      "tab\tnew\nline",
      "nul\u0000",
      "quote'\"",
      "-- ;",
    ],
    ...[
      "\uffff",
      "\u{10000}",
      "/",
      "\\",
      "x".repeat(320),
      "€".repeat(85),
      "__proto__",
      "constructor",
    ],
  ];

  test("any name of 1 to 320 bytes is a topic of its own", async () => {
    await using opened = await openLog(engine);
    const { log } = opened;
    await Promise.all(odd.map((topic) => log.append(topic, texts(topic))));
    for (const topic of odd) expect(shown(await pages(log, topic))).toEqual([topic]);
    const inUtf8 = odd.toSorted((a, b) => Buffer.from(a).compare(Buffer.from(b)));
    expect(await log.topics()).toEqual(inUtf8);
  });

  test.each([
    ["none", ""],
    ["321 letters", "x".repeat(321)],
    ["321 bytes in 107 letters", "€".repeat(107)],
    ["half a surrogate pair", "half \ud800"],
  ])("%s is no name of a topic", async (_, topic) => {
    const { log } = await shared.borrow();
    const signal = AbortSignal.timeout(20_000);
    await rejects(log.append(topic, texts("a")), Code.InvalidArgument);
    await rejects(log.page(topic, undefined), Code.InvalidArgument);
    await rejects(log.end(topic), Code.InvalidArgument);
    await rejects(take(log.read(topic, undefined, signal), 1), Code.InvalidArgument);
  });

  test("topics() gives those with the prefix, as it is written", async () => {
    await using opened = await openLog(engine);
    const { log } = opened;
    const names = ["rooms/b", "rooms/a", "rooms", "Rooms/c", "rooms_d", "rooms%", "other", "ro*"];
    for (const name of names) await log.append(name, texts("x"));
    expect(await log.topics("rooms/")).toEqual(["rooms/a", "rooms/b"]);
    expect(await log.topics("rooms_")).toEqual(["rooms_d"]);
    expect(await log.topics("ro*")).toEqual(["ro*"]);
    expect(await log.topics("none")).toEqual([]);
    expect(await log.topics("rooms")).toEqual(["rooms", "rooms%", "rooms/a", "rooms/b", "rooms_d"]);
  });

  test("a topic that was only looked at is none", async () => {
    await using opened = await openLog(engine);
    expect(await opened.log.page("t", undefined)).toEqual([]);
    await opened.log.end("t");
    expect(await opened.log.topics()).toEqual([]);
  });

  test("a thousand topics do not disturb each other", async () => {
    await using opened = await openLog(engine);
    const { log } = opened;
    const names = Array.from({ length: 1_000 }, (_, n) => `t/${n}`);
    for (const turn of ["a", "b"]) {
      await Promise.all(names.map((name) => log.append(name, texts(`${name} ${turn}`))));
    }
    expect((await log.topics("t/")).length).toBe(1_000);
    const all = await Promise.all(names.map((name) => pages(log, name)));
    expect(all.map(shown)).toEqual(names.map((name) => [`${name} a`, `${name} b`]));
  });
}

function describeClosing(engine: Engine): void {
  test("a closed log is UNAVAILABLE, and may be closed again", async () => {
    await using opened = await openLog(engine);
    const { log } = opened;
    const [last] = await log.append("t", texts("a"));
    await log[Symbol.asyncDispose]();
    await log[Symbol.asyncDispose]();
    await rejects(log.append("t", texts("b")), Code.Unavailable);
    await rejects(log.page("t", undefined), Code.Unavailable);
    await rejects(log.end("t"), Code.Unavailable);
    await rejects(log.topics(), Code.Unavailable);
    await rejects(log.trim("t", last?.cursor as string), Code.Unavailable);
    const signal = AbortSignal.timeout(20_000);
    await rejects(take(log.read("t", undefined, signal), 9), Code.Unavailable);
  });

  test.runIf(engine.can.durable)(
    "appends that meet the closing are stored, or reject",
    async () => {
      await using store = await engine.store();
      const before = await store.open();
      const sent = numbered(100).map((record) => before.append("t", [record]));
      const outcomes = Promise.allSettled(sent);
      await before[Symbol.asyncDispose]();
      const kept = (await outcomes).map(({ status }) => status === "fulfilled");
      for (const outcome of await outcomes) {
        if (outcome.status === "rejected") expect(outcome.reason.code).toBe(Code.Unavailable);
      }
      await using log = await store.open();
      const there = new Set(shown(await pages(log, "t")));
      for (const [n, acknowledged] of kept.entries())
        if (acknowledged) expect(there).toContain(`${n}`);
    },
  );
}

function foreignCursor(log: TopicLog, topic: string): string {
  return cursorsOf(log.epoch, topic).write(7);
}

function timesOf(items: readonly Item[]): number[] {
  return items.flatMap((item) => (item.kind === "record" ? [item.timeMs] : []));
}

function increases(numbers: readonly number[]): boolean {
  return numbers.every((number, n) => n === 0 || number > (numbers[n - 1] as number));
}

async function rejects(call: Promise<unknown>, code: Code): Promise<void> {
  const error = await call.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(ConnectError);
  expect(Code[(error as ConnectError).code]).toBe(Code[code]);
  expect((error as ConnectError).rawMessage).not.toBe("");
}
