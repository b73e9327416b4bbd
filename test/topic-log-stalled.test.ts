/** A SQLite log on a disk that stalls. */
import { setImmediate as turn } from "node:timers/promises";
import Database from "better-sqlite3";
import { expect, test, vi } from "vitest";
import { Code } from "../src/server.ts";
import { sqliteLog } from "../src/topics/sqlite/sqlite.ts";
import { made, numbered, pages, shown, texts } from "./contract/engine.ts";
import "./support/compile-cache.ts";
import { temporaryFile } from "./support/temporary.ts";

vi.setConfig({ testTimeout: 60_000 });

/** Keeps the writer from its file until it is disposed of, like a disk that stalls. */
function stall(path: string): Disposable {
  const connection = new Database(path);
  connection.exec("BEGIN IMMEDIATE");
  return { [Symbol.dispose]: () => void connection.close() };
}

const mebibyte = [{ data: new Uint8Array(2 ** 20) }];
const longProducer = Array.from({ length: 16 }, (_, n) => {
  return { data: new Uint8Array(), id: { producer: "p".repeat(2 ** 16), sequence: BigInt(n) } };
});

test.each([
  ["64 MiB", Array.from({ length: 64 }, () => mebibyte)],
  ["64 MiB in one append", [Array.from({ length: 64 }, () => mebibyte).flat()]],
  ["64 MiB of producers", Array.from({ length: 64 }, () => longProducer)],
  ["100,000 records", Array.from({ length: 100 }, (_, n) => numbered(1_000, "", n * 1_000))],
])(
  "while %s wait, further appends fail immediately with RESOURCE_EXHAUSTED and are not stored",
  async (_, appends) => {
    await using file = await temporaryFile("log.db");
    const logged: string[] = [];
    const logLine = (text: string) => void logged.push(text);
    await using log = await sqliteLog({
      path: file.path,
      logger: { error: logLine, warn: logLine },
    });
    await log.append("t", texts("first"));
    using stalled = stall(file.path);
    const half = appends.length >> 1;
    const waiting = appends.slice(0, half).map((records) => log.append("t", records));
    const outcomes = [Promise.allSettled(waiting)];
    // These are with the writer; the following ones wait in the log. Nothing is logged before an
    // append is refused.
    await turn();
    const more = appends.slice(half).map((records) => log.append("t", records));
    outcomes.push(Promise.allSettled(more));
    const refused = ["t", "other"].map((topic) => log.append(topic, [made("p", 1n)]));
    for (const outcome of await Promise.allSettled(refused)) {
      expect(outcome).toMatchObject({
        reason: {
          code: Code.ResourceExhausted,
          rawMessage: expect.stringMatching(/^\d+ records of \d+ B wait for the disk of [^/]*$/),
        },
      });
    }
    expect(logged).toEqual([
      `the disk of ${file.path} does not keep up: appends are refused while 100000 records or 67108864 B wait for it`,
    ]);
    // Readers do not wait.
    expect(shown(await log.page("t", undefined))).toEqual(["first"]);
    stalled[Symbol.dispose]();

    let stored = 1;
    for (const outcome of (await Promise.all(outcomes)).flat()) {
      if (outcome.status === "rejected") {
        // SQLite gives up waiting after a time.
        expect(outcome.reason).toMatchObject({ code: Code.Unavailable });
      } else stored += outcome.value.filter(({ repeated }) => !repeated).length;
    }
    expect((await log.append("t", [made("p", 1n)]))[0]?.repeated).toBe(false);
    expect(logged).toContain(`the disk of ${file.path} keeps up again`);
    const items = await pages(log, "t");
    expect(items.length).toBe(stored + 1);
    expect(shown(items.slice(-1))).toEqual(["p1"]);
    expect(await pages(log, "other")).toEqual([]);
  },
);

test("appends that wait together for another program's lock fail together", async () => {
  await using file = await temporaryFile("log.db");
  await using log = await sqliteLog(file.path);
  using stalled = stall(file.path);
  const startedAt = performance.now();
  const appends = numbered(30).map((record) => log.append("t", [record]));
  for (const outcome of await Promise.allSettled(appends)) {
    expect(outcome).toMatchObject({ reason: { code: Code.Unavailable } });
  }
  // The writer waits for a second once, not for each append.
  expect(performance.now() - startedAt).toBeLessThan(10_000);
  stalled[Symbol.dispose]();
  expect(await log.append("t", texts("after"))).toMatchObject([{ repeated: false }]);
  expect(shown(await pages(log, "t"))).toEqual(["after"]);
});
