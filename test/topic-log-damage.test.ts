import { execFileSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import Database from "better-sqlite3";
import { describe, expect, test, vi } from "vitest";
import { Code, ConnectError } from "../src/server.ts";
import type { TopicLog } from "../src/topics/log.ts";
import { retentionLimitsOf } from "../src/topics/retention.ts";
import { openSqliteLog } from "../src/topics/sqlite/log.ts";
import { sqliteLog } from "../src/topics/sqlite/sqlite.ts";
import { bytes, made, pages, shown, texts } from "./contract/engine.ts";
import { Dice } from "./soak/dice.ts";
import "./support/compile-cache.ts";
import { type TemporaryFile, temporaryFile } from "./support/temporary.ts";

vi.setConfig({ testTimeout: 60_000 });

const RECORDS = 60;
const PAGE_BYTES = 4_096;

/** What a killed process leaves: 60 appends, as many in the file itself, the rest in the -wal. */
async function leftBehind(
  { folder, path }: TemporaryFile,
  inFile: number,
): Promise<{ cursors: string[] }> {
  const cursors: string[] = [];
  const fill = async (log: TopicLog, from: number, to: number) => {
    for (let n = from; n < to; n++) {
      const data = bytes(`${n} ${"x".repeat(300)}`);
      const [appended] = await log.append("t", [
        { data, id: { producer: "p", sequence: BigInt(n) } },
      ]);
      cursors.push(appended?.cursor as string);
    }
  };
  {
    await using log = await sqliteLog(`${folder}/live.db`);
    await fill(log, 0, inFile);
  }
  await using log = await sqliteLog(`${folder}/live.db`);
  await fill(log, inFile, RECORDS);
  // The files as they are while the log is open: as kill -9 leaves them.
  for (const end of ["", "-wal"]) cpSync(`${folder}/live.db${end}`, `${path}${end}`);
  return { cursors };
}

/** The numbers that the log gives, or the code of the error that it gives instead. */
async function outcome(path: string): Promise<number[] | string> {
  try {
    await using log = await sqliteLog(path);
    return shown(await pages(log, "t")).map((text) => Number.parseInt(text, 10));
  } catch (error) {
    return Code[ConnectError.from(error).code] as string;
  }
}

function flip(file: string, at: number, bit = 0): void {
  const content = readFileSync(file);
  content[at] = (content[at] as number) ^ (1 << bit);
  writeFileSync(file, content);
}

const all = Array.from({ length: RECORDS }, (_, n) => n);

describe("what a killed process left", () => {
  test("is all there, where nothing is damaged", async () => {
    await using file = await temporaryFile("log.db");
    await leftBehind(file, 30);
    expect(await outcome(file.path)).toEqual(all);
  });

  test("with a bit flipped anywhere gives an error, or all, or ends before the last transaction", async () => {
    await using file = await temporaryFile("log.db");
    const { path } = file;
    await leftBehind(file, 30);
    const well = `${file.folder}/well`;
    mkdirSync(well);
    for (const end of ["", "-wal"]) cpSync(`${path}${end}`, `${well}/log.db${end}`);
    const dice = new Dice(7);
    const seen = new Set<string>();
    for (let round = 0; round < 10; round++) {
      const damaged = round % 2 === 0 ? path : `${path}-wal`;
      for (const end of ["", "-wal"]) cpSync(`${well}/log.db${end}`, `${path}${end}`);
      rmSync(`${path}-shm`, { force: true });
      flip(damaged, dice.between(0, statSync(damaged).size - 1), dice.between(0, 7));
      const given = await outcome(path);
      seen.add(typeof given === "string" ? given : `${given.length}`);
      if (typeof given === "string") expect(given).toMatch(/DataLoss|FailedPrecondition/);
      else expect(given).toEqual(all.slice(0, given.length >= RECORDS - 1 ? given.length : -1));
    }
    expect(seen).toContain("DataLoss");
  });

  test("with a damaged record in the file: DATA_LOSS where it is read, what is before it is given", async () => {
    await using file = await temporaryFile("log.db");
    const { path } = file;
    await leftBehind(file, RECORDS);
    const at = readFileSync(path).indexOf("41 xxxxx");
    flip(path, at + 50);
    await using log = await sqliteLog(path);
    const page = await log.page("t", undefined);
    expect(shown(page).map((text) => Number.parseInt(text, 10))).toEqual(all.slice(0, 41));
    await expect(log.page("t", page.at(-1)?.cursor)).rejects.toMatchObject({
      code: Code.DataLoss,
      rawMessage: "the server's log is damaged here: the server has told its operator where",
      cause: { message: expect.stringContaining(`${path} is damaged: the record 4`) },
    });
    const read = log.read("t", page.at(-1)?.cursor, AbortSignal.timeout(5_000));
    await expect(read[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: Code.DataLoss,
    });
    // Other topics, and what is appended now, are not affected.
    await log.append("other", texts("well"));
    expect(shown(await pages(log, "other"))).toEqual(["well"]);
  });

  test("with an older transaction of the -wal damaged: refused", async () => {
    await using file = await temporaryFile("log.db");
    const { path } = file;
    await leftBehind(file, 30);
    const before = readFileSync(`${path}-wal`);
    flip(`${path}-wal`, before.indexOf("45 xxxxx"));
    expect(await outcome(path)).toBe("DataLoss");
    await expect(sqliteLog(path)).rejects.toThrow(/-wal before byte \d+; restore it/);
  });

  test("with the header of the -wal damaged, or with an empty file before it: refused", async () => {
    await using file = await temporaryFile("log.db");
    const { path } = file;
    await leftBehind(file, 30);
    flip(`${path}-wal`, 17);
    expect(await outcome(path)).toBe("DataLoss");
    flip(`${path}-wal`, 17);
    truncateSync(path, 0);
    expect(await outcome(path)).toBe("DataLoss");
  });

  test("with its last write cut off continues after what is whole", async () => {
    await using file = await temporaryFile("log.db");
    const { path } = file;
    await leftBehind(file, 30);
    truncateSync(`${path}-wal`, statSync(`${path}-wal`).size - PAGE_BYTES / 2);
    expect(await outcome(path)).toEqual(all.slice(0, -1));
  });

  test("without its -wal: a cursor of what vanished gives a gap, also when others took its place", async () => {
    await using file = await temporaryFile("log.db");
    const { cursors } = await leftBehind(file, 30);
    rmSync(`${file.path}-wal`);
    await using log = await sqliteLog(file.path);
    expect((await pages(log, "t")).length).toBe(30);
    const vanished = cursors[50] as string;
    expect(shown(await pages(log, "t", vanished))).toEqual(["(gap)"]);
    for (let n = 0; n < RECORDS; n++) await log.append("t", texts(`new ${n}`));
    const items = await pages(log, "t", vanished);
    expect(shown(items).slice(0, 3)).toEqual(["(gap)", "new 0", "new 1"]);
    expect(shown(await pages(log, "t", cursors[29])).slice(0, 2)).toEqual(["new 0", "new 1"]);
    expect(shown(await pages(log, "t", items[0]?.cursor))[0]).toBe("new 0");
    // What vanished is not taken for a repetition.
    expect((await log.append("t", [made("p", 50n)]))[0]?.repeated).toBe(false);
    expect((await log.append("t", [made("p", 29n)]))[0]?.repeated).toBe(true);
  });
});

test("a file of something else is refused, and left as it is", async () => {
  await using file = await temporaryFile("log.db");
  const { path } = file;
  writeFileSync(
    path,
    "this is a text, longer than the header of a database is: 100 bytes".repeat(20),
  );
  const before = readFileSync(path);
  await expect(sqliteLog(path)).rejects.toMatchObject({ code: Code.DataLoss });
  expect(readFileSync(path).equals(before)).toBe(true);
});

test("a database of another program is refused, and left as it is; so is a later format", async () => {
  await using file = await temporaryFile("log.db");
  const { path } = file;
  const other = new Database(path);
  other.exec("CREATE TABLE theirs (x)");
  other.close();
  const before = readFileSync(path);
  await expect(sqliteLog(path)).rejects.toMatchObject({ code: Code.FailedPrecondition });
  expect(readFileSync(path).equals(before)).toBe(true);

  const later = `${file.folder}/later.db`;
  await (await sqliteLog(later))[Symbol.asyncDispose]();
  const changed = new Database(later);
  changed.pragma("user_version = 3");
  changed.close();
  await expect(sqliteLog(later)).rejects.toThrow(/has format 3, this version of Hawser writes 2/);
});

test.each(["", ":memory:"])("%j is no path", async (path) => {
  await expect(sqliteLog(path)).rejects.toMatchObject({ code: Code.InvalidArgument });
});

test.each([{ records: 0 }, { bytes: -1 }, { ageMs: Number.NaN }])(
  "retention %j is refused",
  async (retention) => {
    await using file = await temporaryFile("log.db");
    await expect(sqliteLog({ path: file.path, retention })).rejects.toMatchObject({
      code: Code.InvalidArgument,
    });
  },
);

test("a folder that cannot be made is FAILED_PRECONDITION", async () => {
  await using file = await temporaryFile("log.db");
  writeFileSync(file.path, "");
  await expect(sqliteLog(`${file.path}/below/log.db`)).rejects.toMatchObject({
    code: Code.FailedPrecondition,
  });
});

describe("a disk that is full", () => {
  /** Appends until the disk is full; returns how many appends were acknowledged. */
  async function fill(log: TopicLog, data: Uint8Array): Promise<number> {
    for (let n = 0; ; n++) {
      const error = await log.append("t", [{ data }]).then(
        () => undefined,
        (error) => error,
      );
      if (error === undefined) continue;
      expect(error).toMatchObject({ code: Code.ResourceExhausted });
      expect(error.message).toMatch(/no room on its disk: nothing was stored/);
      expect(error.message).not.toContain("/");
      return n;
    }
  }

  /** Whether this process may mount a small disk; in CI it often may not. */
  const mounts = (() => {
    try {
      execFileSync("mount", ["--version"], { stdio: "ignore" });
      return process.getuid?.() === 0 && process.platform === "linux";
    } catch {
      return false;
    }
  })();

  /** Mounts a disk of 4 MiB; `false` where that is not permitted after all. */
  function mount(folder: string): boolean {
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  }

  test.runIf(mounts)(
    "RESOURCE_EXHAUSTED, nothing is acknowledged, and appends are stored again when there is space",
    async ({ skip }) => {
      await using file = await temporaryFile("log.db");
      const { folder } = file;
      if (!mount(folder)) return skip("mounting is not permitted here");
      try {
        writeFileSync(`${folder}/filler`, new Uint8Array(1_500_000));
        const data = new Uint8Array(5_000);
        let log = await sqliteLog(file.path);
        const stored = await fill(log, data);
        // Small ones may still fit; all that is acknowledged is there.
        const small = await Promise.allSettled(
          Array.from({ length: 20 }, () => log.append("t", [{ data }])),
        );
        expect(small.every(({ status }) => status === "rejected")).toBe(true);
        expect((await pages(log, "t")).length).toBe(stored);
        rmSync(`${folder}/filler`);
        for (let n = 0; n < 10; n++) await log.append("t", [{ data }]);
        expect((await pages(log, "t")).length).toBe(stored + 10);
        await log[Symbol.asyncDispose]();
        log = await sqliteLog(file.path);
        expect((await pages(log, "t")).length).toBe(stored + 10);
        await log[Symbol.asyncDispose]();
      } finally {
        execFileSync("umount", [folder]);
      }
    },
  );

  test("the same by a limit of the file: an append that is too large does not fail the others", async () => {
    await using file = await temporaryFile("log.db");
    await using log = await openSqliteLog({
      path: file.path,
      retention: retentionLimitsOf({}),
      maxPages: 64,
    });
    const [well, large, wellToo] = await Promise.allSettled([
      log.append("t", texts("a")),
      log.append("t", [...texts("b"), { data: new Uint8Array(1_000_000) }]),
      log.append("t", texts("c")),
    ]);
    expect([well?.status, large?.status, wellToo?.status]).toEqual([
      ...["fulfilled", "rejected", "fulfilled"],
    ]);
    expect(shown(await pages(log, "t"))).toEqual(["a", "c"]);
    const stored = await fill(log, new Uint8Array(2_000));
    expect((await pages(log, "t")).length).toBe(stored + 2);
    // There is space again when records are deleted.
    await log.trim("t", (await log.end("t")).cursor);
    await vi.waitUntil(() =>
      log.append("t", texts("d")).then(
        () => true,
        () => false,
      ),
    );
    expect(shown(await pages(log, "t"))).toEqual(["d"]);
  });

  test("a topic whose first records did not fit does not end the retention of others", async () => {
    await using file = await temporaryFile("log.db");
    await using log = await openSqliteLog({
      path: file.path,
      retention: retentionLimitsOf({ records: 2 }),
      maxPages: 64,
    });
    const large = { data: new Uint8Array(1_000_000) };
    await expect(log.append("large", [...texts("a", "b", "c"), large])).rejects.toMatchObject({
      code: Code.ResourceExhausted,
    });
    await log.append("t", texts("a", "b", "c", "d"));
    await vi.waitUntil(async () => (await pages(log, "t")).length === 2, { timeout: 2_000 });
    expect(shown(await pages(log, "t"))).toEqual(["c", "d"]);
  });

  test("a file that could not be begun on a full disk is begun when there is space", async () => {
    await using file = await temporaryFile("log.db");
    const { path } = file;
    const small = openSqliteLog({ path, retention: retentionLimitsOf({}), maxPages: 2 });
    await expect(small).rejects.toMatchObject({ code: Code.ResourceExhausted });
    expect(statSync(path).size).toBeGreaterThan(0);
    await using log = await sqliteLog(path);
    await log.append("t", texts("a"));
    expect(shown(await pages(log, "t"))).toEqual(["a"]);
  });
});
