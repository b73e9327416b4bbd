/** Plays the traces of test/vectors/ against the core: their input is events; their output is the frames that are sent, and events of the application. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { SessionLostSchema } from "../../gen/hawser/v1/session_pb.js";
import { failure } from "../../src/failure.ts";
import { readStatus, statusTrailers } from "../../src/grpc/status.ts";
import { Reason, readSessionLost } from "../../src/session/lost.ts";
import type { Window } from "../../src/session/session-window.ts";
import { asValues } from "./session-sim-streams.ts";
import type { Fields, Item, Pipe } from "./session-sim-wire.ts";

type Headers = Record<string, string>;

/** Why a session was lost, as a SessionLost says. */
export interface Loss {
  readonly reason: string;
  readonly arrived: number;
}

/** An error: its code, and the reason for which the session was lost. */
export interface Failure {
  readonly code: string;
  readonly lost?: Loss;
}

/** An item on a stream; streams are numbered as they come. */
export interface Wire {
  readonly stream: number;
  readonly headers?: Headers;
  /** In hexadecimal digits, prefixes included; of what comes in, the final one may be incomplete. */
  readonly frames?: readonly string[];
  /** The end of the server's direction. */
  readonly trailers?: Headers;
  readonly lost?: Loss;
  /** END_STREAM of the client. */
  readonly end?: true;
  readonly reset?: true;
}

/** An event of the network or of the application. */
export type Event =
  | Wire
  /** The stream was lost without an end. */
  | { readonly stream: number; readonly gone: true }
  | { readonly app: "send"; readonly message: string; readonly compressed?: true }
  | { readonly app: "start" | "take" | "half-close" | "cancel" | "end" }
  | { readonly app: "respond"; readonly headers: Headers }
  | { readonly app: "fail"; readonly code: string; readonly lost?: Loss }
  /** The response of the second Negotiate, if the client calls it again. */
  | { readonly negotiated: ClientTerms }
  /** Whether the client gets a connection when it asks for one. */
  | { readonly reachable: boolean }
  | { readonly time: number };

/** An event of the application. */
export type Heard =
  | { readonly message: string; readonly compressed?: true }
  | { readonly headers: Headers }
  | { readonly status: "OK" | Failure }
  | { readonly failed: Failure }
  | { readonly halfClosed: true }
  | { readonly started: true }
  /** send() need not wait any more. */
  | { readonly room: true };

/** The state of one side. */
export interface State {
  readonly link: "detached" | "attaching" | "attached" | "over";
  readonly sent: number;
  readonly received: number;
  /** How many of what it sent the other side has acknowledged. */
  readonly acknowledged: number;
  /** Whether send() waits. */
  readonly full: boolean;
}

export interface Step {
  readonly why?: string;
  readonly in: Event & { readonly caller?: string; readonly method?: string };
  readonly wire?: readonly Wire[];
  readonly app?: readonly Heard[];
  /** The client calls Negotiate again. */
  readonly negotiates?: true;
  readonly state?: State;
}

export interface SessionSettings {
  readonly epoch: string;
  readonly graceMs: number;
  readonly window: Window;
}

export type ClientTerms = SessionSettings & { readonly clockAheadMs: number };

export interface Trace {
  readonly client?: {
    readonly id: string;
    /** The id of the session that replaces the first one, if there is one. */
    readonly nextId?: string;
    readonly window: Window;
    readonly server: ClientTerms;
    readonly steps: readonly Step[];
  };
  readonly server?: SessionSettings & {
    readonly nowMs: number;
    readonly limits?: Record<string, number>;
    readonly steps: readonly Step[];
  };
}

/** One side of a trace. */
export interface Side {
  /** Plays an event; resolves when all of its immediate effects have happened. */
  happen(event: Step["in"]): Promise<void>;
  /** The frames that were sent since the previous step, the events of the application, and the state of the session. */
  readonly wire: Wire[];
  readonly app: Heard[];
  readonly state: State;
  /** Whether the client called Negotiate again since the previous step. */
  takeNegotiates?(): boolean;
}

/** The outcome of a step, in the form of a step. */
export async function play(side: Side, { why, in: event }: Step): Promise<Step> {
  await side.happen(event);
  const wire = side.wire.splice(0);
  const app = side.app.splice(0);
  return {
    ...(why === undefined ? {} : { why }),
    in: event,
    ...(wire.length === 0 ? {} : { wire }),
    ...(app.length === 0 ? {} : { app }),
    ...(side.takeNegotiates?.() ? { negotiates: true } : {}),
    state: side.state,
  };
}

export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
export const fromHex = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, "hex"));

const SHOWN = /^(hawser-.*|x-.*|grpc-status|grpc-retry-pushback-ms)$/;

/** The headers of the protocol, and those that the handler set. */
export function shownHeaders(fields: Fields): Headers {
  const entries = Object.entries(asValues(fields)).filter(([name]) => SHOWN.test(name));
  return Object.fromEntries(entries.map(([name, value]) => [name, String(value)]));
}

/** The items that wait in a pipe, as a trace shows them. */
export function drain(pipe: Pipe, stream: number): Wire[] {
  const items: Item[] = [];
  pipe.deliver(Number.POSITIVE_INFINITY, (item) => items.push(item));
  const shown: Wire[] = [];
  const data = Buffer.concat(items.flatMap((item) => (item.is === "data" ? [item.bytes] : [])));
  for (const item of items) {
    if (item.is === "headers") shown.push({ stream, headers: shownHeaders(item.fields) });
  }
  if (data.length > 0) shown.push({ stream, frames: toFrames(data) });
  for (const item of items) {
    if (item.is === "reset") shown.push({ stream, reset: true });
    else if (item.is === "end") shown.push(toEnd(stream, item.fields));
  }
  return shown;
}

function toFrames(data: Buffer): string[] {
  const frames: string[] = [];
  for (let at = 0; at < data.length; ) {
    const next = at + 5 + data.readUInt32BE(at + 1);
    frames.push(data.toString("hex", at, next));
    at = next;
  }
  return frames;
}

function toEnd(stream: number, fields: Fields): Wire {
  const trailers = shownHeaders(fields);
  if (Object.keys(trailers).length === 0) return { stream, end: true };
  const lost = toLoss(readStatus(asValues(fields)));
  return { stream, trailers, ...(lost === undefined ? {} : { lost }) };
}

export function toLoss(error: unknown): Loss | undefined {
  const lost = readSessionLost(error);
  return lost && { reason: Reason[lost.reason] ?? "?", arrived: Number(lost.arrived) };
}

export function toFailure(error: ConnectError): Failure {
  const lost = toLoss(error);
  return { code: Code[error.code] ?? "?", ...(lost === undefined ? {} : { lost }) };
}

/** The error that a trace means. */
export function fromFailure({ code, lost }: Failure): ConnectError {
  const error = failure(Code[code as keyof typeof Code], "as the trace says");
  if (lost !== undefined) error.details.push(toDetail(lost));
  return error;
}

function toDetail({ reason, arrived }: Loss) {
  const value = create(SessionLostSchema, {
    reason: Reason[reason as keyof typeof Reason],
    arrived: BigInt(arrived),
  });
  return { desc: SessionLostSchema, value };
}

/** Trailers as they come, with the loss among the details. */
export function fromTrailers(trailers: Headers, lost: Loss | undefined): Fields {
  if (lost === undefined) return trailers;
  const error = new ConnectError("lost", Number(trailers["grpc-status"]));
  error.details.push(toDetail(lost));
  return { ...(statusTrailers(error, undefined) as Fields), ...trailers };
}
