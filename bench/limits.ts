/** The limits of the full run: what Hawser must reach, divided by a peer, row by row. */
import type { Measured, Memory } from "./child.ts";
import { cpuPerMillion, perSecond, type Results, ratioOf } from "./measure.ts";
import {
  type Cell,
  cells,
  idlePeer,
  LARGE,
  MEDIUM,
  nameOf,
  type Peer,
  peersOverTls,
  type Role,
  roles,
  SMALL,
  tlsCells,
  withoutTls,
} from "./plan.ts";

/** What is divided: CPU seconds per million messages, messages a second, the median latency. */
export type Quantity = "cpu" | "rate" | "p50";

/** The ratio of a row that has a limit, or is shown beside those that have one. */
export interface Ratio {
  readonly role: Role;
  readonly cell: Cell;
  readonly quantity: Quantity;
  readonly ours: "hawser" | "hawser TLS";
  readonly theirs: Peer;
}

/** What a ratio must be: at most or at least a number. An aim is shown, and decides nothing. */
export interface Bound {
  readonly atMost?: number;
  readonly atLeast?: number;
  readonly aim?: number;
}

/** All measurements of a full run. */
export interface Findings {
  readonly cleartext: Results;
  readonly tls: Results;
  /** The memory of an idle stream. */
  readonly idle: ReadonlyMap<`${Role} ${Peer}`, Memory>;
}

/** A limit with what was measured. */
export interface Checked {
  /** The row and the ratio, in words. */
  readonly name: string;
  readonly bound: Bound;
  /** `undefined` if the peer is not on this machine. */
  readonly measured: number | undefined;
}

const quantities: Record<Quantity, (measured: Measured) => number> = {
  cpu: cpuPerMillion,
  rate: perSecond,
  p50: ({ p50Us }) => p50Us,
};

const names: Record<Quantity, string> = { cpu: "CPU", rate: "messages a second", p50: "p50" };

/** Returns what a row must reach; an empty bound if it must reach nothing. */
export function boundOf(ratio: Ratio): Bound {
  const { ours, theirs, quantity, role, cell } = ratio;
  if (ours === "hawser TLS") return overTls(cell, theirs);
  if (quantity === "cpu" && theirs === "tonic") return { aim: 1.25 };
  // Unary calls of 1 KiB and 64 KiB are measured without limits.
  if (cell.workload === "unary" && cell.size !== SMALL) return {};
  switch (quantity) {
    case "cpu":
      if (theirs === "socket") return socketCpu(cell);
      return role === "server" ? serverCpu(cell) : clientCpu(cell);
    case "rate":
      return role === "server" ? serverRate(cell, theirs) : {};
    case "p50":
      return role === "server" && isUnary100(cell) ? { atMost: 1 } : {};
  }
}

const isUnary100 = ({ workload, streams, size }: Cell) =>
  workload === "unary" && streams === 100 && size === SMALL;

const isPingPong1 = ({ workload, streams }: Cell) => workload === "ping-pong" && streams === 1;

function serverCpu(cell: Cell): Bound {
  if (isUnary100(cell)) return { atMost: 0.85, aim: 0.6 };
  return { atMost: isPingPong1(cell) || cell.workload === "push" ? 1 : 0.75 };
}

function serverRate(cell: Cell, theirs: Peer): Bound {
  const { workload, streams, size } = cell;
  switch (theirs) {
    case "grpc-go": {
      if (isPingPong1(cell)) return { atLeast: 0.9 };
      const isAhead = streams === 100 || (workload === "pipelined" && size === MEDIUM);
      return { atLeast: isAhead ? 1.2 : 1 };
    }
    case "grpc-js":
      return { atLeast: isPingPong1(cell) ? 0.95 : 1 };
    case "connect-node":
      return isPingPong1(cell) ? {} : { atLeast: 1 };
    default:
      return {};
  }
}

function clientCpu({ workload, streams, size }: Cell): Bound {
  if (workload === "unary") return { atMost: 1.3, aim: 1 };
  const isAhead =
    workload === "pipelined" || streams === 100 || (workload === "push" && size >= MEDIUM);
  return { atMost: isAhead ? 0.75 : 1 };
}

/** A socket echoes what it reads: the rows in which the server does that too have a limit. */
function socketCpu(cell: Cell): Bound {
  if (cell.workload !== "ping-pong" && cell.workload !== "pipelined") return {};
  if (isPingPong1(cell)) return { atMost: 1.3 };
  if (cell.size === LARGE) return { atMost: 2 };
  return cell.size === MEDIUM ? { atMost: 5 } : {};
}

