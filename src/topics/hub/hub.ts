import { Code } from "@connectrpc/connect";
import { failure } from "../../failure.ts";
import { currentContext } from "../../flow/runtime.ts";
import { startTimer } from "../../flow/wait.ts";
import {
  abortSignal,
  type Checks,
  callable,
  checkOptions,
  isWith,
  notNegativeOrInfinite,
  positiveOrInfinite,
  trueOrFalse,
  wrong,
} from "../../options.ts";
import type { TopicLog, TopicRecord } from "../log.ts";
import { checkTopic } from "../topic.ts";
import { Pages } from "./pages.ts";
import {
  type HubEvent,
  type SubscribeOptions,
  Subscription,
  subscribeChecks,
} from "./subscription.ts";
import { Tail } from "./tail.ts";

/** What a hub holds, and how long it waits. */
export interface HubOptions<T> {
  /**
   * Makes of a record what its subscribers share; once for all who are live.
   * The record's bytes may lie in a buffer with many others: copy what is kept
   * of them. Default: the record, with bytes of its own.
   */
  readonly make?: (entry: TopicRecord) => T;
  /** The newest records of each topic that are held, with the notes between them. Default: 1024. */
  readonly records?: number;
  /** How many bytes they may have. Default: 1 MiB a topic. */
  readonly bytes?: number;
  /** What all topics together may hold; past it, those where nothing came for longest hold none. Default: 64 MiB. */
  readonly totalBytes?: number;
  /** What is held of the log for those who fell behind. Default: 16 MiB. */
  readonly pageBytes?: number;
  /** How many pages are read from the log at a time. Default: 4. */
  readonly pagesAtOnce?: number;
  /** How long a topic is followed behind its last subscriber. Default: 5 s. */
  readonly lingerMs?: number;
  /** How long the log may be away (UNAVAILABLE) before subscribers are told. Default: 30 s. */
  readonly patienceMs?: number;
}

/** How a note is told. */
export interface AnnounceOptions {
  /** Whether subscribers that miss it are told nothing instead. Default: false. */
  readonly fleeting?: boolean;
}

/** The functions of a log that a hub uses. */
const LOG = ["page", "read", "oldest", "end"] as const;

const checks = {
  make: callable,
  records: positiveOrInfinite,
  bytes: positiveOrInfinite,
  totalBytes: positiveOrInfinite,
  pageBytes: positiveOrInfinite,
  pagesAtOnce: positiveOrInfinite,
  lingerMs: notNegativeOrInfinite,
  patienceMs: positiveOrInfinite,
} satisfies Checks<HubOptions<unknown>>;

const announceChecks = { fleeting: trueOrFalse } satisfies Checks<AnnounceOptions>;

/**
 * What stands between a log and its subscribers in a process.
 *
 *     log.read ──> one tail a topic ──> ring of the newest records ──> subscribers
 *     log.page ──> pages ───────────────> those who fell behind ───────────┘
 *
 * Subscribers have no queues: each is a place in the topic. Nobody waits for a
 * slow one, which loses the ring and reads the log instead: it gets every
 * record once and in order, or a gap where the log no longer has them.
 */
export interface Hub<T = TopicRecord, N = never> extends AsyncDisposable {
  /**
   * Begins now; ends with the reason of `signal`, or when its loop is left.
   * Throws INVALID_ARGUMENT for a cursor that is not of this topic, and for an
   * option that is unknown or not what it must be. The loop
   * throws UNAVAILABLE when the log is away for too long or the hub is closed.
   */
  subscribe<U = HubEvent<T, N>>(
    topic: string,
    options: SubscribeOptions<T, N, U>,
    signal: AbortSignal,
  ): Subscription<T, N, U>;

  /**
   * Tells those who are live in a topic something that is not in the log. Who
   * is behind gets another opening instead, unless the note is fleeting.
   */
  announce(topic: string, value: N, options?: AnnounceOptions): void;

  /** How many topics are followed, and how many bytes are held. */
  readonly size: { readonly topics: number; readonly bytes: number };
}

/**
 * Makes a hub of a log, which stays the caller's. Throws INVALID_ARGUMENT for
 * an option that is unknown, or not above 0; `lingerMs` may be 0.
 */
export function createHub<T = TopicRecord, N = never>(
  log: TopicLog,
  options: HubOptions<T> = {},
): Hub<T, N> {
  return new LogHub<T, N>(log, options);
}

