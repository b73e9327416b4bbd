/** The rights of a log's files. */
import { chmodSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { sqliteLog } from "../src/topics/sqlite/sqlite.ts";
import { texts } from "./contract/engine.ts";
import "./support/compile-cache.ts";
import { temporaryFile } from "./support/temporary.ts";

const rights = (path: string) => (statSync(path).mode & 0o777).toString(8);

/** The rights of a log's files while it is open. */
async function rightsOf(path: string): Promise<string[]> {
  await using log = await sqliteLog(path);
  await log.append("t", texts("a"));
  return ["", "-wal", "-shm", "-lock"].map((end) => rights(`${path}${end}`));
}

const onPosix = test.skipIf(process.platform === "win32");

onPosix("files and folders that a log makes are for its user alone", async () => {
  await using file = await temporaryFile("data/deep/log.db");
  expect(await rightsOf(file.path)).toEqual(["600", "600", "600", "600"]);
  expect(rights(`${file.folder}/data`)).toBe("700");
  expect(rights(`${file.folder}/data/deep`)).toBe("700");
});

onPosix(
  "a file and a folder that exist keep their rights; the files that are made beside have them too",
  async () => {
    await using file = await temporaryFile("data/log.db");
    mkdirSync(`${file.folder}/data`);
    chmodSync(`${file.folder}/data`, 0o755);
    writeFileSync(file.path, "");
    chmodSync(file.path, 0o640);
    expect(await rightsOf(file.path)).toEqual(["640", "640", "640", "640"]);
    expect(rights(`${file.folder}/data`)).toBe("755");
  },
);
