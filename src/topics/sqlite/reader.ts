import type { PageLimits, TopicsPage } from "../log.ts";
import { damaged, FOREIGN, type PageColumns } from "./message.ts";
import {
  connectReader,
  type FileConnection,
  type RawTopic,
  recordCrc,
  TOPIC_COLUMNS,
  type TopicRow,
  topicOf,
} from "./schema.ts";

type RawRecord = [position: number, previous: number, time: number, crc: number, data: Buffer];

/** Stands for a topic that was never appended to. */
const NO_TOPIC: TopicRow = { id: 0, trimmed: 0, last: 0, count: 0, bytes: 0 };

/** Reads a log's file in parallel with its writer, which never waits for the reader. */
export class FileReader {
  readonly #path: string;
  readonly #connection: FileConnection;
  readonly #statements: ReturnType<typeof prepare>;

  constructor(path: string) {
    this.#path = path;
    this.#connection = connectReader(path);
    this.#statements = prepare(this.#connection);
  }

  page(name: string, after: number | undefined, limits: Required<PageLimits>): PageColumns {
    // In a transaction all statements see the same state of the file.
    return this.#connection.transaction(() => this.#page(name, after, limits))();
  }

  /** Returns the newest dropped position, which may be the position of another topic's record. */
  oldest(name: string): number {
    return this.#topic(name).trimmed;
  }

  end(name: string): number {
    return this.#topic(name).last;
  }

  topics({ prefix, after, limit }: Required<TopicsPage> & { readonly prefix: string }): string[] {
    const names: string[] = [];
    const found = this.#statements.names.iterate(prefix, after) as Iterable<string>;
    for (const name of found) {
      if (names.length >= limit || !name.startsWith(prefix)) break;
      names.push(name);
    }
    return names;
  }

  close(): void {
    this.#connection.close();
  }

  #page(
    name: string,
    after: number | undefined,
    { records, bytes }: Required<PageLimits>,
  ): PageColumns {
    const topic = this.#topic(name);
    let [from, gap] = startOf(topic, after);
    const page = new PageBuilder();
    const rows = this.#statements.records.iterate(topic.id, from, records);
    for (const row of rows as Iterable<RawRecord>) {
      const [position, previous, timeMs, crc, data] = row;
      if (previous !== from && page.isEmpty) {
        // The record of the cursor has vanished: report a gap, as if all records before the next
        // one were dropped.
        from = this.#lastUpTo(topic, from);
        gap = from;
      }
      const isIntact =
        previous === from && recordCrc(topic.id, { position, previous, timeMs }, data) === crc;
      if (!isIntact) {
        if (!page.isEmpty) return page.columns(gap);
        throw damaged(this.#path, `the record ${position} of topic ${name}, or one before`);
      }
      page.add(position, timeMs, data);
      from = position;
      if (page.bytes >= bytes) return page.columns(gap);
    }
    if (page.isEmpty && from !== topic.last) {
      throw damaged(this.#path, `records of topic ${name} after ${from} are missing`);
    }
    return page.columns(gap);
  }

  /** Returns the position of a topic's newest record that is not after a position. */
  #lastUpTo(topic: TopicRow, position: number): number {
    const found = this.#statements.before.get(topic.id, position) as number | null;
    return Math.max(found ?? 0, topic.trimmed);
  }

  #topic(name: string): TopicRow {
    const raw = this.#statements.topic.get(name) as RawTopic | undefined;
    return raw === undefined ? NO_TOPIC : topicOf(raw, this.#path);
  }
}

/** Returns the position after which a page begins, and the gap that comes first, if there is one. */
function startOf(
  topic: TopicRow,
  after: number | undefined,
): [from: number, gap: number | undefined] {
  const { trimmed, last } = topic;
  if (after === undefined) return [trimmed, undefined];
  if (after === FOREIGN || after < trimmed) return [trimmed, trimmed];
  return after > last ? [last, last] : [after, undefined];
}

class PageBuilder {
  readonly #positions: number[] = [];
  readonly #times: number[] = [];
  readonly #data: Buffer[] = [];
  bytes = 0;

  get size(): number {
    return this.#positions.length;
  }

  get isEmpty(): boolean {
    return this.size === 0;
  }

  add(position: number, timeMs: number, data: Buffer): void {
    this.#positions.push(position);
    this.#times.push(timeMs);
    this.#data.push(data);
    this.bytes += data.length;
  }

  columns(gap: number | undefined): PageColumns {
    const data = new Uint8Array(this.bytes);
    let at = 0;
    for (const bytes of this.#data) {
      data.set(bytes, at);
      at += bytes.length;
    }
    const sizes = this.#data.map(({ length }) => length);
    return { gap, positions: this.#positions, times: this.#times, sizes, data };
  }
}

function prepare(connection: FileConnection) {
  return {
    topic: connection.prepare(`SELECT ${TOPIC_COLUMNS} FROM topics WHERE name = ?`).raw(),
    names: connection
      .prepare(
        "SELECT name FROM topics WHERE name >= ? AND name > ? AND trimmed < last ORDER BY name",
      )
      .pluck(),
    before: connection
      .prepare("SELECT max(position) FROM records WHERE topic = ? AND position <= ?")
      .pluck(),
    records: connection
      .prepare(
        `SELECT position, previous, time, crc, data FROM records
         WHERE topic = ? AND position > ? ORDER BY position LIMIT ?`,
      )
      .raw(),
  };
}
