import { overQuota, sizeInQuota } from "../quota.ts";
import type { RetentionLimits } from "../retention.ts";
import { lock } from "./lock.ts";
import {
  type AppendOutcome,
  exhausted,
  failureOf,
  isBusy,
  type StoredAppend,
  type ThreadData,
} from "./message.ts";
import { ProducerIndex } from "./producer-index.ts";
import {
  connectWriter,
  type FileConnection,
  type RawTopic,
  recordCrc,
  TOPIC_COLUMNS,
  type TopicRow,
  topicCrc,
  topicOf,
} from "./schema.ts";
import { checkWal } from "./wal.ts";

/**
 * The positions of each opening begin this far after the newest position that is stored: no
 * position is used twice, even if records were lost.
 */
const STRIDE = 2 ** 24;

/** The limits of one sweep, and of one search for topics to sweep. */
const SWEEP = { records: 256, bytes: 2 ** 20, topics: 256 };

/** One append that waits for the writer. */
export interface Append {
  readonly topic: string;
  readonly nowMs: number;
  readonly records: readonly WrittenRecord[];
}

export interface WrittenRecord {
  readonly data: Uint8Array;
  readonly producer: string | null;
  readonly sequence: bigint | null;
}

/** The writer of a log's file. It runs in its own thread; a file has only one. */
export class FileWriter {
  readonly epoch: string;
  readonly #path: string;
  readonly #retention: RetentionLimits;
  readonly #maxBytes: number;
  /** What the file uses, with the records of this transaction. Known only in a transaction of appends, if there is a maxBytes. */
  #usedBytes = 0;
  readonly #lock: Disposable;
  readonly #connection: FileConnection;
  readonly #statements: ReturnType<typeof prepare>;
  readonly #producers: ProducerIndex;
  /** The rows of the topics that this transaction changes. All others are only in the file. */
  readonly #touched = new Map<string, TopicRow>();
  /** Topics that may have records to delete. */
  readonly #due = new Set<string>();
  /** The topics after this name were not looked at since the file was opened; `undefined` if all were. */
  #unchecked: string | undefined = "";
  /** Whether there may be records that are older than ageMs. */
  #hasExpired = false;
  #position = 0;
  #nextId = 1;
  #timeMs = 0;

