import type { ConnectError } from "@connectrpc/connect";
import { Code } from "@connectrpc/connect";
import { failure } from "../../failure.ts";
import type { Logger } from "../../observe/logger.ts";
import { text } from "../../options.ts";
import { type Cursors, cursorsOf, newEpoch } from "../cursor.ts";
import { type IncidentKind, Incidents } from "../incidents.ts";
import type {
  Appended,
  NewRecord,
  PageLimits,
  TopicItem,
  TopicLog,
  TopicPosition,
  TopicRecord,
} from "../log.ts";
import { logFailure, toOperator } from "../log-failure.ts";
import { pageLimitsOf } from "../page-limits.ts";
import { checkRecords } from "../record.ts";
import type { Kept } from "../retention.ts";
import { type Fresh, Tails } from "../tail.ts";
import { checkTopic } from "../topic.ts";
import {
  type AppendedMessage,
  type AppendMessage,
  type AppendOutcome,
  FOREIGN,
  type PageColumns,
  type ReaderCall,
  type Stored,
  type WriterCall,
} from "./message.ts";
import { Thread, toError } from "./thread.ts";

/** What a SQLite log is opened with. */
export interface OpenOptions {
  readonly path: string;
  readonly kept: Kept;
  readonly maxPages?: number;
  readonly logger?: Logger | undefined;
}

/** So many topics have their cursors at hand. */
const CURSORS = 10_000;

/** Once so much waits to be stored, appends are refused: a disk that stalls shall not fill the memory. */
const MOST_WAITING = { records: 100_000, bytes: 64 * 2 ** 20 };

interface PendingAppend {
  readonly topic: string;
  readonly records: readonly NewRecord[];
  readonly bytes: number;
  readonly outcome: PromiseWithResolvers<Appended[]>;
  /** The bytes of the records, where somebody read the topic when they were sent. */
  kept?: readonly Uint8Array[];
}

/** What one message of the writer brings to those who read a topic. */
interface RecentRecords extends Fresh {
  readonly entries: TopicRecord[];
  /** Whether the bytes of all of it were kept. */
  isWhole: boolean;
}

/** Opens a log: first the writer, which makes the file where there is none, then the reader. */
export async function openSqliteLog(options: OpenOptions): Promise<TopicLog> {
  const log = new SqliteLog(options);
  await log.open();
  return log;
}

/**
 *     append ──> one message a turn of the event loop ──> the writer's thread
 *     page   ──────────────────────────────────────────> the reader's thread
 */
class SqliteLog implements TopicLog {
  epoch = "";
  readonly #writer: Thread<WriterCall>;
  readonly #reader: Thread<ReaderCall>;
  readonly #tails = new Tails();
  readonly #cursors = new Map<string, Cursors>();
  /** Appends for the next message, and those that are with the writer. */
  #next: PendingAppend[] = [];
  readonly #sent: PendingAppend[] = [];
  /** What both have. */
  readonly #waiting = { records: 0, bytes: 0 };
  readonly #path: string;
  readonly #ageMs: number;
  readonly #incidents: Incidents;
  #isOpened = false;
  #ticking: NodeJS.Timeout | undefined;
  #over: { error: ConnectError } | undefined;
  #closing: Promise<void> | undefined;

  constructor({ path, kept, maxPages, logger = console }: OpenOptions) {
    const data = { path, kept, maxPages };
    const fail = (error: ConnectError) => this.#fail(error);
    const received = ({ outcomes }: AppendedMessage) => this.#appended(outcomes);
    this.#path = path;
    this.#ageMs = kept.ageMs;
    this.#incidents = new Incidents(logger);
    this.#writer = new Thread({ ...data, role: "writer" }, received, fail);
    this.#reader = new Thread({ ...data, role: "reader" }, received, fail);
  }

