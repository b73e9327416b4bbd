/**
 * The effects of the log on subscribers: cursors without a position, a trim, a log that is
 * unreachable or damaged.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { createHub } from "../src/topics/hub/hub.ts";
import { memoryLog } from "../src/topics/memory.ts";
import { sqliteLog } from "../src/topics/sqlite/sqlite.ts";
import { stillAt, until } from "./support/gate.ts";
import "./support/compile-cache.ts";
import { drain, numbers, short, TOPIC, type Watched, world } from "./support/hub-world.ts";
import { temporaryFile } from "./support/temporary.ts";

test("subscribers that miss records get a gap after a trim that overtakes the tail", async () => {
  await using it = world();
  const events = drain(it.subscribe({ shape: short }));
  await until("it is open", () => events.events.length === 1);
  await it.post(2);
  await until("it has two", () => events.events.length === 3);
  it.log.goAway();
  await it.post(10);
  await it.log.trim(TOPIC, (await it.log.end(TOPIC).catch(() => lastOf(it.log))).cursor);
  it.log.away = undefined;
  await until("it has the gap, though nothing was appended", () => events.events.at(-1) === "gap");
  await it.post(1);
  await until("it has the newest record", () => events.events.at(-1) === 13);
  expect(events.events).toEqual(["opening", 1, 2, "gap", 13]);
});

/** The end of a log that is unreachable for its hub. */
async function lastOf(log: Watched) {
  const { away } = log;
  log.away = undefined;
  try {
    return await log.end(TOPIC);
  } finally {
    log.away = away;
  }
}

describe("cursors", () => {
  test.each(["nonsense", "AAAA"])(
    "subscribe() refuses the cursor %s with INVALID_ARGUMENT",
    async (after) => {
      await using it = world();
      expect(() => it.subscribe({ after })).toThrow(
        expect.objectContaining({ code: Code.InvalidArgument }),
      );
      await until("nothing is followed", () => it.hub.size.topics === 0);
    },
  );

  test("subscribe() refuses a cursor of another topic", async () => {
    await using it = world();
    const { cursor } = await it.log.end("room/b");
    expect(() => it.subscribe({ after: cursor })).toThrow(/belongs to another topic/);
  });

  test("a subscription with a cursor of another epoch, or past the end, begins with a gap", async () => {
    await using it = world();
    const other = memoryLog();
    const [foreign] = await other.append(TOPIC, [{ data: Buffer.from("x") }]);
    const same = memoryLog({ epoch: it.log.epoch });
    const ahead = await same.append(TOPIC, Array(9).fill({ data: Buffer.from("x") }));
    for (const after of [foreign?.cursor, ahead.at(-1)?.cursor]) {
      const early = drain(it.subscribe({ after, shape: short }));
      await until("it has the gap", () => early.events.length === 2);
      expect(early.events).toEqual(["opening", "gap"]);
    }
    await it.post(3);
    const late = drain(it.subscribe({ after: foreign?.cursor, shape: short }));
    await until("it has all", () => late.events.length === 5);
    expect(late.events).toEqual(["opening", "gap", 1, 2, 3]);
  });
});

