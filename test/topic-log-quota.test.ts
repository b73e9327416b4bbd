/** maxBytes: what all topics of a log may use together. */
import { statSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";
import { Code, ConnectError } from "../src/server.ts";
import type { Appended, NewRecord, TopicLog } from "../src/topics/log.ts";
import { memoryLog } from "../src/topics/memory.ts";
import { sqliteLog } from "../src/topics/sqlite/sqlite.ts";
import { made, pages, shown, texts } from "./contract/engine.ts";
import "./support/compile-cache.ts";
import { temporaryFile } from "./support/temporary.ts";

const MAX_BYTES = 1_000_000;

const RECORD: NewRecord = { data: new Uint8Array(10_000) };

type Options = { maxBytes: number; retention?: { ageMs?: number; records?: number } };

/** Appends until it is refused; returns what was stored, and the error. */
async function fill(log: TopicLog, topic = "t"): Promise<{ stored: Appended[]; error: unknown }> {
  const stored: Appended[] = [];
  for (;;) {
    try {
      stored.push(...(await log.append(topic, [RECORD])));
    } catch (error) {
      return { stored, error };
    }
  }
}

const isStored = (log: TopicLog, record: NewRecord) =>
  log.append("t", [record]).then(
    () => true,
    () => false,
  );

describe.each([
  ["in memory", async (_: string, options: Options) => memoryLog(options)],
  ["in SQLite", (path: string, options: Options) => sqliteLog({ path, logger: quiet, ...options })],
])("a log %s with maxBytes", (_, open) => {
  test("refuses what exceeds them, with the numbers, and stores again when records were dropped", async () => {
    await using file = await temporaryFile("log.db");
    await using log = await open(file.path, { maxBytes: MAX_BYTES });
    await log.append("t", [made("p", 1n)]);
    const { stored, error } = await fill(log);
    expect(stored.length).toBeGreaterThan(60);
    expect(stored.length).toBeLessThanOrEqual(100);
    expect(ConnectError.from(error).code).toBe(Code.ResourceExhausted);
    expect(ConnectError.from(error).rawMessage).toMatch(
      /^the server's log has (9\d\d KB|1 MB) of 1 MB \(maxBytes\): nothing was stored; send it again when older records were dropped$/,
    );
    // A record that was stored is recognised, and what was stored can be read.
    expect(await log.append("t", [made("p", 1n)])).toMatchObject([{ repeated: true }]);
    expect((await pages(log, "t")).length).toBe(stored.length + 1);

    const upTo = stored[Math.floor(stored.length / 2)] as Appended;
    await log.trim("t", upTo.cursor);
    await vi.waitUntil(() => isStored(log, RECORD));
    await log.append("other", texts("a"));
  });

  test("refuses an append as a whole", async () => {
    await using file = await temporaryFile("log.db");
    await using log = await open(file.path, { maxBytes: MAX_BYTES });
    await log.append("t", texts("a"));
    const many = Array.from({ length: 200 }, () => RECORD);
    await expect(log.append("t", many)).rejects.toMatchObject({ code: Code.ResourceExhausted });
    await log.append("t", texts("b"));
    expect(shown(await pages(log, "t"))).toEqual(["a", "b"]);
  });

  test("takes records again when those of a topic that nobody uses have expired", async () => {
    await using file = await temporaryFile("log.db");
    await using log = await open(file.path, { maxBytes: MAX_BYTES, retention: { ageMs: 300 } });
    await fill(log, "unused");
    await vi.waitUntil(() => isStored(log, RECORD), { timeout: 9_000 });
  });
});

const quiet = { error: () => {}, warn: () => {} };

test("a file in SQLite stays below maxBytes, also when old records make way for new ones", async () => {
  await using file = await temporaryFile("log.db");
  const retention = { records: 20 };
  {
    await using log = await sqliteLog({ path: file.path, maxBytes: MAX_BYTES, retention });
    for (let n = 0; n < 400; n++) await log.append("t", [RECORD]);
    await vi.waitUntil(async () => (await pages(log, "t")).length === 20);
  }
  // The records of an append are there before older ones are deleted.
  expect(statSync(file.path).size).toBeLessThan(MAX_BYTES);
});

test("the operator of a file in SQLite is told its path and what to do", async () => {
  await using file = await temporaryFile("log.db");
  const logged: string[] = [];
  const note = (text: string) => void logged.push(text);
  const logger = { error: note, warn: note };
  await using log = await sqliteLog({ path: file.path, maxBytes: MAX_BYTES, logger });
  await fill(log);
  expect(logged).toEqual([
    `${file.path} is full at 1 MB (maxBytes): nothing more is stored until records are dropped; let retention keep less, or raise maxBytes`,
  ]);
});
