/** The permissions of a log's files. */
import { chmodSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { sqliteLog } from "../src/topics/sqlite/sqlite.ts";
import { texts } from "./contract/engine.ts";
import "./support/compile-cache.ts";
import { temporaryFile } from "./support/temporary.ts";

const permissions = (path: string) => (statSync(path).mode & 0o777).toString(8);

/** Opens a log. Returns the permissions of its files while it is open. */
async function permissionsOf(path: string): Promise<string[]> {
  await using log = await sqliteLog(path);
  await log.append("t", texts("a"));
  return ["", "-wal", "-shm", "-lock"].map((end) => permissions(`${path}${end}`));
}

const onPosix = test.skipIf(process.platform === "win32");

onPosix("files and folders that a log creates can be read by its user only", async () => {
  await using file = await temporaryFile("data/deep/log.db");
  expect(await permissionsOf(file.path)).toEqual(["600", "600", "600", "600"]);
  expect(permissions(`${file.folder}/data`)).toBe("700");
  expect(permissions(`${file.folder}/data/deep`)).toBe("700");
});

onPosix(
  "an existing file and folder keep their permissions; the files created beside the file get the same",
  async () => {
    await using file = await temporaryFile("data/log.db");
    mkdirSync(`${file.folder}/data`);
    chmodSync(`${file.folder}/data`, 0o755);
    writeFileSync(file.path, "");
    chmodSync(file.path, 0o640);
    expect(await permissionsOf(file.path)).toEqual(["640", "640", "640", "640"]);
    expect(permissions(`${file.folder}/data`)).toBe("755");
  },
);
