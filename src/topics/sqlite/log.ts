import type { ConnectError } from "@connectrpc/connect";
import { Code } from "@connectrpc/connect";
import { failure } from "../../failure.ts";
import type { Logger } from "../../observe/logger.ts";
import { type Cursors, cursorsOf, newEpoch } from "../cursor.ts";
import { type IncidentKind, Incidents } from "../incidents.ts";
import type {
  Appended,
  AppendOptions,
  NewRecord,
  PageLimits,
  TopicItem,
  TopicLog,
  TopicPosition,
  TopicRecord,
  TopicsPage,
} from "../log.ts";
import { logFailure, toOperator } from "../log-failure.ts";
import { pageLimitsOf, topicsPageOf } from "../page-limits.ts";
import { checkRecords } from "../record.ts";
import type { RetentionLimits } from "../retention.ts";
import { checkTopic } from "../topic.ts";
import { type AppendedRecords, TopicListeners } from "../topic-listeners.ts";
import {
  type AppendedMessage,
  type AppendOutcome,
  FOREIGN,
  type PageColumns,
  type ReaderCall,
  type StoredAppend,
  type WriterCall,
} from "./message.ts";
import { keepPayloads, type Owner, type PendingAppend, pack, sizeOf } from "./pending-append.ts";
import { Thread, toError } from "./thread.ts";

export interface OpenOptions {
  readonly path: string;
  readonly retention: RetentionLimits;
  readonly maxBytes?: number | undefined;
  readonly maxPages?: number;
  readonly logger?: Logger | undefined;
}

/** The largest number of topics whose Cursors are cached. */
const MAX_CURSORS = 1_000;

/**
 * The limits of the records that wait to be stored. At either one appends are refused: a disk that
 * stalls must not fill the memory.
 */
const MAX_WAITING = { records: 100_000, bytes: 64 * 2 ** 20 };

/** The records of a topic that the writer acknowledges in one message. */
interface AcknowledgedRecords extends AppendedRecords {
  readonly records: TopicRecord[];
  /** Whether `records` has all new records: their bytes may not have been kept. */
  isComplete: boolean;
}

