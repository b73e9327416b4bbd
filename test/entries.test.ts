import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { createClient } from "hawser";
import { createServer } from "hawser/server";
import { memoryLog } from "hawser/topics";
import { expect, test } from "vitest";
import * as client from "../src/index.ts";
import * as server from "../src/server.ts";
import * as topics from "../src/topics.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const { exports: all } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** The entries, compiled from src/, by the names under which they are imported: `hawser`, `hawser/server` … */
const entries = Object.entries(all as Record<string, string | Record<string, string>>).flatMap(
  ([path, all]) => {
    if (typeof all !== "object") return [];
    const { browser, ...conditions } = all;
    return [{ name: `hawser${path.slice(1)}`, conditions, browser }];
  },
);

test("each entry is the same file of src/ and of dist/, and src/ comes first", () => {
  expect(entries.map(({ name }) => name)).toContain("hawser/topics/sqlite");
  for (const { conditions } of entries) {
    expect(Object.keys(conditions)).toEqual(["hawser-source", "types", "default"]);
    const built = conditions["hawser-source"]?.replace("./src/", "./dist/").slice(0, -".ts".length);
    expect(conditions.types).toBe(`${built}.d.ts`);
    expect(conditions.default).toBe(`${built}.js`);
  }
});

test("under the condition browser, hawser is hawser/web", () => {
  const web = entries.find(({ name }) => name === "hawser/web")?.conditions;
  expect(entries.filter(({ browser }) => browser !== undefined)).toMatchObject([
    { name: "hawser", browser: web },
  ]);
});

test("Node resolves each entry to src/ under the condition hawser-source, and else to dist/", () => {
  const names = JSON.stringify(entries.map(({ name }) => name));
  const resolved = `JSON.stringify(${names}.map((name) => import.meta.resolve(name)))`;
  const resolve = (...options: string[]): string[] =>
    JSON.parse(
      execFileSync(
        process.execPath,
        [...options, "--input-type=module", "--eval", `console.log(${resolved})`],
        { cwd: root, encoding: "utf8" },
      ),
    );
  const files = (condition: string) =>
    entries.map(({ conditions }) => pathToFileURL(join(root, conditions[condition] ?? "")).href);
  expect(resolve("--conditions=hawser-source")).toEqual(files("hawser-source"));
  expect(resolve()).toEqual(files("default"));
});

test("a test that imports an entry by its name tests src/", () => {
  expect(createClient).toBe(client.createClient);
  expect(createServer).toBe(server.createServer);
  expect(memoryLog).toBe(topics.memoryLog);
});
