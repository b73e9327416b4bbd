import { Semaphore } from "../../flow/semaphore.ts";
import type { TopicItem, TopicLog, TopicRecord } from "../log.ts";
import { LogRetries } from "./log-retries.ts";

/** An item of a page: a record with the value that subscribers get, or a gap. */
export type PageItem<T> =
  | { readonly kind: "record"; readonly position: number; readonly cursor: string; value: T }
  | { readonly kind: "gap"; readonly position: number; readonly cursor: string };

/**
 * The items of one read from the log, which follow the position `from`. They are dropped when all
 * pages together have more than maxBytes.
 */
export interface Page<T> {
  readonly from: number;
  readonly to: number;
  /** Whether the log had nothing after `from`. If so, `to` is the newest position that was known. */
  readonly isEnd: boolean;
  readonly bytes: number;
  items: readonly PageItem<T>[];
}

/** The position after which a subscriber needs a page. */
export interface PagePlace {
  /** Negative if the cursor has no position in this log. */
  readonly position: number;
  readonly cursor: string;
  /** The newest position that the tail has read; it may be after the subscriber's. */
  readonly known: number;
}

/** The limits of one page. */
const PAGE_LIMITS = { records: 256, bytes: 128 * 1024 };

/** The approximate number of bytes per record in addition to its data. */
const RECORD_BYTES = 512;

interface Reading<T> {
  readonly from: number;
  readonly page: Promise<Page<T>>;
}

interface PagesOptions {
  /** How many pages are read at the same time. */
  readonly atOnce: number;
  /** The largest size of the pages that are kept. */
  readonly maxBytes: number;
  /** How long the log may be unavailable before read() fails. */
  readonly patienceMs: number;
  /** Ends all reading. */
  readonly signal: AbortSignal;
}

/**
 * Reads pages of the log for subscribers that do not keep up: `atOnce` pages at the same time, in
 * the order in which they are asked for. Subscribers at about the same position share pages. The
 * most recently used pages are kept, up to maxBytes.
 */
export class Pages<T> {
  readonly #log: TopicLog;
  readonly #make: (record: TopicRecord) => T;
  readonly #maxBytes: number;
  readonly #patienceMs: number;
  readonly #signal: AbortSignal;
  /** The pages that are kept. The key is the topic. */
  readonly #topics = new Map<string, Set<Page<T>>>();
  /** The topic of each page that is kept. The page whose last use is the oldest comes first. */
  readonly #pages = new Map<Page<T>, string>();
  readonly #readings = new Map<string, Set<Reading<T>>>();
  readonly #atOnce: Semaphore;
  #bytes = 0;

  constructor(
    log: TopicLog,
    make: (record: TopicRecord) => T,
    { atOnce, maxBytes, patienceMs, signal }: PagesOptions,
  ) {
    this.#log = log;
    this.#make = make;
    this.#atOnce = new Semaphore(atOnce);
    this.#maxBytes = maxBytes;
    this.#patienceMs = patienceMs;
    this.#signal = signal;
  }

  /** The size of the pages that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Returns the kept page with the items after a position, if there is one. */
  find(topic: string, position: number): Page<T> | undefined {
    for (const page of this.#topics.get(topic) ?? []) {
      if (page.from > position || position >= page.to) continue;
      this.#pages.delete(page);
      this.#pages.set(page, topic);
      return page;
    }
    return undefined;
  }

  /** Reads the page after a place, or waits for one that is being read. */
  async read(topic: string, place: PagePlace): Promise<Page<T>> {
    const near = this.#nearest(topic, place.position);
    if (near !== undefined) {
      // The other page may end before this place. Waiting for it once is worth that risk, waiting
      // twice is not.
      const page = await near.page.catch(() => undefined);
      if (page !== undefined && near.from === place.position) return page;
      const found = this.find(topic, place.position);
      if (found !== undefined) return found;
    }
    return this.#start(topic, place);
  }

  /** Drops the pages of a topic. Call it when no subscriber reads pages of the topic any more. */
  forget(topic: string): void {
    for (const page of [...(this.#topics.get(topic) ?? [])]) this.#drop(page);
  }

  /** Returns the page being read that may have the items after a position: the one that begins nearest before it. */
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

  /** Asks the log until it answers. Between two attempts other topics can read. */
  async #ask(topic: string, cursor: string): Promise<TopicItem[]> {
    const retries = new LogRetries(this.#patienceMs, this.#signal);
    for (;;) {
      this.#signal.throwIfAborted();
      try {
        return await this.#atOnce.run(() => {
          retries.begin();
          return this.#log.page(topic, cursor, PAGE_LIMITS);
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
      if (this.#bytes <= this.#maxBytes || oldest === page) break;
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
    // A slow subscriber may refer to the page for a long time, and must not keep the items in
    // memory.
    page.items = [];
  }
}
