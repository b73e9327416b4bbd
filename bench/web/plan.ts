/** The measurements, in rounds: all peers do the same row, one directly after the other, in another order in each round. */
import { median } from "../measure.ts";
import { type Peer, peers, type Unread } from "./job.ts";
import type { Loss, Row, Stage, Timing, WebMeasured } from "./stage.ts";

export const echoSmall: Row = { workload: "echo", size: 15 };
export const echoMedium: Row = { workload: "echo", size: 1024 };
export const pushSmall: Row = { workload: "push", size: 15 };
export const pushMedium: Row = { workload: "push", size: 1024 };

/** The rows of the tables of speed. */
export const rows: readonly Row[] = [echoSmall, pushSmall, echoMedium, pushMedium];

/** One message at a time. */
export const trip: Row = { workload: "ping-pong", size: 15 };

/** Returns the peers of a row, in the order of the tables. */
export function peersOf({ workload, size }: Row): readonly Peer[] {
  if (workload === "ping-pong") {
    return ["hawser", "hawser sessions", "JSON messages", "socket.io", "hawser tcp"];
  }
  const hasFrames = workload === "push" && size === pushMedium.size;
  return hasFrames ? peers : peers.filter((peer) => peer !== "64 KiB frames");
}

export const nameOf = ({ workload, size }: Row) =>
  `${workload === "ping-pong" ? "one at a time" : workload} ${size < 1024 ? `${size} B` : `${size / 1024} KiB`}`;

/** All measurements; each list has one entry for each round. */
export interface Findings {
  /** By measuredKey(). */
  readonly measured: Map<string, WebMeasured[]>;
  readonly cuts: Loss[];
  readonly silences: Loss[];
  readonly unread: Unread[];
}

export const noFindings = (): Findings => ({
  measured: new Map(),
  cuts: [],
  silences: [],
  unread: [],
});

export const measuredKey = (row: Row, peer: Peer) => `${nameOf(row)}, ${peer}`;

/** Measures a row with all its peers; `turn` decides which one begins. */
export async function rowRound(
  stage: Stage,
  found: Findings,
  { row, turn, timing }: { row: Row; turn: number; timing: Timing },
): Promise<void> {
  const all = peersOf(row);
  for (let n = 0; n < all.length; n++) {
    const peer = all[(n + turn) % all.length] as Peer;
    const key = measuredKey(row, peer);
    const rounds = found.measured.get(key) ?? [];
    found.measured.set(key, rounds);
    rounds.push(await stage.load(peer, row, timing));
  }
}

/** Measures what a page has when its connection is lost, and when it does not read. */
export async function survivalRound(stage: Stage, found: Findings): Promise<void> {
  found.cuts.push(await stage.lose("cut"));
  found.silences.push(await stage.lose("silence"));
  found.unread.push(await stage.leaveUnread());
}

// Evaluation of the findings.

export type Quantity = (measured: WebMeasured) => number;

export const perSecond: Quantity = ({ messages, ms }) => (messages * 1000) / ms;

/** The CPU of a process, or of several, in µs a message. */
export const cpuUs =
  (of: keyof WebMeasured["cpuMs"]): Quantity =>
  ({ cpuMs, messages }) =>
    (cpuMs[of] * 1000) / messages;

/** How long one message takes, in µs, where there is one at a time. */
export const tripUs: Quantity = ({ messages, ms }) => (ms * 1000) / messages;

export const longestTaskMs: Quantity = (measured) => measured.longestTaskMs;

/** Returns the median of the rounds; NaN if there are none. */
export function medianOf(found: Findings, at: { row: Row; peer: Peer }, of: Quantity): number {
  return median((found.measured.get(measuredKey(at.row, at.peer)) ?? []).map(of));
}

/** Returns what is measured of `over`, divided by that of `under` in the same round: the median of the rounds' ratios. */
export function ratioOf(
  found: Findings,
  { row, over, under }: { row: Row; over: Peer; under: Peer },
  of: Quantity,
): number {
  const overs = found.measured.get(measuredKey(row, over)) ?? [];
  const unders = found.measured.get(measuredKey(row, under)) ?? [];
  const rounds = Math.min(overs.length, unders.length);
  return median(
    Array.from(
      { length: rounds },
      (_, n) => of(overs[n] as WebMeasured) / of(unders[n] as WebMeasured),
    ),
  );
}