  async open(): Promise<void> {
    try {
      const call = { do: "open", newEpoch: newEpoch(), nowMs: Date.now() } as const;
      this.epoch = await this.#writer.call<string>(call);
      await this.#reader.call({ do: "open" });
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw toOperator(error as ConnectError);
    }
    this.#isOpened = true;
    if (this.#ageMs === Infinity) return;
    const everyMs = Math.min(Math.max(this.#ageMs / 10, 50), 60_000);
    this.#ticking = setInterval(() => {
      this.#writer.post({ kind: "tick", nowMs: Date.now() });
    }, everyMs).unref();
  }

  async append(topic: string, records: readonly NewRecord[]): Promise<Appended[]> {
    this.#check(topic);
    checkRecords(records);
    if (records.length === 0) return [];
    this.#checkWaiting();
    const outcome = Promise.withResolvers<Appended[]>();
    const bytes = sizeOf(records);
    this.#waiting.records += records.length;
    this.#waiting.bytes += bytes;
    this.#writer.hold(1);
    // What other calls of this turn append goes with it.
    if (this.#next.push({ topic, records, bytes, outcome }) === 1) setImmediate(() => this.#send());
    return outcome.promise;
  }

  async page(
    topic: string,
    after: string | undefined,
    limits: PageLimits = {},
  ): Promise<TopicItem[]> {
    this.#check(topic);
    const { records, bytes } = pageLimitsOf(limits);
    const cursors = this.#cursorsOf(topic);
    const position = after === undefined ? undefined : (cursors.read(after) ?? FOREIGN);
    const call = { do: "page", topic, after: position, bytes } as const;
    const page = this.#read<PageColumns>({ ...call, records: Math.max(records, 1) });
    return itemsOf(await page, cursors);
  }

  read(topic: string, after: string | undefined, signal: AbortSignal): AsyncIterable<TopicItem> {
    const page: TopicLog["page"] = (topic, from) => this.page(topic, from);
    return this.#tails.read(page, { topic, after }, signal);
  }

  oldest(topic: string): Promise<TopicPosition> {
    return this.#mark(topic, "oldest");
  }

  end(topic: string): Promise<TopicPosition> {
    return this.#mark(topic, "end");
  }

  async trim(topic: string, upTo: string): Promise<void> {
    this.#check(topic);
    const position = this.#cursorsOf(topic).read(upTo);
    if (position === undefined) return;
    const trimmed = this.#writer.call({ do: "trim", topic, upTo: position });
    await trimmed.catch((error) => this.#throw("append", error));
  }

  async topics(prefix = ""): Promise<string[]> {
    this.#checkOpen();
    text(prefix, { of: "topics", option: "prefix" });
    return await this.#read<string[]>({ do: "topics", prefix });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearInterval(this.#ticking);
    this.#send();
    this.#over ??= { error: failure(Code.Unavailable, "the log is closed") };
    this.#tails.close(this.#over.error);
    try {
      await this.#reader.close();
    } finally {
      await this.#writer.close();
    }
  }

  /** Hands the appends of this turn to the writer. */
  #send(): void {
    const appends = this.#next;
    if (appends.length === 0 || this.#over !== undefined) return;
    this.#next = [];
    this.#sent.push(...appends);
    const message = pack(appends);
    // Who reads live gets the bytes from here, so that they must stay.
    const isHeard = appends.some(({ topic }) => this.#tails.isHeard(topic));
    if (isHeard) keep(appends, message);
    this.#writer.post(message, isHeard ? [] : [message.data.buffer as ArrayBuffer]);
  }

  #appended(outcomes: readonly AppendOutcome[]): void {
    const appends = this.#sent.splice(0, outcomes.length);
    this.#release(appends);
    const rings = new Map<string, RecentRecords>();
    for (const [n, append] of appends.entries()) {
      const stored = outcomes[n] as AppendOutcome;
      if ("code" in stored) {
        append.outcome.reject(this.#incidents.report("append", toError(stored)));
        continue;
      }
      this.#incidents.ended("append", `records are stored in ${this.#path} again`);
      const cursors = this.#cursorsOf(append.topic);
      const appended = stored.positions.map((position) => ({
        cursor: cursors.write(Math.abs(position)),
        repeated: position < 0,
      }));
      append.outcome.resolve(appended);
      if (!this.#tails.isHeard(append.topic)) continue;
      const ring = rings.get(append.topic) ?? {
        after: stored.previous,
        entries: [],
        isWhole: true,
      };
      rings.set(append.topic, ring);
      add(ring, append, { stored, appended });
    }
    for (const [topic, ring] of rings) this.#tails.ring(topic, ring.isWhole ? ring : undefined);
  }

  /** A thread is of no more use, and so is the log. */
  #fail(error: ConnectError): void {
    if (this.#over !== undefined && this.#closing === undefined) return;
    this.#over ??= { error };
    // The caller that opens the log gets all of it, with what open() throws.
    if (this.#isOpened) this.#incidents.report("append", error);
    clearInterval(this.#ticking);
    const appends = [...this.#sent.splice(0), ...this.#next.splice(0)];
    this.#release(appends);
    for (const { outcome } of appends) outcome.reject(error);
    this.#tails.close(error);
  }

  /** They wait no longer. */
  #release(appends: readonly PendingAppend[]): void {
    this.#writer.hold(-appends.length);
    for (const { records, bytes } of appends) {
      this.#waiting.records -= records.length;
      this.#waiting.bytes -= bytes;
    }
    const { records, bytes } = this.#waiting;
    if (records > MOST_WAITING.records / 2 || bytes > MOST_WAITING.bytes / 2) return;
    this.#incidents.ended("overload", `the disk of ${this.#path} keeps up again`);
  }

  #cursorsOf(topic: string): Cursors {
    let cursors = this.#cursors.get(topic);
    if (cursors === undefined) {
      if (this.#cursors.size >= CURSORS) this.#cursors.clear();
      cursors = cursorsOf(this.epoch, topic);
      this.#cursors.set(topic, cursors);
    }
    return cursors;
  }

  #check(topic: string): void {
    this.#checkOpen();
    checkTopic(topic);
  }

  async #mark(topic: string, which: "oldest" | "end"): Promise<TopicPosition> {
    this.#check(topic);
    const position = await this.#read<number>({ do: which, topic });
    return { position, cursor: this.#cursorsOf(topic).write(position) };
  }

  #checkWaiting(): void {
    const { records, bytes } = this.#waiting;
    if (records < MOST_WAITING.records && bytes < MOST_WAITING.bytes) return;
    const forClients = `${records} records of ${bytes} B wait for the disk of the server's log, which does not keep up: nothing more was stored; send it again later`;
    const forOperator = `the disk of ${this.#path} does not keep up: appends are refused while ${MOST_WAITING.records} records or ${MOST_WAITING.bytes} B wait for it`;
    const error = logFailure(Code.ResourceExhausted, { forClients, forOperator });
    throw this.#incidents.report("overload", error);
  }

  #read<T>(call: ReaderCall): Promise<T> {
    return this.#reader.call<T>(call).catch((error) => this.#throw("read", error));
  }

  #throw(kind: IncidentKind, error: unknown): never {
    throw this.#incidents.report(kind, error);
  }

  #checkOpen(): void {
    if (this.#over !== undefined) throw this.#over.error;
  }
}

function sizeOf(records: readonly NewRecord[]): number {
  let bytes = 0;
  for (const { data, id } of records) bytes += data.length + (id?.producer.length ?? 0);
  return bytes;
}

/** Appends in columns, their bytes in one buffer. */
function pack(appends: readonly PendingAppend[]): AppendMessage {
  const records = appends.flatMap(({ records }) => records);
  const hasIds = records.some(({ id }) => id !== undefined);
  const data = new Uint8Array(records.reduce((sum, { data }) => sum + data.length, 0));
  let at = 0;
  for (const record of records) {
    data.set(record.data, at);
    at += record.data.length;
  }
  return {
    kind: "append",
    nowMs: Date.now(),
    topics: appends.map(({ topic }) => topic),
    counts: appends.map(({ records }) => records.length),
    sizes: records.map(({ data }) => data.length),
    producers: hasIds ? records.map(({ id }) => id?.producer ?? null) : undefined,
    // SQLite's integers have a sign.
    sequences: hasIds ? records.map(({ id }) => BigInt.asIntN(64, id?.sequence ?? 0n)) : undefined,
    data,
  };
}

/** Lets appends have the bytes of their records in a message. */
function keep(appends: readonly PendingAppend[], { sizes, data }: AppendMessage): void {
  let [record, at] = [0, 0];
  for (const append of appends) {
    append.kept = append.records.map(() => {
      const from = at;
      at += sizes[record++] as number;
      return data.subarray(from, at);
    });
  }
}

/** Adds the records of an append that are new. */
function add(
  ring: RecentRecords,
  { kept }: PendingAppend,
  { stored, appended }: { stored: Stored; appended: readonly Appended[] },
): void {
  if (kept === undefined) ring.isWhole = false;
  for (const [n, { cursor, repeated }] of appended.entries()) {
    if (repeated || kept === undefined) continue;
    const position = stored.positions[n] as number;
    const data = kept[n] as Uint8Array;
    ring.entries.push({ kind: "record", position, cursor, data, timeMs: stored.timeMs });
  }
}

function itemsOf(
  { gap, positions, times, sizes, data }: PageColumns,
  cursors: Cursors,
): TopicItem[] {
  const items: TopicItem[] = [];
  if (gap !== undefined) items.push({ kind: "gap", position: gap, cursor: cursors.write(gap) });
  let at = 0;
  for (const [n, position] of positions.entries()) {
    const end = at + (sizes[n] as number);
    items.push({
      kind: "record",
      position,
      cursor: cursors.write(position),
      data: data.subarray(at, end),
      timeMs: times[n] as number,
    });
    at = end;
  }
  return items;
}
