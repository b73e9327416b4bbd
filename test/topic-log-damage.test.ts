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

/**
 * Makes the files that a killed process leaves: 60 appends, the first `inFile` of them in the file
 * itself, the others in the -wal.
 */
async function makeCrashed(
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

/** Reads a log: the numbers of its records, or the code of the error. */
async function readLog(path: string): Promise<number[] | string> {
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

describe("the log of a killed process", () => {
  test("the log has every record if nothing is damaged", async () => {
    await using file = await temporaryFile("log.db");
    await makeCrashed(file, 30);
    expect(await readLog(file.path)).toEqual(all);
  });

  test("after any bit was flipped the log fails, has every record, or lacks only the final transaction", async () => {
    await using file = await temporaryFile("log.db");
    const { path } = file;
    await makeCrashed(file, 30);
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
      const result = await readLog(path);
      seen.add(typeof result === "string" ? result : `${result.length}`);
      if (typeof result === "string") expect(result).toMatch(/DataLoss|FailedPrecondition/);
      else expect(result).toEqual(all.slice(0, result.length >= RECORDS - 1 ? result.length : -1));
    }
    expect(seen).toContain("DataLoss");
  });

  test("a page ends before a damaged record, and the next one fails with DATA_LOSS", async () => {
    await using file = await temporaryFile("log.db");
    const { path } = file;
    await makeCrashed(file, RECORDS);
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

  test("the log cannot be opened if an older transaction of the -wal is damaged", async () => {
    await using file = await temporaryFile("log.db");
    const { path } = file;
    await makeCrashed(file, 30);
    const before = readFileSync(`${path}-wal`);
    flip(`${path}-wal`, before.indexOf("45 xxxxx"));
    expect(await readLog(path)).toBe("DataLoss");
    await expect(sqliteLog(path)).rejects.toThrow(/-wal before byte \d+; restore it/);
  });

  test("the log cannot be opened if the header of the -wal is damaged, or the file beside it is empty", async () => {
    await using file = await temporaryFile("log.db");
    const { path } = file;
    await makeCrashed(file, 30);
    flip(`${path}-wal`, 17);
    expect(await readLog(path)).toBe("DataLoss");
    flip(`${path}-wal`, 17);
    truncateSync(path, 0);
    expect(await readLog(path)).toBe("DataLoss");
  });

  test("the log lacks only the final transaction if its write was cut off", async () => {
    await using file = await temporaryFile("log.db");
    const { path } = file;
    await makeCrashed(file, 30);
    truncateSync(`${path}-wal`, statSync(`${path}-wal`).size - PAGE_BYTES / 2);
    expect(await readLog(path)).toEqual(all.slice(0, -1));
  });

  test("a cursor of a record that vanished with the -wal leads to a gap, even after new appends", async () => {
    await using file = await temporaryFile("log.db");
    const { cursors } = await makeCrashed(file, 30);
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
    // A record that vanished is not taken for a repetition.
    expect((await log.append("t", [made("p", 50n)]))[0]?.repeated).toBe(false);
    expect((await log.append("t", [made("p", 29n)]))[0]?.repeated).toBe(true);
  });
});

test("a file that is not a database is refused, and left unchanged", async () => {
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

test("the error of opening a file that is not a database always names the file", async () => {
  await using file = await temporaryFile("log.db");
  writeFileSync(file.path, "a text. ".repeat(100));
  // The writer's thread may end before, while or after it is closed.
  for (let n = 0; n < 50; n++) {
    await expect(sqliteLog(file.path)).rejects.toThrow(file.path);
  }
});

test("a database of another program is refused, and left unchanged; a later format is refused", async () => {
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
  changed.pragma("user_version = 4");
  changed.close();
  await expect(sqliteLog(later)).rejects.toThrow(/has format 4, this version of Hawser writes 3/);
});

test.each(["", ":memory:"])("the path %j is refused", async (path) => {
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

test("a folder that cannot be created fails the opening with FAILED_PRECONDITION", async () => {
  await using file = await temporaryFile("log.db");
  writeFileSync(file.path, "");
  await expect(sqliteLog(`${file.path}/below/log.db`)).rejects.toMatchObject({
    code: Code.FailedPrecondition,
  });
});

describe("on a full disk", () => {
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

  /** Whether this process may mount a small disk. In CI it often may not. */
  const mounts = (() => {
    try {
      execFileSync("mount", ["--version"], { stdio: "ignore" });
      return process.getuid?.() === 0 && process.platform === "linux";
    } catch {
      return false;
    }
  })();

  /** Mounts a disk of 4 MiB. Returns whether that was permitted. */
  function mount(folder: string): boolean {
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  }

  test.runIf(mounts)(
    "appends fail with RESOURCE_EXHAUSTED, and are stored again when there is space",
    async ({ skip }) => {
      await using file = await temporaryFile("log.db");
      const { folder } = file;
      if (!mount(folder)) return skip("mounting is not permitted here");
      try {
        writeFileSync(`${folder}/filler`, new Uint8Array(1_500_000));
        const data = new Uint8Array(5_000);
        let log = await sqliteLog(file.path);
        const stored = await fill(log, data);
        // No further append fits, and every acknowledged record is in the log.
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

  test("an append that is too large for the file does not fail the others", async () => {
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

  test("other topics keep their retention after the first records of a topic did not fit", async () => {
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

  test("a log that could not be created is created when there is space", async () => {
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