class LogHub<T, N> implements Hub<T, N> {
  readonly #log: TopicLog;
  readonly #options: Required<HubOptions<T>>;
  readonly #pages: Pages<T>;
  readonly #closing = new AbortController();
  /** A record is of no subscriber: topics are followed, and pages made, in the context of the hub. */
  readonly #context = currentContext();
  /** By name; those where something came last at the end. */
  readonly #tails = new Map<string, Tail<T, N>>();
  readonly #lingering = new Map<Tail<T, N>, Disposable>();
  readonly #stopping = new Set<Promise<void>>();
  #bytes = 0;

  constructor(log: TopicLog, options: HubOptions<T>) {
    const place = { of: "createHub", option: "log" };
    if (!isWith(log, LOG)) throw wrong(place, log, "a log, as memoryLog() gives one,");
    checkOptions("createHub", options, checks);
    this.#log = log;
    this.#options = {
      make: (entry) => ({ ...entry, data: new Uint8Array(entry.data) }) as T,
      records: 1024,
      bytes: 1024 * 1024,
      totalBytes: 64 * 1024 * 1024,
      pageBytes: 16 * 1024 * 1024,
      pagesAtOnce: 4,
      lingerMs: 5000,
      patienceMs: 30_000,
      ...withoutUndefined(options),
    };
    const { make, pagesAtOnce, pageBytes, patienceMs } = this.#options;
    const { signal } = this.#closing;
    const limits = { atOnce: pagesAtOnce, bytesMost: pageBytes, patienceMs, signal };
    const makeHere = (entry: TopicRecord) => this.#context.runInAsyncScope(() => make(entry));
    this.#pages = new Pages(log, makeHere, limits);
  }

  get size(): { topics: number; bytes: number } {
    return { topics: this.#tails.size, bytes: this.#bytes + this.#pages.bytes };
  }

  subscribe<U>(
    topic: string,
    options: SubscribeOptions<T, N, U>,
    signal: AbortSignal,
  ): Subscription<T, N, U> {
    this.#closing.signal.throwIfAborted();
    checkTopic(topic);
    checkOptions("subscribe", options, subscribeChecks);
    abortSignal(signal, { of: "subscribe", option: "signal" });
    const tail = this.#tails.get(topic) ?? this.#context.runInAsyncScope(() => this.#follow(topic));
    this.#lingering.get(tail)?.[Symbol.dispose]();
    this.#lingering.delete(tail);
    const onEnd = () => this.#left(tail);
    try {
      return new Subscription({ log: this.#log, tail, pages: this.#pages, onEnd }, options, signal);
    } catch (error) {
      onEnd();
      throw error;
    }
  }

  announce(topic: string, value: N, options: AnnounceOptions = {}): void {
    checkTopic(topic);
    checkOptions("announce", options, announceChecks);
    const { fleeting = false } = options;
    this.#tails.get(topic)?.announce(value, fleeting);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(failure(Code.Unavailable, "the hub is closed: ask another server"));
    for (const tail of [...this.#tails.values()]) {
      for (const follower of [...tail.followers]) follower.close(this.#closing.signal.reason);
      this.#stop(tail);
    }
    await Promise.all(this.#stopping);
  }

  #follow(topic: string): Tail<T, N> {
    const { make, records, bytes, patienceMs } = this.#options;
    const tail: Tail<T, N> = new Tail<T, N>(this.#log, topic, {
      make,
      records,
      bytes,
      patienceMs,
      onBytes: (more) => this.#hold(tail, more),
      onFail: () => this.#forget(tail),
    });
    this.#tails.set(topic, tail);
    return tail;
  }

  #left(tail: Tail<T, N>): void {
    if (tail.followers.size > 0 || this.#tails.get(tail.topic) !== tail) return;
    const linger = startTimer(this.#options.lingerMs, () => this.#stop(tail));
    this.#lingering.set(tail, linger);
  }

  #stop(tail: Tail<T, N>): void {
    this.#forget(tail);
    const stopped = tail.stop();
    this.#stopping.add(stopped);
    void stopped.finally(() => this.#stopping.delete(stopped));
  }

  #forget(tail: Tail<T, N>): void {
    this.#lingering.get(tail)?.[Symbol.dispose]();
    this.#lingering.delete(tail);
    if (this.#tails.get(tail.topic) === tail) this.#tails.delete(tail.topic);
  }

  /** Counts what the rings hold; those that had nothing new for longest make room. */
  #hold(tail: Tail<T, N>, moreBytes: number): void {
    this.#bytes += moreBytes;
    if (moreBytes <= 0 || this.#tails.get(tail.topic) !== tail) return;
    this.#tails.delete(tail.topic);
    this.#tails.set(tail.topic, tail);
    for (const oldest of this.#tails.values()) {
      if (this.#bytes <= this.#options.totalBytes) break;
      oldest.clear();
    }
  }
}

function withoutUndefined<T extends object>(options: T): T {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as T;
}
