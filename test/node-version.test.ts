import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { nodeTooOld } from "../src/node-version.ts";
import { Code } from "../src/server.ts";
import { sqliteLog } from "../src/topics/sqlite/sqlite.ts";
import { readme } from "./support/readme.ts";
import { temporaryFile } from "./support/temporary.ts";

const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));

test.each(["22.14.0", "22.18.1", "23.0.0", "24.21.0", "100.0.0"])(
  "Node %s is new enough",
  (version) => {
    expect(nodeTooOld(version)).toBeUndefined();
  },
);

test.each(["22.13.1", "22.12.0", "22.2.0", "20.20.2", "18.0.0"])(
  "Node %s is too old",
  (version) => {
    expect(nodeTooOld(version)).toBe(
      `needs Node 22.14 or newer, this is ${version}: install a newer one from nodejs.org`,
    );
  },
);

test("the README and package.json name the Node version of the check", () => {
  const [, oldest] = /needs Node (\S+) or newer/.exec(nodeTooOld("0.0.0") as string) ?? [];
  expect(manifest.engines.node).toBe(`>=${oldest}`);
  expect(readme).toContain(`Hawser needs Node ${oldest} or newer`);
});

test("sqliteLog on a Node that better-sqlite3 would crash fails with FAILED_PRECONDITION, and makes no file", async () => {
  await using file = await temporaryFile("none/log.db");
  const before = process.versions;
  Object.defineProperty(process, "versions", { value: { ...before, node: "22.12.0" } });
  try {
    await expect(sqliteLog(file.path)).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      rawMessage: expect.stringContaining("needs Node 22.14 or newer, this is 22.12.0"),
    });
  } finally {
    Object.defineProperty(process, "versions", { value: before });
  }
  await expect(
    sqliteLog(file.path).then((log) => log[Symbol.asyncDispose]()),
  ).resolves.toBeUndefined();
});
