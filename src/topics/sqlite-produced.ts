import type { Connection } from "./sqlite-schema.ts";

/** So many wait in memory before they move to the table; as many again may be on their way. */
const RUN = 4096;

/** For each record that is appended so many entries move: a run is there before the next has come together. */
const MOVED_FOR_EACH = 2;

interface Entry {
  readonly key: string;
  readonly topic: number;
  readonly producer: string;
  readonly sequence: bigint;
  readonly position: number;
}

/**
 * Which record is a producer's with some sequence: for the writer, which stores
 * none twice. A table in that order has a page of its own for each producer
 * who is busy, and a commit would write all of those, where it writes the
 * records in one: three times as slow, with 64 of them. So entries wait in
 * memory and move to the table by runs that are in its order, a few with each
 * transaction; what the table lacks is read from the records when the log is
 * opened.
 *
 *     add ──> fresh ──> moving, in the order of the table ──> the table
 *
 * What is done between two calls of settle() belongs to one transaction.
 */
export class Produced {
  readonly #statements: ReturnType<typeof prepare>;
  #fresh = new Map<string, Entry>();
  #moving = new Map<string, Entry>();
  /** The run that moves, and how many of it are in the table. */
  #run: readonly Entry[] = [];
  #moved = 0;
  /** Of this transaction: what was added, how far the run came, what was removed. */
  #added: string[] = [];
  #movedNow = 0;
  #removed: { readonly key: string; readonly upTo: number }[] = [];

  constructor(connection: Connection) {
    this.#statements = prepare(connection);
    const indexed = this.#statements.indexed.get() as number | undefined;
    for (const row of this.#statements.rest.iterate(indexed ?? 0)) {
      const [topic, producer, sequence, position] = row as [bigint, string, bigint, bigint];
      const entry = entryOf(Number(topic), producer, sequence, Number(position));
      this.#fresh.set(entry.key, entry);
    }
    this.settle();
  }

  /** The position of a record that is stored. */
  find(topic: number, producer: string, sequence: bigint): number | undefined {
    const key = keyOf(topic, producer, sequence);
    const waiting = this.#fresh.get(key) ?? this.#moving.get(key);
    if (waiting !== undefined) return waiting.position;
    return this.#statements.find.get(topic, producer, sequence) as number | undefined;
  }

  /** A record was stored. */
  add(topic: number, producer: string, sequence: bigint, position: number): void {
    const entry = entryOf(topic, producer, sequence, position);
    this.#fresh.set(entry.key, entry);
    this.#added.push(entry.key);
    this.#move(MOVED_FOR_EACH);
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
    this.#moved = this.#movedNow;
    for (const { key, upTo } of this.#removed) {
      for (const entries of [this.#fresh, this.#moving]) {
        if ((entries.get(key)?.position ?? Infinity) <= upTo) entries.delete(key);
      }
    }
    this.#forget();
    if (this.#moved < this.#run.length) return;
    const isFull = this.#fresh.size >= RUN;
    this.#moving = isFull ? this.#fresh : new Map();
    if (isFull) this.#fresh = new Map();
    this.#run = [...this.#moving.values()].sort(inOrder);
    this.#moved = 0;
    this.#movedNow = 0;
  }

  /** The transaction was rolled back. */
  undo(): void {
    // One that was there before was of a record that is gone, or it would have been found.
    for (const key of this.#added) this.#fresh.delete(key);
    this.#movedNow = this.#moved;
    this.#forget();
  }

  #forget(): void {
    this.#added = [];
    this.#removed = [];
  }

  #move(count: number): void {
    for (let left = count; left > 0 && this.#movedNow < this.#run.length; left--) {
      const entry = this.#run[this.#movedNow++] as Entry;
      const { key, topic, producer, sequence, position } = entry;
      // Its record may have been deleted.
      if (this.#moving.get(key) === entry) {
        this.#statements.insert.run(topic, producer, sequence, position);
      }
      if (this.#movedNow === this.#run.length) this.#statements.index.run(this.#last());
    }
  }

  /** The newest position of the run: it has all up to there that the table had not. */
  #last(): number {
    return this.#run.reduce((last, { position }) => Math.max(last, position), 0);
  }
}

function entryOf(topic: number, producer: string, sequence: bigint, position: number): Entry {
  return { key: keyOf(topic, producer, sequence), topic, producer, sequence, position };
}

function keyOf(topic: number, producer: string, sequence: bigint): string {
  return `${topic} ${sequence} ${producer}`;
}

function inOrder(a: Entry, b: Entry): number {
  if (a.topic !== b.topic) return a.topic - b.topic;
  if (a.producer !== b.producer) return a.producer < b.producer ? -1 : 1;
  return a.sequence < b.sequence ? -1 : 1;
}

function prepare(connection: Connection) {
  const key = "topic = ? AND producer = ? AND sequence = ?";
  return {
    indexed: connection.prepare("SELECT value FROM meta WHERE key = 'indexed'").pluck(),
    index: connection.prepare("INSERT OR REPLACE INTO meta VALUES ('indexed', ?)"),
    rest: connection
      .prepare(
        `SELECT topic, producer, sequence, position FROM records
         WHERE position > ? AND producer IS NOT NULL ORDER BY position`,
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
