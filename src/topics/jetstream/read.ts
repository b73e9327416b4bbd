import { Code, ConnectError } from "@connectrpc/connect";
import { onAbort } from "../../flow/wait.ts";
import type { TopicItem, TopicPosition, TopicRecord } from "../log.ts";
import type { LiveRecord, LiveTopics } from "./live.ts";
import type { TopicSubjects } from "./stream.ts";
import type { JetStreamPage } from "./stream-reader.ts";
import type { Wire } from "./wire.ts";

/** How many live records a reader holds that it was not asked for; past it, it drops them and reads pages again. */
const MAX_HELD = { records: 256, bytes: 256 * 1024 };
/** The pause before a server that is UNAVAILABLE is asked again. */
const UNAVAILABLE_PAUSE_MS = 200;

/** What a reader of a topic needs of the log. */
export interface ReadSource {
  readonly wire: Wire;
  readonly live: LiveTopics;
  /** Aborts when the log has ended. */
  readonly ended: AbortSignal;
  /** After this time without a live record the server is asked whether there is one. */
  readonly silenceMs: number;
  page(subjects: TopicSubjects, after: string | undefined): Promise<JetStreamPage>;
  end(subjects: TopicSubjects): Promise<TopicPosition>;
}

/**
 * History by pages, then the records that the server publishes again as it stores
 * them. Each of those names the record before it: where the reader does not have
 * that one, and when a connection was lost or the reader was slow, it reads pages
 * again. Ends with the signal, or with the log, and not while the server is away.
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
  /** The times of records never go back, though each server of a cluster has its own clock. */
  const inTime = (record: TopicRecord): TopicRecord => {
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
          yield item.kind === "gap" ? item : inTime(item);
        }
        ({ isComplete } = page);
      }
      // The topic had no record: those that come are after the end that it had.
      after ??= start.cursor;
    }
    const next = live.take();
    if (next === undefined) {
      if (await live.isSilent(source.silenceMs)) {
        const end = await live.untilAvailable(() => source.end(subjects));
        if (end.position > position) live.isBehind = true;
      }
    } else if (next.record.position > position) {
      if (next.before === 0 || next.before > position) {
        live.isBehind = true;
      } else {
        ({ position, cursor: after } = next.record);
        yield inTime(next.record);
      }
    }
  }
}

/** The live records of one reader, and whether it can rely on them. */
class LiveRecords implements Disposable {
  /** Whether pages must be read: at first, and after live records were missed. */
  isBehind = true;
  #held: LiveRecord[] = [];
  #heldBytes = 0;
  #failed: { reason: unknown } | undefined;
  #wake: (() => void) | undefined;
  #onFail: ((reason: unknown) => void) | undefined;
  readonly #listening: Disposable;
  readonly #reconnecting: Disposable;

  constructor(wire: Wire, topics: LiveTopics, subjects: TopicSubjects) {
    this.#listening = topics.listen(subjects, (live) => this.#hold(live));
    this.#reconnecting = wire.onReconnect(() => this.#miss());
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
    this.#reconnecting[Symbol.dispose]();
  }

  take(): LiveRecord | undefined {
    this.#check();
    const live = this.#held.shift();
    if (live !== undefined) this.#heldBytes -= live.record.data.length;
    return live;
  }

  fail(reason: unknown): void {
    this.#failed ??= { reason };
    this.#onFail?.(reason);
    this.#wake?.();
  }

  /** Waits for a live record, or for isBehind; true where a time has passed without either. */
  async isSilent(ms: number): Promise<boolean> {
    if (this.#held.length > 0 || this.isBehind) return false;
    return this.#sleep(ms);
  }

  /** Asks the server until it answers: an answer that is UNAVAILABLE does not count. */
  async untilAvailable<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      this.#check();
      try {
        return await this.#orFail(ask());
      } catch (error) {
        this.#check();
        if (!(error instanceof ConnectError) || error.code !== Code.Unavailable) throw error;
      }
      await this.#sleep(UNAVAILABLE_PAUSE_MS);
    }
  }

  /** Waits to be woken; true where the time has passed first. */
  async #sleep(ms: number): Promise<boolean> {
    if (this.#failed !== undefined) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#wake = () => resolve(false);
    const timer = setTimeout(() => resolve(true), ms);
    const hasPassed = await promise;
    clearTimeout(timer);
    this.#wake = undefined;
    return hasPassed;
  }

  #check(): void {
    if (this.#failed !== undefined) throw this.#failed.reason;
  }

  #orFail<T>(asked: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#onFail = reject;
      asked.then(resolve, reject);
    });
  }

  #hold(live: LiveRecord): void {
    if (this.#held.length >= MAX_HELD.records || this.#heldBytes >= MAX_HELD.bytes) {
      this.#miss();
      return;
    }
    this.#held.push(live);
    this.#heldBytes += live.record.data.length;
    this.#wake?.();
  }

  #miss(): void {
    this.isBehind = true;
    this.#held = [];
    this.#heldBytes = 0;
    this.#wake?.();
  }
}
