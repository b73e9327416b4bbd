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
  HubSubscription,
  type SubscribeOptions,
  type Subscription,
  subscribeChecks,
} from "./subscription.ts";
import { Tail } from "./tail.ts";

/** What a hub holds, and how long it waits. */
export interface HubOptions<T> {
  /**
   * Makes of a record what its subscribers share; once for all that are live.
   * The record's bytes may lie in a buffer with many others: copy what is kept
   * of them. Default: the record, with bytes of its own.
   */
  readonly make?: (record: TopicRecord) => T;
  /** How many records of each topic are held: the newest, with the notes between them. Default: 1024. */
  readonly records?: number;
  /** How many bytes the held records of a topic may have. Default: 1 MiB. */
  readonly bytes?: number;
  /**
   * How many bytes all topics together may hold; past it, the topics that had no new record for
   * longest hold none. Default: 64 MiB.
   */
  readonly totalBytes?: number;
  /** How many bytes of pages of the log are held for subscribers that fell behind. Default: 16 MiB. */
  readonly pageBytes?: number;
  /** How many pages are read from the log at a time. Default: 4. */
  readonly pagesAtOnce?: number;
  /** How long a topic is still followed after its last subscription has ended. Default: 5,000. */
  readonly lingerMs?: number;
  /** How long the log may be UNAVAILABLE before the subscriptions end with that error. Default: 30,000. */
  readonly patienceMs?: number;
}

/** How a note is announced. */
export interface AnnounceOptions {
  /** Whether a subscriber that misses the note is given nothing in its place. Default: false. */
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
 *     log.page ──> pages ──────────────────────────────────────────────────┘
 *
 * A subscriber has no queue: it is a position in the topic. The others do not
 * wait for a slow one, which reads pages of the log when the ring no longer has
 * what it needs: it gets every record once and in order, or a gap where the log
 * no longer has them.
 */
export interface Hub<T = TopicRecord, N = never> extends AsyncDisposable {
  /**
   * Begins a subscription, which ends with the reason of `signal`, or when its loop is left.
   * Throws INVALID_ARGUMENT for a cursor that is malformed or of another topic, and for an
   * option that is unknown or not what it must be. The loop throws UNAVAILABLE when
   * the log was UNAVAILABLE for `patienceMs`, or the hub is closed.
   */
  subscribe<U = HubEvent<T, N>>(
    topic: string,
    options: SubscribeOptions<T, N, U>,
    signal: AbortSignal,
  ): Subscription<U>;

  /**
   * Gives the live subscribers of a topic a note, which is not stored. A subscriber
   * that is behind gets another opening in its place, unless the note is fleeting.
   */
  announce(topic: string, value: N, options?: AnnounceOptions): void;

  /** How many topics are followed, and how many bytes of records are held. */
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
  /** Subscribers share what is made of a record: topics are followed, and pages read, in the hub's async context. */
  readonly #context = currentContext();
  /** By name, in the order in which they last had a new record or note. */
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

  /** Counts the bytes of the rings; past `totalBytes`, the rings that had nothing new for longest are emptied. */
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
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as T;
}
