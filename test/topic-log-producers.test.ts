/**
 * A SQLite log recognises records that their producers send again, whether their entries are in
 * memory, moving to the table, or in it.
 */
import { rm } from "node:fs/promises";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { NewRecord, TopicLog } from "../src/topics/log.ts";
import { retentionLimitsOf } from "../src/topics/retention.ts";
import { openSqliteLog } from "../src/topics/sqlite/log.ts";
import { sqliteLog } from "../src/topics/sqlite/sqlite.ts";
import { made } from "./contract/engine.ts";
import { until } from "./support/gate.ts";
import { temporary } from "./support/temporary.ts";

// Some tests store ten thousand records on the disk, which other programs may use too.
vi.setConfig({ testTimeout: 60_000 });

const TOPIC = "room/a";
const PRODUCERS = ["p", "q", "r"];

/** More than twice the records whose entries fit in memory, from several producers in turn. */
const ALL = Array.from({ length: 12_000 }, (_, n) =>
  made(PRODUCERS[n % 3] as string, BigInt(n >> 1)),
);

/** Appends records, 300 at a time. */
async function store(log: TopicLog, records: readonly NewRecord[]) {
  const appended = [];
  for (let at = 0; at < records.length; at += 300) {
    appended.push(...(await log.append(TOPIC, records.slice(at, at + 300))));
  }
  return appended;
}

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await temporary();
  path = `${folder}/log.db`;
});
afterEach(() => rm(folder, { recursive: true }));

/** Counts the entries in the table. */
function inTable(): number {
  const file = new Database(path, { readonly: true });
  const count = file.prepare("SELECT count(*) FROM produced").pluck().get();
  file.close();
  return count as number;
}

test("every stored record is recognised, even after the log was opened again at any time", async () => {
  const cursors: string[] = [];
  let stored = 0;
  const moved: number[] = [];
  for (const upTo of [100, 4200, 5500, 8300, ALL.length]) {
    await using log = await sqliteLog(path);
    const news = await store(log, ALL.slice(stored, upTo));
    expect(news.every(({ repeated }) => !repeated)).toBe(true);
    cursors.push(...news.map(({ cursor }) => cursor));
    stored = upTo;
    const again = await store(log, ALL.slice(0, stored).toReversed());
    expect(again.every(({ repeated }) => repeated)).toBe(true);
    expect(again.map(({ cursor }) => cursor).toReversed()).toEqual(cursors);
    moved.push(inTable());
  }
  // First all entries are in memory, then a run is moving, and at the end some runs have moved.
  expect(moved.slice(0, 3)).toEqual([0, 0, 2600]);
  expect(moved.at(-1)).toBeGreaterThan(5500);
});

test("a trimmed record can be stored once more, wherever its entry was", async () => {
  const first = await (async () => {
    await using log = await sqliteLog(path);
    const appended = await store(log, ALL);
    // The entry of the newest trimmed record is moving to the table, or in memory.
    await log.trim(TOPIC, appended[9_999]?.cursor as string);
    return appended;
  })();
  await using log = await sqliteLog(path);
  const again = await store(log, ALL);
  for (const [n, { repeated, cursor }] of again.entries()) {
    expect(repeated).toBe(n >= 10_000);
    expect(cursor === first[n]?.cursor).toBe(repeated);
  }
  const third = await store(log, ALL);
  expect(third.map(({ cursor }) => cursor)).toEqual(again.map(({ cursor }) => cursor));
  expect(third.every(({ repeated }) => repeated)).toBe(true);
});

test("trimmed records leave no entries in the table", async () => {
  await using log = await sqliteLog(path);
  await store(log, ALL.slice(0, 5500));
  expect(inTable()).toBe(2600);
  await log.trim(TOPIC, (await log.end(TOPIC)).cursor);
  await until("the table is swept", () => inTable() === 0);
  // Further records move the entries that are still in memory.
  await store(log, ALL.slice(5500));
  await log.trim(TOPIC, (await log.end(TOPIC)).cursor);
  await until("the table is swept again", () => inTable() === 0);
});

test("the number of records read at opening is limited, even if records have no producer", async () => {
  {
    await using log = await sqliteLog(path);
    await store(
      log,
      numbered(0, 10_000, 1).map(({ data }) => ({ data })),
    );
    await store(log, ALL.slice(0, 10));
  }
  const file = new Database(path, { readonly: true });
  const rest =
    "SELECT count(*) FROM records WHERE position > (SELECT value FROM meta WHERE key = 'indexed')";
  expect(file.prepare(rest).pluck().get()).toBeLessThan(9000);
  file.close();
  await using log = await sqliteLog(path);
  const again = await store(log, ALL.slice(0, 10));
  expect(again.every(({ repeated }) => repeated)).toBe(true);
});

/** Makes records of one producer, with sequences that begin at `from`. */
function numbered(from: number, count: number, bytes: number): NewRecord[] {
  return Array.from({ length: count }, (_, n) => ({
    data: new Uint8Array(bytes),
    id: { producer: "p", sequence: BigInt(from + n) },
  }));
}

test("a record that could not be stored is stored when it is appended again", async () => {
  await using log = await openSqliteLog({ path, retention: retentionLimitsOf({}), maxPages: 60 });
  await log.append(TOPIC, numbered(0, 1, 1));
  await expect(log.append(TOPIC, numbered(1, 100, 4000))).rejects.toThrow(/no room/);
  const one = numbered(1, 1, 4000);
  expect(await log.append(TOPIC, one)).toMatchObject([{ repeated: false }]);
  expect(await log.append(TOPIC, one)).toMatchObject([{ repeated: true }]);
});

test("entries that move to the table while the disk is full are not lost", async () => {
  await using log = await openSqliteLog({ path, retention: retentionLimitsOf({}), maxPages: 400 });
  await store(log, numbered(0, 5000, 1));
  await expect(log.append(TOPIC, numbered(5000, 1000, 4000))).rejects.toThrow(/no room/);
  await store(log, numbered(5000, 4000, 1));
  const again = await store(log, numbered(0, 9000, 1));
  expect(again.filter(({ repeated }) => !repeated)).toEqual([]);
});
