/**
 * Floods: frames that cost this side something and bring nothing. A connection has one budget of units for all of them.
 * It is full at first, is refilled by time, and by work that the peer was useful for (Http2Connection.earn). A peer that
 * spends more gets GOAWAY(ENHANCE_YOUR_CALM), whose debug data names what the last unit was spent on.
 *
 * | what the peer sends                                                              | units |
 * | -------------------------------------------------------------------------------- | ----: |
 * | RST_STREAM before this side has sent headers on the stream; for a closed stream if it cannot have been in flight | 1 |
 * | what makes this side reset a stream (a stream error, a header list too large)    |     1 |
 * | a request that is refused: over the limit of streams, or after the last GOAWAY   |     1 |
 * | a header block or DATA for a closed stream that cannot have been in flight; a 1xx |    1 |
 * | a header list that the dynamic table made large: a KiB of it above 8 KiB beyond the block's own bytes | 1 |
 * | a header list over the limit, beside the unit above: 8 KiB of it                 |     1 |
 * | CONTINUATION after the first one of a block                                      |     1 |
 * | DATA without END_STREAM, empty                                                   |     1 |
 * | DATA without END_STREAM that cannot hold a message: 1 to 4 bytes                 |     2 |
 * | DATA with more padding than data                                                 |     1 |
 * | SETTINGS; and again for every 8 settings of the frame beyond 8                   |     1 |
 * | PING, WINDOW_UPDATE: two are free for each DATA frame, and each KiB of DATA, that this side has sent | 1 |
 * | PRIORITY, GOAWAY, a frame of an unknown type, an acknowledgement of nothing      |     1 |
 *
 * Recommended earnings, of the layer above: EARNED_BY_MESSAGE for each message that was sent, and for each that was
 * received and is complete; EARNED_BY_CALL for each call that has completed. What is received must be earned when it is
 * complete, not when a reader takes it: frames of many small messages may come in one chunk.
 */
import { ConnectionError } from "./errors.ts";
import { ENHANCE_YOUR_CALM } from "./frames.ts";
import type { EngineClock } from "./types.ts";

/** Units that a message earns. */
export const EARNED_BY_MESSAGE = 4;

/** Units that a completed call earns. */
export const EARNED_BY_CALL = 8;

/** The units of a full budget. */
const DEFAULT_ABUSE_BUDGET = 1000;

/** Units that time refills. */
const UNITS_PER_MS = 0.2;

/** DATA with fewer bytes cannot hold a gRPC message, whose prefix has five. */
export const LEAST_DATA_BYTES = 5;

/** A byte of DATA costs more than an empty message earns, if there is one byte in a frame. */
const TINY_DATA_UNITS = 2;

/** How many PINGs and WINDOW_UPDATEs are free for a DATA frame: an update of the stream and one of the connection. */
const ANSWERS_PER_FRAME = 2;

/** One more is free for this much DATA: HAProxy sends both updates for each part of a frame that one read brings it. */
const BYTES_PER_ANSWER = 512;

/** How many free answers accumulate at most: those for 2 MiB. */
const MAX_ANSWERS = 4096;

/** Settings that a SETTINGS frame may have for one unit: there are six that are known. */
const SETTINGS_PER_UNIT = 8;

/** How much larger than its block a header list may be. */
const FREE_EXPANSION_BYTES = 8 * 1024;

/** How much of a header list over the limit costs a unit: decoding it takes as long as a few requests. */
const REFUSED_LIST_BYTES = 8 * 1024;

export type Flood =
  | "too_many_resets"
  | "too_many_stream_errors"
  | "too_many_refused_streams"
  | "too_many_frames_for_closed_streams"
  | "too_many_informational_headers"
  | "too_large_header_lists"
  | "too_many_continuations"
  | "too_many_tiny_data_frames"
  | "too_much_padding"
  | "too_many_settings"
  | "too_many_pings"
  | "too_many_window_updates"
  | "too_many_priorities"
  | "too_many_goaways"
  | "too_many_unknown_frames";

export interface SentData {
  readonly dataFrames: number;
  /** What windows count: without the heads of frames. */
  readonly dataBytes: number;
}

