import { spawn, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";

// `npm run conformance`: the official suite (connectrpc.com/conformance) against our client and our server.
//
//   npm run conformance                  every run
//   npm run conformance -- server --vv   one run, with flags for the runner

const MODULE = "connectrpc.com/conformance";
const VERSION = "v1.0.5";

/** Far beyond what a run takes: one that hangs has failed. */
const LIMIT_MS = 10 * 60_000;

const here = import.meta.dirname;
const root = join(here, "../..");
const cache = join(root, ".cache");
const runner = join(cache, "bin/connectconformance");

/** Each run starts the runner once, which tries client.ts or server.ts in all that the config names. */
const runs = [
  { name: "client", mode: "client", config: "grpc.yaml" },
  { name: "server", mode: "server", config: "grpc.yaml" },
  { name: "web", mode: "server", config: "web.yaml" },
];

type Count = { passed: number; failed: number };

const [only, ...flags] = process.argv.slice(2);
const chosen = runs.filter(({ name }) => only === undefined || name === only);
if (chosen.length === 0) fail(`no run "${only}": choose client, server or web`);

prepare();
const total: Count = { passed: 0, failed: 0 };
for (const { name, mode, config } of chosen) {
  const startedAt = performance.now();
  const program = [process.execPath, join(here, `${mode}.ts`)];
  const args = ["--mode", mode, "--conf", join(here, config), ...flags, "--", ...program];
  const count = await runSuite(args);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${name} (mode ${mode}, ${config}): ${summary(count)}, ${seconds} s`);
  total.passed += count.passed;
  total.failed += count.failed;
}
console.log(summary(total));
process.exit(total.failed > 0 ? 1 : 0);

/** Passes on what the runner says, and counts; a run that ends without a count, or badly, has failed. */
async function runSuite(args: string[]): Promise<Count> {
  // The runner gets its own process group, so that none of its processes is left, whatever ends it.
  const child = spawn(runner, args, { detached: true, stdio: ["ignore", "pipe", "inherit"] });
  const { promise: exited, resolve: onExit } = Promise.withResolvers<number | null>();
  child.once("close", onExit);
  const end = () => endGroup(child.pid);
  const interrupt = () => process.exit(130);
  const timer = setTimeout(() => {
    console.error(`the run hangs: stopped after ${LIMIT_MS} ms`);
    end();
  }, LIMIT_MS);
  process.once("exit", end).once("SIGINT", interrupt).once("SIGTERM", interrupt);
  const count: Count = { passed: 0, failed: 0 };
  for await (const line of createInterface({ input: child.stdout })) {
    if (!tally(line, count)) console.log(line);
  }
  const succeeded = (await exited) === 0 && count.passed > 0;
  clearTimeout(timer);
  end();
  process.off("exit", end).off("SIGINT", interrupt).off("SIGTERM", interrupt);
  if (!succeeded) count.failed = Math.max(count.failed, 1);
  return count;
}

/** Whether a line of the runner's is one of its totals; a case that could not run has failed. */
function tally(line: string, count: Count): boolean {
  const [, passed, failed] = /^(\d+) passed, (\d+) failed$/.exec(line) ?? [];
  const [, unrun] = /^Another (\d+) could not be run/.exec(line) ?? [];
  count.passed += Number(passed ?? 0);
  count.failed += Number(failed ?? 0) + Number(unrun ?? 0);
  return line === "" || line.startsWith("Total cases:") || passed !== undefined;
}

function summary({ passed, failed }: Count): string {
  return `${passed} passed, ${failed} failed`;
}

function endGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // All of it has ended.
  }
}

/** Installs this version of the runner if it is missing, and compiles the suite's .proto files. */
function prepare(): void {
  if (spawnSync("go", ["version"]).status !== 0) {
    fail("conformance needs `go` on the PATH: the suite's runner is a Go program");
  }
  const image = join(cache, "conformance/image.binpb");
  mkdirSync(dirname(image), { recursive: true });
  if (!spawnSync(runner, ["--version"], { encoding: "utf8" }).stdout?.includes(VERSION)) {
    output("go", ["install", `${MODULE}/cmd/connectconformance@${VERSION}`]);
  }
  const module = JSON.parse(output("go", ["mod", "download", "-json", `${MODULE}@${VERSION}`]));
  const buf = join(root, "node_modules/.bin/buf");
  output(buf, ["build", join(module.Dir, "proto"), "-o", image]);
}

/** Returns the output of a command, which runs in a folder to which no go.mod or buf.yaml of ours applies. */
function output(command: string, args: string[]): string {
  const { status, stdout, error } = spawnSync(command, args, {
    cwd: cache,
    encoding: "utf8",
    env: { ...process.env, GOBIN: dirname(runner) },
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status !== 0) fail(`${command} ${args.join(" ")} failed${error ? `: ${error.message}` : ""}`);
  return stdout;
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
