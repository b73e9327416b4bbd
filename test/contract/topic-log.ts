import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, describe, expect, test, vi } from "vitest";
import { cursorsOf } from "../../src/topics/cursor.ts";
import type { TopicLog } from "../../src/topics/log.ts";
import {
  type Engine,
  numbered,
  openLog,
  pages,
  readItems,
  Shared,
  shown,
  texts,
} from "./engine.ts";
import { describeAppend, describeDedupe } from "./topic-log-append.ts";
import { describeReading } from "./topic-log-read.ts";
import { describeRetention } from "./topic-log-retention.ts";

/**
 * The contract of every engine of logs: the rules of src/topics/log.ts, in their order. Positions
 * need not be contiguous, and may begin at any number.
 */
export function describeTopicLog(engine: Engine): void {
  // The time that an engine needs for a thousand topics on a busy machine.
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

function describePages(shared: Shared): void {
  test("a page ends at its limit of records", async () => {
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

  test("a page ends at its limit of bytes, but not before its first record", async () => {
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

  test("a page without limits has up to 512 records or 256 KiB", async () => {
    const { log } = await shared.borrow();
    await log.append("small", numbered(513));
    expect((await log.page("small", undefined)).length).toBe(512);
    const large = { data: new Uint8Array(100 * 1024) };
    for (let n = 0; n < 4; n++) await log.append("large", [large]);
    expect((await log.page("large", undefined)).length).toBe(3);
  });

  test("oldest() returns the position before the oldest record, which follows it without a gap", async () => {
    const { log, t } = await shared.borrow();
    expect(await log.oldest(t)).toEqual(await log.end(t));
    const before = await log.oldest(t);
    // Other topics may have the positions between.
    await log.append("other", texts("x", "y"));
    const [a] = await log.append(t, texts("a"));
    await log.append("other", texts("z"));
    await log.append(t, texts("b", "c"));
    const all = await log.oldest(t);
    expect(shown(await pages(log, t, all.cursor))).toEqual(["a", "b", "c"]);
    expect(shown(await pages(log, t, before.cursor))).toEqual(["a", "b", "c"]);
    expect(all.position).toBeLessThan((await pages(log, t))[0]?.position as number);
    await log.trim(t, a?.cursor as string);
    expect(shown(await pages(log, t, (await log.oldest(t)).cursor))).toEqual(["b", "c"]);
    await log.trim(t, (await log.end(t)).cursor);
    await log.append("other", texts("x"));
    const none = await log.oldest(t);
    await log.append(t, texts("d"));
    expect(shown(await pages(log, t, none.cursor))).toEqual(["d"]);
  });

  test("end() returns the position of the newest record; new records come after its cursor", async () => {
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
  const callsWith = (log: TopicLog, t: string, cursor: string) => [
    log.page(t, cursor),
    log.trim(t, cursor),
    readItems(log.read(t, cursor, AbortSignal.timeout(20_000)), 1),
  ];

  test("calls with a malformed cursor fail with INVALID_ARGUMENT", async () => {
    const { log, t } = await shared.borrow();
    const [good] = await log.append(t, texts("a"));
    const flipped = (good as { cursor: string }).cursor.replace(/.$/, (c) =>
      c === "A" ? "B" : "A",
    );
    for (const cursor of ["", "x", "not a cursor", "a".repeat(32), "ü".repeat(32), flipped]) {
      for (const call of callsWith(log, t, cursor)) await rejects(call, Code.InvalidArgument);
    }
  });

  test("calls with a cursor of another topic fail with INVALID_ARGUMENT", async () => {
    const { log, t } = await shared.borrow();
    const [other] = await log.append("other", texts("a"));
    await log.append(t, texts("b"));
    for (const call of callsWith(log, t, other?.cursor as string)) {
      await rejects(call, Code.InvalidArgument);
    }
  });

  test("a cursor of another epoch leads to a gap, then the oldest record", async () => {
    const { log, t } = await shared.borrow();
    await using foreign = await openLog(engine);
    const [cursor] = await foreign.log.append(t, texts("elsewhere"));
    await log.append(t, texts("a", "b"));
    expect(foreign.log.epoch).not.toBe(log.epoch);
    const items = await pages(log, t, cursor?.cursor);
    expect(shown(items)).toEqual(["(gap)", "a", "b"]);
    expect(shown(await pages(log, t, items[0]?.cursor))).toEqual(["a", "b"]);
    const read = readItems(log.read(t, cursor?.cursor, AbortSignal.timeout(20_000)), 3);
    expect(await read).toEqual(items);
    expect(shown(await pages(log, "empty", foreignCursor(foreign.log, "empty")))).toEqual([
      "(gap)",
    ]);
  });

  test("a cursor past the end leads to a gap, then new records", async () => {
    const { log, t } = await shared.borrow();
    await log.append(t, texts("a", "b"));
    const far = cursorsOf(log.epoch, t).write(2 ** 52);
    const [gap, ...rest] = await pages(log, t, far);
    expect([gap?.kind, rest]).toEqual(["gap", []]);
    expect(gap?.position).toBe((await log.end(t)).position);
    const reading = log.read(t, far, AbortSignal.timeout(20_000))[Symbol.asyncIterator]();
    // First the gap, which leads to the end; then the append.
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

  test("each name of 1 to 320 bytes is a separate topic", async () => {
    await using opened = await openLog(engine);
    const { log } = opened;
    await Promise.all(odd.map((topic) => log.append(topic, texts(topic))));
    for (const topic of odd) expect(shown(await pages(log, topic))).toEqual([topic]);
    const inUtf8 = odd.toSorted((a, b) => Buffer.from(a).compare(Buffer.from(b)));
    expect(await log.topics()).toEqual(inUtf8);
  });

  test.each([
    ["an empty name", ""],
    ["a name of 321 letters", "x".repeat(321)],
    ["a name of 321 bytes in 107 letters", "€".repeat(107)],
    ["a name with half a surrogate pair", "half \ud800"],
  ])("a topic cannot have %s", async (_, topic) => {
    const { log } = await shared.borrow();
    const signal = AbortSignal.timeout(20_000);
    await rejects(log.append(topic, texts("a")), Code.InvalidArgument);
    await rejects(log.page(topic, undefined), Code.InvalidArgument);
    await rejects(log.oldest(topic), Code.InvalidArgument);
    await rejects(log.end(topic), Code.InvalidArgument);
    await rejects(readItems(log.read(topic, undefined, signal), 1), Code.InvalidArgument);
  });

  test("topics() returns the topics with exactly this prefix", async () => {
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

  test("topics() returns a page of names, in order, without those that have no records", async () => {
    await using opened = await openLog(engine);
    const { log } = opened;
    const names = ["a", "b", "r/1", "r/2", "r/3", "r/4", "r/\u{1f600}", "s"];
    let last: string | undefined;
    for (const name of names.toReversed()) {
      const [appended] = await log.append(name, texts("x"));
      if (name === "r/2") last = appended?.cursor;
    }
    expect(await log.topics("r/", { limit: 2 })).toEqual(["r/1", "r/2"]);
    expect(await log.topics("r/", { after: "r/2", limit: 2 })).toEqual(["r/3", "r/4"]);
    expect(await log.topics("r/", { after: "r/4", limit: 2 })).toEqual(["r/\u{1f600}"]);
    expect(await log.topics("r/", { after: "r/\u{1f600}", limit: 2 })).toEqual([]);
    expect(await log.topics("", { after: "b", limit: 1 })).toEqual(["r/1"]);
    expect(await log.topics("r/", { after: "a", limit: 1 })).toEqual(["r/1"]);
    expect(await log.topics("r/", { limit: 0 })).toEqual([]);
    expect(await log.topics("r/", { after: "r/3" })).toEqual(["r/4", "r/\u{1f600}"]);
    await log.trim("r/2", last as string);
    await log.append("r/12", texts("x"));
    expect((await log.topics("r/")).slice(0, 3)).toEqual(["r/1", "r/12", "r/3"]);
    expect(await log.topics("r/", { limit: 2 })).toContain("r/12");
    for (const page of [{ limit: -1 }, { limit: 1.5 }, { after: 5 }, { first: 1 }]) {
      await rejects(log.topics("r/", page as object), Code.InvalidArgument);
    }
  });

  test("a topic that was only read is not listed", async () => {
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
  test("calls of a closed log fail with UNAVAILABLE; the log can be closed again", async () => {
    await using opened = await openLog(engine);
    const { log } = opened;
    const [last] = await log.append("t", texts("a"));
    await log[Symbol.asyncDispose]();
    await log[Symbol.asyncDispose]();
    await rejects(log.append("t", texts("b")), Code.Unavailable);
    await rejects(log.page("t", undefined), Code.Unavailable);
    await rejects(log.oldest("t"), Code.Unavailable);
    await rejects(log.end("t"), Code.Unavailable);
    await rejects(log.topics(), Code.Unavailable);
    await rejects(log.trim("t", last?.cursor as string), Code.Unavailable);
    const signal = AbortSignal.timeout(20_000);
    await rejects(readItems(log.read("t", undefined, signal), 9), Code.Unavailable);
  });

  test.runIf(engine.can.durable)(
    "appends that wait when the log is closed are stored or fail with UNAVAILABLE",
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

async function rejects(call: Promise<unknown>, code: Code): Promise<void> {
  const error = await call.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(ConnectError);
  expect(Code[(error as ConnectError).code]).toBe(Code[code]);
  expect((error as ConnectError).rawMessage).not.toBe("");
}
