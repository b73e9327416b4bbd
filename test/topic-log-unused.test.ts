/** Topics that nobody uses hold no memory, whatever a log in SQLite keeps of them. */
import Database from "better-sqlite3";
import { expect, test, vi } from "vitest";
import { retentionLimitsOf } from "../src/topics/retention.ts";
import { sqliteLog } from "../src/topics/sqlite/sqlite.ts";
import { type Append, FileWriter } from "../src/topics/sqlite/writer.ts";
import { made } from "./contract/engine.ts";
import "./support/compile-cache.ts";
import { memoryInUse } from "./support/memory.ts";
import { temporaryFile } from "./support/temporary.ts";

vi.setConfig({ testTimeout: 120_000 });

const MIB = 2 ** 20;
const TOPICS = 100_000;

/** What the topics of a run may take; the rows of 100,000 topics would be 30 MiB. */
const FEW = 4 * MIB;

test("100,000 topics with a record each take no memory of the thread that writes, nor when the file is opened again", async () => {
  await using file = await temporaryFile("log.db");
  const retention = retentionLimitsOf({ records: 10 });
  const open = () =>
    new FileWriter(
      { role: "writer", path: file.path, retention, maxBytes: Infinity, maxPages: undefined },
      "0".repeat(16),
      1,
    );
  const writer = open();
  const record = { data: new Uint8Array(20), producer: null, sequence: null };
  const before = await memoryInUse();
  for (let n = 0; n < TOPICS; n += 1000) {
    const appends: Append[] = Array.from({ length: 1000 }, (_, at) => ({
      ...{ topic: `room/${n + at}`, nowMs: 1, records: [record] },
    }));
    writer.append(appends);
  }
  expect((await memoryInUse()) - before).toBeLessThan(FEW);
  writer.close();

  const again = open();
  let sweeps = 1;
  while (again.sweep(1)) sweeps++;
  expect(sweeps).toBeGreaterThan(TOPICS);
  expect((await memoryInUse()) - before).toBeLessThan(FEW);
  again.close();
});

test("100,000 topics with a record each take no memory of the thread that appends and lists them", async () => {
  await using file = await temporaryFile("log.db");
  await using log = await sqliteLog(file.path);
  await log.append("room/first", [made("p", 1n)]);
  const before = await memoryInUse();
  for (let n = 0; n < TOPICS; n += 5000) {
    const topics = Array.from({ length: 5000 }, (_, at) => `room/${n + at}`);
    await Promise.all(topics.map((topic) => log.append(topic, [made("p", 1n)])));
  }
  expect(await log.topics("room/", { after: "room/5", limit: 2 })).toEqual(["room/50", "room/500"]);
  expect((await memoryInUse()) - before).toBeLessThan(FEW);
});

test("a topic that had no record for long loses those that expire, although the writer remembers no topic", async () => {
  await using file = await temporaryFile("log.db");
  const retention = retentionLimitsOf({ ageMs: 1000 });
  const writer = new FileWriter(
    { role: "writer", path: file.path, retention, maxBytes: Infinity, maxPages: undefined },
    "0".repeat(16),
    1,
  );
  const data = { data: new Uint8Array(1), producer: null, sequence: null };
  const append = (topic: string, nowMs: number) =>
    writer.append([{ topic, nowMs, records: [data] }]);
  const sweep = (nowMs: number) => {
    let sweeps = 1;
    for (; writer.sweep(nowMs); sweeps++);
    return sweeps;
  };
  for (let n = 0; n < 1000; n++) append(`old/${n}`, 1000);
  sweep(1000);
  for (let n = 0; n < 1000; n++) append(`new/${n}`, 2000);
  writer.tick(2000);
  expect(writer.isDue).toBe(false);
  writer.tick(2001);
  const sweeps = sweep(2001);
  // The work is that of the records that expire, not of all topics.
  expect(sweeps).toBeLessThan(1100);
  expect(writer.isDue).toBe(false);
  writer.tick(2001);
  expect(writer.isDue).toBe(false);
  writer.close();
  const stored = new Database(file.path, { readonly: true });
  const times = stored.prepare("SELECT time, count(*) FROM records GROUP BY time").raw().all();
  stored.close();
  expect(times).toEqual([[2000, 1000]]);
});