/** Opens a log: first the writer, which creates the file if it does not exist, then the reader. */
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
  readonly #listeners = new TopicListeners();
  readonly #cursors = new Map<string, Cursors>();
  /** Appends for the next message to the writer. */
  #next: PendingAppend[] = [];
  /** Appends that the writer has not acknowledged, by their numbers. */
  readonly #sent = new Map<number, PendingAppend>();
  #lastNumber = 0;
  readonly #owners = new Map<unknown, Owner>();
  /** The sums of #next and #sent. */
  readonly #waiting = { records: 0, bytes: 0 };
  readonly #path: string;
  readonly #ageMs: number;
  readonly #incidents: Incidents;
  #isOpened = false;
  #tickTimer: NodeJS.Timeout | undefined;
  /** Set when the log can no longer be used; the error says why. */
  #ended: { error: ConnectError } | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: OpenOptions) {
    const { path, retention, maxBytes = Infinity, maxPages, logger = console } = options;
    const data = { path, retention, maxBytes, maxPages };
    const fail = (error: ConnectError) => this.#fail(error);
    const onAppended = (message: AppendedMessage) => this.#onAppended(message);
    this.#path = path;
    this.#ageMs = retention.ageMs;
    this.#incidents = new Incidents(logger);
    this.#writer = new Thread({ ...data, role: "writer" }, onAppended, fail);
    this.#reader = new Thread({ ...data, role: "reader" }, onAppended, fail);
  }

  async open(): Promise<void> {
    try {
      const call = { do: "open", newEpoch: newEpoch(), nowMs: Date.now() } as const;
      this.epoch = await this.#writer.call<string>(call);
      await this.#reader.call({ do: "open" });
    } catch (error) {
      // The thread that met the cause may fail while it is closed: the first error is the one to throw.
      await this[Symbol.asyncDispose]().catch(() => {});
      throw toOperator(error as ConnectError);
    }
    this.#isOpened = true;
    if (this.#ageMs === Infinity) return;
    const everyMs = Math.min(Math.max(this.#ageMs / 10, 50), 60_000);
    this.#tickTimer = setInterval(() => {
      this.#writer.post({ kind: "tick", nowMs: Date.now() });
    }, everyMs).unref();
  }

  async append(
    topic: string,
    records: readonly NewRecord[],
    { owner: key }: AppendOptions = {},
  ): Promise<Appended[]> {
    this.#check(topic);
    checkRecords(records);
    if (records.length === 0) return [];
    this.#checkWaiting();
    const outcome = Promise.withResolvers<Appended[]>();
    const bytes = sizeOf(records);
    this.#waiting.records += records.length;
    this.#waiting.bytes += bytes;
    this.#writer.hold(1);
    const number = ++this.#lastNumber;
    const owner = key === undefined ? undefined : this.#ownerOf(key, number);
    // The appends of all calls in this turn of the event loop are sent in one message.
    const count = this.#next.push({ number, owner, topic, records, bytes, outcome });
    if (count === 1) setImmediate(() => this.#send());
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
    return this.#listeners.read(page, { topic, after }, signal);
  }

  oldest(topic: string): Promise<TopicPosition> {
    return this.#position(topic, "oldest");
  }

  end(topic: string): Promise<TopicPosition> {
    return this.#position(topic, "end");
  }

  async trim(topic: string, upTo: string): Promise<void> {
    this.#check(topic);
    const position = this.#cursorsOf(topic).read(upTo);
    if (position === undefined) return;
    const trimmed = this.#writer.call({ do: "trim", topic, upTo: position });
    await trimmed.catch((error) => this.#throw("append", error));
  }

  async topics(prefix = "", page: TopicsPage = {}): Promise<string[]> {
    this.#checkOpen();
    const { after, limit } = topicsPageOf(prefix, page);
    return await this.#read<string[]>({ do: "topics", prefix, after, limit });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearInterval(this.#tickTimer);
    this.#send();
    this.#ended ??= { error: failure(Code.Unavailable, "the log is closed") };
    this.#listeners.close(this.#ended.error);
    try {
      await this.#reader.close();
    } finally {
      await this.#writer.close();
    }
  }

  /** Sends the appends of this turn to the writer. */
  #send(): void {
    const appends = this.#next;
    if (appends.length === 0 || this.#ended !== undefined) return;
    this.#next = [];
    for (const append of appends) this.#sent.set(append.number, append);
    const message = pack(appends);
    // Live readers get the bytes from here: they are then copied to the writer, not transferred.
    const hasListener = appends.some(({ topic }) => this.#listeners.has(topic));
    if (hasListener) keepPayloads(appends, message);
    this.#writer.post(message, hasListener ? [] : [message.data.buffer as ArrayBuffer]);
  }

  #onAppended({ numbers, outcomes }: AppendedMessage): void {
    const appends = numbers.map((number) => this.#sent.get(number) as PendingAppend);
    for (const number of numbers) this.#sent.delete(number);
    this.#release(appends);
    const acknowledged = new Map<string, AcknowledgedRecords>();
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
      if (!this.#listeners.has(append.topic)) continue;
      const known = acknowledged.get(append.topic) ?? {
        after: stored.previous,
        records: [],
        isComplete: true,
      };
      acknowledged.set(append.topic, known);
      addRecords(known, append, { stored, appended });
    }
    for (const [topic, known] of acknowledged) {
      this.#listeners.notify(topic, known.isComplete ? known : undefined);
    }
  }

  /** Ends the log, because one of its threads has ended. */
  #fail(error: ConnectError): void {
    if (this.#ended !== undefined && this.#closing === undefined) return;
    this.#ended ??= { error };
    // Before that the error that open() throws tells the caller everything.
    if (this.#isOpened) this.#incidents.report("append", error);
    clearInterval(this.#tickTimer);
    const appends = [...this.#sent.values(), ...this.#next.splice(0)];
    this.#sent.clear();
    this.#release(appends);
    for (const { outcome } of appends) outcome.reject(error);
    this.#listeners.close(error);
  }

  /** Counts appends as no longer waiting. */
  #release(appends: readonly PendingAppend[]): void {
    this.#writer.hold(-appends.length);
    for (const { owner, records, bytes } of appends) {
      if (owner !== undefined && --owner.appends === 0) this.#owners.delete(owner.key);
      this.#waiting.records -= records.length;
      this.#waiting.bytes -= bytes;
    }
    const { records, bytes } = this.#waiting;
    if (records > MAX_WAITING.records / 2 || bytes > MAX_WAITING.bytes / 2) return;
    this.#incidents.ended("overload", `the disk of ${this.#path} keeps up again`);
  }

  /** Counts an append of an owner. @param number that of the append: a number of which no other owner is */
  #ownerOf(key: unknown, number: number): Owner {
    const owner = this.#owners.get(key) ?? { key, number, appends: 0 };
    owner.appends++;
    this.#owners.set(key, owner);
    return owner;
  }

  #cursorsOf(topic: string): Cursors {
    let cursors = this.#cursors.get(topic);
    if (cursors === undefined) {
      if (this.#cursors.size >= MAX_CURSORS) this.#cursors.clear();
      cursors = cursorsOf(this.epoch, topic);
      this.#cursors.set(topic, cursors);
    }
    return cursors;
  }

  #check(topic: string): void {
    this.#checkOpen();
    checkTopic(topic);
  }

  async #position(topic: string, which: "oldest" | "end"): Promise<TopicPosition> {
    this.#check(topic);
    const position = await this.#read<number>({ do: which, topic });
    return { position, cursor: this.#cursorsOf(topic).write(position) };
  }

  #checkWaiting(): void {
    const { records, bytes } = this.#waiting;
    if (records < MAX_WAITING.records && bytes < MAX_WAITING.bytes) return;
    const forClients = `${records} records of ${bytes} B wait for the disk of the server's log, which does not keep up: nothing more was stored; send it again later`;
    const forOperator = `the disk of ${this.#path} does not keep up: appends are refused while ${MAX_WAITING.records} records or ${MAX_WAITING.bytes} B wait for it`;
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
    if (this.#ended !== undefined) throw this.#ended.error;
  }
}

/** Adds those records of an append that had not been stored before. */
function addRecords(
  acknowledged: AcknowledgedRecords,
  { payloads }: PendingAppend,
  { stored, appended }: { stored: StoredAppend; appended: readonly Appended[] },
): void {
  if (payloads === undefined) acknowledged.isComplete = false;
  for (const [n, { cursor, repeated }] of appended.entries()) {
    if (repeated || payloads === undefined) continue;
    const position = stored.positions[n] as number;
    const data = payloads[n] as Uint8Array;
    acknowledged.records.push({ kind: "record", position, cursor, data, timeMs: stored.timeMs });
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
