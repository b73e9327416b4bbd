import { runtime } from "./runtime.ts";
import { Share, slices } from "./slice.ts";
import { onAbort } from "./wait.ts";
import { isPumpable, type Pump, type Pumpable, pumpTo, type Writer } from "./writer.ts";

/** The pump of an iterable that failed at its beginning. */
const STOPPED: Pump = { stop() {} };

/**
 * Writes every message of `messages` to `writer`, never faster than the writer takes them, and ends the writer after
 * the final one. The iterable runs in the caller's context, even if the pump is stopped in another one. All pumps of
 * the process together take about a millisecond of a turn of the event loop. Never throws: an error that the iterable
 * throws when it is first called fails the writer, too, in a later microtask.
 *
 * @param onReturnError called with an error that the iterable throws when it is left
 */
export function pump<T>(
  messages: AsyncIterable<T>,
  writer: Writer<T>,
  onReturnError?: (error: unknown) => void,
): Pump {
  let iterator: AsyncIterator<T>;
  try {
    if (isPumpable(messages)) return messages[pumpTo](writer, onReturnError);
    iterator = messages[Symbol.asyncIterator]();
    if (isPumpable(iterator)) return iterator[pumpTo](writer, onReturnError);
  } catch (error) {
    queueMicrotask(() => writer.fail(error));
    return STOPPED;
  }
  const context = runtime.currentContext();
  const share = new Share();
  let stopped = false;
  const stop = () => {
    if (stopped) return;
    stopped = true;
    context.runInAsyncScope(() => leave(iterator, onReturnError));
  };
  const run = async () => {
    for (;;) {
      const { done, value } = await iterator.next();
      if (stopped) return;
      if (done) break;
      try {
        const pause = writer.write(value);
        if (pause !== undefined) await pause;
        if (share.countMessage()) await slices.next();
      } catch (error) {
        stop();
        throw error;
      }
      if (stopped) return;
    }
    stopped = true;
    writer.end();
  };
  run().catch((error) => writer.fail(error));
  return { stop };
}

/** Tells an iterator that nothing more is read, without waiting for its return(). */
export function leave(
  iterator: AsyncIterator<unknown>,
  onReturnError: (error: unknown) => void = () => {},
): void {
  try {
    iterator.return?.(undefined)?.then(undefined, onReturnError);
  } catch (error) {
    onReturnError(error);
  }
}

/**
 * Returns an iterable of what `change` makes of each value. When it is left, or `change` throws, it leaves `values`.
 */
export function map<T, U>(values: AsyncIterable<T>, change: (value: T) => U): AsyncIterable<U> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = values[Symbol.asyncIterator]();
      const changed = (result: IteratorResult<T, unknown>): IteratorResult<U, unknown> => {
        if (result.done === true) return result;
        try {
          return { done: false, value: change(result.value) };
        } catch (error) {
          // After a next() that rejects, a reader does not call return().
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

/** Returns the values until the signal aborts. Then it leaves them, and throws the signal's reason. */
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

/** Returns an iterable of one value. */
export function one<T>(value: T): AsyncIterable<T> {
  return new One(value);
}

/** Not a generator: its promises would be a twentieth of a unary call. */
class One<T> implements AsyncIterable<T>, Pumpable<T>, Pump {
  readonly #value: T;
  #writer: Writer<T> | undefined;

  constructor(value: T) {
    this.#value = value;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, undefined> {
    yield this.#value;
    return undefined;
  }

  [pumpTo](writer: Writer<T>): Pump {
    this.#writer = writer;
    try {
      const pause = writer.write(this.#value);
      if (pause === undefined) this.#end();
      else {
        pause.then(
          () => this.#end(),
          (error) => writer.fail(error),
        );
      }
    } catch (error) {
      writer.fail(error);
    }
    return this;
  }

  stop(): void {
    this.#writer = undefined;
  }

  #end(): void {
    this.#writer?.end();
  }
}
