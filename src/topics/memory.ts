import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { type Checks, checkOptions, matching, optionsOf, positiveOrInfinite } from "../options.ts";
import { type Cursors, cursorsOf, newEpoch } from "./cursor.ts";
import type {
  Appended,
  NewRecord,
  PageLimits,
  Retention,
  TopicItem,
  TopicLog,
  TopicPosition,
  TopicRecord,
  TopicsPage,
} from "./log.ts";
import { pageLimitsOf, topicsPageOf } from "./page-limits.ts";
import { overQuota, sizeInQuota } from "./quota.ts";
import { checkRecords } from "./record.ts";
import { type RetentionLimits, retentionChecks, retentionLimitsOf } from "./retention.ts";
import { checkTopic } from "./topic.ts";
import { TopicListeners } from "./topic-listeners.ts";
import { namesOf, placeInTopics } from "./topic-order.ts";

export interface MemoryLogOptions {
  /** The limits of each topic. Default: no limits, as far as memory lasts. */
  readonly retention?: Retention;
  /**
   * The largest size of the records of all topics, each with about 128 B for what is beside its data. Past it, appends fail
   * with RESOURCE_EXHAUSTED until records are dropped. Default: no limit.
   */
  readonly maxBytes?: number;
  /** 16 hexadecimal digits, in lower case. Default: random. */
  readonly epoch?: string;
}

const checks = {
  retention: optionsOf(retentionChecks),
  maxBytes: positiveOrInfinite,
  epoch: matching(/^[0-9a-f]{16}$/, "16 hexadecimal digits, in lower case,"),
} satisfies Checks<MemoryLogOptions>;

/**
 * Makes a log in the memory of this process, for tests and demonstrations: its records are lost
 * when the process ends. A topic takes about 2 KB until the log is closed, even if it keeps no
 * records. Throws INVALID_ARGUMENT for an unknown option or an invalid value.
 */
export function memoryLog(options: MemoryLogOptions = {}): TopicLog {
  checkOptions("memoryLog", options, checks);
  const { retention, maxBytes = Infinity, epoch = newEpoch() } = options;
  return new MemoryLog({ retention: retentionLimitsOf(retention), maxBytes }, epoch);
}

/** How often a log that is full looks for expired records of all topics, in milliseconds. */
const LOOK_AGAIN_MS = 1000;

class MemoryLog implements TopicLog {
  readonly epoch: string;
  readonly #retention: RetentionLimits;
  readonly #quota: Quota;
  /** Includes empty topics, whose last positions must be remembered. */
  readonly #topics = new Map<string, MemoryTopic>();
  /** Their names, in order. */
  readonly #names: string[] = [];
  readonly #listeners = new TopicListeners();
  #lookedAtMs = -Infinity;
  #closed = false;

  constructor(
    { retention, maxBytes }: { retention: RetentionLimits; maxBytes: number },
    epoch: string,
  ) {
    this.#retention = retention;
    this.#quota = { maxBytes, usedBytes: 0 };
    this.epoch = epoch;
  }

