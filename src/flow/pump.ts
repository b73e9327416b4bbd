import { handled } from "../failure.ts";
import { Later } from "./later.ts";
import type { Writer } from "./queue.ts";
import { currentContext } from "./runtime.ts";
import { QUANTUM_MESSAGES, Share, slices } from "./slice.ts";
import { Tap } from "./tap.ts";
import { onAbort } from "./wait.ts";

/** A pump at work. */
export interface Pump {
  /** Resolves when all is written; rejects with what the iterable or the writer threw. */
  readonly done: Promise<void>;
  /** Writes nothing more, does not end the writer, and tells the iterable to return. */
  stop(): void;
}

/**
 * Carries every message of `messages` to `writer`, never faster than the
 * writer takes them, and ends the writer after the last one. The iterable runs
 * in the caller's context, also where somebody else stops the pump.
 * All pumps of the process together take about a millisecond of a turn of the
 * event loop. Never throws: what the iterable throws at its beginning rejects
 * `done`, too.
 *
 * @param onLate told what the iterable throws when it is left
 */
export function pump<T>(
  messages: AsyncIterable<T>,
  writer: Writer<T>,
  onLate?: (error: unknown) => void,
): Pump {
  if (messages instanceof Later) return pumpLater(messages, writer, onLate);
  let iterator: AsyncIterator<T>;
  try {
    iterator = messages[Symbol.asyncIterator]();
    if (iterator instanceof Tap) return new Drain(iterator, writer);
  } catch (error) {
    return { done: handled(Promise.reject(error)), stop() {} };
  }
  const context = currentContext();
  const share = new Share();
  let stopped = false;
  const stop = () => {
    if (stopped) return;
    stopped = true;
    context.runInAsyncScope(() => leave(iterator, onLate));
  };
  const run = async () => {
    for (;;) {
      const { done, value } = await iterator.next();
      if (stopped) return;
      if (done) break;
      try {
        const full = writer.write(value);
        if (full !== undefined) await full;
        if (share.isUsedUp()) await slices.next();
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

/** The pump of a tap: steps are calls, so that thousands who wait for one message cost no promises. */
class Drain<T> implements Pump {
  readonly done: Promise<void>;
  readonly #tap: Tap<T>;
  readonly #writer: Writer<T>;
  readonly #done = Promise.withResolvers<void>();
  /** What a tap has ready is bounded, and may not be there much longer. */
  readonly #share = new Share(QUANTUM_MESSAGES);
  #stopped = false;

  constructor(tap: Tap<T>, writer: Writer<T>) {
    tap.claim();
    this.#tap = tap;
    this.#writer = writer;
    this.done = handled(this.#done.promise);
    this.#step();
  }

  stop(): void {
    this.#stopped = true;
    this.#tap.close();
    this.#done.resolve();
  }

  readonly #step = (): void => {
    try {
      if (this.#stopped || !this.#writeReady()) return;
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (this.#tap.isOver) this.#finish();
    else this.#tap.onReady(this.#step);
  };

  /** Writes what there is; `false` where more is to be written later, or never. */
  #writeReady(): boolean {
    for (let value = this.#tap.ready(); value !== undefined; value = this.#tap.ready()) {
      const full =
        this.#writer.write(value) ?? (this.#share.isUsedUp() ? slices.next() : undefined);
      if (full !== undefined) full.then(this.#step, (error) => this.#fail(error));
      if (full !== undefined || this.#stopped) return false;
    }
    return true;
  }

  #finish(): void {
    const end = () => {
      if (!this.#stopped) this.#writer.end();
      this.stop();
    };
    this.#tap
      .next()
      .then(end)
      .catch((error) => this.#fail(error));
  }

  #fail(error: unknown): void {
    this.#done.reject(error);
    this.stop();
  }
}

function pumpLater<T>(
  messages: Later<T>,
  writer: Writer<T>,
  onLate: ((error: unknown) => void) | undefined,
): Pump {
  let opened: Pump | undefined;
  let stopped = false;
  const run = async () => {
    const iterable = await messages.open();
    if (stopped) leave(iterable[Symbol.asyncIterator](), onLate);
    else opened = pump(iterable, writer, onLate);
    await opened?.done;
  };
  const stop = () => {
    stopped = true;
    opened?.stop();
  };
  return { done: handled(run()), stop };
}

/** Tells an iterator that nobody reads on, without waiting for what it does then. */
export function leave(
  iterator: AsyncIterator<unknown>,
  onLate: (error: unknown) => void = () => {},
): void {
  try {
    iterator.return?.(undefined)?.then(undefined, onLate);
  } catch (error) {
    onLate(error);
  }
}

/** An iterable of what `change` makes of each value; leaving it, or a throw of `change`, leaves the first at once. */
export function map<T, U>(values: AsyncIterable<T>, change: (value: T) => U): AsyncIterable<U> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = values[Symbol.asyncIterator]();
      const changed = (result: IteratorResult<T, unknown>): IteratorResult<U, unknown> => {
        if (result.done === true) return result;
        try {
          return { done: false, value: change(result.value) };
        } catch (error) {
          // A reader takes a next() that rejects for the end, and calls no return().
          leave(iterator);
          throw error;
        }
      };
      return {
        next: () => iterator.next().then(changed),
        return: async (value) => {
          await iterator.return?.(value);
          return { done: true, value };
        },
        throw: async (error) => {
          await (iterator.throw ?? iterator.return)?.call(iterator, error);
          throw error;
        },
      };
    },
  };
}

/** The values up to when the signal aborts: then it throws the signal's reason, and leaves them. */
export async function* untilAborted<T>(
  values: AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T, undefined> {
  const iterator = values[Symbol.asyncIterator]();
  const next = () =>
    new Promise<IteratorResult<T>>((resolve, reject) => {
      const listening = onAbort(signal, reject);
      iterator
        .next()
        .then(resolve, reject)
        .finally(() => listening[Symbol.dispose]());
    });
  try {
    for (;;) {
      const { done, value } = await next();
      if (done === true) return undefined;
      yield value;
    }
  } finally {
    leave(iterator);
  }
}

/** An iterable of one value. */
export async function* one<T>(value: T): AsyncGenerator<T, undefined> {
  yield value;
  return undefined;
}
