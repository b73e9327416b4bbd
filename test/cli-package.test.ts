import { execFile } from "node:child_process";
import { cp, mkdir, rm, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { temporary } from "./support/temporary.ts";

// A build, and programs: a busy machine takes its time for that.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const run = promisify(execFile);
const repository = fileURLToPath(new URL("..", import.meta.url));
const { dependencies } = (await import("../package.json", { with: { type: "json" } })).default;

let project: string;

/** The package as npm installs it: built, with its dependencies, but with no optional peer. */
beforeAll(async () => {
  project = await temporary();
  const installed = join(project, "node_modules", "hawser");
  await mkdir(installed, { recursive: true });
  const tsc = join(repository, "node_modules", ".bin", "tsc");
  await run(tsc, ["-p", "tsconfig.build.json", "--outDir", join(installed, "dist")], {
    cwd: repository,
  });
  for (const part of ["gen", "package.json"]) {
    await cp(join(repository, part), join(installed, part), { recursive: true });
  }
  for (const name of Object.keys(dependencies)) {
    const place = join(project, "node_modules", name);
    await mkdir(dirname(place), { recursive: true });
    await symlink(join(repository, "node_modules", name), place);
  }
});

afterAll(() => rm(project, { recursive: true }));

test.each([
  [[], "better-sqlite3"],
  [["--log", "sqlite:rooms.sqlite"], "better-sqlite3"],
  [["--log", "nats://127.0.0.1:1"], "@nats-io/transport-node @nats-io/jetstream"],
])("serve %j without the package for it says what to install", async (args, packages) => {
  const main = join(project, "node_modules", "hawser", "dist", "cli", "main.js");
  const serve = run(process.execPath, [main, "serve", "--port", "0", ...args], { cwd: project });
  await expect(serve).rejects.toMatchObject({ code: 1, stdout: "" });
  await expect(serve).rejects.toHaveProperty(
    "stderr",
    expect.stringMatching(
      new RegExp(`^hawser: failed_precondition: .*: npm install ${packages}: .* --log memory\n$`),
    ),
  );
});