  async append(name: string, records: readonly NewRecord[]): Promise<Appended[]> {
    this.#check(name);
    checkRecords(records);
    if (records.length === 0) return [];
    const topic = this.#topics.get(name) ?? this.#new(name);
    this.#checkQuota(topic.sizeOf(records));
    if (!this.#topics.has(name)) this.#add(name, topic);
    const appended = records.map((record) => topic.append(record));
    topic.retain(this.#retention);
    this.#listeners.notify(name);
    return appended;
  }

  async page(
    name: string,
    after: string | undefined,
    limits: PageLimits = {},
  ): Promise<TopicItem[]> {
    return this.#topic(name).page(after, pageLimitsOf(limits));
  }

  read(name: string, after: string | undefined, signal: AbortSignal): AsyncIterable<TopicItem> {
    const page: TopicLog["page"] = (topic, from) => this.page(topic, from);
    return this.#listeners.read(page, { topic: name, after }, signal);
  }

  async oldest(name: string): Promise<TopicPosition> {
    return this.#topic(name).oldest();
  }

  async end(name: string): Promise<TopicPosition> {
    return this.#topic(name).end();
  }

  async trim(name: string, upTo: string): Promise<void> {
    this.#topic(name).trim(upTo);
  }

  async topics(prefix = "", page: TopicsPage = {}): Promise<string[]> {
    this.#checkOpen();
    const wanted = { prefix, ...topicsPageOf(prefix, page) };
    // A page may have a thousand topics: their records are not looked through, and the clock is read once.
    const oldestMs = Date.now() - this.#retention.ageMs;
    return namesOf(this.#names, wanted, (name) => {
      const topic = this.#topics.get(name) as MemoryTopic;
      if (topic.hasRecordsSince(oldestMs)) return true;
      topic.retain(this.#retention);
      return false;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#topics.clear();
    this.#names.length = 0;
    this.#listeners.close(closed());
  }

  #checkQuota(bytes: number): void {
    const { maxBytes } = this.#quota;
    const fits = () => this.#quota.usedBytes + bytes <= maxBytes;
    if (fits()) return;
    // Topics drop expired records when they are used.
    const nowMs = performance.now();
    if (nowMs - this.#lookedAtMs >= LOOK_AGAIN_MS) {
      this.#lookedAtMs = nowMs;
      for (const topic of this.#topics.values()) topic.retain(this.#retention);
      if (fits()) return;
    }
    const { forClients } = overQuota("the log in memory", this.#quota.usedBytes, maxBytes);
    throw failure(Code.ResourceExhausted, forClients);
  }

  #new(name: string): MemoryTopic {
    return new MemoryTopic(cursorsOf(this.epoch, name), this.#quota);
  }

  #add(name: string, topic: MemoryTopic): void {
    this.#topics.set(name, topic);
    this.#names.splice(placeInTopics(this.#names, name), 0, name);
  }

  #topic(name: string): MemoryTopic {
    this.#check(name);
    const topic = this.#topics.get(name) ?? this.#new(name);
    topic.retain(this.#retention);
    return topic;
  }

  #check(name: string): void {
    this.#checkOpen();
    checkTopic(name);
  }

  #checkOpen(): void {
    if (this.#closed) throw closed();
  }
}

function closed() {
  return failure(Code.Unavailable, "the log is closed");
}

/** What all topics of a log may use together, and what they use. */
interface Quota {
  readonly maxBytes: number;
  usedBytes: number;
}

interface StoredRecord extends TopicRecord {
  /** Made of the record's producer and sequence. */
  readonly key: string | undefined;
  /** What the record counts for in the quota. */
  readonly usedBytes: number;
}

const keyOf = (id: NewRecord["id"]) => id && `${id.sequence} ${id.producer}`;

/** Positions are 1, 2, 3 …; `#records[#first]` is the oldest record that is kept. */
class MemoryTopic {
  readonly #cursors: Cursors;
  readonly #quota: Quota;
  readonly #records: StoredRecord[] = [];
  /** Maps the key of a record to its position. */
  readonly #positions = new Map<string, number>();
  #first = 0;
  #last = 0;
  #bytes = 0;
  #timeMs = 0;

  constructor(cursors: Cursors, quota: Quota) {
    this.#cursors = cursors;
    this.#quota = quota;
  }

  /** Returns what those of the records that are not stored yet would count for in the quota. */
  sizeOf(records: readonly NewRecord[]): number {
    let bytes = 0;
    for (const { data, id } of records) {
      const key = keyOf(id);
      const isStored = key !== undefined && this.#positions.has(key);
      if (!isStored) bytes += sizeInQuota(data, id?.producer);
    }
    return bytes;
  }

  append({ data, id }: NewRecord): Appended {
    const key = keyOf(id);
    const before = key === undefined ? undefined : this.#positions.get(key);
    if (before !== undefined) return { cursor: this.#cursors.write(before), repeated: true };
    const position = ++this.#last;
    const cursor = this.#cursors.write(position);
    const timeMs = Math.max(this.#timeMs, Date.now());
    this.#timeMs = timeMs;
    // The caller's bytes are copied: slice() of a Buffer would share them.
    const copy = new Uint8Array(data);
    const usedBytes = sizeInQuota(data, id?.producer);
    this.#records.push({ kind: "record", position, cursor, data: copy, timeMs, key, usedBytes });
    this.#bytes += data.length;
    this.#quota.usedBytes += usedBytes;
    if (key !== undefined) this.#positions.set(key, position);
    return { cursor, repeated: false };
  }

  page(after: string | undefined, limits: Required<PageLimits>): TopicItem[] {
    const items: TopicItem[] = [];
    let from = this.#trimmed;
    if (after !== undefined) {
      const position = this.#cursors.read(after);
      if (position === undefined || position < from) items.push(this.#gap(from));
      else if (position > this.#last) items.push(this.#gap(this.#last));
      from = Math.max(from, Math.min(position ?? 0, this.#last));
    }
    let bytes = 0;
    for (let at = this.#first + from - this.#trimmed; at < this.#records.length; at++) {
      const { key: _, usedBytes: __, ...record } = this.#records[at] as StoredRecord;
      items.push(record);
      bytes += record.data.length;
      if (items.length >= limits.records || bytes >= limits.bytes) break;
    }
    return items;
  }

  oldest(): TopicPosition {
    return { position: this.#trimmed, cursor: this.#cursors.write(this.#trimmed) };
  }

  end(): TopicPosition {
    return { position: this.#last, cursor: this.#cursors.write(this.#last) };
  }

  trim(upTo: string): void {
    const position = this.#cursors.read(upTo) ?? 0;
    while (this.#trimmed < Math.min(position, this.#last)) this.#forget();
  }

  /** Drops the records past the limits. The newest record is kept even if it alone exceeds `bytes`. */
  retain({ ageMs, records, bytes }: RetentionLimits): void {
    while (this.#size > records || (this.#bytes > bytes && this.#size > 1)) this.#forget();
    const oldestMs = Date.now() - ageMs;
    while (this.#size > 0 && (this.#records[this.#first] as StoredRecord).timeMs < oldestMs) {
      this.#forget();
    }
  }

  hasRecordsSince(ms: number): boolean {
    return this.#size > 0 && this.#timeMs >= ms;
  }

  get #size(): number {
    return this.#records.length - this.#first;
  }

  /** The position before the oldest record that is kept. */
  get #trimmed(): number {
    return this.#last - this.#size;
  }

  #forget(): void {
    const { key, data, usedBytes } = this.#records[this.#first++] as StoredRecord;
    if (key !== undefined) this.#positions.delete(key);
    this.#bytes -= data.length;
    this.#quota.usedBytes -= usedBytes;
    if (this.#first * 2 >= this.#records.length) {
      this.#records.splice(0, this.#first);
      this.#first = 0;
    }
  }

  #gap(position: number): TopicItem {
    return { kind: "gap", position, cursor: this.#cursors.write(position) };
  }
}
