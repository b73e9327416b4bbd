import { PullIterator, type PullSource } from "../../flow/pull.ts";
import { type Context, currentContext } from "../../flow/runtime.ts";
import { failing, iteratedBefore } from "../../flow/second-loop.ts";
import { onAbort } from "../../flow/wait.ts";
import { type Checks, callable, oneOf, text } from "../../options.ts";
import type { TopicGap, TopicLog, TopicPosition } from "../log.ts";
import type { Page, PageItem, Pages } from "./pages.ts";
import type { NoteSlot, RecordSlot } from "./ring.ts";
import type { Follower, Tail } from "./tail.ts";

/**
 * What a subscriber is told: first the opening, which is the place that all
 * else comes behind; it comes again where notes were missed. Records and gaps
 * are the log's. Notes are for those who are there.
 */
export type HubEvent<T, N = never> =
  | { readonly kind: "opening"; readonly mark: TopicPosition }
  | RecordSlot<T>
  | TopicGap
  | NoteSlot<N>;

/** Where a subscription begins, and what becomes of its events. */
export interface SubscribeOptions<T, N, U> {
  /** Behind this cursor. */
  readonly after?: string | undefined;
  /** Without a cursor: with what comes from now on, or with the oldest that is kept. Default: now. */
  readonly start?: "now" | "oldest" | undefined;
  /** The opening waits for it; the iteration throws what it rejects with. */
  readonly ready?: () => Promise<void>;
  /**
   * Makes what the iteration gives of each event, when its turn comes;
   * `undefined`: nothing. Default: the event. In a handler say what it returns, so
   * that the compiler holds each field, and each case of a oneof, to the contract:
   *
   *     shape: (event): MessageInitShape<typeof WatchResponseSchema> => …
   */
  readonly shape?: (event: HubEvent<T, N>) => U | undefined;
  /** Called once, when the subscription is over, however that came. */
  readonly onEnd?: () => void;
}

export const subscribeChecks = {
  after: text,
  start: oneOf("now", "oldest"),
  ready: callable,
  shape: callable,
  onEnd: callable,
} satisfies Checks<SubscribeOptions<unknown, unknown, unknown>>;

/** What a subscription belongs to. */
export interface Shared<T, N> {
  readonly log: TopicLog;
  readonly tail: Tail<T, N>;
  readonly pages: Pages<T>;
  /** Told when it is over. */
  readonly onEnd: () => void;
}

/**
 * One subscriber of a topic: a place in the topic, and an index into the ring
 * of the newest records.
 *
 *     starting ──> behind: takes from pages of the log <──> live: takes from the ring
 *
 * The ring drops what it has no room for, whoever still needs it: who does is
 * behind. From pages a subscriber goes live when its place is in the ring, or
 * the log has nothing behind it.
 */
export class Subscription<T, N, U> implements AsyncIterable<U>, Follower, PullSource<U> {
  waiting = false;
  /** Resolves when its place is known: what is appended from then on is behind it. Never, where it is over before. */
  readonly placed: Promise<void>;
  readonly #placed = Promise.withResolvers<void>();
  readonly #shared: Shared<T, N>;
  readonly #shape: (event: HubEvent<T, N>) => U | undefined;
  readonly #onEnd: (() => void) | undefined;
  /** That of the subscriber, where it gave a function; others wake and end the subscription. */
  readonly #context: Context | undefined;
  readonly #values: PullIterator<U>;
  readonly #listening: Disposable;
  /** What it is told besides; `undefined`: it is over. */
  #told: { value: U; taken: () => void }[] | undefined = [];
  #state: "starting" | "behind" | "live" = "starting";
  #opened = false;
  /** The last record or gap that was given; -1: the cursor has no position here. */
  #position = -1;
  #cursor = "";
  /** The log had nothing behind this place. */
  #atEnd = false;
  /** How many of the tail's notes it knows, and which of the tail's lives. */
  #notes = 0;
  #life = 0;
  /** The index of the next slot in the ring, of the next item in the page. */
  #at = 0;
  #page: Page<T> | undefined;
  #pageAt = 0;
  #reading = false;

  /** Throws INVALID_ARGUMENT for a cursor that is none of this topic. */
  constructor(shared: Shared<T, N>, options: SubscribeOptions<T, N, U>, signal: AbortSignal) {
    const { after, shape, onEnd } = options;
    if (after !== undefined) this.#moveTo(shared.tail.cursors.read(after) ?? -1, after);
    this.placed = this.#placed.promise;
    this.#shared = shared;
    this.#onEnd = onEnd;
    this.#context = shape === undefined && onEnd === undefined ? undefined : currentContext();
    this.#shape = shape ?? ((event) => event as U);
    this.#values = new PullIterator<U>(this);
    shared.tail.followers.add(this);
    this.#start(options).catch((error) => this.#values.close(error));
    this.#listening = onAbort(signal, (reason) => this.#values.close(reason));
  }

