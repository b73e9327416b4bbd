/** Attacks beside an honest client: `npm run attack -- beside`. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { verdict } from "../verdict.ts";
import type { Attack } from "./attack.ts";
import { attacks, quickAttacks } from "./attacks.ts";
import { missesOf } from "./bounds.ts";
import { type Column, type Pace, type Row, runRow } from "./row.ts";
import { lineOf, page } from "./table.ts";

export interface BesideOptions {
  /** Runs eight attacks within 90 s, and checks only what does not depend on the machine's speed. */
  readonly quick: boolean;
  /** Runs only the attacks with this in their names. */
  readonly only: string | undefined;
  /** Which of the three sizes: 0, 1, 2, or all. */
  readonly size: string;
  /** Which column. Default: both. */
  readonly column: string | undefined;
}

const FULL: Pace = { warmUpMs: 1500, quietMs: 5000, settleMs: 15_000 };
const QUICK: Pace = { warmUpMs: 800, quietMs: 1000, attackMs: 3000 };

export async function tryBeside({ quick, only, size, column }: BesideOptions): Promise<void> {
  const chosen = (quick ? quickAttacks : attacks).filter(({ name }) => {
    return only === undefined || name.includes(only);
  });
  const sizes = size === "all" ? [0, 1, 2] : [Number(size)];
  const columns: Column[] = quick
    ? ["own"]
    : (["own", "shared"] as const).filter((one) => column === undefined || column === one);
  for (const { attack, size, column } of combinations(chosen, sizes, columns)) {
    const row = await runRow({ attack, size, column, pace: quick ? QUICK : FULL });
    if (!quick && row.size === 0) save(row);
    const misses = missesOf(row, quick ? "quick" : "all");
    verdict(misses.length === 0, [lineOf(row), ...misses.map((what) => `     ${what}`)].join("\n"));
  }
  const usual = savedRows();
  if (quick || usual === undefined) return;
  const today = new Date().toISOString().slice(0, 10);
  const method = `On ${today}, Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim()}.`;
  writeFileSync(new URL("../../../docs/attacks.md", import.meta.url), page(usual, method));
  console.log("wrote docs/attacks.md");
}

/** The newest row of each attack: a run of all takes most of an hour, and may be made in parts. */
const SAVED = new URL("../../../.cache/attack/", import.meta.url);

const placeOf = ({ attack, column }: Pick<Row, "attack" | "column">) =>
  new URL(`${attack.name}-${column}.json`, SAVED);

function save(row: Row): void {
  mkdirSync(SAVED, { recursive: true });
  writeFileSync(placeOf(row), JSON.stringify(row));
}

/** The saved rows of the usual size, if there is one for each attack and column. */
function savedRows(): Row[] | undefined {
  const all = combinations(attacks, [0], ["own", "shared"]);
  if (!all.every((one) => existsSync(placeOf(one)))) return undefined;
  return all.map((one) => JSON.parse(readFileSync(placeOf(one), "utf8")));
}

function combinations(
  attacks: readonly Attack[],
  sizes: readonly number[],
  columns: readonly Column[],
): Pick<Row, "attack" | "size" | "column">[] {
  return attacks.flatMap((attack) =>
    sizes.flatMap((size) => columns.map((column) => ({ attack, size, column }))),
  );
}
