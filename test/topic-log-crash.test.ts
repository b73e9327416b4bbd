import { symlinkSync } from "node:fs";
import { rm } from "node:fs/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Code } from "../src/server.ts";
import type { TopicLog } from "../src/topics/log.ts";
import { sqliteLog } from "../src/topics/sqlite/sqlite.ts";
import { bytes, pages, shown } from "./contract/engine.ts";
import { type Child, run } from "./support/child.ts";
import "./support/compile-cache.ts";
import { temporary } from "./support/temporary.ts";

// Each test starts processes, which is slow on a busy machine.
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

/** Starts a process that is ready to write to a log, and opens the log when it gets SIGUSR2. */
async function startWriter(path: string): Promise<Child> {
  const writer = run("log-writer", path);
  expect(await writer.line()).toBe("loaded");
  return writer;
}

/** Lets a writer open the log. Throws the text that the writer prints if it cannot. */
async function open(writer: Child): Promise<void> {
  writer.kill("SIGUSR2");
  expect(await writer.line()).toBe("open");
}

/**
 * Kills a writer after a number of acknowledgements. Returns all acknowledgements, including those
 * printed meanwhile.
 */
async function kill(writer: Child, after: number): Promise<number[]> {
  const acknowledged: number[] = [];
  for (let n = 0; n < after; n++) acknowledged.push(Number(await writer.line()));
  writer.kill("SIGKILL");
  for (;;) {
    const line = await writer.line().catch(() => undefined);
    if (line === undefined) break;
    acknowledged.push(Number(line));
  }
  expect((await writer.exit).signal).toBe("SIGKILL");
  return acknowledged;
}

test("a log whose process is killed 20 times under load has every acknowledged record, once, in order", async () => {
  const path = `${folder}/log.db`;
  const acknowledged: number[] = [];
  let next = startWriter(path);
  for (let round = 0; round < 20; round++) {
    await using writer = await next;
    await open(writer);
    if (round < 19) next = startWriter(path);
    acknowledged.push(...(await kill(writer, 20 + round * 7)));
  }
  await using log = await sqliteLog(path);
  const stored = await numbers(log);
  // Each process continues after the records that its predecessor stored: no number is missing, and
  // none occurs twice.
  expect(stored).toEqual(stored.map((_, n) => n));
  expect(acknowledged.length).toBeGreaterThan(1_700);
  expect(Math.max(...acknowledged)).toBeLessThan(stored.length);
  expect(acknowledged.toSorted((a, b) => a - b)).toEqual(
    [...new Set(acknowledged)].sort((a, b) => a - b),
  );
  const id = { producer: "p", sequence: BigInt(acknowledged[0] as number) };
  const [again] = await log.append("t", [{ data: bytes("again"), id }]);
  expect(again?.repeated).toBe(true);
});

test("a second process cannot open the file until the first has ended, for any reason", async () => {
  const path = `${folder}/log.db`;
  await using first = await startWriter(path);
  await using second = await startWriter(path);
  await using third = await startWriter(path);
  await open(first);
  await expect(sqliteLog(path)).rejects.toMatchObject({
    code: Code.FailedPrecondition,
    message: expect.stringContaining(path),
  });
  await expect(open(second)).rejects.toThrow(/is open in another server/);
  first.kill("SIGKILL");
  await first.exit;
  await using log = await sqliteLog(path);
  expect((await numbers(log)).length).toBeGreaterThan(0);
  // The file cannot be opened a second time by this process either, nor by another process while
  // this one has it open.
  await expect(sqliteLog({ path })).rejects.toMatchObject({ code: Code.FailedPrecondition });
  await expect(open(third)).rejects.toThrow(/is open in another server/);
});

test("a file that was created through a link cannot be opened a second time by its own path", async () => {
  const link = `${folder}/link.db`;
  symlinkSync(`${folder}/log.db`, link);
  await using _ = await sqliteLog(link);
  for (const path of [link, `${folder}/log.db`]) {
    await expect(sqliteLog(path)).rejects.toMatchObject({ code: Code.FailedPrecondition });
  }
});
