/**
 * The messages between the threads of a SQLite log. They contain records as columns and one buffer,
 * which is transferred instead of copied, unless live readers need it.
 */
import type { MessagePort } from "node:worker_threads";
import type { Code } from "@connectrpc/connect";
import type { RetentionLimits } from "../retention.ts";

/** The data with which a thread is started. */
export interface ThreadData {
  readonly role: "writer" | "reader";
  readonly path: string;
  readonly retention: RetentionLimits;
  /** What the file may use at most; Infinity stands for no limit. */
  readonly maxBytes: number;
  /** The largest size of the file, in pages of 4 KiB. Only tests set it, to simulate a small disk. */
  readonly maxPages: number | undefined;
}

/** What the worker gets. */
export interface WorkerInput extends ThreadData {
  /** The thread's end of its channel to the log. On Deno `parentPort` is no MessagePort. */
  readonly port: MessagePort;
}

/** Records of one or more appends, in the order of the calls. */
export interface AppendMessage {
  readonly kind: "append";
  readonly nowMs: number;
  /** The number of the first append; those after it have the next numbers. */
  readonly first: number;
  /** `topics`, `counts` and `owners` have an item for each append. */
  readonly topics: readonly string[];
  readonly counts: readonly number[];
  /** The number of the owner, whose appends take turns with those of others; 0 for those without an owner. */
  readonly owners: readonly number[];
  /**
   * The other columns have an item for each record; `producers` and `sequences` are left out if no
   * record has an id.
   */
  readonly sizes: readonly number[];
  readonly producers: readonly (string | null)[] | undefined;
  readonly sequences: readonly bigint[] | undefined;
  readonly data: Uint8Array;
}

/** The outcomes of appends, in the order in which they were stored. */
export interface AppendedMessage {
  readonly kind: "appended";
  /** The numbers of the appends. */
  readonly numbers: readonly number[];
  readonly outcomes: readonly AppendOutcome[];
}

/** The positions of the records of one append, or the reason why they are not stored. */
export type AppendOutcome = StoredAppend | Failure;

export interface StoredAppend {
  /** The position of the topic's newest record before the append: live readers that have it get the new records. */
  readonly previous: number;
  readonly timeMs: number;
  /** The position of each record; negative if the record had been stored before. */
  readonly positions: readonly number[];
}

/** A message that is answered by an AnswerMessage of the same id. */
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

/** Sent when the thread has ended: all calls and appends that wait for it fail. */
export interface FailedMessage {
  readonly kind: "failed";
  readonly failure: Failure;
}

/** Lets the writer look for records that are older than the retention's ageMs. */
export interface TickMessage {
  readonly kind: "tick";
  readonly nowMs: number;
}

/** The calls of the writer. "open" returns the log's epoch, which is `newEpoch` if the file is new. */
export type WriterCall =
  | { readonly do: "open"; readonly newEpoch: string; readonly nowMs: number }
  | { readonly do: "trim"; readonly topic: string; readonly upTo: number }
  | { readonly do: "close" };

/** The calls of the reader. "page" returns PageColumns, "oldest" and "end" a position. */
export type ReaderCall =
  | { readonly do: "open" }
  | {
      readonly do: "page";
      readonly topic: string;
      /** A position; `undefined` for the oldest record, FOREIGN for a cursor of another epoch. */
      readonly after: number | undefined;
      readonly records: number;
      readonly bytes: number;
    }
  | { readonly do: "oldest" | "end"; readonly topic: string }
  | {
      readonly do: "topics";
      readonly prefix: string;
      readonly after: string;
      readonly limit: number;
    }
  | { readonly do: "close" };

/** Takes the place of a position if the cursor is of another epoch. */
export const FOREIGN = -1;

/** A page in columns. */
export interface PageColumns {
  /** The position of the gap before the records, if there is one. */
  readonly gap: number | undefined;
  readonly positions: readonly number[];
  readonly times: readonly number[];
  readonly sizes: readonly number[];
  readonly data: Uint8Array;
}

/** A ConnectError as it is sent between threads. */
export interface Failure {
  readonly code: Code;
  /** The text for clients, which names no path. */
  readonly message: string;
  /** The text for the operator: what happened, with the path, and the remedy. */
  readonly detail?: string;
}

export type ToThread = AppendMessage | CallMessage | TickMessage;
export type FromThread = AppendedMessage | AnswerMessage | FailedMessage;

/** The values of Connect's enum `Code`, which takes a thread 70 ms to import. */
const FAILED_PRECONDITION: Code.FailedPrecondition = 9;
const RESOURCE_EXHAUSTED: Code.ResourceExhausted = 8;
const UNAVAILABLE: Code.Unavailable = 14;
const DATA_LOSS: Code.DataLoss = 15;

/** A Failure that is thrown within a thread. */
class FailureError extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

export function precondition(detail: string): FailureError {
  return new FailureError({
    code: FAILED_PRECONDITION,
    message: "the server's log cannot be used",
    detail,
  });
}

export function exhausted(message: string, detail: string): FailureError {
  return new FailureError({ code: RESOURCE_EXHAUSTED, message, detail });
}

export function damaged(path: string, what: string): FailureError {
  const remedy = "restore it, with its -wal, from a copy, or move both away to begin anew";
  return new FailureError({
    code: DATA_LOSS,
    message: "the server's log is damaged here: the server has told its operator where",
    detail: `${path} is damaged: ${what}; ${remedy}`,
  });
}

/** Converts an error of SQLite, or of the operating system, to a Failure. */
export function failureOf(error: unknown, path: string): Failure {
  if (error instanceof FailureError) return error.failure;
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

/** Whether another connection locked the file for longer than this one waits. */
export function isBusy(error: unknown): boolean {
  return `${(error as { code?: unknown }).code}`.startsWith("SQLITE_BUSY");
}
