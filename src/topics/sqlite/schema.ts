import { statSync } from "node:fs";
import { crc32 } from "node:zlib";
import Database from "better-sqlite3";
import { damaged, precondition } from "./message.ts";

/**
 *     meta      the epoch; `floor`, after which the positions of this opening begin;
 *               `indexed`, the position up to which `produced` is complete
 *     topics    a row for each topic: its newest position, its size, what was removed
 *     records   in the order of their positions, which all topics share
 *     produced  the position of a producer's record by its sequence (producer-index.ts)
 *
 * The data of a record is its last column: SQLite reads all columns before the one that it needs,
 * and a search for producers must not read the data.
 *
 * A record has the position of the previous record of its topic (`previous`; 0 for the first), so
 * that a missing record is noticed. `crc` covers everything that a reader gets.
 *
 * The row of a topic stays when its newest record is removed. Only the row tells the cursor of that
 * record, after which nothing is missing, from earlier cursors: without the row a reader at the end
 * would get a gap although nothing is missing.
 */
const SCHEMA = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
  CREATE TABLE topics (
    name TEXT PRIMARY KEY, id INTEGER NOT NULL,
    trimmed INTEGER NOT NULL, last INTEGER NOT NULL,
    count INTEGER NOT NULL, bytes INTEGER NOT NULL, crc INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE UNIQUE INDEX by_id ON topics (id);
  CREATE TABLE records (
    position INTEGER PRIMARY KEY, topic INTEGER NOT NULL, previous INTEGER NOT NULL,
    time INTEGER NOT NULL, crc INTEGER NOT NULL,
    producer TEXT, sequence INTEGER, data BLOB NOT NULL
  );
  CREATE INDEX by_topic ON records (topic, position);
  CREATE TABLE produced (
    topic INTEGER, producer TEXT, sequence INTEGER, position INTEGER NOT NULL,
    PRIMARY KEY (topic, producer, sequence)
  ) WITHOUT ROWID;
`;

/** Stands in the header of the file, so that the database of another program is not taken for a log. */
const APPLICATION_ID = 0x68777372;
const FORMAT = 3;

/** Files of up to this size are checked as a whole when they are opened, which takes some tenths of a second. */
const QUICK_CHECK_BYTES = 64 * 2 ** 20;

export type FileConnection = Database.Database;

/** A row of `topics`. */
export interface TopicRow {
  readonly id: number;
  /** The newest dropped position; 0 if no record was dropped. */
  trimmed: number;
  last: number;
  /** How many records are in the table, including dropped ones that are not deleted yet. */
  count: number;
  bytes: number;
}

export type RawTopic = [
  name: string,
  id: number,
  ...numbers: [number, number, number, number, number],
];

export const TOPIC_COLUMNS = "name, id, trimmed, last, count, bytes, crc";

/** Opens the file to write. A new file becomes a log. */
export function connectWriter(
  path: string,
  newEpoch: string,
  maxPages: number | undefined,
): { connection: FileConnection; epoch: string } {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const connection = new Database(path, { timeout: 1_000 });
  try {
    if (size > 0 && !isOurs(connection)) {
      throw precondition(`${path} is a database of something else: give the log a file of its own`);
    }
    connection.pragma("journal_mode = WAL");
    connection.pragma("synchronous = FULL");
    connection.pragma("journal_size_limit = 67108864");
    if (maxPages !== undefined) connection.pragma(`max_page_count = ${maxPages}`);
    if (size > 0 && size <= QUICK_CHECK_BYTES) {
      const [found] = connection.pragma("quick_check(1)") as { quick_check: string }[];
      if (found?.quick_check !== "ok") throw damaged(path, `${found?.quick_check}`);
    }
    return { connection, epoch: prepare(connection, path, newEpoch) };
  } catch (error) {
    connection.close();
    throw error;
  }
}

/**
 * Whether the file is a log or empty. The file is empty if the process that created it ended before it
 * created the tables.
 */
function isOurs(connection: FileConnection): boolean {
  const id = connection.pragma("application_id", { simple: true });
  if (id !== 0) return id === APPLICATION_ID;
  return connection.prepare("SELECT count(*) FROM sqlite_schema").pluck().get() === 0;
}

/** Opens the file to read. The writer must have made it a log. */
export function connectReader(path: string): FileConnection {
  return new Database(path, { readonly: true, fileMustExist: true, timeout: 1_000 });
}

function prepare(connection: FileConnection, path: string, newEpoch: string): string {
  const make = connection.transaction(() => {
    const format = connection.pragma("user_version", { simple: true });
    if (format === 0) {
      connection.exec(SCHEMA);
      connection.prepare("INSERT INTO meta VALUES ('epoch', ?)").run(newEpoch);
      connection.pragma(`application_id = ${APPLICATION_ID}`);
      connection.pragma(`user_version = ${FORMAT}`);
    } else if (format !== FORMAT) {
      throw precondition(
        `${path} has format ${format}, this version of Hawser writes ${FORMAT}: use the one that made it`,
      );
    }
    return connection.prepare("SELECT value FROM meta WHERE key = 'epoch'").pluck().get();
  });
  const epoch = make.immediate();
  if (typeof epoch !== "string" || !/^[0-9a-f]{16}$/.test(epoch)) {
    throw damaged(path, "it has no epoch");
  }
  return epoch;
}

const head = new DataView(new ArrayBuffer(32));
const headBytes = new Uint8Array(head.buffer);

export function recordCrc(
  topic: number,
  { position, previous, timeMs }: { position: number; previous: number; timeMs: number },
  data: Uint8Array,
): number {
  head.setFloat64(0, topic);
  head.setFloat64(8, position);
  head.setFloat64(16, previous);
  head.setFloat64(24, timeMs);
  return crc32(data, crc32(headBytes));
}

export function topicCrc(name: string, { id, trimmed, last, count, bytes }: TopicRow): number {
  return crc32(JSON.stringify([name, id, trimmed, last, count, bytes]));
}

/** Reads a row of `topics`. Throws DATA_LOSS if its checksum is wrong. */
export function topicOf(raw: RawTopic, path: string): TopicRow {
  const [name, id, trimmed, last, count, bytes, crc] = raw;
  const row = { id, trimmed, last, count, bytes };
  if (topicCrc(name, row) !== crc) throw damaged(path, `the entry of topic ${name}`);
  return row;
}
