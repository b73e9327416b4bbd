import { PullIterator, type PullSource } from "../../flow/pull.ts";
import { type AsyncContext, runtime } from "../../flow/runtime.ts";
import { failing, iteratedBefore } from "../../flow/second-loop.ts";
import { onAbort } from "../../flow/wait.ts";
import { type Checks, callable, oneOf, text } from "../../options.ts";
import type { TopicGap, TopicLog, TopicPosition } from "../log.ts";
import type { Page, PageItem, Pages } from "./pages.ts";
import { isFleeting, type NoteSlot, type RecordSlot } from "./ring.ts";
import type { Follower, Tail } from "./tail.ts";

/** Marks a position: every later event comes after it. */
interface TopicOpening extends TopicPosition {
  readonly kind: "opening";
}

/**
 * An event of a subscription:
 *
 * - an opening is the first event, and comes again when the subscriber missed notes;
 * - records, and gaps in place of missing records, come from the log;
 * - a note comes from Hub.announce(), and is not stored. Only a live subscriber gets it: one that
 *   keeps up with the newest records, and need not read the log.
 */
export type HubEvent<T, N = never> = TopicOpening | RecordSlot<T> | TopicGap | NoteSlot<N>;

/** Options: where a subscription begins, and what its consumer receives. */
export interface SubscribeOptions<T, N, U> {
  /** Begins after this cursor. */
  readonly after?: string | undefined;
  /**
   * How to begin without a cursor: with the records that are appended from now on, or with the
   * oldest record. Default: now.
   */
  readonly start?: "now" | "oldest" | undefined;
  /**
   * Called first; the opening waits for the promise that it returns. If the promise rejects, the
   * iteration throws its reason.
   */
  readonly ready?: () => Promise<void>;
  /**
   * Makes the value that the consumer receives for an event. Called when the consumer asks for the
   * value; an event for which it returns `undefined` is left out. Default: the event. In a handler
   * declare the return type, so that the compiler checks each field, and each case of a oneof,
   * against the contract:
   *
   *     shape: (event): MessageInitShape<typeof WatchResponseSchema> => …
   */
  readonly shape?: (event: HubEvent<T, N>) => U | undefined;
  /** Called once when the subscription has ended, for any reason. */
  readonly onEnd?: () => void;
}

export const subscribeChecks = {
  after: text,
  start: oneOf("now", "oldest"),
  ready: callable,
  shape: callable,
  onEnd: callable,
} satisfies Checks<SubscribeOptions<unknown, unknown, unknown>>;

/**
 * The events of one subscriber, as `shape` makes them, for one consumer. A handler that returns the
 * subscription sends each of them as a response. The subscription ends when its signal aborts (the
 * iteration then throws the reason), when close() is called, or when the consumer leaves its
 * `for await` loop.
 */
export interface Subscription<U> extends AsyncIterable<U> {
  /**
   * Resolves when the subscription has its position: records that are appended from then on come
   * after it. It never resolves if the subscription ends earlier.
   */
  readonly placed: Promise<void>;

  /** Returns the iterator, for one consumer: a second consumer fails with FAILED_PRECONDITION. */
  [Symbol.asyncIterator](): AsyncIterator<U, undefined>;

  /**
   * Sends a value to this subscriber only: after the opening, and before the next event. Resolves
   * when the consumer has taken it, or the subscription has ended.
   */
  tell(value: U): Promise<void>;

  /** Ends the iteration now. If `error` is set, the iteration throws it. */
  close(error?: unknown): void;
}

/** The parts of a hub that a subscription uses. */
export interface SubscriptionSources<T, N> {
  readonly log: TopicLog;
  readonly tail: Tail<T, N>;
  readonly pages: Pages<T>;
  /** Called when the subscription has ended. */
  readonly onEnd: () => void;
}

/**
 * A subscription of a hub: a position in the topic, and an index into the ring of the newest
 * records.
 *
 *     starting ──> behind: takes from pages of the log <──> live: takes from the ring
 *
 * The ring drops its oldest slots even if a subscriber has not taken them. Such a subscriber reads
 * pages ("behind"). It becomes live again when its position is in the ring, or the log has nothing
 * after it.
 */
