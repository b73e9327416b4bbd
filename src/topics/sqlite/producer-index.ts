import type { FileConnection } from "./schema.ts";

/**
 * When entries of this many records wait in memory, they begin to move to the table; meanwhile
 * others begin to wait.
 */
const RUN_RECORDS = 4096;

/** How many entries move with each record that is stored: a run has moved before the next one is full. */
const MOVED_PER_RECORD = 2;

/** Which record has a producer's sequence in a topic. */
interface IndexEntry {
  readonly key: string;
  readonly topic: number;
  readonly producer: string;
  readonly sequence: bigint;
  readonly position: number;
}

interface IndexState {
  /** How many records were stored since the last run began. */
  records: number;
  /** The position of the last of them. */
  last: number;
  /** How many entries of the run are in the table. */
  moved: number;
  /** Whether the file says that all of the run are. */
  isIndexed: boolean;
}

type Row = [topic: bigint, producer: string | null, sequence: bigint | null, position: bigint];

/**
 * Finds a record by its topic, producer and sequence: for the writer, which stores
 * none twice. The table `produced` is in that order: each busy producer has a
 * page of its own there, and a commit that wrote the entries with their records
 * would write all of those pages: with 64 producers that is three times as slow.
 * So entries wait in memory, and move to the table by runs in its order, some
 * with each record. What the table lacks is read from the newest records when the
 * log is opened: `indexed` in the file is the position from which on.
 *
 *     stored ──> fresh ──> moving, in the order of the table ──> the table
 *
 * What is called between two calls of settle() belongs to one transaction.
 */
export class ProducerIndex {
  readonly #statements: ReturnType<typeof prepare>;
  #fresh = new Map<string, IndexEntry>();
  #moving = new Map<string, IndexEntry>();
  /** The entries of #moving, in the order of the table. */
  #run: readonly IndexEntry[] = [];
  /** The position of the last record that was stored before the run began. */
  #runUpTo = 0;
  /** The state after the last transaction. */
  #settled: IndexState = { records: 0, last: 0, moved: 0, isIndexed: true };
  /** The state in this transaction. */
  #now: IndexState = this.#settled;
  /** The keys that this transaction added. */
  #added: string[] = [];
  /** The keys that this transaction removed, where their records are not after `upTo`. */
  #removed: { readonly key: string; readonly upTo: number }[] = [];

  constructor(connection: FileConnection) {
    this.#statements = prepare(connection);
    const indexed = (this.#statements.indexed.get() as number | undefined) ?? 0;
    let { records, last } = this.#settled;
    for (const row of this.#statements.rest.iterate(indexed)) {
      const [topic, producer, sequence, position] = row as Row;
      records++;
      last = Number(position);
      if (producer === null || sequence === null) continue;
      const entry = entryOf({ topic: Number(topic), producer, sequence, position: last });
      this.#fresh.set(entry.key, entry);
    }
    this.#now = { ...this.#settled, records, last };
    this.settle();
  }

  /** The position of a record that is stored. */
  find(topic: number, producer: string, sequence: bigint): number | undefined {
    const key = keyOf(topic, producer, sequence);
    const waiting = this.#fresh.get(key) ?? this.#moving.get(key);
    if (waiting !== undefined) return waiting.position;
    return this.#statements.find.get(topic, producer, sequence) as number | undefined;
  }

  /** A record was stored; `producer` and `sequence` are null where it has no id. */
  add(
    topic: number,
    position: number,
    { producer, sequence }: { producer: string | null; sequence: bigint | null },
  ): void {
    this.#now.records++;
    this.#now.last = position;
    if (producer !== null && sequence !== null) {
      const entry = entryOf({ topic, producer, sequence, position });
      this.#fresh.set(entry.key, entry);
      this.#added.push(entry.key);
    }
    this.#move(MOVED_PER_RECORD);
  }

  /** The records of a topic up to a position are about to be deleted. */
  remove(topic: number, upTo: number): void {
    for (const row of this.#statements.gone.all(topic, upTo)) {
      const [producer, sequence] = row as [string, bigint];
      this.#statements.delete.run(topic, producer, sequence, upTo);
      this.#removed.push({ key: keyOf(topic, producer, sequence), upTo });
    }
  }

  /** The transaction was committed. */
  settle(): void {
    for (const { key, upTo } of this.#removed) {
      for (const entries of [this.#fresh, this.#moving]) {
        if ((entries.get(key)?.position ?? Infinity) <= upTo) entries.delete(key);
      }
    }
    if (this.#now.isIndexed && this.#now.records >= RUN_RECORDS) this.#beginRun();
    this.#end(this.#now);
  }

  /** The transaction was rolled back. */
  undo(): void {
    // An entry that had the same key before was of a record that is gone: find() would have found another.
    for (const key of this.#added) this.#fresh.delete(key);
    this.#end(this.#settled);
  }

  #end(state: IndexState): void {
    this.#settled = state;
    this.#now = { ...state };
    this.#added = [];
    this.#removed = [];
  }

  /** The entries that waited begin to move. */
  #beginRun(): void {
    this.#moving = this.#fresh;
    this.#fresh = new Map();
    this.#run = [...this.#moving.values()].sort(inTableOrder);
    this.#runUpTo = this.#now.last;
    this.#now = { records: 0, last: this.#now.last, moved: 0, isIndexed: false };
  }

  #move(count: number): void {
    const now = this.#now;
    if (now.isIndexed) return;
    for (let left = count; left > 0 && now.moved < this.#run.length; left--) {
      const entry = this.#run[now.moved++] as IndexEntry;
      const { key, topic, producer, sequence, position } = entry;
      // The record may have been deleted, and its entry with it.
      if (this.#moving.get(key) === entry) {
        this.#statements.insert.run(topic, producer, sequence, position);
      }
    }
    if (now.moved < this.#run.length) return;
    this.#statements.index.run(this.#runUpTo);
    now.isIndexed = true;
  }
}

function entryOf(fields: Omit<IndexEntry, "key">): IndexEntry {
  return { key: keyOf(fields.topic, fields.producer, fields.sequence), ...fields };
}

function keyOf(topic: number, producer: string, sequence: bigint): string {
  return `${topic} ${sequence} ${producer}`;
}

function inTableOrder(a: IndexEntry, b: IndexEntry): number {
  if (a.topic !== b.topic) return a.topic - b.topic;
  if (a.producer !== b.producer) return a.producer < b.producer ? -1 : 1;
  return a.sequence < b.sequence ? -1 : 1;
}

function prepare(connection: FileConnection) {
  const key = "topic = ? AND producer = ? AND sequence = ?";
  return {
    indexed: connection.prepare("SELECT value FROM meta WHERE key = 'indexed'").pluck(),
    index: connection.prepare("INSERT OR REPLACE INTO meta VALUES ('indexed', ?)"),
    rest: connection
      .prepare(
        `SELECT topic, producer, sequence, position FROM records
         WHERE position > ? ORDER BY position`,
      )
      .raw()
      .safeIntegers(),
    find: connection.prepare(`SELECT position FROM produced WHERE ${key}`).pluck(),
    insert: connection.prepare("INSERT OR REPLACE INTO produced VALUES (?, ?, ?, ?)"),
    gone: connection
      .prepare(
        `SELECT producer, sequence FROM records
         WHERE topic = ? AND position <= ? AND producer IS NOT NULL`,
      )
      .raw()
      .safeIntegers(),
    delete: connection.prepare(`DELETE FROM produced WHERE ${key} AND position <= ?`),
  };
}