  /** For one consumer: another one is told FAILED_PRECONDITION. Leaving the loop ends the subscription. */
  [Symbol.asyncIterator](): AsyncIterator<U, undefined> {
    if (this.#values.isTaken) return failing(iteratedBefore("the events of a subscription"));
    return this.#values;
  }

  /**
   * Puts a value of the subscriber's own before what comes next, behind the
   * opening. Resolves when it is taken, or never will be.
   */
  tell(value: U): Promise<void> {
    return new Promise((taken) => {
      if (this.#told === undefined) return taken();
      this.#told.push({ value, taken });
      this.wake();
    });
  }

  /** Ends the iteration now, with an error where there is one. */
  close(error?: unknown): void {
    this.#values.close(error);
  }

  /** The hub's: there may be something to take. */
  wake(): void {
    this.#run(() => this.#values.wake());
  }

  // What the iterator asks for.
  take(): U | undefined {
    for (;;) {
      if (this.#opened && this.#told !== undefined && this.#told.length > 0) {
        const { value, taken } = this.#told.shift() as { value: U; taken: () => void };
        taken();
        return value;
      }
      const event = this.#next();
      if (event === undefined) return undefined;
      const value = this.#shape(event);
      if (value !== undefined) return value;
    }
  }

  onDry(): void {
    if (this.#state === "live") this.#shared.tail.wait(this);
  }

  onEnd(): void {
    // A signal that had aborted before finds nothing to dispose of.
    this.#listening?.[Symbol.dispose]();
    const told = this.#told;
    this.#told = undefined;
    for (const { taken } of told ?? []) taken();
    this.#page = undefined;
    if (this.#state === "behind") this.#caughtUp();
    this.#shared.tail.leave(this);
    this.#shared.onEnd();
    try {
      this.#run(() => this.#onEnd?.());
    } catch (error) {
      // A bug of whoever listens is none of the other subscribers', who may be woken behind this one.
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  #run(run: () => void): void {
    if (this.#context === undefined) run();
    else this.#context.runInAsyncScope(run);
  }

  async #start({ after, start = "now", ready }: SubscribeOptions<T, N, U>): Promise<void> {
    const { log, tail } = this.#shared;
    await ready?.();
    await tail.started;
    if (after === undefined) {
      const mark = start === "now" ? log.end(tail.topic) : log.oldest(tail.topic);
      const { position, cursor } = await mark;
      this.#moveTo(position, cursor);
      this.#atEnd = start === "now";
    }
    if (this.#told === undefined) return;
    this.#life = tail.life;
    this.#fallBehind();
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
    this.#notes = this.#shared.tail.notes;
    return { kind: "opening", mark: { position: this.#position, cursor: this.#cursor } };
  }

  #fromRing(): HubEvent<T, N> | undefined {
    const { tail } = this.#shared;
    const { ring } = tail;
    if (this.#position < ring.from || this.#life !== tail.life) {
      this.#fallBehind();
      return undefined;
    }
    // Only notes can have gone, and records that it had.
    if (this.#at < ring.oldest) return this.#goLive();
    while (this.#at < ring.next) {
      const slot = ring.at(this.#at++);
      if (slot.kind === "note") {
        if (slot.number === 0) return slot;
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
    const { tail, pages } = this.#shared;
    const item = this.#page?.items[this.#pageAt++];
    if (item !== undefined) {
      this.#moveTo(item.position, item.cursor);
      return item;
    }
    this.#page = undefined;
    if (this.#reading) return undefined;
    const { ring } = tail;
    const joins = this.#position >= ring.from && (this.#position <= tail.position || this.#atEnd);
    if (joins && this.#life === tail.life) {
      this.#caughtUp();
      return this.#goLive();
    }
    const page = pages.find(tail.topic, this.#position);
    if (page === undefined) this.#read();
    else this.#stand(page);
    return undefined;
  }

  /** From the ring on; where notes were missed, with an opening. */
  #goLive(): HubEvent<T, N> | undefined {
    const { tail } = this.#shared;
    this.#state = "live";
    this.#at = tail.ring.behind(this.#position);
    return this.#notes === tail.notes ? this.#fromRing() : this.#opening();
  }

  #fallBehind(): void {
    this.#state = "behind";
    this.#shared.tail.behind++;
  }

  /** Nobody keeps pages for it any more. */
  #caughtUp(): void {
    const { tail, pages } = this.#shared;
    if (--tail.behind === 0) pages.forget(tail.topic);
  }

  #read(): void {
    const { tail, pages } = this.#shared;
    this.#reading = true;
    const { life, position: known } = tail;
    pages.read(tail.topic, { position: this.#position, cursor: this.#cursor, known }).then(
      (page) => {
        this.#reading = false;
        // What was read for nobody is not kept.
        if (this.#told === undefined && tail.behind === 0) pages.forget(tail.topic);
        if (this.#told === undefined) return;
        this.#life = life;
        // Positions may go on without records of this topic, and so may the ring's.
        if (page.isEnd && page.to > this.#position) {
          this.#moveTo(page.to, tail.cursors.write(page.to));
        }
        this.#atEnd = page.isEnd;
        this.#stand(page);
        this.#values.wake();
      },
      (error) => this.#values.close(error),
    );
  }

  /** In a page, behind what it was given: the page may begin before. */
  #stand(page: Page<T>): void {
    const { items } = page;
    let at = 0;
    if (page.from !== this.#position) {
      while (at < items.length && (items[at] as PageItem<T>).position <= this.#position) at++;
    }
    this.#page = page;
    this.#pageAt = at;
  }
}