export class AbuseBudget {
  readonly #capacity: number;
  readonly #clock: EngineClock;
  #units: number;
  #refilledAt: number;
  /** How many PINGs and WINDOW_UPDATEs are free. */
  #answers = 0;
  /** The DATA that #answers takes into account. */
  #dataFrames = 0;
  #dataBytes = 0;

  constructor(clock: EngineClock, capacity: number = DEFAULT_ABUSE_BUDGET) {
    this.#clock = clock;
    this.#capacity = capacity;
    this.#units = capacity;
    this.#refilledAt = clock.now();
  }

  earn(units: number): void {
    const sum = this.#units + units;
    this.#units = Math.min(sum, this.#capacity);
  }

  /** Throws a ConnectionError if the budget is used up. */
  spend(flood: Flood, units = 1): void {
    this.#refill();
    this.#units -= units;
    if (this.#units >= 0) return;
    const reason = `${flood}: over the abuse budget of ${this.#capacity} units`;
    throw new ConnectionError(ENHANCE_YOUR_CALM, reason, flood);
  }

  /**
   * Spends a unit on a frame that may be an answer to DATA: a WINDOW_UPDATE, or the PING of a bandwidth estimator.
   *
   * @param sent the DATA that this side has sent
   */
  spendOnAnswer(flood: Flood, { dataFrames, dataBytes }: SentData): void {
    const forBytes = Math.floor((dataBytes - this.#dataBytes) / BYTES_PER_ANSWER);
    this.#allow((dataFrames - this.#dataFrames) * ANSWERS_PER_FRAME + forBytes);
    this.#dataFrames = dataFrames;
    this.#dataBytes += forBytes * BYTES_PER_ANSWER;
    if (this.#answers > 0) this.#answers--;
    else this.spend(flood);
  }

  /** A stream was opened: its window may be extended at once. */
  onStream(): void {
    this.#allow(1);
  }

  spendOnTinyData(bytes: number): void {
    this.spend("too_many_tiny_data_frames", bytes === 0 ? 1 : TINY_DATA_UNITS);
  }

  spendOnSettings(count: number): void {
    this.spend("too_many_settings", Math.max(1, Math.ceil(count / SETTINGS_PER_UNIT)));
  }

  /** Spends for a header list that is larger than its block. */
  spendOnList(listBytes: number, blockBytes: number): void {
    const excess = listBytes - blockBytes - FREE_EXPANSION_BYTES;
    if (excess > 0) this.spend("too_large_header_lists", Math.ceil(excess / 1024));
  }

  /** Spends for a header list over the limit, which was decoded to its end and brings nothing. */
  spendOnTooLargeList(listBytes: number): void {
    this.spend("too_large_header_lists", 1 + Math.ceil(listBytes / REFUSED_LIST_BYTES));
  }

  #allow(answers: number): void {
    this.#answers = Math.min(this.#answers + answers, MAX_ANSWERS);
  }

  #refill(): void {
    const now = this.#clock.now();
    const units = Math.floor((now - this.#refilledAt) * UNITS_PER_MS);
    if (units <= 0) return;
    this.earn(units);
    this.#refilledAt =
      this.#units === this.#capacity ? now : this.#refilledAt + units / UNITS_PER_MS;
  }
}

/** How many strikes a client may have (gRPC A8: "2 bad pings"). */
const MAX_STRIKES = 2;

/** Counts pings that come too often on a connection without data (gRPC A8, "Server enforcement"). */
export class PingStrikes {
  readonly #minIntervalMs: number;
  #strikes = 0;
  #lastAt = Number.NEGATIVE_INFINITY;
  #lastSent = 0;

  constructor(minIntervalMs: number) {
    this.#minIntervalMs = minIntervalMs;
  }

  /**
   * Counts a ping. Throws a ConnectionError at the third strike.
   *
   * @param sent how many HEADERS and DATA this side has sent: a ping after HEADERS or DATA does not count
   */
  onPing(now: number, sent: number): void {
    if (sent !== this.#lastSent) this.#strikes = 0;
    else if (now - this.#lastAt < this.#minIntervalMs) this.#strikes++;
    this.#lastSent = sent;
    this.#lastAt = now;
    if (this.#strikes <= MAX_STRIKES) return;
    const reason = `too_many_pings: several within ${this.#minIntervalMs} ms of each other, without data`;
    throw new ConnectionError(ENHANCE_YOUR_CALM, reason, "too_many_pings");
  }
}
