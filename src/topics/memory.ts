import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { type Checks, checkOptions, matching, optionsOf } from "../options.ts";
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
import { checkRecords } from "./record.ts";
import { type RetentionLimits, retentionChecks, retentionLimitsOf } from "./retention.ts";
import { checkTopic } from "./topic.ts";
import { TopicListeners } from "./topic-listeners.ts";
import { namesOf, placeInTopics } from "./topic-order.ts";

export interface MemoryLogOptions {
  /** The limits of each topic. Default: no limits, as far as memory lasts. */
  readonly retention?: Retention;
  /** 16 hexadecimal digits, in lower case. Default: random. */
  readonly epoch?: string;
}

const checks = {
  retention: optionsOf(retentionChecks),
  epoch: matching(/^[0-9a-f]{16}$/, "16 hexadecimal digits, in lower case,"),
} satisfies Checks<MemoryLogOptions>;

/**
 * Makes a log in the memory of this process, for tests and demonstrations: its records are lost
 * when the process ends. A topic takes about 2 KB until the log is closed, even if it keeps no
 * records. Throws INVALID_ARGUMENT for an unknown option or an invalid value.
 */
export function memoryLog(options: MemoryLogOptions = {}): TopicLog {
  checkOptions("memoryLog", options, checks);
  return new MemoryLog(retentionLimitsOf(options.retention), options.epoch ?? newEpoch());
}

class MemoryLog implements TopicLog {
  readonly epoch: string;
  readonly #retention: RetentionLimits;
  /** Includes empty topics, whose last positions must be remembered. */
  readonly #topics = new Map<string, MemoryTopic>();
  /** Their names, in order. */
  readonly #names: string[] = [];
  readonly #listeners = new TopicListeners();
  #closed = false;

  constructor(retention: RetentionLimits, epoch: string) {
    this.#retention = retention;
    this.epoch = epoch;
  }

  async append(name: string, records: readonly NewRecord[]): Promise<Appended[]> {
    this.#check(name);
    checkRecords(records);
    if (records.length === 0) return [];
    const topic = this.#topics.get(name) ?? this.#add(name);
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
    return namesOf(this.#names, wanted, (name) => !this.#topic(name).isEmpty);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#topics.clear();
    this.#names.length = 0;
    this.#listeners.close(closed());
  }

  #add(name: string): MemoryTopic {
    const topic = new MemoryTopic(cursorsOf(this.epoch, name));
    this.#topics.set(name, topic);
    this.#names.splice(placeInTopics(this.#names, name), 0, name);
    return topic;
  }

  #topic(name: string): MemoryTopic {
    this.#check(name);
    const topic = this.#topics.get(name) ?? new MemoryTopic(cursorsOf(this.epoch, name));
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

interface StoredRecord extends TopicRecord {
  /** Made of the record's producer and sequence. */
  readonly key: string | undefined;
}

/** Positions are 1, 2, 3 …; `#records[#first]` is the oldest record that is kept. */
class MemoryTopic {
  readonly #cursors: Cursors;
  readonly #records: StoredRecord[] = [];
  /** Maps the key of a record to its position. */
  readonly #positions = new Map<string, number>();
  #first = 0;
  #last = 0;
  #bytes = 0;
  #timeMs = 0;

  constructor(cursors: Cursors) {
    this.#cursors = cursors;
  }

  append({ data, id }: NewRecord): Appended {
    const key = id && `${id.sequence} ${id.producer}`;
    const before = key === undefined ? undefined : this.#positions.get(key);
    if (before !== undefined) return { cursor: this.#cursors.write(before), repeated: true };
    const position = ++this.#last;
    const cursor = this.#cursors.write(position);
    const timeMs = Math.max(this.#timeMs, Date.now());
    this.#timeMs = timeMs;
    // The caller's bytes are copied: slice() of a Buffer would share them.
    const copy = new Uint8Array(data);
    this.#records.push({ kind: "record", position, cursor, data: copy, timeMs, key });
    this.#bytes += data.length;
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
      const { key: _, ...record } = this.#records[at] as StoredRecord;
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

  get isEmpty(): boolean {
    return this.#size === 0;
  }

  get #size(): number {
    return this.#records.length - this.#first;
  }

  /** The position before the oldest record that is kept. */
  get #trimmed(): number {
    return this.#last - this.#size;
  }

  #forget(): void {
    const { key, data } = this.#records[this.#first++] as StoredRecord;
    if (key !== undefined) this.#positions.delete(key);
    this.#bytes -= data.length;
    if (this.#first * 2 >= this.#records.length) {
      this.#records.splice(0, this.#first);
      this.#first = 0;
    }
  }

  #gap(position: number): TopicItem {
    return { kind: "gap", position, cursor: this.#cursors.write(position) };
  }
}
