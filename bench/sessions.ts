/**
 * The cost of sessions while no connection is lost. Compares a Hawser client with sessions and one without, row by row
 * in turn, against the same server; also the memory of what is idle (idle.ts).
 */
import type { Child, Measured } from "./child.ts";
import { clients, type Kind, startServer } from "./hawser.ts";
import { type IdleBytes, measureIdle } from "./idle.ts";
import { cpuPerMillion, median, perSecond } from "./measure.ts";
import { type Cell, cells, jobOf, nameOf } from "./plan.ts";

/** The minimum of the messages a second with sessions, divided by those of plain calls. */
export const MINIMUM = 0.85;

/**
 * A row below MINIMUM passes if a session takes at most this much more CPU for a message, in µs, of client and server
 * together. Elapsed time would allow more where messages are fastest: the two processes work at the same time.
 */
export const MORE_CPU_US = 0.25;

const timing = { warmMs: 150, measureMs: 400 };
const rounds = 9;

/** What a session costs in a row. */
export interface SessionCost {
  /** Messages a second with sessions, divided by those of plain calls. */
  readonly ratio: number;
  /** The additional CPU of a message, of client and server together, in µs. */
  readonly moreCpuUs: number;
}

export interface SessionCosts {
  ok: boolean;
  rows: Record<string, SessionCost>;
  idleBytes: IdleBytes;
  /** The rows that do not pass, and the results of idle.ts above their limits, in words. */
  missed: string[];
}

export async function measureSessions(): Promise<SessionCosts> {
  const idle = await measureIdle();
  const costs: SessionCosts = {
    ok: true,
    rows: {},
    idleBytes: idle.bytes,
    missed: [...idle.missed],
  };
  await using server = await startServer();
  await using session = await clients.session();
  await using plain = await clients.plain();
  for (const cell of cells.filter(({ workload }) => workload !== "unary")) {
    const cost = await compare(cell, server, { session, plain });
    const name = nameOf(cell);
    costs.rows[name] = {
      ratio: Number(cost.ratio.toFixed(2)),
      moreCpuUs: Number(cost.moreCpuUs.toPrecision(2)),
    };
    console.log(`${name}: ${inWords(cost)}`);
    if (!passes(cost)) costs.missed.push(`${name}: ${inWords(cost)}`);
  }
  costs.ok = costs.missed.length === 0;
  return costs;
}

export function passes({ ratio, moreCpuUs }: SessionCost): boolean {
  return ratio >= MINIMUM || moreCpuUs <= MORE_CPU_US;
}

function inWords({ ratio, moreCpuUs }: SessionCost): string {
  const speed = `${ratio.toFixed(2)} of the plain calls' speed, at least ${MINIMUM}`;
  return `${speed}; or ${moreCpuUs.toFixed(2)} µs more CPU a message, at most ${MORE_CPU_US}`;
}

/** Returns the medians of the rounds' ratios and of their differences. */
async function compare(
  cell: Cell,
  server: Child,
  kinds: Record<Kind, Child>,
): Promise<SessionCost> {
  const job = jobOf(cell, server, timing);
  const measure = (client: Child) =>
    client.measure(job, { cpuMs: () => client.cpuMs() + server.cpuMs() });
  const round = async (turn: number): Promise<Record<Kind, Measured>> => {
    if (turn % 2 === 0) {
      const session = await measure(kinds.session);
      return { session, plain: await measure(kinds.plain) };
    }
    const plain = await measure(kinds.plain);
    return { session: await measure(kinds.session), plain };
  };
  await round(0);
  const measured: Record<Kind, Measured>[] = [];
  for (let turn = 0; turn < rounds; turn++) measured.push(await round(turn));
  return {
    ratio: median(measured.map(({ session, plain }) => perSecond(session) / perSecond(plain))),
    moreCpuUs: median(
      measured.map(({ session, plain }) => cpuPerMillion(session) - cpuPerMillion(plain)),
    ),
  };
}
