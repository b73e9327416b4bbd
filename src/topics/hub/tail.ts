import { Code } from "@connectrpc/connect";
import { failure, handled } from "../../failure.ts";
import { inLaterTurn } from "../../flow/runtime.ts";
import { Share, slices } from "../../flow/slice.ts";
import { type Cursors, cursorsOf } from "../cursor.ts";
import type { TopicLog, TopicPosition, TopicRecord } from "../log.ts";
import { LogRetries } from "./log-retries.ts";
import { Ring, type Slot } from "./ring.ts";

/** Who waits for what comes next in a topic. */
export interface Follower {
  /** Whether it is among those who are woken; the tail's alone. */
  waiting: boolean;
  wake(): void;
  close(error: unknown): void;
}

export interface TailOptions<T> {
  readonly make: (entry: TopicRecord) => T;
  readonly records: number;
  readonly bytes: number;
  /** How long the log may be away. */
  readonly patienceMs: number;
  /** Told when the ring has grown, or shrunk, by so much. */
  readonly onBytes: (more: number) => void;
  /** It has failed, and told its followers. */
  readonly onFail: () => void;
}

/** Reads one topic as it grows, for all who follow it in this process. */
export class Tail<T, N> {
  readonly topic: string;
  /** Resolves when the ring stands where the topic ended; rejects where the log cannot tell. */
  readonly started: Promise<void>;
  readonly cursors: Cursors;
  readonly followers = new Set<Follower>();
  readonly ring: Ring<T, N>;
  /** The last record that came. */
  position = 0;
  /** How many notes there were that nobody should miss. */
  notes = 0;
  /** Changes where the log says that what came before does not lead to what comes now. */
  life = 0;
  /** How many of the followers read pages. */
  behind = 0;
  readonly #log: TopicLog;
  readonly #options: TailOptions<T>;
  readonly #stop = new AbortController();
  readonly #share = new Share();
  readonly #run: Promise<void>;
  #waiting: Follower[] = [];
  /** The followers that are woken now, and those that are woken in the next slices. */
  #woken: Follower[] = [];
  #waking = false;
  /**
   * What the ring was given that followers were not woken for. They are woken
   * at the end of a turn of the event loop, so that each writes once what came
   * in it; or earlier, while all of it is in the ring.
   */
  #news = { slots: 0, bytes: 0 };
  #telling = false;
  /** Whether a quarter of the ring came since the tail paused last. */
  #isQuarterNew = false;
  /** How many of those in #waiting have left. */
  #gone = 0;

  constructor(log: TopicLog, topic: string, options: TailOptions<T>) {
    this.topic = topic;
    this.cursors = cursorsOf(log.epoch, topic);
    this.#log = log;
    this.#options = options;
    this.ring = new Ring(0, options.records, options.bytes);
    const end = log.end(topic);
    this.started = handled(end.then((mark) => this.#standAt(mark)));
    this.#run = this.#follow(end);
  }

  /** Resolves when nothing is read any more. */
  async stop(): Promise<void> {
    this.#stop.abort(failure(Code.Unavailable, "nobody follows this topic any more"));
    this.clear();
    await this.#run;
  }

  /** Wakes `follower` with what comes next. */
  wait(follower: Follower): void {
    if (follower.waiting) return;
    follower.waiting = true;
    this.#waiting.push(follower);
  }

  leave(follower: Follower): void {
    this.followers.delete(follower);
    if (!follower.waiting) return;
    this.#gone++;
    if (this.#gone * 2 < this.#waiting.length) return;
    this.#waiting = this.#waiting.filter((waiting) => this.followers.has(waiting));
    this.#gone = 0;
  }

  /** Gives a note to those who are there now, behind the records that came. */
  announce(value: N, fleeting: boolean): void {
    const number = fleeting ? 0 : ++this.notes;
    this.#push({ kind: "note", position: this.position, number, value }, 0);
  }

  /** Drops what is held for those who are late: they read it from the log. */
  clear(): void {
    const { bytes } = this.ring;
    this.ring.clear(this.position);
    this.#options.onBytes(-bytes);
  }

  /** Followers that continue in later slices must find in the ring what they were woken for: they come first. */
  get #mustPause(): boolean {
    return this.#waking || (this.#isQuarterNew && slices.isAwaited);
  }

  async #pause(): Promise<void> {
    do await slices.next();
    while (this.#waking);
    this.#isQuarterNew = false;
  }

  #standAt({ position }: TopicPosition): void {
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
            if (item.kind === "record") this.#record(item);
            else this.#gap(item.position);
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

  #record(entry: TopicRecord): void {
    const { kind, position, cursor } = entry;
    const slot = { kind, position, cursor, value: this.#options.make(entry) };
    this.position = position;
    this.#push(slot, entry.data.length);
  }

  /** Who follows asks the log, which knows what each of them misses. */
  #gap(position: number): void {
    this.life++;
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
    } else if (!this.#telling) {
      this.#telling = true;
      inLaterTurn(() => this.#tell());
    }
  }

  #tell(): void {
    this.#telling = false;
    this.#wakeAll();
  }

  /**
   * Wakes all followers that wait, in as many slices of the event loop as that
   * takes; one that waits again meanwhile is woken with what comes next. A follower that is
   * woken may end, which may announce something and so come here again.
   */
  #wakeAll(): void {
    this.#news = { slots: 0, bytes: 0 };
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#gone = 0;
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
