import type { FileConnection } from "./schema.ts";

/**
 * When the entries of this many records are in memory, they begin to move to the table as one run.
 * New entries meanwhile wait for the next run.
 */
const RUN_RECORDS = 4096;

/** How many entries move with each record that is stored: at 2 a run has moved before the next one is full. */
const MOVED_PER_RECORD = 2;

/** The position of the record with a producer's sequence in a topic. */
interface IndexEntry {
  readonly key: string;
  readonly topic: number;
  readonly producer: string;
  readonly sequence: bigint;
  readonly position: number;
}

interface IndexState {
  /** How many records were stored since the current run began. */
  records: number;
  /** The position of the newest record. */
  last: number;
  /** How many entries of the run are in the table. */
  moved: number;
  /** Whether the whole run is in the table, according to the file. */
  isIndexed: boolean;
}

type Row = [topic: bigint, producer: string | null, sequence: bigint | null, position: bigint];

/**
 * Finds a record by its topic, producer and sequence, so that the writer stores no record twice.
 * The table `produced` is in that order: each busy producer has its own page there, and a commit
 * that wrote the entries with their records would write all of those pages, which is three times as
 * slow with 64 producers. So entries wait in memory, and move to the table in runs sorted by the
 * order of the table, some with each record. When the log is opened, entries that the table lacks
 * are read from the records: those after the position `indexed` in the file.
 *
 *     stored ──> fresh ──> moving, in the order of the table ──> the table
 *
 * All calls between two calls of onCommit() belong to one transaction.
 */
export class ProducerIndex {
  readonly #statements: ReturnType<typeof prepare>;
  #fresh = new Map<string, IndexEntry>();
  #moving = new Map<string, IndexEntry>();
  /** The entries of #moving, in the order of the table. */
  #run: readonly IndexEntry[] = [];
  /** The position of the newest record when the run began. */
  #runUpTo = 0;
  /** The state after the previous transaction. */
  #committed: IndexState = { records: 0, last: 0, moved: 0, isIndexed: true };
  /** The state in this transaction. */
  #now: IndexState = this.#committed;
  /** The keys that this transaction added. */
  #added: string[] = [];
  /** The keys whose entries this transaction removed, if their records are not after `upTo`. */
  #removed: { readonly key: string; readonly upTo: number }[] = [];

  constructor(connection: FileConnection) {
    this.#statements = prepare(connection);
    const indexed = (this.#statements.indexed.get() as number | undefined) ?? 0;
    let { records, last } = this.#committed;
    for (const row of this.#statements.rest.iterate(indexed)) {
      const [topic, producer, sequence, position] = row as Row;
      records++;
      last = Number(position);
      if (producer === null || sequence === null) continue;
      const entry = entryOf({ topic: Number(topic), producer, sequence, position: last });
      this.#fresh.set(entry.key, entry);
    }
    this.#now = { ...this.#committed, records, last };
    this.onCommit();
  }

  /** Returns the position of a stored record, or `undefined` if the record is not stored. */
  find(topic: number, producer: string, sequence: bigint): number | undefined {
    const key = keyOf(topic, producer, sequence);
    const waiting = this.#fresh.get(key) ?? this.#moving.get(key);
    if (waiting !== undefined) return waiting.position;
    return this.#statements.find.get(topic, producer, sequence) as number | undefined;
  }

  /** Adds a record that was stored; `producer` and `sequence` are null if it has no id. */
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

  /** Removes the entries of a topic's records up to a position. Call this before the records are deleted. */
  remove(topic: number, upTo: number): void {
    for (const row of this.#statements.dropped.all(topic, upTo)) {
      const [producer, sequence] = row as [string, bigint];
      this.#statements.delete.run(topic, producer, sequence, upTo);
      this.#removed.push({ key: keyOf(topic, producer, sequence), upTo });
    }
  }

  /** Keeps the changes of this transaction, which was committed. */
  onCommit(): void {
    for (const { key, upTo } of this.#removed) {
      for (const entries of [this.#fresh, this.#moving]) {
        if ((entries.get(key)?.position ?? Infinity) <= upTo) entries.delete(key);
      }
    }
    if (this.#now.isIndexed && this.#now.records >= RUN_RECORDS) this.#beginRun();
    this.#end(this.#now);
  }

  /** Reverts the changes of this transaction, which was rolled back. */
  onRollback(): void {
    // An older entry with the same key belonged to a dropped record: otherwise find() would have
    // found that record.
    for (const key of this.#added) this.#fresh.delete(key);
    this.#end(this.#committed);
  }

  #end(state: IndexState): void {
    this.#committed = state;
    this.#now = { ...state };
    this.#added = [];
    this.#removed = [];
  }

  /** Begins to move the entries that have waited. */
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
      // The record may have been deleted meanwhile, and its entry too.
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
    dropped: connection
      .prepare(
        `SELECT producer, sequence FROM records
         WHERE topic = ? AND position <= ? AND producer IS NOT NULL`,
      )
      .raw()
      .safeIntegers(),
    delete: connection.prepare(`DELETE FROM produced WHERE ${key} AND position <= ?`),
  };
}
