/**
 * A log keeps topics: named, ordered, append-only sequences of records.
 *
 *     append ──> the log ──> page, read ──> the hub ──> subscribers
 *
 * Positions in a topic grow from record to record, not always by one. A cursor
 * is a position as it goes to clients: opaque, bound to its topic and to the
 * log's epoch (cursor.ts). "After a cursor" means the records behind it. The
 * name of a topic has 1 to 320 bytes of UTF-8.
 *
 * Every log keeps to these rules; test/contract/ holds each engine to them:
 *
 * 1. append() resolves when the records are as durable as the log promises,
 *    and rejects otherwise. The records of one append() are stored together,
 *    next to each other and in order, or not at all. In JetStream those of
 *    others may come between, and some may be stored where it is UNAVAILABLE:
 *    with ids the same may be appended again, by rule 2 (jetstream.ts).
 * 2. A record whose producer and sequence were stored before, in the same topic,
 *    is not stored again: its `repeated` is true, its cursor that of the first.
 * 3. page() and read() give each record behind the cursor once, in order. What
 *    was appended before the call is there, also where it came from elsewhere.
 * 4. Where records behind the cursor are gone, or the cursor is of another
 *    epoch, or behind the end, a TopicGap comes in their place, before what follows.
 * 5. read() never ends by itself: it throws the signal's reason when that
 *    aborts, UNAVAILABLE when the log is closed or cannot be reached.
 * 6. Data that comes from a log may be shared: nobody writes into it.
 *
 * Errors are ConnectErrors: INVALID_ARGUMENT for a malformed cursor or one of
 * another topic, RESOURCE_EXHAUSTED where there is no room (nothing was
 * stored), UNAVAILABLE where the log cannot tell (repeat with the same producer
 * and sequence), DATA_LOSS where what is stored is damaged.
 */
export interface TopicLog extends AsyncDisposable {
  /** Another one means that cursors made before lead nowhere. */
  readonly epoch: string;

  /**
   * Stores records at the end of a topic, which is made by the first of them.
   * They may not change until it has resolved. How much waits at a time is the
   * caller's to bound; an engine that has a bound too refuses at once what comes
   * past it, with RESOURCE_EXHAUSTED.
   */
  append(topic: string, records: readonly NewRecord[]): Promise<Appended[]>;

  /**
   * The records after a cursor that are stored now, up to `limits`; an empty
   * page is the end. Without a cursor it begins with the oldest record kept.
   */
  page(topic: string, after: string | undefined, limits?: PageLimits): Promise<TopicItem[]>;

  /** History, then live, without a gap or a repetition between. */
  read(topic: string, after: string | undefined, signal: AbortSignal): AsyncIterable<TopicItem>;

  /**
   * The position before the oldest record that is kept: all kept records come after its cursor, without a TopicGap. The
   * end of the topic where no record is kept.
   */
  oldest(topic: string): Promise<TopicPosition>;

  /** The position of the last record; the one before the first where no record was ever stored. */
  end(topic: string): Promise<TopicPosition>;

  /** Forgets records up to and with a cursor, and the dedupe entries of them; of another epoch: none. */
  trim(topic: string, upTo: string): Promise<void>;

  /**
   * The names of the topics with a prefix of which records are kept, in the order
   * of their UTF-8. Not in pages: JetStream cannot list subjects from a given one on.
   */
  topics(prefix?: string): Promise<string[]>;
}

/** A record to be stored. */
export interface NewRecord {
  readonly data: Uint8Array;
  /** Who made it, and its number there: what was stored before is not stored again. */
  readonly id?: {
    readonly producer: string;
    /** 0 to 2^64 - 1. */
    readonly sequence: bigint;
  };
}

/** What became of a record. */
export interface Appended {
  readonly cursor: string;
  /** Whether it was there before. */
  readonly repeated: boolean;
}

/** A place in a topic. */
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

/** Records up to here are gone, or were never of this log. */
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

/** What a log keeps of each topic; past one of these the oldest records go, in small chunks. Default: everything. */
export interface Retention {
  readonly ageMs?: number;
  readonly records?: number;
  readonly bytes?: number;
}
