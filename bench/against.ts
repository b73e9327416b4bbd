/**
 * The cost of a change: Hawser of this checkout and of another, row by row in turn, in CPU seconds
 * of the process under test. Wall time is not comparable on a machine that others use too.
 */
import { cpuPerMillion, measureRound, median, type Round } from "./measure.ts";
import { type Cell, cells, nameOf, type Role, roles } from "./plan.ts";
import type { World } from "./world.ts";

/** No row may cost more than this many times what it costs in the other checkout. */
const BOUND = 1.1;

/** A process counts its CPU in ticks of 10 ms: shorter rounds would measure the ticks. */
const timing = { warmMs: 100, measureMs: 500 };
const rounds = 5;

/**
 * The count of pairs of new processes that measure a row over the bound; the median of the pairs counts, because how the
 * engine compiles, and where memory lies, differ from process to process. Two pairs of the same source were 0.94 to
 * 1.11 of each other, however many rounds each had.
 */
const pairsInDoubt = 9;

export interface Costs {
  ok: boolean;
  /** By row: CPU seconds per million messages here and there, and the ratio. */
  rows: Record<string, { here: number; there: number; ratio: number; pairs: number }>;
  /** The rows over the bound, in words. */
  missed: string[];
}

/** @param start starts the programs of both checkouts */
export async function compareWith(start: () => Promise<World>): Promise<Costs> {
  const rows = roles
    .flatMap((role) => cells.map((cell) => ({ role, cell })))
    .map((row) => ({ ...row, pairs: [] as Pair[] }));
  await measurePair(start, rows);
  const inDoubt = rows.filter(({ pairs }) => ratioOf(pairs) > BOUND);
  for (let n = 1; n < pairsInDoubt && inDoubt.length > 0; n++) await measurePair(start, inDoubt);
  const costs: Costs = { ok: true, rows: {}, missed: [] };
  for (const { role, cell, pairs } of rows) {
    const name = `${role} ${nameOf(cell)}`;
    const ratio = ratioOf(pairs);
    costs.rows[name] = {
      here: Number(median(pairs.map(({ here }) => here)).toPrecision(3)),
      there: Number(median(pairs.map(({ there }) => there)).toPrecision(3)),
      ratio: Number(ratio.toFixed(2)),
      pairs: pairs.length,
    };
    if (ratio > BOUND) costs.missed.push(`${name}: ${ratio.toFixed(2)} × its CPU there`);
  }
  costs.ok = costs.missed.length === 0;
  return costs;
}

/** The cost of one pair of processes: medians of its rounds, in CPU seconds per million messages. */
interface Pair {
  readonly here: number;
  readonly there: number;
  readonly ratio: number;
}

interface Row {
  readonly role: Role;
  readonly cell: Cell;
  readonly pairs: Pair[];
}

/** Measures rows, each in turn, by one more pair of processes. */
async function measurePair(start: () => Promise<World>, rows: readonly Row[]): Promise<void> {
  await using world = await start();
  const measured = rows.map((): Round[] => []);
  for (let turn = 0; turn < rounds; turn++) {
    for (const [n, { role, cell }] of rows.entries()) {
      measured[n]?.push(await measureRound(world, role, cell, world.peers, { ...timing, turn }));
    }
  }
  for (const [n, { pairs }] of rows.entries()) pairs.push(pairOf(measured[n] as Round[]));
}

/** The ratio is the median of the rounds' ratios: other work of the machine disturbs both sides of a round. */
function pairOf(measured: readonly Round[]): Pair {
  const cost = (round: Round, peer: "hawser" | "before") => cpuPerMillion(round.get(peer)!);
  return {
    here: median(measured.map((round) => cost(round, "hawser"))),
    there: median(measured.map((round) => cost(round, "before"))),
    ratio: median(measured.map((round) => cost(round, "hawser") / cost(round, "before"))),
  };
}

function ratioOf(pairs: readonly Pair[]): number {
  return median(pairs.map(({ ratio }) => ratio));
}
