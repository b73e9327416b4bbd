/**
 * A log keeps topics: named, ordered, append-only sequences of records.
 *
 *     append ──> the log ──> page, read ──> the hub ──> subscribers
 *
 * Positions in a topic grow from record to record, not always by one. Clients get a position as a
 * cursor: an opaque text, bound to its topic and to the log's epoch (cursor.ts). "After a cursor"
 * means after its position. The name of a topic has 1 to 320 bytes of UTF-8.
 *
 * Every log keeps to these rules; test/contract/ tests each engine against them:
 *
 * 1. append() resolves when the records are as durable as the log promises, and rejects otherwise.
 * All logs except JetStream: the records of one append() are stored together, next to each other
 * and in order, or not at all. JetStream: records of other processes may come between them, and an
 * append() that fails with UNAVAILABLE may have stored some of them; records with ids may be
 * appended again, because of rule 2 (jetstream.ts).
 * 2. A record whose producer and sequence were stored before, in the same topic, is not stored
 * again: append() returns the first record's cursor, with `repeated` true.
 * 3. page() and read() return each record after the cursor once, in order. They include every
 * record that this or another process appended before the call.
 * 4. If records after the cursor were dropped, or the cursor has another epoch or is past the end,
 * the reader first gets a TopicGap.
 * 5. read() never ends by itself: it throws the signal's reason when that aborts, and UNAVAILABLE
 * when the log is closed or cannot be reached.
 * 6. The bytes that a log returns may be shared: readers MUST NOT write into them.
 *
 * Errors are ConnectErrors: INVALID_ARGUMENT for a malformed cursor or a cursor of another topic;
 * RESOURCE_EXHAUSTED if the log is full (nothing was stored); UNAVAILABLE if the log does not know
 * whether it stored the records (append them again, with the same producer and sequence); DATA_LOSS
 * if stored records are damaged.
 */
export interface TopicLog extends AsyncDisposable {
  /** Identifies the log. Cursors of another epoch have no position here. */
  readonly epoch: string;

  /**
   * Stores records at the end of a topic. The first record of a topic creates it. The records'
   * bytes must not change until the promise has resolved. The caller limits how many appends wait
   * at a time; an engine that has a limit too refuses appends past it immediately, with
   * RESOURCE_EXHAUSTED.
   */
  append(
    topic: string,
    records: readonly NewRecord[],
    options?: AppendOptions,
  ): Promise<Appended[]>;

  /**
   * Reads the stored records after a cursor, up to `limits`. An empty page is the end of the topic.
   * Without a cursor the page begins with the oldest record.
   */
  page(topic: string, after: string | undefined, limits?: PageLimits): Promise<TopicItem[]>;

  /** Reads the stored records, then each record when it is appended, without a gap or a repetition between. */
  read(topic: string, after: string | undefined, signal: AbortSignal): AsyncIterable<TopicItem>;

  /**
   * Returns the position before the oldest record: all stored records follow its cursor, without a
   * TopicGap. If no record is stored, returns the end of the topic.
   */
  oldest(topic: string): Promise<TopicPosition>;

  /**
   * Returns the position of the newest record. If no record was ever stored, returns the position
   * before the first.
   */
  end(topic: string): Promise<TopicPosition>;

  /**
   * Drops the records up to and including the cursor's, with their producers and sequences. With a
   * cursor of another epoch it drops none.
   */
  trim(topic: string, upTo: string): Promise<void>;

  /**
   * Returns the names of the topics that begin with the prefix and have records, in the order of
   * their UTF-8: all of them, or a page. A page costs what it returns. That of a JetStream log, which
   * cannot begin a list at a given subject, is taken from a list of all topics that is at most a
   * second old, and has the topics of this process's own appends.
   */
  topics(prefix?: string, page?: TopicsPage): Promise<string[]>;
}

export interface AppendOptions {
  /**
   * The caller for which the records are stored. Where appends wait for the disk (SQLite), several owners take turns, so that
   * one with many appends does not delay those of others; what one owner appends keeps its order. Two owners are the same if
   * they are the same value (as in a Map). Default: none; all appends without an owner are as those of one.
   */
  readonly owner?: unknown;
}

/** A page of the names of topics. */
export interface TopicsPage {
  /** Begins with the names that follow this one. Default: with the first. */
  readonly after?: string;
  /** How many names to return at most. Default: all. */
  readonly limit?: number;
}

/** A record to be stored. */
export interface NewRecord {
  readonly data: Uint8Array;
  /**
   * The producer of the record, and its number among that producer's records. A record with the
   * same id as a stored one is not stored again.
   */
  readonly id?: {
    readonly producer: string;
    /** 0 to 2^64 - 1. */
    readonly sequence: bigint;
  };
}

/** The result of append() for one record. */
export interface Appended {
  readonly cursor: string;
  /** Whether the record had been stored before. */
  readonly repeated: boolean;
}

/** A position in a topic, as a number and as a cursor. */
export interface TopicPosition {
  /** Grows along the topic; comparable within one epoch. At most 2^53 - 1. */
  readonly position: number;
  readonly cursor: string;
}

/** A record that is stored. */
export interface TopicRecord extends TopicPosition {
  readonly kind: "record";
  readonly data: Uint8Array;
  /** When the record was stored, in milliseconds since 1970; never before the time of the previous record. */
  readonly timeMs: number;
}

/** Takes the place of missing records: the log has dropped the records up to its position, or never had them. */
export interface TopicGap extends TopicPosition {
  readonly kind: "gap";
}

export type TopicItem = TopicRecord | TopicGap;

/**
 * The limits of a page, which ends when one of them is reached. It has at least one item, unless it
 * begins at the end of the topic.
 */
export interface PageLimits {
  /** Default: 512. */
  readonly records?: number;
  /** Default: 256 KiB. */
  readonly bytes?: number;
}

export const PAGE: Required<PageLimits> = { records: 512, bytes: 256 * 1024 };

/**
 * The limits of each topic. Past one of them the oldest records are dropped, several at a time.
 * Default: no limits.
 */
export interface Retention {
  readonly ageMs?: number;
  readonly records?: number;
  readonly bytes?: number;
}
