import type { FileConnection } from "./schema.ts";

/** The entries of so many records wait in memory before they move to the table; those of as many again may be on their way. */
const RUN = 4096;

/** With each record that is stored so many entries move: a run is there before the next has come together. */
const MOVED_WITH_EACH = 2;

interface ProducedRecord {
  readonly key: string;
  readonly topic: number;
  readonly producer: string;
  readonly sequence: bigint;
  readonly position: number;
}

/** How far it has come. */
interface IndexState {
  /** Records that were stored since the last run began, and the last of them. */
  records: number;
  last: number;
  /** How much of the run is in the table, and whether the file says that all of it is. */
  moved: number;
  isIndexed: boolean;
}

type Row = [topic: bigint, producer: string | null, sequence: bigint | null, position: bigint];

/**
 * Which record is a producer's with some sequence: for the writer, which stores
 * none twice. A table in that order has a page of its own for each producer
 * who is busy, and a commit would write all of those, where it writes the
 * records in one: three times as slow, with 64 of them. So entries wait in
 * memory and move to the table by runs that are in its order, a few with each
 * record; what the table lacks is read from the newest records when the log is
 * opened: `indexed` in the file says from where on.
 *
 *     stored ──> fresh ──> moving, in the order of the table ──> the table
 *
 * What is done between two calls of settle() belongs to one transaction.
 */
export class Produced {
  readonly #statements: ReturnType<typeof prepare>;
  #fresh = new Map<string, ProducedRecord>();
  #moving = new Map<string, ProducedRecord>();
  /** What moves, in order; and the last record before it began to. */
  #run: readonly ProducedRecord[] = [];
  #runUpTo = 0;
  /** As it was when the last transaction ended, and as it is in this one. */
  #settled: IndexState = { records: 0, last: 0, moved: 0, isIndexed: true };
  #now: IndexState = this.#settled;
  /** Of this transaction. */
  #added: string[] = [];
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
      const entry = recordOf({ topic: Number(topic), producer, sequence, position: last });
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

  /** A record was stored; `producer` and `sequence`: where it has an id. */
  stored(
    topic: number,
    position: number,
    { producer, sequence }: { producer: string | null; sequence: bigint | null },
  ): void {
    this.#now.records++;
    this.#now.last = position;
    if (producer !== null && sequence !== null) {
      const entry = recordOf({ topic, producer, sequence, position });
      this.#fresh.set(entry.key, entry);
      this.#added.push(entry.key);
    }
    this.#move(MOVED_WITH_EACH);
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
    if (this.#now.isIndexed && this.#now.records >= RUN) this.#begin();
    this.#end(this.#now);
  }

  /** The transaction was rolled back. */
  undo(): void {
    // One that was there before was of a record that is gone, or it would have been found.
    for (const key of this.#added) this.#fresh.delete(key);
    this.#end(this.#settled);
  }

  #end(progress: IndexState): void {
    this.#settled = progress;
    this.#now = { ...progress };
    this.#added = [];
    this.#removed = [];
  }

  /** What came together begins to move. */
  #begin(): void {
    this.#moving = this.#fresh;
    this.#fresh = new Map();
    this.#run = [...this.#moving.values()].sort(inOrder);
    this.#runUpTo = this.#now.last;
    this.#now = { records: 0, last: this.#now.last, moved: 0, isIndexed: false };
  }

  #move(count: number): void {
    const now = this.#now;
    if (now.isIndexed) return;
    for (let left = count; left > 0 && now.moved < this.#run.length; left--) {
      const entry = this.#run[now.moved++] as ProducedRecord;
      const { key, topic, producer, sequence, position } = entry;
      // Its record may have been deleted.
      if (this.#moving.get(key) === entry) {
        this.#statements.insert.run(topic, producer, sequence, position);
      }
    }
    if (now.moved < this.#run.length) return;
    this.#statements.index.run(this.#runUpTo);
    now.isIndexed = true;
  }
}

function recordOf(record: Omit<ProducedRecord, "key">): ProducedRecord {
  return { key: keyOf(record.topic, record.producer, record.sequence), ...record };
}

function keyOf(topic: number, producer: string, sequence: bigint): string {
  return `${topic} ${sequence} ${producer}`;
}

function inOrder(a: ProducedRecord, b: ProducedRecord): number {
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
