/** The rows that are measured, and the minimums of a quick run. The limits of the full run are in limits.ts. */
import type { Job, Workload } from "./commands.ts";

/** The peers, in the order of the tables. */
export const peers = ["hawser", "connect-node", "grpc-js", "grpc-go", "tonic"] as const;

/** The peers that run on Node. */
export const nodePeers: readonly Peer[] = ["hawser", "connect-node", "grpc-js"];

/** The programs with a TLS row. Each is a process of its own, whose code is compiled for TLS alone. */
type TlsPeer = `${"hawser" | "grpc-js" | "grpc-go" | "socket"} TLS`;

/**
 * What is measured in a row. "socket" has no gRPC: it echoes, or sends, the same number of bytes on a TCP connection.
 * "before" is Hawser of another checkout.
 */
export type Peer = (typeof peers)[number] | TlsPeer | "socket" | "before";

/** Returns the peer without TLS, and whether it is used over TLS. */
export function withoutTls(peer: Peer): { name: Exclude<Peer, TlsPeer>; tls: boolean } {
  const name = peer.replace(/ TLS$/, "") as Exclude<Peer, TlsPeer>;
  return { name, tls: name !== peer };
}

/** The ends of a call that can be under test. */
export const roles = ["server", "client"] as const;
export type Role = (typeof roles)[number];

/** A row of the tables. */
export interface Cell {
  readonly workload: Workload;
  readonly streams: number;
  /** Bytes of content in a message. */
  readonly size: number;
}

export const sizes = [15, 1024, 65_536] as const;
export const [SMALL, MEDIUM, LARGE] = sizes;

const kinds: readonly (readonly [Workload, number])[] = [
  ["ping-pong", 1],
  ["ping-pong", 100],
  ["pipelined", 1],
  ["pipelined", 100],
  ["push", 1],
];

const unaryKinds: readonly (readonly [Workload, number])[] = [
  ["unary", 1],
  ["unary", 100],
];

const cellsOf = (of: typeof kinds): readonly Cell[] =>
  sizes.flatMap((size) => of.map(([workload, streams]) => ({ workload, streams, size })));

/** The rows of the full run, cleartext. */
export const cells: readonly Cell[] = [...cellsOf(kinds), ...cellsOf(unaryKinds)];

/** The rows over TLS. */
export const tlsCells: readonly Cell[] = [
  { workload: "unary", streams: 100, size: SMALL },
  { workload: "ping-pong", streams: 100, size: SMALL },
  { workload: "pipelined", streams: 100, size: MEDIUM },
  { workload: "push", streams: 1, size: LARGE },
];

/** Returns what is measured in a row over TLS: also Hawser without TLS, in the same rounds. */
export function peersOverTls(role: Role, { workload }: Cell): readonly Peer[] {
  const all: Peer[] = ["hawser", "hawser TLS", "grpc-go TLS"];
  if (workload === "push") all.push("grpc-js TLS");
  if (workload === "push" && role === "server") all.push("socket TLS");
  return all;
}

/** Messages in flight on each pipelined stream. */
export function windowOf({ streams, size }: Cell): number {
  if (size > MEDIUM) return 8;
  return streams === 1 ? 1000 : 32;
}

export function nameOf({ workload, streams, size }: Cell): string {
  return `${workload} ${streams} × ${size} B`;
}

/** Returns the messages in flight of a job, on all of its streams. */
export function inFlight({ workload, streams, window }: Job): number {
  return workload === "pipelined" ? streams * window : streams;
}

/** The header of a DATA frame (RFC 9113, 4.1), and the prefix of a gRPC message. */
const FRAME_BYTES = 9 + 5;

/**
 * The HEADERS frames of a response and its trailers, whose fields are all in the table of the peer: measured on a
 * connection with 100 calls at a time.
 */
const UNARY_HEADERS_BYTES = 22;

/** Returns the bytes of a response of a row on an HTTP/2 connection, which the socket echoes or sends for a message. */
export function bytesOnWire({ workload, size }: Pick<Cell, "workload" | "size">): number {
  const greeting = { push: "", unary: "Hello, " }[workload as string] ?? "Received: ";
  const text = greeting.length + size;
  // The tag and the length of the text field.
  const message = 1 + (text < 128 ? 1 : text < 16_384 ? 2 : 3) + text;
  return FRAME_BYTES + message + (workload === "unary" ? UNARY_HEADERS_BYTES : 0);
}

/** The minimums of a quick run: the lowest speed of Hawser divided by the peer's, the same for servers and for clients. */
export const minimums: readonly { cell: Cell; minimumOf: Partial<Record<Peer, number>> }[] = [
  {
    cell: { workload: "pipelined", streams: 1, size: SMALL },
    minimumOf: { "connect-node": 3.5, "grpc-js": 2.5 },
  },
  {
    cell: { workload: "pipelined", streams: 100, size: SMALL },
    minimumOf: { "connect-node": 5, "grpc-js": 1.3 },
  },
  {
    cell: { workload: "push", streams: 1, size: SMALL },
    minimumOf: { "connect-node": 4, "grpc-js": 3.5 },
  },
  {
    cell: { workload: "ping-pong", streams: 100, size: SMALL },
    minimumOf: { "connect-node": 3.5, "grpc-js": 1 },
  },
];

/** The peer whose idle stream may not use less memory than Hawser's. */
export const idlePeer: Peer = "grpc-js";
export const idleStreams = 5000;
export const idleConnections = 10;

export function jobOf(
  cell: Cell,
  { address, ca }: Pick<Job, "address" | "ca">,
  { warmMs, measureMs }: Pick<Job, "warmMs" | "measureMs">,
): Job {
  return { ...cell, address, ca, window: windowOf(cell), connections: 1, warmMs, measureMs };
}

export function idleJob(address: string, streams: number, connections = idleConnections): Job {
  return {
    address,
    workload: "idle",
    streams,
    window: 1,
    size: SMALL,
    connections,
    warmMs: 0,
    measureMs: 0,
  };
}
