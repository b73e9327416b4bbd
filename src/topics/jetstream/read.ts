import { Code, ConnectError } from "@connectrpc/connect";
import { onAbort } from "../../flow/wait.ts";
import type { TopicItem, TopicPosition, TopicRecord } from "../log.ts";
import type { LiveRecord, LiveTopics } from "./live.ts";
import type { TopicSubjects } from "./stream.ts";
import type { JetStreamPage } from "./stream-reader.ts";
import type { Wire } from "./wire.ts";

/** How many live records wait for a reader. Past either limit they are dropped, and the reader reads pages again. */
const MAX_HELD = { records: 256, bytes: 256 * 1024 };
/** The pause after a request failed with UNAVAILABLE. */
const UNAVAILABLE_PAUSE_MS = 200;

/** The parts of the log that a reader of a topic uses. */
export interface ReadSource {
  readonly wire: Wire;
  readonly live: LiveTopics;
  /** Aborts when the log has ended. */
  readonly ended: AbortSignal;
  /** After this time without a live record a reader asks the server whether it missed one. */
  readonly silenceMs: number;
  page(subjects: TopicSubjects, after: string | undefined): Promise<JetStreamPage>;
  end(subjects: TopicSubjects): Promise<TopicPosition>;
}

/**
 * Reads pages of stored records, then the records that the server republishes as it stores them.
 * Each live record names the record before it. The reader reads pages again if it does not have
 * that record, if the connection was lost, and if it was too slow. Ends with the signal or the log;
 * while the server is unreachable it waits.
 */
export async function* readTopic(
  source: ReadSource,
  { subjects, after }: { subjects: TopicSubjects; after: string | undefined },
  signal: AbortSignal,
): AsyncGenerator<TopicItem, never> {
  signal.throwIfAborted();
  using live = new LiveRecords(source.wire, source.live, subjects);
  using _signal = onAbort(signal, (reason) => live.fail(reason));
  using _ended = onAbort(source.ended, (reason) => live.fail(reason));
  let newestMs = 0;
  /**
   * Returns the record with a time that is not before that of the previous one: each server of a
   * cluster has its own clock.
   */
  const withMonotonicTime = (record: TopicRecord): TopicRecord => {
    if (record.timeMs < newestMs) return { ...record, timeMs: newestMs };
    newestMs = record.timeMs;
    return record;
  };
  const start = await live.untilAvailable(() => source.end(subjects));
  let position = after === undefined ? 0 : (subjects.cursors.read(after) ?? 0);
  if (position > start.position) {
    ({ position, cursor: after } = start);
    yield { kind: "gap", ...start };
  }
  for (;;) {
    while (live.isBehind) {
      live.isBehind = false;
      for (let isComplete = false; !isComplete; ) {
        const page = await live.untilAvailable(() => source.page(subjects, after));
        for (const item of page.items) {
          signal.throwIfAborted();
          ({ position, cursor: after } = item);
          yield item.kind === "gap" ? item : withMonotonicTime(item);
        }
        ({ isComplete } = page);
      }
      // The topic had no record: its next ones come after the end that was read at the start.
      after ??= start.cursor;
    }
    const next = live.take();
    if (next === undefined) {
      if (await live.isSilent(source.silenceMs)) {
        const end = await live.untilAvailable(() => source.end(subjects));
        if (end.position > position) live.isBehind = true;
      }
    } else if (next.record.position > position) {
      if (next.previousPosition === 0 || next.previousPosition > position) {
        live.isBehind = true;
      } else {
        ({ position, cursor: after } = next.record);
        yield withMonotonicTime(next.record);
      }
    }
  }
}

/** The live records that wait for one reader. */
class LiveRecords implements Disposable {
  /** Whether pages must be read: at first, and after live records were missed. */
  isBehind = true;
  #held: LiveRecord[] = [];
  #heldBytes = 0;
  #failed: { reason: unknown } | undefined;
  #wake: (() => void) | undefined;
  #onFail: ((reason: unknown) => void) | undefined;
  readonly #liveListener: Disposable;
  readonly #reconnectListener: Disposable;

  constructor(wire: Wire, topics: LiveTopics, subjects: TopicSubjects) {
    this.#liveListener = topics.listen(subjects, (live) => this.#hold(live));
    this.#reconnectListener = wire.onReconnect(() => this.#dropHeld());
  }

  [Symbol.dispose](): void {
    this.#liveListener[Symbol.dispose]();
    this.#reconnectListener[Symbol.dispose]();
  }

  take(): LiveRecord | undefined {
    this.#throwIfFailed();
    const live = this.#held.shift();
    if (live !== undefined) this.#heldBytes -= live.record.data.length;
    return live;
  }

  fail(reason: unknown): void {
    this.#failed ??= { reason };
    this.#onFail?.(reason);
    this.#wake?.();
  }

  /** Waits for a live record, or for isBehind. Returns whether the time passed without either. */
  async isSilent(ms: number): Promise<boolean> {
    if (this.#held.length > 0 || this.isBehind) return false;
    return this.#sleep(ms);
  }

  /** Repeats the request until it does not fail with UNAVAILABLE. */
  async untilAvailable<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      this.#throwIfFailed();
      try {
        return await this.#orFail(ask());
      } catch (error) {
        this.#throwIfFailed();
        if (!(error instanceof ConnectError) || error.code !== Code.Unavailable) throw error;
      }
      await this.#sleep(UNAVAILABLE_PAUSE_MS);
    }
  }

  /** Waits until the reader is woken. Returns whether the time passed first. */
  async #sleep(ms: number): Promise<boolean> {
    if (this.#failed !== undefined) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#wake = () => resolve(false);
    const timer = setTimeout(() => resolve(true), ms);
    const hasTimedOut = await promise;
    clearTimeout(timer);
    this.#wake = undefined;
    return hasTimedOut;
  }

  #throwIfFailed(): void {
    if (this.#failed !== undefined) throw this.#failed.reason;
  }

  /** Resolves or rejects with the answer; rejects earlier if the reader fails meanwhile. */
  #orFail<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#onFail = reject;
      answer.then(resolve, reject);
    });
  }

  #hold(live: LiveRecord): void {
    if (this.#held.length >= MAX_HELD.records || this.#heldBytes >= MAX_HELD.bytes) {
      this.#dropHeld();
      return;
    }
    this.#held.push(live);
    this.#heldBytes += live.record.data.length;
    this.#wake?.();
  }

  /** Drops the live records, which no longer follow each other: the reader must read pages. */
  #dropHeld(): void {
    this.isBehind = true;
    this.#held = [];
    this.#heldBytes = 0;
    this.#wake?.();
  }
}
