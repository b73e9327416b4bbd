/** The appends of several owners to a SQLite log take turns at its disk. What is compared is the order, not the time. */
import { expect, test } from "vitest";
import { sqliteLog } from "../src/topics/sqlite/sqlite.ts";
import { WaitingAppends } from "../src/topics/sqlite/waiting-appends.ts";
import "./support/compile-cache.ts";
import { temporaryFile } from "./support/temporary.ts";

const record = (text: string) => ({ data: new TextEncoder().encode(text) });

async function openLog() {
  const file = await temporaryFile("log.db");
  const log = await sqliteLog({ path: file.path });
  const stored: string[] = [];
  return {
    log,
    /** The appends that were stored, in order. */
    stored,
    append: (name: string, topic: string, owner?: unknown) =>
      log.append(topic, [record(name)], { owner }).then(() => stored.push(name)),
    async [Symbol.asyncDispose]() {
      await log[Symbol.asyncDispose]();
      await file[Symbol.asyncDispose]();
    },
  };
}

test("an owner with a thousand appends that wait delays none of another owner, or of nobody", async () => {
  await using world = await openLog();
  const { append, stored } = world;
  const all: Promise<unknown>[] = [];
  for (let n = 0; n < 1000; n++) all.push(append(`busy ${n}`, `topic ${n % 10}`, "busy"));
  for (let n = 0; n < 3; n++) all.push(append(`calm ${n}`, "calm", "calm"));
  for (let n = 0; n < 3; n++) all.push(append(`nobody ${n}`, "nobody"));
  await Promise.all(all);
  expect(stored.slice(0, 9)).toEqual(
    [0, 1, 2].flatMap((n) => [`busy ${n}`, `calm ${n}`, `nobody ${n}`]),
  );
  const busy = stored.filter((name) => name.startsWith("busy"));
  expect(busy).toEqual(Array.from({ length: 1000 }, (_, n) => `busy ${n}`));
});

test("what one owner appends, or nobody, is stored in the order of the calls", async () => {
  await using world = await openLog();
  const { append, log } = world;
  const owner = {};
  const all = Array.from({ length: 500 }, (_, n) => append(`${n}`, "owned", owner));
  all.push(...Array.from({ length: 500 }, (_, n) => append(`${n}`, "free")));
  await Promise.all(all);
  for (const topic of ["owned", "free"]) {
    const items = await log.page(topic, undefined, { records: 1000 });
    const texts = items.map(
      (item) => item.kind === "record" && new TextDecoder().decode(item.data),
    );
    expect(texts).toEqual(Array.from({ length: 500 }, (_, n) => `${n}`));
  }
});

test("a trim waits for the appends before it, of whatever owner", async () => {
  await using world = await openLog();
  const { append, log } = world;
  await append("first", "topic");
  const { cursor } = await log.end("topic");
  const all = Array.from({ length: 200 }, (_, n) => append(`${n}`, "topic", `owner ${n % 7}`));
  // The appends are sent at the end of this turn.
  await new Promise((turn) => setImmediate(turn));
  const trimmed = log.trim("topic", cursor).then(() => world.stored.length);
  expect(await trimmed).toBe(201);
  await Promise.all(all);
});

test("where several owners append, a transaction is small, so that each waits for little", async () => {
  await using world = await openLog();
  const { log, append, stored } = world;
  const large = { data: new Uint8Array(16 * 1024) };
  const all: Promise<unknown>[] = [];
  for (let n = 0; n < 200; n++) {
    all.push(log.append("busy", [large], { owner: "busy" }).then(() => stored.push("busy")));
  }
  const together = append("calm", "calm", "calm").then(async () => {
    // The outcomes of a transaction come together: their microtasks are run before the next ones come.
    await new Promise<void>((resolve) => process.nextTick(resolve));
    return stored.length;
  });
  // 128 KiB.
  expect(await together).toBeLessThanOrEqual(9);
  await Promise.all(all);
});

test("a log is shared for a second after an append of another owner than the one before", () => {
  let now = 0;
  const appends = new WaitingAppends(() => now);
  const add = (...owners: number[]) =>
    appends.add({
      ...{ kind: "append", nowMs: 0, first: 1, data: new Uint8Array() },
      ...{ topics: owners.map(String), counts: owners.map(() => 0), sizes: [] },
      ...{ owners, producers: undefined, sequences: undefined },
    });
  add(1, 1);
  expect(appends.isShared).toBe(false);
  add(2);
  expect([...appends.take()].map(({ topic }) => topic)).toEqual(["1", "2", "1"]);
  now = 999;
  add(2, 2);
  expect(appends.isShared).toBe(true);
  now = 1000;
  expect(appends.isShared).toBe(false);
});
