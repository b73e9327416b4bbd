import { Code, type ConnectError } from "@connectrpc/connect";
import { peerFailure } from "../failure.ts";
import type { Clock } from "../flow/clock.ts";
import type { RosterMember } from "../flow/roster.ts";

/**
 * The approximate cost of a message that waits for the application, beside its bytes and its prefix: objects, and what is not
 * used of the memory that holds the messages of its call. Measured by `npm run attack -- unread`.
 */
export const ENTRY_BYTES = 192;

/** Above a budget, a stream that makes no progress for this time is ended. */
const STALLED_MS = 10_000;

/** How often that is checked. */
const CHECK_MS = 1000;

/** The budget of a connection, and that of a server or a transport; each at least READ_MAX_FACTOR × readMaxBytes. */
const CONNECTION_BUDGET_BYTES = 8 * 1024 * 1024;
const TOTAL_BUDGET_BYTES = 128 * 1024 * 1024;
const READ_MAX_FACTOR = 2;

/** Above this many times a budget, what the application has not taken is no longer held, and no stream is admitted. */
export const UNTAKEN_FACTOR = 2;

/** The same for all that the streams of one connection hold. What waits to be sent may be more: the peer may be reading it. */
export const CONNECTION_FACTOR = 8;

/** The same for all that the streams of several connections hold. */
export const TOTAL_FACTOR = 2;

/**
 * The part of a budget by which windows may be larger than at first, all together: so they alone do not exceed it when no
 * application takes anything.
 */
const CAPACITY = 1 / 2;

/** While this capacity is used up, idle windows are looked for this often. */
const IDLE_CHECK_MS = 1000;

/** The largest streams are ended until no more than this part of a limit is held, so that the next ones do not end at once. */
const RELIEVED = 7 / 8;

/** Returns the default of `connectionBudgetBytes`. */
export function connectionBudgetBytes(readMaxBytes: number): number {
  return Math.max(CONNECTION_BUDGET_BYTES, READ_MAX_FACTOR * readMaxBytes);
}

/** Returns the default of `serverBudgetBytes`, and the budget of a transport. */
export function totalBudgetBytes(readMaxBytes: number): number {
  return Math.max(TOTAL_BUDGET_BYTES, READ_MAX_FACTOR * readMaxBytes);
}

/** A stream, as its budgets see it. */
export interface BudgetedStream extends RosterMember {
  /** The bytes of messages that were not taken, of the incomplete one, and of those that wait to be sent. */
  readonly heldBytes: number;
  /** The number of messages that the application has not taken. */
  readonly untaken: number;
  /** The bytes that have arrived of an incomplete message. */
  readonly partialBytes: number;
  /** The bytes that wait to be sent. */
  readonly waitingBytes: number;
  /** The part of `heldBytes` that waits to be sent, as it was counted. */
  readonly countedWaitingBytes: number;
  /** Whether the peer may send. */
  readonly hasCredit: boolean;
  /** Changes whenever the application takes a message, and when all that waited was sent. */
  readonly progress: number;
  /** Reports how `heldBytes` has changed, by ConnectionMemory.count(). */
  recount(): void;
  /** Gives the stream the window that it began with. */
  shrinkWindow(): void;
  /** Gives back the part of the window that an idle stream does not need, if little was taken since the previous call. */
  shrinkIdleWindow(): void;
  /** Lets the peer send more of an incomplete message, if mayComplete() allows it now. */
  settle(): void;
  /** Ends the stream with an error, and drops what it holds. */
  endOverBudget(error: ConnectError): void;
}

/** A connection, as its budgets see it: ConnectionMemory implements it. */
interface BudgetedConnection {
  readonly streams: Iterable<BudgetedStream>;
  /** The oldest of its incomplete messages, and when that began. */
  readonly oldestIncomplete:
    | { readonly stream: BudgetedStream; readonly sinceMs: number }
    | undefined;
}

/** The progress of a stream at the last check that found some. */
interface Progress {
  readonly atMs: number;
  readonly progress: number;
  readonly waitingBytes: number;
  readonly partialBytes: number;
}

/** What a budget limits, for errors: "the client's connection (connectionBudgetBytes)". */
export interface ReceiveBudgetInit {
  /** May change, as the share of a caller does. */
  readonly bytes: number;
  /** What `bytes` is at least. Below, it is not looked at. Default: `bytes` as it is at first. */
  readonly leastBytes?: number;
  /** What holds the bytes: "the connection". */
  readonly of: string;
  /** The name of the limit: "connectionBudgetBytes 8388608 B". */
  readonly limit: string;
  /** CONNECTION_FACTOR, TOTAL_FACTOR or UNTAKEN_FACTOR. */
  readonly factor: number;
  /** Called when a stream is not admitted, or is ended. */
  readonly onRefused?: () => void;
}

