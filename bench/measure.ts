/** Measures rounds: all peers do the same row, one directly after the other, in another order in each round. */
import type { Measured, Memory } from "./child.ts";
import { type Cell, idleJob, jobOf, nameOf, type Peer, type Role } from "./plan.ts";
import type { World } from "./world.ts";

/** The work that a process does before the memory of its idle streams is measured. */
const working: Cell = { workload: "pipelined", streams: 100, size: 15 };

/** The measurements of a row, one with each peer. */
export type Round = ReadonlyMap<Peer, Measured>;

/** The rounds of a run, by role and row. */
export class Results {
  readonly #rows = new Map<string, Round[]>();

  rounds(role: Role, cell: Cell): Round[] {
    const key = `${role} ${nameOf(cell)}`;
    const rounds = this.#rows.get(key) ?? [];
    this.#rows.set(key, rounds);
    return rounds;
  }
}

export interface Timing {
  warmMs: number;
  measureMs: number;
  /** The number of the round, which decides which peer begins. */
  turn: number;
}

export async function measureRound(
  world: World,
  { role, cell, peers }: { role: Role; cell: Cell; peers: readonly Peer[] },
  timing: Timing,
): Promise<Round> {
  const round = new Map<Peer, Measured>();
  for (let i = 0; i < peers.length; i++) {
    const peer = peers[(i + timing.turn) % peers.length]!;
    round.set(peer, await world.measure({ role, peer, cell }, timing));
  }
  return round;
}

export const perSecond = ({ messages, ms }: Measured): number => (messages / ms) * 1000;

/** CPU seconds per million messages. */
export const cpuPerMillion = ({ messages, cpuMs }: Measured): number => (cpuMs * 1000) / messages;

/** Returns the median over the rounds of this peer; NaN if the peer had no round. */
export function medianOf(
  rounds: readonly Round[],
  peer: Peer,
  of: (measured: Measured) => number,
): number {
  return median(rounds.flatMap((round) => round.get(peer) ?? []).map(of));
}

/**
 * Returns what is measured of `ours`, divided by that of `theirs`: the median of the ratios of the rounds, because other
 * work on the machine disturbs both in a round, but not every round. NaN if no round has both.
 */
export function ratioOf(
  rounds: readonly Round[],
  { ours, theirs }: { ours: Peer; theirs: Peer },
  of: (measured: Measured) => number,
): number {
  const ratios = rounds.flatMap((round) => {
    const our = round.get(ours);
    const their = round.get(theirs);
    return our && their ? [of(our) / of(their)] : [];
  });
  return median(ratios);
}

/** Returns the speed of Hawser divided by that of `peer`. */
export function speedRatio(rounds: readonly Round[], peer: Peer): number {
  return ratioOf(rounds, { ours: "hawser", theirs: peer }, perSecond);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  if (sorted.length % 2 === 1) return sorted[Math.floor(middle)]!;
  return ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

/**
 * Returns the memory of an idle stream: the memory with all streams open, minus that after a second of load. After this
 * second the memory that grows with work and not with streams (compiled code, pools, the young generation) has its final
 * size.
 */
export async function idleBytes(
  world: World,
  { role, peer, streams }: { role: Role; peer: Peer; streams: number },
): Promise<Memory> {
  await using server = await world.start(role === "server" ? peer : world.target, "server");
  await using client = await (role === "server" ? world.startLoad() : world.start(peer, "client"));
  const underTest = role === "server" ? server : client;
  const { address } = server;
  await client.measure(jobOf(working, { address }, { warmMs: 0, measureMs: 1000 }), underTest);
  await client.idle(idleJob(address, 200), async () => {});
  const before = await underTest.memory();
  const after = await client.idle(idleJob(address, streams), () => underTest.memory());
  return { used: (after.used - before.used) / streams, rss: (after.rss - before.rss) / streams };
}
