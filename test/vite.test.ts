import { readdir } from "node:fs/promises";
import { expect, test } from "vitest";
import { buildViteProject } from "./support/vite-project.ts";

test("a Vite project that has installed the package builds without a warning", async () => {
  await using project = await buildViteProject();
  const { dist, printed } = project;
  expect(printed).toMatch(/built in/);
  expect(printed).not.toMatch(/warn|externalized|not exported|cannot|could not/i);
  expect(await readdir(dist)).toContain("index.html");
}, 60_000);
