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

/** The limits of one sweep. */
const SWEEP = { records: 256, bytes: 2 ** 20 };

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
  readonly #lock: Disposable;
  readonly #connection: FileConnection;
  readonly #statements: ReturnType<typeof prepare>;
  readonly #producers: ProducerIndex;
  readonly #topics = new Map<string, TopicRow>();
  /** The topics that this transaction changes, with their rows before it; `undefined` if the topic is new. */
  readonly #touched = new Map<string, TopicRow | undefined>();
  /** Topics that may have records to delete. */
  readonly #due = new Set<string>();
  #position = 0;
  #nextId = 1;
  #timeMs = 0;

  constructor({ path, retention, maxPages }: ThreadData, newEpoch: string, nowMs: number) {
    this.#path = path;
    this.#retention = retention;
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
   * Stores appends in one transaction. If that fails, stores each in a separate transaction: an
   * append that is too large does not fail the others.
   */
  append(appends: readonly Append[]): AppendOutcome[] {
    try {
      return this.#transaction(() => appends.map((append) => this.#append(append)));
    } catch (error) {
      if (isFatal(error)) throw error;
      // A lock of another program would fail each of them too, each after the full wait.
      if (appends.length === 1 || isBusy(error)) {
        const failed = failureOf(error, this.#path);
        return appends.map(() => failed);
      }
    }
    return appends.map((append) => {
      try {
        return this.#transaction(() => this.#append(append));
      } catch (error) {
        if (isFatal(error)) throw error;
        return failureOf(error, this.#path);
      }
    });
  }

  /** Drops records up to a position: they can no longer be read. sweep() deletes them. */
  trim(name: string, upTo: number): void {
    const before = this.#topics.get(name);
    if (before === undefined) return;
    const last = this.#statements.last.get(before.id, upTo) as number | null;
    if (last === null || last <= before.trimmed) return;
    this.#transaction(() => {
      this.#touch(name).trimmed = last;
    });
    this.#due.add(name);
  }

  /** Looks for topics with records that are older than ageMs. */
  tick(nowMs: number): void {
    const oldest = this.#statements.oldest.get() as number | undefined;
    if (oldest === undefined || oldest >= nowMs - this.#retention.ageMs) return;
    for (const [name, { count }] of this.#topics) if (count > 0) this.#due.add(name);
  }

  /** Whether there is something to delete. */
  get isDue(): boolean {
    return this.#due.size > 0;
  }

  /** Deletes some of the records that are dropped or past the retention. Returns whether there are more. */
  sweep(nowMs: number): boolean {
    const [name] = this.#due;
    if (name === undefined) return false;
    if (!this.#sweep(name, nowMs)) this.#due.delete(name);
    return this.#due.size > 0;
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

  #sweep(name: string, nowMs: number): boolean {
    const topic = this.#topics.get(name);
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
    return dropped === oldest.length || droppedBytes > SWEEP.bytes;
  }

  /** Returns the row of a topic for this transaction to change. Creates it if the topic is new. */
  #touch(name: string): TopicRow {
    const before = this.#topics.get(name);
    if (this.#touched.has(name)) return before as TopicRow;
    this.#touched.set(name, before && { ...before });
    const topic = before ?? { id: this.#nextId++, trimmed: 0, last: 0, count: 0, bytes: 0 };
    this.#topics.set(name, topic);
    return topic;
  }

  /** Commits what `change` does, with the rows of the topics that it touches. If it throws, rolls everything back. */
  #transaction<T>(change: () => T): T {
    this.#statements.begin.run();
    try {
      const result = change();
      for (const name of this.#touched.keys()) {
        const topic = this.#topics.get(name) as TopicRow;
        const { id, trimmed, last, count, bytes } = topic;
        this.#statements.topic.run(name, id, trimmed, last, count, bytes, topicCrc(name, topic));
      }
      this.#statements.commit.run();
      this.#touched.clear();
      this.#producers.onCommit();
      return result;
    } catch (error) {
      this.#producers.onRollback();
      if (this.#connection.inTransaction) this.#statements.rollback.run();
      for (const [name, before] of this.#touched) {
        if (before === undefined) this.#topics.delete(name);
        else this.#topics.set(name, before);
      }
      this.#touched.clear();
      throw error;
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
   * Reads the topics, and stores the position after which those of this opening begin, before the
   * first one is used.
   */
  #load(nowMs: number): void {
    const rows = this.#connection.prepare(`SELECT ${TOPIC_COLUMNS} FROM topics`).raw().all();
    for (const raw of rows as RawTopic[]) {
      const topic = topicOf(raw, this.#path);
      this.#topics.set(raw[0], topic);
      this.#due.add(raw[0]);
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
    commit: connection.prepare("COMMIT"),
    rollback: connection.prepare("ROLLBACK"),
    insert: connection.prepare(
      `INSERT INTO records (position, topic, previous, time, crc, producer, sequence, data)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    topic: connection.prepare("INSERT OR REPLACE INTO topics VALUES (?, ?, ?, ?, ?, ?, ?)"),
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
