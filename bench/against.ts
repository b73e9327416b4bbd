/**
 * The cost of a change: compares Hawser of this checkout with Hawser of another, row by row in turn, in CPU seconds of
 * the process under test. Wall time is not comparable on a machine with other work.
 */
import { cpuPerMillion, measureRound, median, type Round } from "./measure.ts";
import { type Cell, cells, nameOf, type Role, roles } from "./plan.ts";
import type { World } from "./world.ts";

/** The limit for the CPU of a row, divided by its CPU in the other checkout. */
const BOUND = 1.1;

/** The CPU of a process is counted in ticks of 10 ms: in shorter rounds the ticks would decide the result. */
const timing = { warmMs: 100, measureMs: 500 };
const rounds = 5;

/**
 * The number of pairs of new processes that measure a row which was over BOUND; their median is the result. One pair is
 * not enough, because compilation and memory layout differ between processes: with the same source, the ratios of pairs
 * were 0.94 to 1.11, with any number of rounds.
 */
const PAIRS_OVER_BOUND = 9;

export interface Costs {
  ok: boolean;
  /** By row: CPU seconds per million messages here and there, and the ratio. */
  rows: Record<string, { here: number; there: number; ratio: number; pairs: number }>;
  /** The rows over BOUND, in words. */
  missed: string[];
}

/** @param start starts the programs of both checkouts */
export async function compareWith(start: () => Promise<World>): Promise<Costs> {
  const rows = roles
    .flatMap((role) => cells.map((cell) => ({ role, cell })))
    .map((row) => ({ ...row, pairs: [] as Pair[] }));
  await measurePair(start, rows);
  const overBound = rows.filter(({ pairs }) => ratioOf(pairs) > BOUND);
  for (let n = 1; n < PAIRS_OVER_BOUND && overBound.length > 0; n++)
    await measurePair(start, overBound);
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

/** The cost in one pair of processes: medians of the rounds, in CPU seconds per million messages. */
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

/** Measures rows with one more pair of processes, one row after the other in each round. */
async function measurePair(start: () => Promise<World>, rows: readonly Row[]): Promise<void> {
  await using world = await start();
  const measured = rows.map((): Round[] => []);
  for (let turn = 0; turn < rounds; turn++) {
    for (const [n, { role, cell }] of rows.entries()) {
      const row = { role, cell, peers: world.peers };
      measured[n]?.push(await measureRound(world, row, { ...timing, turn }));
    }
  }
  for (const [n, { pairs }] of rows.entries()) pairs.push(pairOf(measured[n] as Round[]));
}

/** Summarizes rounds. `ratio` is the median of the rounds' ratios, because other work disturbs both sides of a round. */
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
