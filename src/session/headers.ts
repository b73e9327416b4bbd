/** The headers of an attachment (session.proto, 3 and 4). */
import { Code, type ConnectError } from "@connectrpc/connect";
import type { HeaderList } from "../call-stream.ts";
import { peerFailure } from "../failure.ts";
import type { Window } from "./session-window.ts";

/** Whether a header belongs to the protocol of sessions; applications do not see those. */
const isOwn = (name: string): boolean => name.startsWith("hawser-");

/** Removes the headers of the protocol from `values`, which nothing else may use, and returns `values`. */
export function withoutOwn(values: HeaderList): HeaderList {
  for (const name in values) if (isOwn(name)) delete values[name];
  return values;
}

/** Removes the headers of the protocol from the metadata of a status. */
export function dropOwn(metadata: Headers): void {
  for (const name of [...metadata.keys()]) if (isOwn(name)) metadata.delete(name);
}

/** The headers with which a client asks for an attachment. */
export interface Ask {
  readonly session: string;
  readonly attach: number;
  readonly received: number;
  readonly window: Window;
  readonly epoch: string;
  /** The server's clock when the session was opened; `undefined` once the server has answered. */
  readonly openedMs: number | undefined;
  readonly cancel: boolean;
}

/** The headers with which a server accepts an attachment. */
export interface Answer {
  readonly resumed: boolean;
  readonly epoch: string;
  readonly received: number;
  readonly window: Window;
  /** Whether the handler's response headers are among these. */
  readonly metadata: boolean;
}

export function writeAsk(ask: Ask): Record<string, string> {
  const headers: Record<string, string> = {
    "hawser-session": ask.session,
    "hawser-attach": String(ask.attach),
    "hawser-received": String(ask.received),
    "hawser-window": `${ask.window.bytes},${ask.window.messages}`,
    "hawser-epoch": ask.epoch,
  };
  if (ask.openedMs !== undefined) headers["hawser-opened"] = String(Math.floor(ask.openedMs));
  if (ask.cancel) headers["hawser-cancel"] = "1";
  return headers;
}

/** Throws INVALID_ARGUMENT, with the name of the header, if one is missing or not valid. */
export function readAsk(headers: HeaderList): Ask {
  const opened = headers["hawser-opened"];
  return {
    session: readId(headers, "hawser-session"),
    attach: readCount(headers, "hawser-attach", 1),
    received: readCount(headers, "hawser-received"),
    window: readWindow(headers),
    epoch: readId(headers, "hawser-epoch"),
    openedMs: opened === undefined ? undefined : readCount(headers, "hawser-opened"),
    cancel: readCancel(headers),
  };
}

export function writeAnswer(answer: Answer): Record<string, string> {
  return {
    "hawser-session": answer.resumed ? "resumed" : "new",
    "hawser-epoch": answer.epoch,
    "hawser-received": String(answer.received),
    "hawser-window": `${answer.window.bytes},${answer.window.messages}`,
    "hawser-metadata": answer.metadata ? "here" : "later",
  };
}

/** Returns `undefined` if the server keeps no sessions. Throws INVALID_ARGUMENT, with the name of the header. */
export function readAnswer(headers: HeaderList): Answer | undefined {
  const session = headers["hawser-session"];
  if (session === undefined) return undefined;
  if (session !== "new" && session !== "resumed") throw broken("hawser-session", session);
  return {
    resumed: session === "resumed",
    epoch: readId(headers, "hawser-epoch"),
    received: readCount(headers, "hawser-received"),
    window: readWindow(headers),
    metadata: headers["hawser-metadata"] === "here",
  };
}

/** The number of messages that the server has sent; `undefined` if the trailers are not those of a session. */
export function readSent(trailers: HeaderList): number | undefined {
  return trailers["hawser-sent"] === undefined ? undefined : readCount(trailers, "hawser-sent");
}

/** The trailers of a server that takes no more sessions, and would serve the call without one (session.proto, 4i). */
export const FULL_TRAILERS: HeaderList = { "hawser-session": "full" };

/** Whether these are such trailers. */
export function saysFull(trailers: HeaderList): boolean {
  return trailers["hawser-session"] === FULL_TRAILERS["hawser-session"];
}

function readId(headers: HeaderList, name: string): string {
  const value = headers[name];
  if (typeof value !== "string" || !/^[0-9a-f]{32}$/.test(value)) throw broken(name, value);
  return value;
}

function readCount(headers: HeaderList, name: string, atLeast = 0): number {
  const value = headers[name];
  const count = typeof value === "string" && /^\d{1,16}$/.test(value) ? Number(value) : -1;
  if (count < atLeast || !Number.isSafeInteger(count)) throw broken(name, value);
  return count;
}

function readCancel(headers: HeaderList): boolean {
  const value = headers["hawser-cancel"];
  if (value !== undefined && value !== "1") throw broken("hawser-cancel", value);
  return value === "1";
}

function readWindow(headers: HeaderList): Window {
  const value = headers["hawser-window"];
  const parts = typeof value === "string" ? /^(\d{1,15}),(\d{1,15})$/.exec(value) : null;
  const window = { bytes: Number(parts?.[1]), messages: Number(parts?.[2]) };
  if (!(window.bytes > 0 && window.messages > 0)) throw broken("hawser-window", value);
  return window;
}

function broken(name: string, value: HeaderList[string]): ConnectError {
  const what =
    value === undefined ? "is missing" : `"${String(value).slice(0, 80)}" makes no sense`;
  return peerFailure(Code.InvalidArgument, `protocol error: the session header ${name} ${what}`);
}
