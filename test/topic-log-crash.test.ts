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

/** Starts a process that is ready to write to a log, and begins when it gets SIGUSR2. */
async function ready(path: string): Promise<Child> {
  const writer = run("log-writer", path);
  expect(await writer.line()).toBe("loaded");
  return writer;
}

/** Lets a process open the log; throws with the text that it prints where it cannot. */
async function open(writer: Child): Promise<void> {
  writer.kill("SIGUSR2");
  expect(await writer.line()).toBe("open");
}

/** Kills a writer after a number of acknowledgements; returns all of them, with those that it made meanwhile. */
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

test("killed 20 times under load: every acknowledged record is there, once, in order", async () => {
  const path = `${folder}/log.db`;
  const acknowledged: number[] = [];
  let next = ready(path);
  for (let round = 0; round < 20; round++) {
    await using writer = await next;
    await open(writer);
    if (round < 19) next = ready(path);
    acknowledged.push(...(await kill(writer, 20 + round * 7)));
  }
  await using log = await sqliteLog(path);
  const stored = await numbers(log);
  // Each process continues after what the one before it stored: no number is missing, and none is there twice.
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

test("a second process is refused the file until the first has ended, by whatever cause", async () => {
  const path = `${folder}/log.db`;
  await using first = await ready(path);
  await using second = await ready(path);
  await using third = await ready(path);
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
  // Nor is a second log of the same process let in, nor another process while this one has it.
  await expect(sqliteLog({ path })).rejects.toMatchObject({ code: Code.FailedPrecondition });
  await expect(open(third)).rejects.toThrow(/is open in another server/);
});

test("a link to a file that does not exist yet does not let a second log in", async () => {
  const link = `${folder}/link.db`;
  symlinkSync(`${folder}/log.db`, link);
  await using _ = await sqliteLog(link);
  for (const path of [link, `${folder}/log.db`]) {
    await expect(sqliteLog(path)).rejects.toMatchObject({ code: Code.FailedPrecondition });
  }
});