export class HubSubscription<T, N, U> implements Subscription<U>, Follower, PullSource<U> {
  waiting = false;
  readonly placed: Promise<void>;
  readonly #placed = Promise.withResolvers<void>();
  readonly #sources: SubscriptionSources<T, N>;
  readonly #shape: (event: HubEvent<T, N>) => U | undefined;
  readonly #onEnd: (() => void) | undefined;
  /**
   * The context in which `shape` and `onEnd` run: wake() and close() may be called in another.
   * Unset if neither option is set.
   */
  readonly #context: AsyncContext | undefined;
  readonly #values: PullIterator<U>;
  readonly #listening: Disposable;
  /** The values of tell() that the consumer has not taken; `undefined` when the subscription has ended. */
  #direct: { value: U; onTaken: () => void }[] | undefined = [];
  #state: "starting" | "behind" | "live" = "starting";
  #opened = false;
  /** The position of the newest record or gap that the consumer got; -1 if the cursor has no position in this log. */
  #position = -1;
  #cursor = "";
  /** Whether the log had nothing after #position. */
  #atEnd = false;
  /**
   * The number of the newest note that the subscriber has got or skipped. An opening stands in for
   * skipped notes.
   */
  #notes = 0;
  /** The tail's generation to which #position belongs. */
  #generation = 0;
  /** The index of the next slot in the ring. */
  #at = 0;
  #page: Page<T> | undefined;
  /** The index of the next item in the page. */
  #pageAt = 0;
  #reading = false;

  /** Throws INVALID_ARGUMENT for a cursor that is malformed, or of another topic. */
  constructor(
    sources: SubscriptionSources<T, N>,
    options: SubscribeOptions<T, N, U>,
    signal: AbortSignal,
  ) {
    const { after, shape, onEnd } = options;
    if (after !== undefined) this.#moveTo(sources.tail.cursors.read(after) ?? -1, after);
    this.placed = this.#placed.promise;
    this.#sources = sources;
    this.#onEnd = onEnd;
    this.#context =
      shape === undefined && onEnd === undefined ? undefined : runtime.currentContext();
    this.#shape = shape ?? ((event) => event as U);
    this.#values = new PullIterator<U>(this);
    sources.tail.followers.add(this);
    this.#start(options).catch((error) => this.#values.close(error));
    this.#listening = onAbort(signal, (reason) => this.#values.close(reason));
  }