/**
 * A limit of the bytes that streams hold because an application does not take them, or a peer does not: of the streams
 * of one connection, of one caller, or of several connections.
 *
 * Below the budget each stream's window grows as it needs. Above it no window is larger than at first, and
 * only the oldest incomplete message is given credit beyond that, until it is whole: so a message larger than the
 * budget passes, and no two messages wait for each other. A stream that makes no progress for STALLED_MS is then ended,
 * the largest first, until the rest is below the budget. No new stream is admitted, and the largest streams are ended
 * immediately, above UNTAKEN_FACTOR times the budget without what waits to be sent, and above `factor` times the budget
 * with it; but never the oldest incomplete message while bytes of it arrive.
 */
export class ReceiveBudget {
  readonly #init: ReceiveBudgetInit;
  readonly #leastBytes: number;
  readonly #clock: Clock;
  readonly #connections = new Set<BudgetedConnection>();
  #usedBytes = 0;
  /** The part of `#usedBytes` that waits to be sent. */
  #waitingBytes = 0;
  /** By how many bytes windows are larger than at first; messages that do not fill them count with what they would cost. */
  #capacityUsedBytes = 0;
  #idleCheckedAtMs = Number.NEGATIVE_INFINITY;
  #isAbove = false;
  /** Whether #relieve() is queued. */
  #isRelieving = false;
  /** The progress of the streams that hold something, while the budget is exceeded; else undefined. */
  #progress: Map<BudgetedStream, Progress> | undefined;
  #oldest: BudgetedStream | undefined;

