import { Semaphore } from "../../flow/semaphore.ts";
import type { TopicItem, TopicLog, TopicRecord } from "../log.ts";
import { LogRetries } from "./log-retries.ts";

/** What stands in a page: a record as it goes to subscribers, or a gap. */
export type PageItem<T> =
  | { readonly kind: "record"; readonly position: number; readonly cursor: string; value: T }
  | { readonly kind: "gap"; readonly position: number; readonly cursor: string };

/** What follows a position in a topic, as far as it was read. It empties when there is no room for it. */
export interface Page<T> {
  readonly from: number;
  readonly to: number;
  /** Nothing followed, so far as the topic was known to reach: that is `to`. */
  readonly isEnd: boolean;
  readonly bytes: number;
  items: readonly PageItem<T>[];
}

/** The place of a reader that catches up; a position below 0: the cursor has none here. */
export interface PagePlace {
  readonly position: number;
  readonly cursor: string;
  /** How far the topic is known to reach, with what its reader has not seen. */
  readonly known: number;
}

/** How much is read at once. */
const READ = { records: 256, bytes: 128 * 1024 };

/** What a record takes beside its bytes, about. */
const RECORD_BYTES = 512;

interface Reading<T> {
  readonly from: number;
  readonly page: Promise<Page<T>>;
}

interface PagesOptions {
  /** How many pages are read at a time. */
  readonly atOnce: number;
  /** How much is kept. */
  readonly bytesMost: number;
  /** How long the log may be away. */
  readonly patienceMs: number;
  /** Ends all reading. */
  readonly signal: AbortSignal;
}

/**
 * How those who fell behind read the log: page by page, few pages at a time and
 * in the order of asking. Those who are at about the same place get the same
 * pages. The pages that were read last are kept, while there is room.
 */
export class Pages<T> {
  readonly #log: TopicLog;
  readonly #make: (entry: TopicRecord) => T;
  readonly #bytesMost: number;
  readonly #patienceMs: number;
  readonly #signal: AbortSignal;
  /** By topic; and all, those that were used last at the end. */
  readonly #topics = new Map<string, Set<Page<T>>>();
  readonly #pages = new Map<Page<T>, string>();
  readonly #readings = new Map<string, Set<Reading<T>>>();
  readonly #atOnce: Semaphore;
  #bytes = 0;

  constructor(
    log: TopicLog,
    make: (entry: TopicRecord) => T,
    { atOnce, bytesMost, patienceMs, signal }: PagesOptions,
  ) {
    this.#log = log;
    this.#make = make;
    this.#atOnce = new Semaphore(atOnce);
    this.#bytesMost = bytesMost;
    this.#patienceMs = patienceMs;
    this.#signal = signal;
  }

  /** How many bytes the pages hold that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What follows a place, where that was read already. */
  find(topic: string, position: number): Page<T> | undefined {
    for (const page of this.#topics.get(topic) ?? []) {
      if (page.from > position || position >= page.to) continue;
      this.#pages.delete(page);
      this.#pages.set(page, topic);
      return page;
    }
    return undefined;
  }

  /** What follows a place. */
  async read(topic: string, place: PagePlace): Promise<Page<T>> {
    const near = this.#nearest(topic, place.position);
    if (near !== undefined) {
      // It may end before this place: one wait is worth that, a second is not.
      const page = await near.page.catch(() => undefined);
      if (page !== undefined && near.from === place.position) return page;
      const found = this.find(topic, place.position);
      if (found !== undefined) return found;
    }
    return this.#start(topic, place);
  }

  /** Nobody catches up in this topic any more. */
  forget(topic: string): void {
    for (const page of [...(this.#topics.get(topic) ?? [])]) this.#drop(page);
  }

  /** The reading that may bring what follows a position: the one that begins nearest before it. */
  #nearest(topic: string, position: number): Reading<T> | undefined {
    let nearest: Reading<T> | undefined;
    for (const reading of this.#readings.get(topic) ?? []) {
      const fits = reading.from >= 0 && reading.from <= position;
      if (fits && (nearest === undefined || reading.from > nearest.from)) nearest = reading;
    }
    return nearest;
  }

  #start(topic: string, place: PagePlace): Promise<Page<T>> {
    const readings = this.#readings.get(topic) ?? new Set();
    this.#readings.set(topic, readings);
    const reading: Reading<T> = { from: place.position, page: this.#load(topic, place) };
    readings.add(reading);
    const done = () => {
      readings.delete(reading);
      if (readings.size === 0) this.#readings.delete(topic);
    };
    reading.page.then(done, done);
    return reading.page;
  }

  async #load(topic: string, { position, cursor, known }: PagePlace): Promise<Page<T>> {
    const page = this.#page(position, known, await this.#ask(topic, cursor));
    if (position >= 0 && !page.isEnd && page.to > position) this.#keep(topic, page);
    return page;
  }

  /** Who waits for the log to come back waits without a turn. */
  async #ask(topic: string, cursor: string): Promise<TopicItem[]> {
    const retries = new LogRetries(this.#patienceMs, this.#signal);
    for (;;) {
      this.#signal.throwIfAborted();
      try {
        return await this.#atOnce.run(() => {
          retries.begin();
          return this.#log.page(topic, cursor, READ);
        });
      } catch (error) {
        await retries.failed(error);
      }
    }
  }

  #page(from: number, known: number, found: readonly TopicItem[]): Page<T> {
    let bytes = 0;
    const items = found.map((item): PageItem<T> => {
      bytes += RECORD_BYTES;
      if (item.kind === "gap") return item;
      bytes += item.data.length;
      const { kind, position, cursor } = item;
      return { kind, position, cursor, value: this.#make(item) };
    });
    const to = items.at(-1)?.position ?? Math.max(from, known);
    return { from, to, isEnd: items.length === 0, bytes, items };
  }

  #keep(topic: string, page: Page<T>): void {
    const pages = this.#topics.get(topic) ?? new Set();
    this.#topics.set(topic, pages.add(page));
    this.#pages.set(page, topic);
    this.#bytes += page.bytes;
    for (const [oldest] of this.#pages) {
      if (this.#bytes <= this.#bytesMost || oldest === page) break;
      this.#drop(oldest);
    }
  }

  #drop(page: Page<T>): void {
    const topic = this.#pages.get(page) as string;
    const pages = this.#topics.get(topic) as Set<Page<T>>;
    pages.delete(page);
    if (pages.size === 0) this.#topics.delete(topic);
    this.#pages.delete(page);
    this.#bytes -= page.bytes;
    // Whoever stands in it, and may stand there for long, must not hold it.
    page.items = [];
  }
}