  [Symbol.asyncIterator](): AsyncIterator<U, undefined> {
    if (this.#values.hasConsumer) return failing(iteratedBefore("the events of a subscription"));
    return this.#values;
  }

  tell(value: U): Promise<void> {
    return new Promise((onTaken) => {
      if (this.#direct === undefined) return onTaken();
      this.#direct.push({ value, onTaken });
      this.wake();
    });
  }

  close(error?: unknown): void {
    this.#values.close(error);
  }

  wake(): void {
    this.#run(() => this.#values.wake());
  }

  take(): U | undefined {
    for (;;) {
      if (this.#opened && this.#direct !== undefined && this.#direct.length > 0) {
        const { value, onTaken } = this.#direct.shift() as { value: U; onTaken: () => void };
        onTaken();
        return value;
      }
      const event = this.#next();
      if (event === undefined) return undefined;
      const value = this.#shape(event);
      if (value !== undefined) return value;
    }
  }

  onDry(): void {
    if (this.#state === "live") this.#sources.tail.wait(this);
  }

  onEnd(): void {
    // If the signal had already aborted, the constructor calls this before #listening is set.
    this.#listening?.[Symbol.dispose]();
    const direct = this.#direct;
    this.#direct = undefined;
    for (const { onTaken } of direct ?? []) onTaken();
    this.#page = undefined;
    if (this.#state === "behind") this.#leavePages();
    this.#sources.tail.leave(this);
    this.#sources.onEnd();
    try {
      this.#run(() => this.#onEnd?.());
    } catch (error) {
      // An error in one subscriber's onEnd must not reach the others, which may be woken after this
      // one.
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  get #hasEnded(): boolean {
    return this.#direct === undefined;
  }

  #run(run: () => void): void {
    if (this.#context === undefined) run();
    else this.#context.runInAsyncScope(run);
  }

  async #start({ after, start = "now", ready }: SubscribeOptions<T, N, U>): Promise<void> {
    const { log, tail } = this.#sources;
    await ready?.();
    await tail.started;
    if (after === undefined) {
      const begin = start === "now" ? log.end(tail.topic) : log.oldest(tail.topic);
      const { position, cursor } = await begin;
      this.#moveTo(position, cursor);
      this.#atEnd = start === "now";
    }
    if (this.#hasEnded) return;
    this.#generation = tail.generation;
    this.#goToPages();
    this.#placed.resolve();
    this.#values.wake();
  }

  #moveTo(position: number, cursor: string): void {
    this.#position = position;
    this.#cursor = cursor;
    this.#atEnd = false;
  }

  #next(): HubEvent<T, N> | undefined {
    if (this.#state === "starting") return undefined;
    if (!this.#opened) return this.#opening();
    for (;;) {
      const event = this.#state === "live" ? this.#fromRing() : this.#fromPage();
      if (event !== undefined || this.#state === "live" || this.#reading) return event;
    }
  }

  #opening(): HubEvent<T, N> {
    this.#opened = true;
    this.#notes = this.#sources.tail.notes;
    return { kind: "opening", position: this.#position, cursor: this.#cursor };
  }

  #fromRing(): HubEvent<T, N> | undefined {
    const { tail } = this.#sources;
    const { ring } = tail;
    if (this.#position < ring.completeAfter || this.#generation !== tail.generation) {
      this.#goToPages();
      return undefined;
    }
    // The ring has dropped only notes, and records that this subscriber has.
    if (this.#at < ring.oldest) return this.#goLive();
    while (this.#at < ring.next) {
      const slot = ring.at(this.#at++);
      if (slot.kind === "note") {
        if (isFleeting(slot)) return slot;
        if (slot.number <= this.#notes) continue;
        this.#notes = slot.number;
        return slot;
      }
      if (slot.position <= this.#position) continue;
      this.#moveTo(slot.position, slot.cursor);
      return slot;
    }
    return undefined;
  }

  #fromPage(): HubEvent<T, N> | undefined {
    const { tail, pages } = this.#sources;
    const item = this.#page?.items[this.#pageAt++];
    if (item !== undefined) {
      this.#moveTo(item.position, item.cursor);
      return item;
    }
    this.#page = undefined;
    if (this.#reading) return undefined;
    const { ring } = tail;
    // After the tail's position, #atEnd suffices: the log had nothing after #position, so the tail
    // will add all that follows.
    const isInRing =
      this.#position >= ring.completeAfter && (this.#position <= tail.position || this.#atEnd);
    if (isInRing && this.#generation === tail.generation) {
      this.#leavePages();
      return this.#goLive();
    }
    const page = pages.find(tail.topic, this.#position);
    if (page === undefined) this.#read();
    else this.#enter(page);
    return undefined;
  }

  /** Continues with the ring. If notes were missed, an opening comes first. */
  #goLive(): HubEvent<T, N> | undefined {
    const { tail } = this.#sources;
    this.#state = "live";
    this.#at = tail.ring.indexAfter(this.#position);
    return this.#notes === tail.notes ? this.#fromRing() : this.#opening();
  }

  #goToPages(): void {
    this.#state = "behind";
    this.#sources.tail.pageReaders++;
  }

  /**
   * Called when this subscriber stops reading pages. If no subscriber of the topic still reads pages,
   * drops the topic's pages.
   */
  #leavePages(): void {
    const { tail, pages } = this.#sources;
    if (--tail.pageReaders === 0) pages.forget(tail.topic);
  }

  #read(): void {
    const { tail, pages } = this.#sources;
    this.#reading = true;
    const { generation, position: known } = tail;
    pages.read(tail.topic, { position: this.#position, cursor: this.#cursor, known }).then(
      (page) => {
        this.#reading = false;
        // A page that no subscriber needs is not kept.
        if (this.#hasEnded && tail.pageReaders === 0) pages.forget(tail.topic);
        if (this.#hasEnded) return;
        this.#generation = generation;
        // The log may have newer positions without records of this topic, and the ring may begin at
        // one of them, so move there; otherwise the ring would never be reached.
        if (page.isEnd && page.to > this.#position) {
          this.#moveTo(page.to, tail.cursors.write(page.to));
        }
        this.#atEnd = page.isEnd;
        this.#enter(page);
        this.#values.wake();
      },
      (error) => this.#values.close(error),
    );
  }

  /** Continues with a page. The page may begin before #position: skips the items that the subscriber has. */
  #enter(page: Page<T>): void {
    const { items } = page;
    let at = 0;
    if (page.from !== this.#position) {
      while (at < items.length && (items[at] as PageItem<T>).position <= this.#position) at++;
    }
    this.#page = page;
    this.#pageAt = at;
  }
}
