/** The measurements, with their minimums and maximums. */
import type { Measured, Memory } from "../child.ts";
import { median } from "../measure.ts";
import type { Peer } from "./job.ts";
import { measureIdle, type Stage, type Timing } from "./stage.ts";

/** The number of watchers of the room in the comparison. */
export const WATCHERS = 1000;

/** Windows of posts: the first saturates every peer; a window of one post shows the cost of a single message. */
export const WINDOWS = [64, 1] as const;
export const SATURATED = WINDOWS[0];

/** The numbers of watchers in the curve. A room without watchers shows the cost of the post itself. */
export const CROWDS = [10, 100, 1000, 5000] as const;
export const NO_WATCHERS = 0;

export const POSTERS = 64;
const POST_CONNECTIONS = 4;
export const STEADY = 1000;

export const IDLE = { watchers: 5000, connections: 20 } as const;

export const MINIMUMS = {
  /** Deliveries a second of the server's CPU, divided by those of Socket.IO. */
  overSocketIo: 2,
  /** The same, divided by those of Centrifugo: at saturation, and for a message by itself. */
  overCentrifugo: new Map<number, number>([
    [SATURATED, 4.4],
    [1, 2],
  ]),
  /** Durable posts a second of 64 posters. */
  posts: 20_000,
} as const;

export const MAXIMUMS = {
  /** The median of durable posts at a steady 1000 a second, in milliseconds. */
  p50Ms: 5,
  idleKiB: 24,
  /** The highest cost of a delivery in a crowd, divided by its cost in a smaller crowd. */
  growth: 2,
} as const;

/** The ways of durable posts. */
export const WAYS = ["append", "Join", "Post"] as const;
export type Way = (typeof WAYS)[number];

/** All measurements; each list has one entry for each round. */
export interface Findings {
  readonly peers: readonly Peer[];
  /** By fanOutKey(). */
  readonly fanOut: Map<string, Measured[]>;
  /** By curveKey(): of Hawser; in a full run also of Socket.IO. */
  readonly curve: Map<string, Measured[]>;
  /** By way: as fast as 64 posters can post, and at a steady rate. */
  readonly fastest: Map<Way, Measured[]>;
  readonly steady: Map<Way, Measured[]>;
  /** The memory of an idle watcher. */
  idle: Memory;
}

export function noFindings(peers: readonly Peer[]): Findings {
  return {
    peers,
    fanOut: new Map(),
    curve: new Map(),
    fastest: new Map(),
    steady: new Map(),
    idle: { rss: Number.NaN, used: Number.NaN },
  };
}

export const fanOutKey = (window: number, peer: Peer) => `${window} ${peer}`;
export const curveKey = (peer: Peer, watchers: number) => `${peer} ${watchers}`;

/** Measures a round of the comparison: one peer directly after the other, beginning with another peer in each round. */
export async function fanOutRound(
  stage: Stage,
  found: Findings,
  { window, turn, timing }: { window: number; turn: number; timing: Timing },
): Promise<void> {
  for (let n = 0; n < stage.peers.length; n++) {
    const peer = stage.peers[(n + turn) % stage.peers.length] as Peer;
    const measured = await stage.fanOut(peer, { watchers: WATCHERS, window }, timing);
    push(found.fanOut, fanOutKey(window, peer), measured);
  }
}

/** Measures a round of the curve. */
export async function curveRound(
  stage: Stage,
  found: Findings,
  { peers, crowds, timing }: { peers: readonly Peer[]; crowds: readonly number[]; timing: Timing },
): Promise<void> {
  for (const watchers of crowds) {
    for (const peer of peers) {
      const measured = await stage.fanOut(peer, { watchers, window: SATURATED }, timing);
      push(found.curve, curveKey(peer, watchers), measured);
    }
  }
}

/** Measures a round of durable posts. */
export async function postRound(stage: Stage, found: Findings, timing: Timing): Promise<void> {
  for (const way of WAYS) {
    for (const [perSecond, results] of [
      [0, found.fastest],
      [STEADY, found.steady],
    ] as const) {
      const job = { posters: POSTERS, connections: POST_CONNECTIONS, perSecond };
      const measured =
        way === "append"
          ? await stage.append(POSTERS, perSecond, timing)
          : await stage.post({ ...job, method: way }, timing);
      push(results, way, measured);
    }
  }
}

export async function measureIdleWatchers(found: Findings): Promise<void> {
  found.idle = await measureIdle(IDLE.watchers, IDLE.connections);
}

function push<K>(map: Map<K, Measured[]>, key: K, measured: Measured): void {
  const list = map.get(key) ?? [];
  map.set(key, list);
  list.push(measured);
}

