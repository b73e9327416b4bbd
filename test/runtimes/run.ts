/**
 * `npm run runtimes`: the built package on Bun and Deno, as client of a Node server, as server of a Node client, and both.
 * `npm run runtimes -- bun` runs only one of them, `npm run runtimes -- bun TLS` only its scenarios with "TLS" in the name.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { copyInto, installPackage } from "../support/installed-package.ts";
import { type Pair, type Result, runPair } from "./pair.ts";
import { killPrograms } from "./programs.ts";
import { node, obtain, type Runtime, sources } from "./runtimes.ts";

const [, , only, filter = ""] = process.argv;
const project = await mkdtemp(join(tmpdir(), "hawser-runtimes-"));

let exitCode: number | undefined;

/** Ends the run with the exit code of the first call. */
async function end(code: number): Promise<never> {
  exitCode ??= code;
  killPrograms();
  await rm(project, { recursive: true, force: true });
  process.exit(exitCode);
}

process.on("SIGINT", () => void end(130));
process.on("SIGTERM", () => void end(143));

let passed = 0;
let failed = 0;

function report(where: string, { scenario, tookMs, failed: reason }: Result): void {
  if (reason === undefined) passed++;
  else failed++;
  const took = `${tookMs} ms`.padStart(8);
  const why = reason === undefined ? "" : `: ${reason.replaceAll("\n", " ").slice(0, 600)}`;
  console.log(`${reason === undefined ? "PASS" : "FAIL"} ${took}  ${where}: ${scenario}${why}`);
}

/** A runtime as client, as server, and as both. */
function pairsOf(runtime: Runtime): Pair[] {
  return [
    { client: runtime, server: node },
    { client: node, server: runtime },
    { client: runtime, server: runtime },
  ];
}

async function runAll(runtime: Runtime): Promise<void> {
  for (const pair of pairsOf(runtime)) {
    const where = `${pair.client.name} → ${pair.server.name}`;
    const name = `${pair.client.name}-${pair.server.name}`.toLowerCase();
    try {
      await runPair(pair, { project, name, filter }, (result) => report(where, result));
    } catch (error) {
      report(where, { scenario: "the run", tookMs: 0, failed: `${error}` });
    }
  }
}

try {
  await installPackage(project, ["better-sqlite3"]);
  await copyInto(project, "examples", "test/runtimes/programs");
  const runtimes: Runtime[] = [];
  for (const source of sources) {
    if (only !== undefined && source.name.toLowerCase() !== only) continue;
    const runtime = await obtain(source);
    if (typeof runtime === "string") console.log(`SKIP ${source.name}: ${runtime}`);
    else runtimes.push(runtime);
  }
  for (const { name, version } of [node, ...runtimes]) console.log(`${name} ${version}`);
  await Promise.all(runtimes.map(runAll));
} catch (error) {
  report("runtimes", { scenario: "the run", tookMs: 0, failed: `${error}` });
}
console.log(`${passed} passed, ${failed} failed, in ${Math.round(performance.now() / 1000)} s`);
await end(failed === 0 ? 0 : 1);