describe("a log that fails", () => {
  test("subscribers stay when the log cannot be reached for a while", async () => {
    await using it = world({ patienceMs: 300 });
    const all = [1, 2, 3].map(() => drain(it.subscribe({ shape: short })));
    await until("they are open", () => all.every(({ events }) => events.length === 1));
    // The log fails once, and then works for longer than patienceMs, though nothing is appended:
    // the next failure is the first in a row.
    it.log.goAway();
    it.log.away = undefined;
    await until("the tail reads again", () => it.log.reads === 2);
    await stillAt(() => all.length, 350);
    for (let n = 1; n <= 3; n++) {
      it.log.goAway();
      await it.post(5);
      it.log.away = undefined;
      await until("they have all", () => all.every(({ events }) => events.at(-1) === n * 5));
    }
    for (const { events } of all) expect(events).toEqual(["opening", ...numbers(1, 15)]);
    expect(it.log.reads).toBe(5);
  });

  test("other topics can be read while one topic fails", async () => {
    await using it = world({ records: 1, pagesAtOnce: 1 });
    const { page } = it.log;
    let fails = 0;
    it.log.page = async (topic, after, limits) => {
      if (topic !== TOPIC) return page(topic, after, limits);
      fails++;
      throw new ConnectError("this topic is unreachable", Code.Unavailable);
    };
    const leaving = new AbortController();
    const [bad, good] = [TOPIC, "room/b"].map((topic) =>
      it.hub.subscribe(topic, { shape: short }, leaving.signal)[Symbol.asyncIterator](),
    );
    const opened = { value: "opening" };
    expect([await bad?.next(), await good?.next()]).toMatchObject([opened, opened]);
    const records = numbers(1, 3).map((n) => ({ data: Buffer.from(`${n}`) }));
    for (const topic of [TOPIC, "room/b"]) await it.log.append(topic, records);
    await until("the tails have all records", () => it.made === 6);
    const waits = bad?.next();
    await until("it has failed", () => fails > 0);
    for (const value of [1, 2, 3]) expect(await good?.next()).toMatchObject({ value });
    await until("it is tried again", () => fails > 2);
    it.log.page = page;
    expect(await waits).toMatchObject({ value: 1 });
    leaving.abort();
  });

  test("pages that stay unreachable end only the subscribers that need pages, with UNAVAILABLE", async () => {
    await using it = world({ patienceMs: 100 });
    await it.post(3);
    const live = drain(it.subscribe({ shape: short }));
    await until("it is open", () => live.events.length === 1);
    it.log.page = async () => {
      throw new ConnectError("the pages are unreachable", Code.Unavailable);
    };
    const { over } = drain(it.subscribe({ start: "oldest" }));
    expect(await over).toMatchObject({ rawMessage: "the pages are unreachable" });
    await it.post(1);
    await until("the other has the record", () => live.events.at(-1) === 4);
  });

  test("a closed log ends its subscribers with UNAVAILABLE, and later subscriptions too", async () => {
    await using it = world({ patienceMs: 100 });
    const live = drain(it.subscribe());
    await until("it is open", () => live.events.length === 1);
    await it.log[Symbol.asyncDispose]();
    expect(await live.over).toMatchObject({ code: Code.Unavailable });
    const next = drain(it.subscribe());
    expect(await next.over).toMatchObject({ code: Code.Unavailable });
    expect(it.hub.size.topics).toBe(0);
  });

  test("an error of make() ends the subscribers that get the record", async () => {
    const damaged = new ConnectError("damaged", Code.DataLoss);
    await using it = world({
      make() {
        throw damaged;
      },
    });
    const live = drain(it.subscribe());
    await until("it is open", () => live.events.length === 1);
    await it.post(1);
    expect(await live.over).toBe(damaged);
  });
});

test("a record in the ring does not keep the bytes of other records in memory", async () => {
  await using file = await temporaryFile("log.db");
  await using log = await sqliteLog(file.path);
  await using hub = createHub(log);
  const live = drain(hub.subscribe(TOPIC, {}, new AbortController().signal));
  await until("it is open", () => live.events.length === 1);
  // From here on the tail gets records live.
  await log.append(TOPIC, [{ data: new Uint8Array(1) }]);
  await until("it has the first", () => live.events.length === 2);
  const large = log.append("room/b", [{ data: new Uint8Array(1_000_000) }]);
  await Promise.all([large, log.append(TOPIC, [{ data: new Uint8Array(2) }])]);
  await until("it has the second", () => live.events.length === 3);
  expect(live.events.at(-1)).toMatchObject({ value: { data: { buffer: { byteLength: 2 } } } });
});