// Evaluation of the findings.

export const perCpuSecond = ({ messages, cpuMs }: Measured) => (messages * 1000) / cpuMs;
export const perSecond = ({ messages, ms }: Measured) => (messages * 1000) / ms;

export function medianOf(
  rounds: readonly Measured[] | undefined,
  of: (m: Measured) => number,
): number {
  return median((rounds ?? []).map(of));
}

/** Returns the deliveries a CPU second of `ours`, divided by those of `theirs`: the median of the rounds' ratios. */
export function ratioTo(
  found: Findings,
  window: number,
  { ours, theirs }: { ours: Peer; theirs: Peer },
): number {
  const our = found.fanOut.get(fanOutKey(window, ours)) ?? [];
  const their = found.fanOut.get(fanOutKey(window, theirs)) ?? [];
  const rounds = Math.min(our.length, their.length);
  return median(
    Array.from(
      { length: rounds },
      (_, n) => perCpuSecond(our[n] as Measured) / perCpuSecond(their[n] as Measured),
    ),
  );
}

/** Returns the CPU of one post with all of its deliveries, in microseconds. */
export function cpuPerPost(found: Findings, peer: Peer, watchers: number): number {
  return medianOf(found.curve.get(curveKey(peer, watchers)), ({ cpuMs, posts }) => {
    return (cpuMs * 1000) / posts;
  });
}

/** Returns the CPU of one delivery with its share of the post, in microseconds. */
export function costOf(found: Findings, peer: Peer, watchers: number): number {
  return cpuPerPost(found, peer, watchers) / watchers;
}

/** Returns the highest cost of a delivery, divided by the lowest cost in a crowd of at most that size. */
export function growth(found: Findings, peer: Peer): number {
  const costs = CROWDS.map((watchers) => costOf(found, peer, watchers));
  return Math.max(...costs.map((cost, n) => cost / Math.min(...costs.slice(0, n + 1))));
}

/**
 * Returns the ratios to Centrifugo that are below their minimums, in words: of watchers with plain calls and in sessions.
 * Only a full run has all of them.
 */
export function missedOfCentrifugo(found: Findings): string[] {
  if (!found.peers.includes("centrifugo")) return [];
  const missed: string[] = [];
  for (const ours of ["hawser", "hawser sessions"] as const) {
    for (const [window, minimum] of MINIMUMS.overCentrifugo) {
      const ratio = ratioTo(found, window, { ours, theirs: "centrifugo" });
      if (ratio >= minimum) continue;
      const load = window === SATURATED ? "at saturation" : "a message by itself";
      missed.push(`${ours}, ${load}: ${ratio.toFixed(2)} × Centrifugo, its minimum is ${minimum}`);
    }
  }
  return missed;
}

/** Returns the results below their minimums or above their maximums, in words. */
export function missed(found: Findings): string[] {
  const missed: string[] = [];
  const check = (what: string, holds: boolean) => {
    if (!holds) missed.push(what);
  };
  for (const ours of ["hawser", "hawser sqlite"] as const) {
    const ratio = ratioTo(found, SATURATED, { ours, theirs: "socket.io" });
    const minimum = MINIMUMS.overSocketIo;
    check(`${ours}: ${ratio.toFixed(2)} × Socket.IO, its minimum is ${minimum}`, ratio >= minimum);
  }
  for (const way of WAYS) {
    const rate = medianOf(found.fastest.get(way), perSecond);
    const what = `${way}: ${Math.round(rate)} durable posts a second`;
    check(`${what}, its minimum is ${MINIMUMS.posts}`, rate >= MINIMUMS.posts);
  }
  for (const way of WAYS) {
    const p50Ms = medianOf(found.steady.get(way), (m) => m.p50Us / 1000);
    const what = `${way} at ${STEADY} a second: a p50 of ${p50Ms.toFixed(1)} ms`;
    check(`${what}, it must be under ${MAXIMUMS.p50Ms}`, p50Ms < MAXIMUMS.p50Ms);
  }
  const idleKiB = found.idle.rss / 1024;
  check(
    `an idle watcher takes ${idleKiB.toFixed(1)} KiB, it must be under ${MAXIMUMS.idleKiB}`,
    idleKiB < MAXIMUMS.idleKiB,
  );
  const grows = growth(found, "hawser");
  check(
    `a delivery costs ${grows.toFixed(2)} times as much in a crowd as in a smaller one, at most ${MAXIMUMS.growth}`,
    grows <= MAXIMUMS.growth,
  );
  return missed;
}
