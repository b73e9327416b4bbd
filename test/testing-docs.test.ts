/** The tests of docs/testing.md, as a user runs them: with the package, in the project of the README. */
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { openWorkshop, repository, type Workshop } from "./support/workshop.ts";

// npm installs here, from its cache or from the registry.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const page = readFileSync(join(repository, "docs", "testing.md"), "utf8");
const files = [...page.matchAll(/^```ts file=(weather\/\S+\.test\.ts)\n((?:(?!```).*\n)*)```$/gm)];
const [, commands = ""] = /^```sh in=weather\n((?:(?!```).*\n)*)```$/m.exec(page) ?? [];

let workshop: Workshop;

beforeAll(async () => {
  workshop = await openWorkshop();
  await workshop.follow("hawser");
  await workshop.follow("weather");
});

afterAll(() => workshop[Symbol.asyncDispose]());

test("the three tests of a weather service have the types of the package, and pass", async () => {
  for (const [, file = "", code = ""] of files) await writeFile(join(workshop.folder, file), code);
  const printed = await workshop.run("weather", "sh", "-ec", commands);
  expect(files).toHaveLength(3);
  expect(printed).toMatch(/^. pass 3$/m);
  expect(printed).toMatch(/^. fail 0$/m);
});