  constructor(init: ReceiveBudgetInit, clock: Clock) {
    this.#init = init;
    this.#leastBytes = init.leastBytes ?? init.bytes;
    this.#clock = clock;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** The budget itself. */
  get bytes(): number {
    return this.#init.bytes;
  }

  /** Whether new streams are admitted. */
  get admits(): boolean {
    if (this.#usedBytes <= this.#leastBytes) return true;
    const { bytes, factor } = this.#init;
    return this.#untakenBytes <= UNTAKEN_FACTOR * bytes && this.#usedBytes <= factor * bytes;
  }

  /** Called when a stream was not admitted. */
  onRefused(): void {
    this.#init.onRefused?.();
  }

  get #untakenBytes(): number {
    return this.#usedBytes - this.#waitingBytes;
  }

  /** Whether windows may grow. */
  get mayGrow(): boolean {
    return !this.#isAbove;
  }

  /** By how much windows may become larger, if they need `bytes`. If that is less, idle windows become smaller. */
  capacityFor(bytes: number): number {
    if (this.#isAbove) return 0;
    if (this.#freeCapacityBytes < bytes) this.#shrinkIdle();
    return Math.min(Math.max(this.#freeCapacityBytes, 0), bytes);
  }

  get #freeCapacityBytes(): number {
    return CAPACITY * this.#init.bytes - this.#capacityUsedBytes;
  }

  /** @param bytes how much larger windows are now; if negative, smaller */
  countCapacity(bytes: number): void {
    this.#capacityUsedBytes += bytes;
  }

  #shrinkIdle(): void {
    const now = this.#clock.now();
    if (now - this.#idleCheckedAtMs < IDLE_CHECK_MS) return;
    this.#idleCheckedAtMs = now;
    for (const stream of this.#streams()) stream.shrinkIdleWindow();
  }

  add(connection: BudgetedConnection): void {
    this.#connections.add(connection);
  }

  remove(connection: BudgetedConnection): void {
    this.#connections.delete(connection);
  }

  /** @param waiting the part of `bytes` that waits to be sent */
  count(bytes: number, waiting: number): void {
    this.#usedBytes += bytes;
    this.#waitingBytes += waiting;
    if (this.#usedBytes <= this.#leastBytes || this.#usedBytes <= this.#init.bytes) return;
    if (!this.#isAbove) this.#exceeded();
    if (this.admits || this.#isRelieving) return;
    this.#isRelieving = true;
    // Not now: a stream calls this while it reads or writes.
    queueMicrotask(() => this.#relieve());
  }

  forget(stream: BudgetedStream): void {
    this.#progress?.delete(stream);
  }

  /** Whether an incomplete message is given credit until it is whole. */
  mayComplete(stream: BudgetedStream): boolean {
    return !this.#isAbove || this.#oldestIncomplete() === stream;
  }

  /** Lets the next incomplete message continue if this one was the oldest. */
  onComplete(stream: BudgetedStream): void {
    if (this.#oldest !== stream) return;
    this.#oldest = undefined;
    if (this.#isAbove) this.#oldestIncomplete()?.settle();
  }

  #oldestIncomplete(): BudgetedStream | undefined {
    if (this.#oldest !== undefined) return this.#oldest;
    let sinceMs = Number.POSITIVE_INFINITY;
    for (const { oldestIncomplete } of this.#connections) {
      if (oldestIncomplete === undefined || oldestIncomplete.sinceMs >= sinceMs) continue;
      sinceMs = oldestIncomplete.sinceMs;
      this.#oldest = oldestIncomplete.stream;
    }
    return this.#oldest;
  }

  *#streams(): Generator<BudgetedStream> {
    for (const { streams } of this.#connections) yield* streams;
  }

  #exceeded(): void {
    this.#isAbove = true;
    this.#oldest = undefined;
    for (const stream of this.#streams()) stream.shrinkWindow();
    this.#findStalled();
    this.#checkLater();
  }

  #checkLater(): void {
    this.#clock.startTimer(CHECK_MS, () => this.#check());
  }

  #check(): void {
    for (const stream of this.#streams()) stream.recount();
    // A share becomes smaller also while its caller does nothing.
    if (!this.admits) this.#relieve();
    const { bytes } = this.#init;
    if (this.#usedBytes > bytes) {
      this.#endLargest(this.#findStalled(), { isEnough: () => this.#usedBytes <= bytes });
    }
    if (this.#usedBytes > bytes) {
      this.#checkLater();
      return;
    }
    this.#isAbove = false;
    this.#progress = undefined;
    for (const stream of this.#streams()) if (stream.partialBytes > 0) stream.settle();
  }

  #relieve(): void {
    this.#isRelieving = false;
    for (const stream of this.#streams()) stream.recount();
    if (this.admits) return;
    this.#findStalled();
    const spared = this.#oldestIncomplete();
    const streams = [...this.#streams()].filter((stream) => {
      return stream.heldBytes > 0 && (stream !== spared || this.#isStalled(stream));
    });
    const { bytes, factor } = this.#init;
    const untakenBytes = RELIEVED * UNTAKEN_FACTOR * bytes;
    this.#endLargest(streams, {
      sizeOf: (stream) => stream.heldBytes - stream.countedWaitingBytes,
      isEnough: () => this.#untakenBytes <= untakenBytes,
    });
    const usedBytes = RELIEVED * factor * bytes;
    this.#endLargest(streams, { isEnough: () => this.#usedBytes <= usedBytes });
  }

  /** Ends streams, the largest first, until it is enough. */
  #endLargest(
    streams: BudgetedStream[],
    {
      isEnough,
      sizeOf = ({ heldBytes }) => heldBytes,
    }: { isEnough: () => boolean; sizeOf?: (stream: BudgetedStream) => number },
  ): void {
    if (isEnough()) return;
    const bySize = streams
      .map((stream) => ({ stream, size: sizeOf(stream), heldBytes: stream.heldBytes }))
      .sort((a, b) => b.size - a.size);
    for (const { stream, heldBytes } of bySize) {
      if (isEnough()) break;
      this.onRefused();
      stream.endOverBudget(this.#error(heldBytes));
    }
  }

  /** Notes the progress of all streams, and returns those that have made none for STALLED_MS. */
  #findStalled(): BudgetedStream[] {
    const stalled: BudgetedStream[] = [];
    this.#progress ??= new Map();
    for (const stream of this.#streams()) {
      const last = this.#progress.get(stream);
      if (stream.heldBytes === 0) this.#progress.delete(stream);
      else if (last === undefined || hasProgressed(stream, last)) {
        const { progress, waitingBytes, partialBytes } = stream;
        const atMs = this.#clock.now();
        this.#progress.set(stream, { atMs, progress, waitingBytes, partialBytes });
      } else if (this.#isStalled(stream)) stalled.push(stream);
    }
    return stalled;
  }

  #isStalled(stream: BudgetedStream): boolean {
    const last = this.#progress?.get(stream);
    return last !== undefined && this.#clock.now() - last.atMs >= STALLED_MS;
  }

  #error(heldBytes: number): ConnectError {
    const { of, limit } = this.#init;
    return peerFailure(
      Code.ResourceExhausted,
      `the call was ended because ${of} holds ${this.#usedBytes} B of messages that are not taken, ${heldBytes} B of them for this call: that is over ${limit}; read faster, or send less at a time`,
    );
  }
}

/** Whether the application, or the peer, has done its part since the last check. */
function hasProgressed(stream: BudgetedStream, last: Progress): boolean {
  if (stream.progress !== last.progress) return true;
  if (stream.waitingBytes > 0 && stream.waitingBytes !== last.waitingBytes) return true;
  if (stream.untaken > 0 || stream.partialBytes === 0) return false;
  // A peer without credit cannot send the rest.
  return stream.partialBytes !== last.partialBytes || !stream.hasCredit;
}