  constructor(
    { path, retention, maxBytes, maxPages }: ThreadData,
    newEpoch: string,
    nowMs: number,
  ) {
    this.#path = path;
    this.#retention = retention;
    this.#maxBytes = maxBytes;
    this.#lock = lock(path);
    try {
      checkWal(path);
      const { connection, epoch } = connectWriter(path, newEpoch, maxPages);
      this.#connection = connection;
      this.epoch = epoch;
    } catch (error) {
      this.#lock[Symbol.dispose]();
      throw error;
    }
    try {
      this.#statements = prepare(this.#connection);
      this.#producers = new ProducerIndex(this.#connection);
      this.#load(nowMs);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * Stores appends in one transaction, in which it takes one after the other; returns those that it has taken, and what became
   * of each. If the transaction fails, stores each in a separate one: an append that is too large does not fail the others.
   */
  append<A extends Append>(appends: Iterable<A>): { taken: A[]; outcomes: AppendOutcome[] } {
    const taken: A[] = [];
    return { taken, outcomes: this.#appendTogether(appends, taken) };
  }

  #appendTogether<A extends Append>(appends: Iterable<A>, taken: A[]): AppendOutcome[] {
    try {
      return this.#transaction(() => {
        this.#measure();
        const outcomes: AppendOutcome[] = [];
        for (const append of appends) {
          taken.push(append);
          outcomes.push(this.#append(append));
        }
        return outcomes;
      });
    } catch (error) {
      if (isFatal(error)) throw error;
      // The transaction may not even have begun.
      if (taken.length === 0) taken.push(...appends);
      // A lock of another program would fail each of them too, each after the full wait.
      if (taken.length === 1 || isBusy(error)) {
        const failed = failureOf(error, this.#path);
        return taken.map(() => failed);
      }
    }
    return taken.map((append) => {
      try {
        return this.#transaction(() => {
          this.#measure();
          return this.#append(append);
        });
      } catch (error) {
        if (isFatal(error)) throw error;
        return failureOf(error, this.#path);
      }
    });
  }

  /** Drops records up to a position: they can no longer be read. sweep() deletes them. */
  trim(name: string, upTo: number): void {
    const before = this.#read(name);
    if (before === undefined) return;
    const last = this.#statements.last.get(before.id, upTo) as number | null;
    if (last === null || last <= before.trimmed) return;
    this.#transaction(() => {
      this.#touch(name).trimmed = last;
    });
    this.#due.add(name);
  }

  /** Looks for records that are older than ageMs. */
  tick(nowMs: number): void {
    const oldest = this.#statements.oldest.get() as number | undefined;
    this.#hasExpired = oldest !== undefined && oldest < nowMs - this.#retention.ageMs;
  }

  /** Whether there may be something to delete. */
  get isDue(): boolean {
    return this.#due.size > 0 || this.#unchecked !== undefined || this.#hasExpired;
  }

  /** Deletes some of the records that are dropped or past the retention. Returns whether there may be more. */
  sweep(nowMs: number): boolean {
    const [name] = this.#due;
    if (name === undefined) this.#findDue(nowMs);
    else if (!this.#sweep(name, nowMs)) this.#due.delete(name);
    return this.isDue;
  }

  close(): void {
    this.#connection.close();
    this.#lock[Symbol.dispose]();
  }

  #append({ topic: name, records, nowMs }: Append): StoredAppend {
    const topic = this.#touch(name);
    this.#timeMs = Math.max(this.#timeMs, nowMs);
    const { last: previous } = topic;
    const positions = records.map((record) => {
      const { data, producer, sequence } = record;
      if (producer !== null && sequence !== null) {
        const before = this.#producers.find(topic.id, producer, sequence) ?? 0;
        if (before > topic.trimmed) return -before;
      }
      this.#use(sizeInQuota(data, producer));
      const { last: previous } = topic;
      const position = this.#next();
      const crc = recordCrc(topic.id, { position, previous, timeMs: this.#timeMs }, data);
      this.#statements.insert.run(
        ...([position, topic.id, previous, this.#timeMs, crc] as const),
        ...([producer, sequence, data] as const),
      );
      this.#producers.add(topic.id, position, record);
      topic.last = position;
      topic.count++;
      topic.bytes += data.length;
      if (topic.count > this.#retention.records || topic.bytes > this.#retention.bytes)
        this.#due.add(name);
      return position;
    });
    return { previous, timeMs: this.#timeMs, positions };
  }

  #measure(): void {
    if (this.#maxBytes < Number.POSITIVE_INFINITY) {
      this.#usedBytes = this.#statements.used.get() as number;
    }
  }

  /** Counts a record that is about to be stored. Throws RESOURCE_EXHAUSTED if the file would use more than maxBytes. */
  #use(bytes: number): void {
    this.#usedBytes += bytes;
    if (this.#usedBytes <= this.#maxBytes) return;
    const before = this.#usedBytes - bytes;
    const { forClients, forOperator } = overQuota(this.#path, before, this.#maxBytes);
    throw exhausted(forClients, forOperator);
  }

  /** Finds some topics that may have records to delete: after the opening all, then those of the oldest records. */
  #findDue(nowMs: number): void {
    if (this.#unchecked !== undefined) {
      const names = this.#statements.names.all(this.#unchecked, SWEEP.topics) as string[];
      for (const name of names) this.#due.add(name);
      this.#unchecked = names.length < SWEEP.topics ? undefined : names.at(-1);
    } else if (this.#hasExpired) {
      const { ageMs } = this.#retention;
      const names = this.#statements.expired.all(SWEEP.records, nowMs - ageMs) as string[];
      for (const name of names) this.#due.add(name);
      this.#hasExpired = names.length > 0;
    }
  }

  #sweep(name: string, nowMs: number): boolean {
    const topic = this.#read(name);
    // The first append of the topic exceeded the retention, and then was rolled back.
    if (topic === undefined) return false;
    const { records, bytes, ageMs } = this.#retention;
    const oldest = this.#statements.sizes.all(topic.id, SWEEP.records) as [
      number,
      number,
      number,
    ][];
    let upTo = 0;
    let [dropped, droppedBytes] = [0, 0];
    for (const [position, timeMs, size] of oldest) {
      const left = topic.count - dropped;
      const isDropped =
        position <= topic.trimmed ||
        left > records ||
        (topic.bytes - droppedBytes > bytes && left > 1) ||
        timeMs < nowMs - ageMs;
      if (!isDropped || droppedBytes > SWEEP.bytes) break;
      upTo = position;
      dropped++;
      droppedBytes += size;
    }
    if (dropped === 0) return false;
    this.#transaction(() => {
      this.#producers.remove(topic.id, upTo);
      this.#statements.delete.run(topic.id, upTo);
      const changed = this.#touch(name);
      changed.trimmed = Math.max(changed.trimmed, upTo);
      changed.count -= dropped;
      changed.bytes -= droppedBytes;
    });
    return dropped === SWEEP.records || droppedBytes > SWEEP.bytes;
  }

  /** Reads the row of a topic, as it was before this transaction. */
  #read(name: string): TopicRow | undefined {
    const raw = this.#statements.topic.get(name) as RawTopic | undefined;
    return raw && topicOf(raw, this.#path);
  }

  /** Returns the row of a topic for this transaction to change. Creates it if the topic is new. */
  #touch(name: string): TopicRow {
    let topic = this.#touched.get(name);
    if (topic === undefined) {
      topic = this.#read(name) ?? { id: this.#nextId++, trimmed: 0, last: 0, count: 0, bytes: 0 };
      this.#touched.set(name, topic);
    }
    return topic;
  }

  /** Commits what `change` does, with the rows of the topics that it touches. If it throws, rolls everything back. */
  #transaction<T>(change: () => T): T {
    this.#statements.begin.run();
    try {
      const result = change();
      for (const [name, topic] of this.#touched) {
        const { id, trimmed, last, count, bytes } = topic;
        this.#statements.store.run(name, id, trimmed, last, count, bytes, topicCrc(name, topic));
      }
      this.#statements.commit.run();
      this.#producers.onCommit();
      return result;
    } catch (error) {
      this.#producers.onRollback();
      if (this.#connection.inTransaction) this.#statements.rollback.run();
      throw error;
    } finally {
      this.#touched.clear();
    }
  }

  #next(): number {
    if (this.#position >= Number.MAX_SAFE_INTEGER) {
      throw exhausted(
        "the server's log has no positions left: nothing was stored",
        `${this.#path} has no positions left: begin a new file`,
      );
    }
    return ++this.#position;
  }

  /**
   * Checks the rows of all topics, and stores the position after which those of this opening begin,
   * before the first one is used.
   */
  #load(nowMs: number): void {
    const rows = this.#connection.prepare(`SELECT ${TOPIC_COLUMNS} FROM topics`).raw().iterate();
    for (const raw of rows as Iterable<RawTopic>) {
      const topic = topicOf(raw, this.#path);
      this.#position = Math.max(this.#position, topic.last);
      this.#nextId = Math.max(this.#nextId, topic.id + 1);
    }
    this.#timeMs = (this.#statements.newest.get() as number | undefined) ?? 0;
    const floor = this.#statements.floor.get() as number | undefined;
    if (floor !== undefined) this.#position = Math.max(this.#position, floor) + STRIDE;
    this.#transaction(() => this.#statements.begins.run(this.#position));
    this.#connection.pragma("wal_checkpoint(TRUNCATE)");
    this.tick(nowMs);
  }
}

