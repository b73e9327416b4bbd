import { Code } from "@connectrpc/connect";
import { failure } from "../../failure.ts";
import { runtime } from "../../flow/runtime.ts";
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
  HubSubscription,
  type SubscribeOptions,
  type Subscription,
  subscribeChecks,
} from "./subscription.ts";
import { Tail } from "./tail.ts";

/** The limits and times of a hub. */
export interface HubOptions<T> {
  /**
   * Makes the value that subscribers get for a record. Live subscribers share one value. The
   * record's bytes may lie in a buffer with many others: copy the bytes that you keep. Default: the
   * record, with a copy of its bytes.
   */
  readonly make?: (record: TopicRecord) => T;
  /** How many records of each topic the hub holds: the newest, with the notes between them. Default: 1024. */
  readonly records?: number;
  /** The largest size of the records that the hub holds of one topic. Default: 1 MiB. */
  readonly bytes?: number;
  /**
   * The largest size of the records that the hub holds of all topics. Past it, the topics that had
   * no new record for the longest time are emptied. Default: 64 MiB.
   */
  readonly totalBytes?: number;
  /** The largest size of the pages of the log that are held for subscribers that do not keep up. Default: 16 MiB. */
  readonly pageBytes?: number;
  /** How many pages are read from the log at the same time. Default: 4. */
  readonly pagesAtOnce?: number;
  /** How long the hub follows a topic after its last subscription has ended. Default: 5,000. */
  readonly lingerMs?: number;
  /** How long the log may be unavailable before the subscriptions end with UNAVAILABLE. Default: 30,000. */
  readonly patienceMs?: number;
}

/** Options of one note. */
export interface AnnounceOptions {
  /** If true, a subscriber that misses the note gets nothing in its place. Default: false. */
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
 * Delivers the records of a log to the subscribers of one process.
 *
 *     log.read ──> one tail a topic ──> ring of the newest records ──> subscribers
 *     log.page ──> pages ──────────────────────────────────────────────────┘
 *
 * A subscriber has no queue, only a position in the topic. The others do not wait for a slow
 * subscriber: when the ring no longer has the records after its position, it reads pages of the
 * log. It gets every record once and in order, or a gap in place of records that the log no longer
 * has.
 */
export interface Hub<T = TopicRecord, N = never> extends AsyncDisposable {
  /**
   * Begins a subscription. The subscription ends when `signal` aborts (the iteration then throws
   * the reason), when its close() is called, or when the consumer leaves its `for await` loop.
   * Throws INVALID_ARGUMENT for a cursor that is malformed or of another topic, for an unknown
   * option, and for an invalid value. The iteration throws UNAVAILABLE when the log was unavailable
   * for `patienceMs`, or the hub is closed.
   */
  subscribe<U = HubEvent<T, N>>(
    topic: string,
    options: SubscribeOptions<T, N, U>,
    signal: AbortSignal,
  ): Subscription<U>;

  /**
   * Sends a note to the live subscribers of a topic: those that keep up with the newest
   * records. The note is not stored. A subscriber that misses it gets another opening in its place,
   * unless the note is fleeting.
   */
  announce(topic: string, value: N, options?: AnnounceOptions): void;

  /** The number of topics that the hub follows, and the size of the records that it holds. */
  readonly size: { readonly topics: number; readonly bytes: number };
}

/**
 * Makes a hub for a log. The caller must close the log itself. Throws INVALID_ARGUMENT for an
 * option that is unknown, or not above 0; `lingerMs` may be 0.
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
  /**
   * The async context of the code that made the hub. The hub follows topics and reads pages in it,
   * because subscribers share the values that `make` returns.
   */
  readonly #context = runtime.currentContext();
  /** The key is the topic. The topic whose newest record or note is the oldest comes first. */
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
      make: (record) => ({ ...record, data: new Uint8Array(record.data) }) as T,
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
    const limits = { atOnce: pagesAtOnce, maxBytes: pageBytes, patienceMs, signal };
    const makeInContext = (record: TopicRecord) =>
      this.#context.runInAsyncScope(() => make(record));
    this.#pages = new Pages(log, makeInContext, limits);
  }

  get size(): { topics: number; bytes: number } {
    return { topics: this.#tails.size, bytes: this.#bytes + this.#pages.bytes };
  }

  subscribe<U>(
    topic: string,
    options: SubscribeOptions<T, N, U>,
    signal: AbortSignal,
  ): Subscription<U> {
    this.#closing.signal.throwIfAborted();
    checkTopic(topic);
    checkOptions("subscribe", options, subscribeChecks);
    abortSignal(signal, { of: "subscribe", option: "signal" });
    const tail = this.#tails.get(topic) ?? this.#context.runInAsyncScope(() => this.#follow(topic));
    this.#lingering.get(tail)?.[Symbol.dispose]();
    this.#lingering.delete(tail);
    const onEnd = () => this.#onSubscriptionEnd(tail);
    const sources = { log: this.#log, tail, pages: this.#pages, onEnd };
    try {
      return new HubSubscription(sources, options, signal);
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
      onBytes: (moreBytes) => this.#count(tail, moreBytes),
      onFail: () => this.#forget(tail),
    });
    this.#tails.set(topic, tail);
    return tail;
  }

  #onSubscriptionEnd(tail: Tail<T, N>): void {
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

  /** Counts the bytes of the rings. Past `totalBytes` it empties those that had nothing new for the longest time. */
  #count(tail: Tail<T, N>, moreBytes: number): void {
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
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as T;
}
