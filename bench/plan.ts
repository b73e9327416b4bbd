/** The rows that are measured, and their minimums. */
import type { Job, Workload } from "./commands.ts";

export const peers = ["hawser", "connect-node", "grpc-js", "grpc-go"] as const;
/** The peers; "before" is Hawser of another checkout. */
export type Peer = (typeof peers)[number] | "before";

/** The ends of a call that can be under test. */
export const roles = ["server", "client"] as const;
export type Role = (typeof roles)[number];

/** A row of the tables. */
export interface Cell {
  workload: Workload;
  streams: number;
  size: number;
}

export const sizes = [15, 1024, 65_536] as const;

const kinds: readonly (readonly [Workload, number])[] = [
  ["ping-pong", 1],
  ["ping-pong", 100],
  ["pipelined", 1],
  ["pipelined", 100],
  ["push", 1],
];

/** The rows of the full run. Unary calls have only small messages: their cost hardly depends on the size. */
export const cells: readonly Cell[] = [
  ...sizes.flatMap((size) => kinds.map(([workload, streams]) => ({ workload, streams, size }))),
  { workload: "unary", streams: 1, size: 15 },
  { workload: "unary", streams: 100, size: 15 },
];

/** Messages in flight on each pipelined stream. */
export function windowOf({ streams, size }: Cell): number {
  if (size > 1024) return 8;
  return streams === 1 ? 1000 : 32;
}

export function nameOf({ workload, streams, size }: Cell): string {
  return `${workload} ${streams} × ${size} B`;
}

/** The minimums: the lowest speed of Hawser divided by the peer's, the same for servers and for clients. */
export const minimums: readonly { cell: Cell; minimumOf: Partial<Record<Peer, number>> }[] = [
  {
    cell: { workload: "pipelined", streams: 1, size: 15 },
    minimumOf: { "connect-node": 3.5, "grpc-js": 2.5 },
  },
  {
    cell: { workload: "pipelined", streams: 100, size: 15 },
    minimumOf: { "connect-node": 5, "grpc-js": 1.3 },
  },
  {
    cell: { workload: "push", streams: 1, size: 15 },
    minimumOf: { "connect-node": 4, "grpc-js": 3.5 },
  },
  {
    cell: { workload: "ping-pong", streams: 100, size: 15 },
    minimumOf: { "connect-node": 3.5, "grpc-js": 1 },
  },
];

/** The peer whose idle stream may not use less memory than Hawser's. */
export const idlePeer: Peer = "grpc-js";
export const idleStreams = 5000;
export const idleConnections = 10;

export function jobOf(
  cell: Cell,
  address: string,
  { warmMs, measureMs }: Pick<Job, "warmMs" | "measureMs">,
): Job {
  return { ...cell, address, window: windowOf(cell), connections: 1, warmMs, measureMs };
}

export function idleJob(address: string, streams: number, connections = idleConnections): Job {
  return {
    address,
    workload: "idle",
    streams,
    window: 1,
    size: 15,
    connections,
    warmMs: 0,
    measureMs: 0,
  };
}
