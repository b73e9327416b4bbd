import { Code, ConnectError } from "@connectrpc/connect";
import { onAbort } from "../../flow/wait.ts";
import type { TopicItem, TopicPosition, TopicRecord } from "../log.ts";
import type { Live, LiveTopics } from "./live.ts";
import type { JetStreamPage, TopicSubjects } from "./page.ts";
import type { Wire } from "./wire.ts";

/** What a reader that is slow holds of what came live, at most; past it, it reads pages again. */
const HELD = { records: 256, bytes: 256 * 1024 };
const BETWEEN_TRIES_MS = 200;

/** What a tail asks of the log. */
export interface PageSource {
  readonly wire: Wire;
  readonly live: LiveTopics;
  /** Aborts when the log is closed. */
  readonly over: AbortSignal;
  /** Where nothing comes for so long, whether that is true is asked. */
  readonly silenceMs: number;
  page(place: TopicSubjects, after: string | undefined): Promise<JetStreamPage>;
  end(place: TopicSubjects): Promise<TopicPosition>;
}

/**
 * History by pages, then what the server publishes again as it stores it, as
 * long as each says that the one before it was the last that is known here. One
 * that does not, a connection that was lost, and a reader that was slow: pages
 * again. It ends with the signal and with the log alone.
 */
export async function* readTail(
  source: PageSource,
  { place, after }: { place: TopicSubjects; after: string | undefined },
  signal: AbortSignal,
): AsyncGenerator<TopicItem, never> {
  signal.throwIfAborted();
  using tail = new LiveTail(source.wire, source.live, place);
  using _signal = onAbort(signal, (reason) => tail.fail(reason));
  using _over = onAbort(source.over, (reason) => tail.fail(reason));
  let newestMs = 0;
  const inTime = (entry: TopicRecord): TopicRecord => {
    if (entry.timeMs < newestMs) return { ...entry, timeMs: newestMs };
    newestMs = entry.timeMs;
    return entry;
  };
  const start = await tail.until(() => source.end(place));
  let position = after === undefined ? 0 : (place.cursors.read(after) ?? 0);
  if (position > start.position) {
    ({ position, cursor: after } = start);
    yield { kind: "gap", ...start };
  }
  for (;;) {
    while (tail.isBehind) {
      tail.isBehind = false;
      for (let complete = false; !complete; ) {
        const page = await tail.until(() => source.page(place, after));
        for (const item of page.items) {
          signal.throwIfAborted();
          ({ position, cursor: after } = item);
          yield item.kind === "gap" ? item : inTime(item);
        }
        complete = page.complete;
      }
      // Nothing was there: what comes is behind this.
      after ??= start.cursor;
    }
    const live = tail.take();
    if (live === undefined) {
      if (await tail.silence(source.silenceMs)) {
        const end = await tail.until(() => source.end(place));
        if (end.position > position) tail.isBehind = true;
      }
    } else if (live.entry.position > position) {
      if (live.before === 0 || live.before > position) {
        tail.isBehind = true;
      } else {
        ({ position, cursor: after } = live.entry);
        yield inTime(live.entry);
      }
    }
  }
}

/** What comes live in a topic, and when it cannot be relied on. */
class LiveTail implements Disposable {
  /** Pages must tell what is there: at first, and after something was missed. */
  isBehind = true;
  #held: Live[] = [];
  #bytes = 0;
  #failed: { reason: unknown } | undefined;
  #waiting: PromiseWithResolvers<void> | undefined;
  #onFail: ((reason: unknown) => void) | undefined;
  readonly #listening: Disposable;
  readonly #again: Disposable;

  constructor(wire: Wire, topics: LiveTopics, place: TopicSubjects) {
    this.#listening = topics.listen(place, (live) => this.#heard(live));
    this.#again = wire.onAgain(() => this.#miss());
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
    this.#again[Symbol.dispose]();
  }

  take(): Live | undefined {
    this.#check();
    const live = this.#held.shift();
    if (live !== undefined) this.#bytes -= live.entry.data.length;
    return live;
  }

  fail(reason: unknown): void {
    this.#failed ??= { reason };
    this.#onFail?.(reason);
    this.#waiting?.resolve();
  }

  /** Waits for something to do; true where the time passed without. */
  async silence(ms: number): Promise<boolean> {
    if (this.#held.length > 0 || this.isBehind) return false;
    return this.#rest(ms);
  }

  /** Does it again and again while the server is away. */
  async until<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      this.#check();
      try {
        return await this.#orFail(ask());
      } catch (error) {
        this.#check();
        if (!(error instanceof ConnectError) || error.code !== Code.Unavailable) throw error;
      }
      await this.#rest(BETWEEN_TRIES_MS);
    }
  }

  /** Waits to be woken; true where the time passed first. */
  async #rest(ms: number): Promise<boolean> {
    if (this.#failed !== undefined) return false;
    const waiting = Promise.withResolvers<void>();
    this.#waiting = waiting;
    let passed = false;
    const timer = setTimeout(() => {
      passed = true;
      waiting.resolve();
    }, ms);
    await waiting.promise;
    clearTimeout(timer);
    this.#waiting = undefined;
    return passed;
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

  #heard(live: Live): void {
    if (this.#held.length >= HELD.records || this.#bytes >= HELD.bytes) {
      this.#miss();
      return;
    }
    this.#held.push(live);
    this.#bytes += live.entry.data.length;
    this.#waiting?.resolve();
  }

  #miss(): void {
    this.isBehind = true;
    this.#held = [];
    this.#bytes = 0;
    this.#waiting?.resolve();
  }
}
