/**
 * The cost of sessions while no connection is lost. Compares a Hawser client with sessions and one without, row by row
 * in turn, against the same server; also the memory of what is idle (idle.ts).
 */
import type { Child } from "./child.ts";
import { clients, type Kind, startServer } from "./hawser.ts";
import { type IdleBytes, measureIdle } from "./idle.ts";
import { median, perSecond } from "./measure.ts";
import { type Cell, cells, jobOf, nameOf } from "./plan.ts";

/** The minimum of the throughput with sessions, divided by that of plain calls. */
const MINIMUM = 0.9;

const timing = { warmMs: 150, measureMs: 400 };
const rounds = 7;

export interface SessionCosts {
  ok: boolean;
  /** By row: the throughput with sessions, divided by that of plain calls. */
  ratios: Record<string, number>;
  idleBytes: IdleBytes;
  /** The results below MINIMUM, and those of idle.ts above their limits, in words. */
  missed: string[];
}

export async function measureSessions(): Promise<SessionCosts> {
  const idle = await measureIdle();
  const costs: SessionCosts = {
    ok: true,
    ratios: {},
    idleBytes: idle.bytes,
    missed: [...idle.missed],
  };
  await using server = await startServer();
  await using session = await clients.session();
  await using plain = await clients.plain();
  for (const cell of cells.filter(({ workload }) => workload !== "unary")) {
    const ratio = await compare(cell, server, { session, plain });
    costs.ratios[nameOf(cell)] = Math.round(ratio * 100) / 100;
    if (ratio < MINIMUM)
      costs.missed.push(`${nameOf(cell)}: ${ratio.toFixed(2)} of the plain calls`);
  }
  costs.ok = costs.missed.length === 0;
  return costs;
}

/** Returns the median of the rounds' ratios. Measures up to three times as many rounds while the median is below MINIMUM. */
async function compare(
  cell: Cell,
  server: Child,
  { session, plain }: Record<Kind, Child>,
): Promise<number> {
  const job = jobOf(cell, server.address, timing);
  const ratios: number[] = [];
  const round = async (turn: number) => {
    const first = turn % 2 === 0 ? session : plain;
    const second = first === session ? plain : session;
    const one = perSecond(await first.measure(job, server));
    const other = perSecond(await second.measure(job, server));
    return first === session ? one / other : other / one;
  };
  await round(0);
  for (let turn = 0; turn < rounds || (turn < 3 * rounds && median(ratios) < MINIMUM); turn++) {
    ratios.push(await round(turn));
  }
  return median(ratios);
}
