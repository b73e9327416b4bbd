import { handled } from "../failure.ts";
import type { Writer } from "./queue.ts";

/** A pump at work. */
export interface Pump {
  /** Resolves when all is written; rejects with what the iterable or the writer threw. */
  readonly done: Promise<void>;
  /** Writes nothing more, does not end the writer, and tells the iterable to return. */
  stop(): void;
}

/**
 * Carries every message of `messages` to `writer`, never faster than the
 * writer takes them, and ends the writer behind the last one.
 */
export function pump<T>(messages: AsyncIterable<T>, writer: Writer<T>): Pump {
  const iterator = messages[Symbol.asyncIterator]();
  let stopped = false;
  const stop = () => {
    if (stopped) return;
    stopped = true;
    leave(iterator);
  };
  const run = async () => {
    for (;;) {
      const { done, value } = await iterator.next();
      if (stopped) return;
      if (done === true) break;
      try {
        const full = writer.write(value);
        if (full !== undefined) await full;
      } catch (error) {
        stop();
        throw error;
      }
      if (stopped) return;
    }
    stopped = true;
    writer.end();
  };
  return { done: handled(run()), stop };
}

/** Tells an iterator that nobody reads on, without waiting for what it does then. */
export function leave(iterator: AsyncIterator<unknown>): void {
  try {
    iterator.return?.(undefined)?.then(undefined, () => {});
  } catch {
    // An iterator that throws here has nothing left to be told.
  }
}

/** An iterable of one value. */
export async function* one<T>(value: T): AsyncGenerator<T, undefined> {
  yield value;
  return undefined;
}