function overTls({ workload }: Cell, theirs: Peer): Bound {
  switch (theirs) {
    case "hawser":
      return workload === "push" ? {} : { atMost: 1.8 };
    case "grpc-js TLS":
      return { atMost: 1 };
    case "socket TLS":
      return { aim: 1.5 };
    default:
      return {};
  }
}

/** Returns the ratios of a row without TLS that the report shows. */
export function ratiosOf(role: Role, cell: Cell): readonly Ratio[] {
  const cpu: Peer[] = ["grpc-go", "tonic"];
  if (role === "server") cpu.push("socket");
  const rate: Peer[] = ["grpc-go", "grpc-js", "connect-node"];
  const of = (quantity: Quantity) => (theirs: Peer) =>
    ({ role, cell, quantity, ours: "hawser", theirs }) as const;
  return [...cpu.map(of("cpu")), ...rate.map(of("rate")), of("p50")("grpc-go")];
}

/** Returns the ratios of a row over TLS: CPU divided by that of each other program of the row. */
export function tlsRatiosOf(role: Role, cell: Cell): readonly Ratio[] {
  const others = peersOverTls(role, cell).filter((peer) => peer !== "hawser TLS");
  return others.map((theirs) => ({ role, cell, quantity: "cpu", ours: "hawser TLS", theirs }));
}

/** Returns the value of a ratio: the median of the rounds' ratios; `undefined` if the peer is not on this machine. */
export function measuredOf(found: Findings, ratio: Ratio): number | undefined {
  const { role, cell, ours, theirs, quantity } = ratio;
  const rounds = (withoutTls(ours).tls ? found.tls : found.cleartext).rounds(role, cell);
  if (!rounds.some((round) => round.has(theirs))) return undefined;
  return ratioOf(rounds, { ours, theirs }, quantities[quantity]);
}

/** Returns all limits and aims, with what was measured. */
export function checkAll(found: Findings): readonly Checked[] {
  const ratios = roles.flatMap((role) => [
    ...cells.flatMap((cell) => ratiosOf(role, cell)),
    ...tlsCells.flatMap((cell) => tlsRatiosOf(role, cell)),
  ]);
  const checked = ratios.map((ratio) => ({
    name: inWords(ratio),
    bound: boundOf(ratio),
    measured: measuredOf(found, ratio),
  }));
  const used = (peer: Peer) => found.idle.get(`client ${peer}`)?.used as number;
  const idle = {
    name: `client, idle stream: memory divided by ${idlePeer}'s`,
    bound: { atMost: 1 },
    measured: used("hawser") / used(idlePeer),
  };
  return [...checked, idle].filter(({ bound }) => Object.keys(bound).length > 0);
}

/**
 * Whether a ratio keeps its limit: not if it is NaN, because a process got no message done. What was not measured misses
 * nothing.
 */
export function isMet(measured: number | undefined, { atMost, atLeast }: Bound): boolean {
  if (measured === undefined) return true;
  if (atMost !== undefined) return measured <= atMost;
  return atLeast === undefined || measured >= atLeast;
}

/** Whether a bound decides the exit code. */
export function isLimit({ atMost, atLeast }: Bound): boolean {
  return atMost !== undefined || atLeast !== undefined;
}

export function missedOf(checked: readonly Checked[]): readonly Checked[] {
  return checked.filter(({ measured, bound }) => !isMet(measured, bound));
}

/** Returns a line with the limit and what was measured. */
export function lineOf({ name, bound, measured }: Checked): string {
  const verdict = () => {
    if (measured === undefined) return "not measured";
    if (!isLimit(bound)) return "aim";
    return isMet(measured, bound) ? "met" : "missed";
  };
  const value = measured === undefined ? "" : ` ${measured.toFixed(2)},`;
  return `${verdict().padEnd(12)} ${name}:${value} ${boundInWords(bound)}`;
}

export function boundInWords({ atMost, atLeast, aim }: Bound): string {
  const words: string[] = [];
  if (atMost !== undefined) words.push(`at most ${atMost}`);
  if (atLeast !== undefined) words.push(`at least ${atLeast}`);
  if (aim !== undefined) words.push(`aim ${aim}`);
  return words.join(", ");
}

function inWords({ role, cell, quantity, ours, theirs }: Ratio): string {
  const overTls = withoutTls(ours).tls;
  const other = withoutTls(theirs);
  const without = overTls && !other.tls ? " without TLS" : "";
  const row = `${role}, ${nameOf(cell)}${overTls ? " over TLS" : ""}`;
  const of = other.name === "socket" ? "the socket" : other.name;
  return `${row}: ${names[quantity]} divided by ${of}'s${without}`;
}
