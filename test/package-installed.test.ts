import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rename, rm, symlink } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { copyInto, installPackage } from "./support/installed-package.ts";
import { temporary } from "./support/temporary.ts";

// A build, and programs: a busy machine takes its time for that.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const run = promisify(execFile);
const repository = fileURLToPath(new URL("..", import.meta.url));

let project: string;

beforeAll(async () => {
  project = await temporary();
  await installPackage(project);
  await copyInto(project, "examples");
});

afterAll(() => rm(project, { recursive: true }));

test.each([
  [[], "better-sqlite3"],
  [["--log", "sqlite:rooms.sqlite"], "better-sqlite3"],
  [["--log", "nats://127.0.0.1:1"], "@nats-io/transport-node @nats-io/jetstream"],
])(
  "the server with %j says what to install if the package for it is missing",
  async (args, packages) => {
    const main = join(project, "examples", "server.ts");
    const serve = run(process.execPath, [main, "--port", "0", ...args], { cwd: project });
    await expect(serve).rejects.toMatchObject({ code: 1, stdout: "" });
    await expect(serve).rejects.toHaveProperty(
      "stderr",
      expect.stringMatching(
        new RegExp(`^server: failed_precondition: .*: npm install ${packages}: .* --log memory\n$`),
      ),
    );
  },
);

/** A Node on the machine that does not run the source: it has no `using`. */
const oldNode = (process.env.PATH ?? "")
  .split(delimiter)
  .filter((folder) => folder !== "" && !folder.includes("node_modules"))
  .map((folder) => join(folder, "node"))
  .find((node) => {
    try {
      const version = execFileSync(node, ["-p", "process.versions.node"], { encoding: "utf8" });
      return Number(version.split(".")[0]) < 24;
    } catch {
      return false;
    }
  });

describe.skipIf(oldNode === undefined)("on a Node that is too old (needs one on the PATH)", () => {
  test("the programs of npm scripts say so in one line", async () => {
    const check = pathToFileURL(join(repository, "scripts", "require-node.js")).href;
    const server = join(repository, "examples", "server.ts");
    await expect(run(oldNode as string, ["--import", check, server])).rejects.toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(
        /^hawser: failed_precondition: needs Node 24 or newer to run from source, .*\n$/,
      ),
    });
  });
});

test("the examples, copied into a project that has hawser installed, run there", async () => {
  const server = spawn(
    process.execPath,
    [join(project, "examples", "server.ts"), "--port", "0", "--log", "memory"],
    { cwd: project, stdio: ["ignore", "pipe", "inherit"] },
  );
  try {
    const [line] = await once(createInterface({ input: server.stdout }), "line");
    const [, url] = /^listening on (\S+) /.exec(line) ?? [];
    const call = (...words: string[]) =>
      run(process.execPath, [...words, "--url", `${url}`], { cwd: join(project, "examples") });
    await expect(call("greeter/client.ts", "hello", "Ada")).resolves.toMatchObject({
      stdout: "Server says: Hello, Ada\n",
    });
    await expect(call("rooms/client.ts", "post", "lobby", "hello")).resolves.toMatchObject({
      stdout: "posted 1 message\n",
    });
  } finally {
    server.kill("SIGKILL");
    await once(server, "close");
  }
});

test("bundlers find the worker of a log in SQLite by the expression that they look for", async () => {
  const thread = join(project, "node_modules", "hawser", "dist", "topics", "sqlite", "thread.js");
  const built = await readFile(thread, "utf8");
  const starts = built
    .match(/^.*new Worker\(.*$/gm)
    ?.filter((line) => !/^\s*(\/\/|\/?\*)/.test(line));
  expect(starts).toEqual([
    expect.stringContaining('new Worker(new URL("./sqlite-worker.js", import.meta.url)'),
  ]);
});

test("a worker that is missing from a bundle is FAILED_PRECONDITION, with the remedy", async () => {
  const topics = join(project, "node_modules", "hawser", "dist", "topics", "sqlite");
  const driver = join(project, "node_modules", "better-sqlite3");
  await symlink(join(repository, "node_modules", "better-sqlite3"), driver);
  await rename(join(topics, "sqlite-worker.js"), join(topics, "elsewhere.js"));
  const program = `import { sqliteLog } from "hawser/topics/sqlite";
    await sqliteLog("log.db").catch(({ message }) => console.log(message));`;
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", program], {
    cwd: project,
  });
  expect(stdout).toMatch(
    /^\[failed_precondition\] the log's worker, sqlite-worker\.js, is not beside/,
  );
  expect(stdout).toContain("in a bundle, mark hawser as external, or build");
});
