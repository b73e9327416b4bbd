/**
 * What a change costs: Hawser of this checkout and of another, row by row in turn, in CPU seconds
 * of the process under test. Wall time says little on a machine that others use too.
 */
import { cpuPerMillion, measureRound, median, Results, type Round } from "./measure.ts";
import { type Cell, cells, nameOf, type Role, roles } from "./plan.ts";
import type { World } from "./world.ts";

/** No row may cost more than this many times what it costs in the other checkout. */
const BOUND = 1.1;

/** A process counts its CPU in ticks of 10 ms: shorter rounds would measure those. */
const timing = { warmMs: 100, measureMs: 500 };
const rounds = 5;

/** A row over the bound gets so many in all; the median of all of them counts. */
const roundsInDoubt = 15;

export interface Costs {
  ok: boolean;
  /** By row: CPU seconds per million messages here and there, and the ratio. */
  rows: Record<string, { here: number; there: number; ratio: number }>;
  /** In words, what is over the bound. */
  missed: string[];
}

export async function compareWith(world: World): Promise<Costs> {
  const results = new Results();
  const rows = roles.flatMap((role) => cells.map((cell) => ({ role, cell })));
  const measure = async (role: Role, cell: Cell, turn: number) => {
    const round = await measureRound(world, role, cell, world.peers, { ...timing, turn });
    results.rounds(role, cell).push(round);
  };
  for (let turn = 0; turn < rounds; turn++) {
    for (const { role, cell } of rows) await measure(role, cell, turn);
  }
  for (let turn = rounds; turn < roundsInDoubt; turn++) {
    for (const { role, cell } of rows) {
      const measured = results.rounds(role, cell);
      const inDoubt = measured.length > rounds || ratioOf(measured) > BOUND;
      if (inDoubt) await measure(role, cell, turn);
    }
  }
  const costs: Costs = { ok: true, rows: {}, missed: [] };
  for (const { role, cell } of rows) {
    const name = `${role} ${nameOf(cell)}`;
    const measured = results.rounds(role, cell);
    const cost = (peer: "hawser" | "before") =>
      median(measured.map((round) => cpuPerMillion(round.get(peer)!)));
    const ratio = ratioOf(measured);
    costs.rows[name] = {
      here: Number(cost("hawser").toPrecision(3)),
      there: Number(cost("before").toPrecision(3)),
      ratio: Number(ratio.toFixed(2)),
    };
    if (ratio > BOUND) costs.missed.push(`${name}: ${ratio.toFixed(2)} × its CPU there`);
  }
  costs.ok = costs.missed.length === 0;
  return costs;
}

/** The median of the rounds' ratios: what else the machine does disturbs both sides of a round. */
function ratioOf(measured: readonly Round[]): number {
  return median(
    measured.map(
      (round) => cpuPerMillion(round.get("hawser")!) / cpuPerMillion(round.get("before")!),
    ),
  );
}
