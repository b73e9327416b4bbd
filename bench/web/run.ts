/**
 * npm run bench:web             measures everything, writes bench/WEB.md and bench/web.svg; ~7 minutes; exit code 1 if a
 *                               limit is missed
 *     --rounds N                the number of rounds; default: 5
 * npm run bench:web -- --quick  checks the limits within two minutes, writes nothing; exit code 1 if one is missed
 */
import { existsSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { executablePath } from "../../test/browser/executable-path.ts";
import { lineOf, missedOf } from "../limits.ts";
import { versionOfBrowser } from "./browser.ts";
import { chart } from "./chart.ts";
import { checkAll } from "./limits.ts";
import { type Findings, noFindings, rowRound, rows, survivalRound, trip } from "./plan.ts";
import { profile } from "./profile.ts";
import { report } from "./report.ts";
import { Stage, type Timing } from "./stage.ts";

const { values } = parseArgs({
  options: { quick: { type: "boolean" }, rounds: { type: "string" } },
});
// Listeners of "exit" end the processes that would otherwise stay.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
if (!existsSync(executablePath)) {
  console.log(`There is no Chromium at ${executablePath}: CHROMIUM=PATH names another.`);
  process.exit(1);
}
const found = noFindings();
if (values.quick) await measure(3, { warmMs: 150, measureMs: 350 });
else await full(Number(values.rounds ?? 5));
const checked = checkAll(found);
for (const one of checked) console.log(lineOf(one));
process.exitCode = missedOf(checked).length === 0 ? 0 : 1;

async function full(rounds: number): Promise<void> {
  const timing = { warmMs: 250, measureMs: 800 };
  const before = loadavg()[0] as number;
  await measure(rounds, timing);
  const load = [before, loadavg()[0] as number] as const;
  console.log("profiles");
  const sides = await profile();
  const file = (name: string) => new URL(`../${name}`, import.meta.url);
  const method = { rounds, load, browser: versionOfBrowser(), ...timing };
  writeFileSync(file("WEB.md"), report(found, sides, method));
  writeFileSync(file("web.svg"), chart(found));
  console.log("wrote bench/WEB.md and bench/web.svg");
}

async function measure(rounds: number, timing: Timing): Promise<void> {
  await using stage = await Stage.start();
  // A warm-up: during the first messages of each peer the code is compiled.
  await allRows(stage, noFindings(), 0, timing);
  for (let turn = 0; turn < rounds; turn++) {
    console.log(`round ${turn + 1} of ${rounds}`);
    await allRows(stage, found, turn, timing);
    await survivalRound(stage, found);
  }
}

async function allRows(stage: Stage, into: Findings, turn: number, timing: Timing): Promise<void> {
  for (const row of [...rows, trip]) await rowRound(stage, into, { row, turn, timing });
}
