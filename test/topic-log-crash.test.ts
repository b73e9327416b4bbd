import { rm } from "node:fs/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Code } from "../src/server.ts";
import type { TopicLog } from "../src/topics/log.ts";
import { sqliteLog } from "../src/topics/sqlite.ts";
import { bytes, pages, shown } from "./contract/engine.ts";
import { type Child, run } from "./support/child.ts";
import { temporary } from "./support/temporary.ts";

// Each test starts processes, which take their time where others are at work.
vi.setConfig({ testTimeout: 60_000 });

let folder: string;
beforeEach(async () => {
  folder = await temporary();
});
afterEach(() => rm(folder, { recursive: true }));

/** The numbers of a log's records. */
async function numbers(log: TopicLog): Promise<number[]> {
  return shown(await pages(log, "t")).map((text) => Number.parseInt(text, 10));
}

/** Reads what a writer acknowledges, until it is killed behind so many. */
async function killed(writer: Child, after: number, acknowledged: number[]): Promise<void> {
  for (let n = 0; n < after; n++) acknowledged.push(Number(await writer.line()));
  writer.kill("SIGKILL");
  // What it said before it died is acknowledged too.
  for (;;) {
    const line = await writer.line().catch(() => undefined);
    if (line === undefined) break;
    acknowledged.push(Number(line));
  }
  expect((await writer.exit).signal).toBe("SIGKILL");
}

test("killed 20 times under load: every acknowledged record is there, once, in order", async () => {
  const path = `${folder}/log.db`;
  const acknowledged: number[] = [];
  let last = -1;
  for (let round = 0; round < 20; round++) {
    await using writer = run("log-writer", path, `${last + 1}`);
    expect(await writer.line()).toBe("open");
    await killed(writer, 20 + round * 7, acknowledged);
    // What was sent and not acknowledged may be there or not; the next goes on behind both.
    last = Math.max(...acknowledged) + 24;
  }
  await using log = await sqliteLog(path);
  const stored = await numbers(log);
  expect(stored.toSorted((a, b) => a - b)).toEqual(stored);
  expect(new Set(stored).size).toBe(stored.length);
  const there = new Set(stored);
  expect(acknowledged.filter((number) => !there.has(number))).toEqual([]);
  // Nothing was stored that nobody sent, and a repetition is noticed still.
  expect(stored.length - acknowledged.length).toBeLessThan(20 * 24);
  const id = { producer: "p", sequence: BigInt(acknowledged[0] as number) };
  const [again] = await log.append("t", [{ data: bytes("again"), id }]);
  expect(again?.repeated).toBe(true);
});

test("a second process is refused the file, until the first is gone, however it went", async () => {
  const path = `${folder}/log.db`;
  await using first = run("log-writer", path);
  expect(await first.line()).toBe("open");
  await expect(sqliteLog(path)).rejects.toMatchObject({
    code: Code.FailedPrecondition,
    message: expect.stringContaining(path),
  });
  await using second = run("log-writer", path);
  await expect(second.line()).rejects.toThrow(/is open in another server/);
  first.kill("SIGKILL");
  await first.exit;
  await using log = await sqliteLog(path);
  expect((await numbers(log))[0]).toBe(0);
  // Nor is a second log of the same process let in, nor another process while this one has it.
  await expect(sqliteLog({ path })).rejects.toMatchObject({ code: Code.FailedPrecondition });
  await using third = run("log-writer", path);
  await expect(third.line()).rejects.toThrow(/is open in another server/);
});