/**
 * Whether the file can no longer be trusted after an error: a write may or may not be on the disk,
 * or the file is damaged.
 */
export function isFatal(error: unknown): boolean {
  return /^SQLITE_(IOERR_(DIR_)?FSYNC|CORRUPT|NOTADB|MISUSE|INTERNAL)/.test(
    `${(error as { code?: unknown }).code}`,
  );
}

function prepare(connection: FileConnection) {
  const get = (sql: string) => connection.prepare(sql).pluck();
  return {
    begin: connection.prepare("BEGIN IMMEDIATE"),
    used: get(
      `SELECT (page_count - freelist_count) * page_size
       FROM pragma_page_count, pragma_freelist_count, pragma_page_size`,
    ),
    commit: connection.prepare("COMMIT"),
    rollback: connection.prepare("ROLLBACK"),
    insert: connection.prepare(
      `INSERT INTO records (position, topic, previous, time, crc, producer, sequence, data)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    topic: connection.prepare(`SELECT ${TOPIC_COLUMNS} FROM topics WHERE name = ?`).raw(),
    store: connection.prepare(
      `INSERT INTO topics VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET
       trimmed = excluded.trimmed, last = excluded.last,
       count = excluded.count, bytes = excluded.bytes, crc = excluded.crc`,
    ),
    names: get("SELECT name FROM topics WHERE name > ? AND count > 0 ORDER BY name LIMIT ?"),
    // All topics share the order of positions, and no time is before an earlier one. CROSS JOIN: the few records come first.
    expired: get(
      `SELECT DISTINCT name FROM (SELECT topic, time FROM records ORDER BY position LIMIT ?) AS oldest
       CROSS JOIN topics ON topics.id = oldest.topic WHERE time < ?`,
    ),
    last: get("SELECT max(position) FROM records WHERE topic = ? AND position <= ?"),
    oldest: get("SELECT time FROM records ORDER BY position LIMIT 1"),
    newest: get("SELECT time FROM records ORDER BY position DESC LIMIT 1"),
    sizes: connection
      .prepare(
        `SELECT position, time, length(data) FROM records
         WHERE topic = ? ORDER BY position LIMIT ?`,
      )
      .raw(),
    delete: connection.prepare("DELETE FROM records WHERE topic = ? AND position <= ?"),
    floor: get("SELECT value FROM meta WHERE key = 'floor'"),
    begins: connection.prepare("INSERT OR REPLACE INTO meta VALUES ('floor', ?)"),
  };
}
