/**
 * A log keeps topics: named, ordered, append-only sequences of records.
 *
 *     append ──> the log ──> page, read ──> the hub ──> subscribers
 *
 * Positions in a topic grow from record to record, not always by one. A cursor
 * is a position as it goes to clients: opaque, bound to its topic and to the
 * log's epoch (cursor.ts). "After a cursor" means after its position. The name of
 * a topic has 1 to 320 bytes of UTF-8.
 *
 * Every log keeps to these rules; test/contract/ holds each engine to them:
 *
 * 1. append() resolves when the records are as durable as the log promises,
 *    and rejects otherwise. The records of one append() are stored together,
 *    next to each other and in order, or not at all. In JetStream records of
 *    other processes may come between them, and an append() that is UNAVAILABLE
 *    may have stored some of them: with ids, the same records may be appended
 *    again, by rule 2 (jetstream.ts).
 * 2. A record whose producer and sequence were stored before, in the same topic,
 *    is not stored again: its `repeated` is true, its cursor that of the first.
 * 3. page() and read() give each record after the cursor once, in order. What
 *    was appended before the call is there, also where another process appended it.
 * 4. Where records after the cursor are gone, or the cursor is of another epoch,
 *    or past the end, a TopicGap comes in their place, before what follows.
 * 5. read() never ends by itself: it throws the signal's reason when that
 *    aborts, UNAVAILABLE when the log is closed or cannot be reached.
 * 6. The bytes that a log gives may be shared: readers MUST NOT write into them.
 *
 * Errors are ConnectErrors: INVALID_ARGUMENT for a malformed cursor or one of
 * another topic, RESOURCE_EXHAUSTED where the log is full (nothing was stored),
 * UNAVAILABLE where the log does not know whether it stored the records (append
 * them again, with the same producer and sequence), DATA_LOSS where what is
 * stored is damaged.
 */
export interface TopicLog extends AsyncDisposable {
  /** Identifies the log: a cursor that was made under another epoch has no position here. */
  readonly epoch: string;

  /**
   * Stores records at the end of a topic, which is made by the first of them.
   * Their bytes must not change until it has resolved. The caller bounds how many
   * appends wait at a time; an engine that has a bound too refuses an append past
   * it at once, with RESOURCE_EXHAUSTED.
   */
  append(topic: string, records: readonly NewRecord[]): Promise<Appended[]>;

  /**
   * The records after a cursor that are stored now, up to `limits`; an empty
   * page is the end. Without a cursor it begins with the oldest record kept.
   */
  page(topic: string, after: string | undefined, limits?: PageLimits): Promise<TopicItem[]>;

  /** The records that are stored, then those that are appended, without a gap or a repetition between. */
  read(topic: string, after: string | undefined, signal: AbortSignal): AsyncIterable<TopicItem>;

  /**
   * The position before the oldest record that is kept: all records that are kept come after its cursor, without a
   * TopicGap. Where none is kept, the end of the topic.
   */
  oldest(topic: string): Promise<TopicPosition>;

  /** The position of the last record; where no record was ever stored, the position before the first. */
  end(topic: string): Promise<TopicPosition>;

  /**
   * Forgets the records up to a cursor, that of the cursor too, and their producers and sequences.
   * A cursor of another epoch: none.
   */
  trim(topic: string, upTo: string): Promise<void>;

  /**
   * The names of the topics with a prefix of which records are kept, in the order
   * of their UTF-8. All at once: JetStream cannot list subjects from a given one on.
   */
  topics(prefix?: string): Promise<string[]>;
}

/** A record to be stored. */
export interface NewRecord {
  readonly data: Uint8Array;
  /** The producer of the record, and its number there: a record that was stored before is not stored again. */
  readonly id?: {
    readonly producer: string;
    /** 0 to 2^64 - 1. */
    readonly sequence: bigint;
  };
}

/** What append() did with a record. */
export interface Appended {
  readonly cursor: string;
  /** Whether it was stored before. */
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
  /** When it was stored, in milliseconds since 1970; never less than that of the record before. */
  readonly timeMs: number;
}

/** Stands where records were dropped: those up to its position are gone, or were never of this log. */
export interface TopicGap extends TopicPosition {
  readonly kind: "gap";
}

export type TopicItem = TopicRecord | TopicGap;

/** A page ends with the first of these that is reached; it has one record at least. */
export interface PageLimits {
  /** Default: 512. */
  readonly records?: number;
  /** Default: 256 KiB. */
  readonly bytes?: number;
}

export const PAGE: Required<PageLimits> = { records: 512, bytes: 256 * 1024 };

/**
 * What a log keeps of each topic; past one of these limits the oldest records are dropped, some at
 * a time. Default: everything.
 */
export interface Retention {
  readonly ageMs?: number;
  readonly records?: number;
  readonly bytes?: number;
}
