import { Code } from "@connectrpc/connect";
import { failure, handled } from "../../failure.ts";
import { runtime } from "../../flow/runtime.ts";
import { Share, slices } from "../../flow/slice.ts";
import { type Cursors, cursorsOf } from "../cursor.ts";
import type { TopicLog, TopicPosition, TopicRecord } from "../log.ts";
import { LogRetries } from "./log-retries.ts";
import { Ring, type Slot } from "./ring.ts";

/** The tail's view of a subscription. */
export interface Follower {
  /** Whether the tail will wake the follower. Only the tail sets this. */
  waiting: boolean;
  /** Called when there may be something to take. */
  wake(): void;
  close(error: unknown): void;
}

export interface TailOptions<T> {
  readonly make: (record: TopicRecord) => T;
  readonly records: number;
  readonly bytes: number;
  /** How long the log may be unavailable before the tail fails. */
  readonly patienceMs: number;
  /** Called when the size of the ring has changed; the number is negative if it has shrunk. */
  readonly onBytes: (moreBytes: number) => void;
  /** Called when the tail has failed, before it closes its followers. */
  readonly onFail: () => void;
}

/** Reads one topic as it grows, for all its followers in this process. */
export class Tail<T, N> {
  readonly topic: string;
  /** Resolves when the ring begins at the end of the topic. Rejects if the log does not return the end. */
  readonly started: Promise<void>;
  readonly cursors: Cursors;
  readonly followers = new Set<Follower>();
  readonly ring: Ring<T, N>;
  /** The position of the newest record. */
  position = 0;
  /** How many notes were announced that are not fleeting. */
  notes = 0;
  /**
   * Grows with each gap. The items that a follower got in an earlier generation need not lead to
   * those in the ring now.
   */
  generation = 0;
  /** How many followers read pages. */
  pageReaders = 0;
  readonly #log: TopicLog;
  readonly #options: TailOptions<T>;
  readonly #stop = new AbortController();
  readonly #share = new Share();
  readonly #run: Promise<void>;
  #waiting: Follower[] = [];
  /** The followers that are being woken, in this slice and the next ones. */
  #woken: Follower[] = [];
  #waking = false;
  /**
   * The slots that were added to the ring since the followers were woken. Followers are woken at
   * the end of a turn of the event loop, so that each writes all news of that turn together. They
   * are woken earlier if a quarter of the ring is new, while the ring still has all of it.
   */
  #news = { slots: 0, bytes: 0 };
  #isWakeScheduled = false;
  /** Whether a quarter of the ring was added since the tail last paused. */
  #isQuarterNew = false;
  /** How many followers in #waiting have left. */
  #left = 0;

  constructor(log: TopicLog, topic: string, options: TailOptions<T>) {
    this.topic = topic;
    this.cursors = cursorsOf(log.epoch, topic);
    this.#log = log;
    this.#options = options;
    this.ring = new Ring(0, options.records, options.bytes);
    const end = log.end(topic);
    this.started = handled(end.then((position) => this.#beginAt(position)));
    this.#run = this.#follow(end);
  }

  /** Resolves when the tail no longer reads the log. */
  async stop(): Promise<void> {
    this.#stop.abort(failure(Code.Unavailable, "nobody follows this topic any more"));
    this.clear();
    await this.#run;
  }

  /** Wakes the follower once, when the next slot is added. */
  wait(follower: Follower): void {
    if (follower.waiting) return;
    follower.waiting = true;
    this.#waiting.push(follower);
  }

  leave(follower: Follower): void {
    this.followers.delete(follower);
    if (!follower.waiting) return;
    this.#left++;
    if (this.#left * 2 < this.#waiting.length) return;
    this.#waiting = this.#waiting.filter((waiting) => this.followers.has(waiting));
    this.#left = 0;
  }

  /** Adds a note to the ring, after the newest record. */
  announce(value: N, fleeting: boolean): void {
    const number = fleeting ? 0 : ++this.notes;
    this.#push({ kind: "note", position: this.position, number, value }, 0);
  }

  /** Empties the ring. Followers that have not taken all of it then read the log. */
  clear(): void {
    const { bytes } = this.ring;
    this.ring.clear(this.position);
    this.#options.onBytes(-bytes);
  }

  /**
   * Whether the tail must pause for its followers. Otherwise the ring could drop slots before the
   * followers for which these slots are new were woken, in later slices.
   */
  get #mustPause(): boolean {
    return this.#waking || (this.#isQuarterNew && slices.isAwaited);
  }

  async #pause(): Promise<void> {
    do await slices.next();
    while (this.#waking);
    this.#isQuarterNew = false;
  }

  #beginAt({ position }: TopicPosition): void {
    this.position = position;
    this.clear();
  }

  async #follow(end: Promise<TopicPosition>): Promise<void> {
    const { signal } = this.#stop;
    const retries = new LogRetries(this.#options.patienceMs, signal);
    try {
      let { cursor } = await end;
      for (;;) {
        retries.begin();
        try {
          for await (const item of this.#log.read(this.topic, cursor, signal)) {
            retries.succeeded();
            if (item.kind === "record") this.#addRecord(item);
            else this.#addGap(item.position);
            cursor = item.cursor;
            if (this.#share.countMessage() || this.#mustPause) await this.#pause();
          }
        } catch (error) {
          if (signal.aborted) return;
          await retries.failed(error);
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      this.#options.onFail();
      this.clear();
      for (const follower of [...this.followers]) follower.close(error);
    }
  }

  #addRecord(record: TopicRecord): void {
    const { kind, position, cursor } = record;
    const slot = { kind, position, cursor, value: this.#options.make(record) };
    this.position = position;
    this.#push(slot, record.data.length);
  }

  /** Empties the ring, so that the followers read the log: it knows for each of them whether records are missing. */
  #addGap(position: number): void {
    this.generation++;
    this.position = position;
    this.clear();
    this.#wakeAll();
  }

  #push(slot: Slot<T, N>, dataBytes: number): void {
    const { records, bytes, onBytes } = this.#options;
    const before = this.ring.bytes;
    const news = this.#news;
    news.slots++;
    news.bytes += this.ring.push(slot, dataBytes);
    onBytes(this.ring.bytes - before);
    if (news.slots * 4 >= records || news.bytes * 4 >= bytes) {
      this.#isQuarterNew = true;
      this.#wakeAll();
    } else if (!this.#isWakeScheduled) {
      this.#isWakeScheduled = true;
      runtime.inLaterTurn(() => this.#onScheduledWake());
    }
  }

  #onScheduledWake(): void {
    this.#isWakeScheduled = false;
    this.#wakeAll();
  }

  /**
   * Wakes all followers that wait, in several slices of the event loop if one is not enough. A
   * follower that waits again meanwhile is woken at the next slot. A woken follower may end, and
   * its onEnd may announce a note, which calls this method again.
   */
  #wakeAll(): void {
    this.#news = { slots: 0, bytes: 0 };
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#left = 0;
    if (this.#woken.length === 0) this.#woken = waiting;
    else for (const follower of waiting) this.#woken.push(follower);
    if (!this.#waking) this.#wake(0);
  }

  #wake(from: number): void {
    this.#waking = true;
    for (let at = from; at < this.#woken.length; at++) {
      const follower = this.#woken[at] as Follower;
      follower.waiting = false;
      follower.wake();
      if (at + 1 === this.#woken.length || !slices.countMessage()) continue;
      void slices.next().then(() => this.#wake(at + 1));
      return;
    }
    this.#woken = [];
    this.#waking = false;
  }
}
