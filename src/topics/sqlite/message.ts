/**
 * What the threads of a SQLite log say to each other. Records travel as columns
 * and one buffer, which is handed over, not copied.
 */
import type { Code } from "@connectrpc/connect";
import type { Kept } from "../retention.ts";

/** What a thread is started with. */
export interface ThreadData {
  readonly role: "writer" | "reader";
  readonly path: string;
  readonly kept: Kept;
  /** A limit of the file, in pages of 4 KiB: tests have a small disk by it. */
  readonly maxPages: number | undefined;
}

/** Records of one or more appends, in the order of the calls. */
export interface AppendMessage {
  readonly kind: "append";
  readonly nowMs: number;
  /** An entry an append. */
  readonly topics: readonly string[];
  readonly counts: readonly number[];
  /** An entry a record; `producers` and `sequences` are left out where no record has an id. */
  readonly sizes: readonly number[];
  readonly producers: readonly (string | null)[] | undefined;
  readonly sequences: readonly bigint[] | undefined;
  readonly data: Uint8Array;
}

/** What became of the oldest appends that wait. */
export interface AppendedMessage {
  readonly kind: "appended";
  readonly outcomes: readonly AppendOutcome[];
}

/** What became of the records of one append, or why they were not stored. */
export type AppendOutcome = Stored | Failure;

export interface Stored {
  /** The last of the topic before, for who follows it. */
  readonly previous: number;
  readonly timeMs: number;
  /** An entry a record; negative where it was there before. */
  readonly positions: readonly number[];
}

/** A question that has an answer of its own. */
export interface CallMessage<Call = WriterCall | ReaderCall> {
  readonly kind: "call";
  readonly id: number;
  readonly call: Call;
}

export interface AnswerMessage {
  readonly kind: "answer";
  readonly id: number;
  readonly value?: unknown;
  readonly failure?: Failure;
}

/** The thread is of no more use: everything that waits has failed. */
export interface FailedMessage {
  readonly kind: "failed";
  readonly failure: Failure;
}

/** It is time to look what has grown too old. */
export interface TickMessage {
  readonly kind: "tick";
  readonly nowMs: number;
}

/** What a writer does between appends; "open" gives the epoch, which is the new one where the file is new. */
export type WriterCall =
  | { readonly do: "open"; readonly newEpoch: string; readonly nowMs: number }
  | { readonly do: "trim"; readonly topic: string; readonly upTo: number }
  | { readonly do: "close" };

/** What a reader does; "page" gives PageColumns, "oldest" and "end" a position. */
export type ReaderCall =
  | { readonly do: "open" }
  | {
      readonly do: "page";
      readonly topic: string;
      /** `undefined`: from the oldest. FOREIGN: of another epoch. */
      readonly after: number | undefined;
      readonly records: number;
      readonly bytes: number;
    }
  | { readonly do: "oldest" | "end"; readonly topic: string }
  | { readonly do: "topics"; readonly prefix: string }
  | { readonly do: "close" };

/** Stands for the position in a cursor of another epoch. */
export const FOREIGN = -1;

/** A page in columns. */
export interface PageColumns {
  /** Where there is a gap before the records. */
  readonly gap: number | undefined;
  readonly positions: readonly number[];
  readonly times: readonly number[];
  readonly sizes: readonly number[];
  readonly data: Uint8Array;
}

/** A ConnectError on its way between threads. */
export interface Failure {
  readonly code: Code;
  /** What clients of the server may read: it has no path. */
  readonly message: string;
  /** What the operator of the server is told: what happened, with the path, and the remedy. */
  readonly detail?: string;
}

export type ToThread = AppendMessage | CallMessage | TickMessage;
export type FromThread = AppendedMessage | AnswerMessage | FailedMessage;

/** Codes without Connect's own table, which takes a thread 70 ms to load. */
const FAILED_PRECONDITION: Code.FailedPrecondition = 9;
const RESOURCE_EXHAUSTED: Code.ResourceExhausted = 8;
const UNAVAILABLE: Code.Unavailable = 14;
const DATA_LOSS: Code.DataLoss = 15;

/** A Failure that is thrown within a thread. */
export class Refused extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

export function precondition(detail: string): Refused {
  return new Refused({
    code: FAILED_PRECONDITION,
    message: "the server's log cannot be used",
    detail,
  });
}

export function exhausted(message: string, detail: string): Refused {
  return new Refused({ code: RESOURCE_EXHAUSTED, message, detail });
}

export function damaged(path: string, what: string): Refused {
  const remedy = "restore it, with its -wal, from a copy, or move both away to begin anew";
  return new Refused({
    code: DATA_LOSS,
    message: "the server's log is damaged here: the server has told its operator where",
    detail: `${path} is damaged: ${what}; ${remedy}`,
  });
}

/** What an error of SQLite's, or of the system's, means to the user of the log. */
export function failureOf(error: unknown, path: string): Failure {
  if (error instanceof Refused) return error.failure;
  const { code, message } = error as { code?: unknown; message: string };
  const [name, reason] = [`${code}`, `${message} (${code})`];
  if (/^(SQLITE_FULL|SQLITE_IOERR_SHM\w*|ENOSPC)$/.test(name)) {
    return exhausted(
      "the server's log has no room on its disk: nothing was stored; send it again later",
      `no room on the disk for ${path}: nothing was stored; make room`,
    ).failure;
  }
  if (name === "SQLITE_TOOBIG") {
    return { code: RESOURCE_EXHAUSTED, message: `a record is too large: ${reason}` };
  }
  if (/^SQLITE_(CORRUPT|NOTADB)/.test(name)) return damaged(path, reason).failure;
  if (
    /^(SQLITE_(CANTOPEN|READONLY|PERM|AUTH)|E(ACCES|PERM|ROFS|EXIST|NOTDIR|NOENT|LOOP|NAMETOOLONG)$)/.test(
      name,
    )
  ) {
    return precondition(`${path} cannot be opened and written: ${reason}`).failure;
  }
  return {
    code: UNAVAILABLE,
    message: "the server's log does not answer: try again later",
    detail: `the log in ${path} does not answer: ${reason}`,
  };
}

/** Whether another connection had the file for longer than this one waits. */
export function isBusy(error: unknown): boolean {
  return `${(error as { code?: unknown }).code}`.startsWith("SQLITE_BUSY");
}
