import { QUANTUM_MESSAGES, Share, slices } from "./slice.ts";
import { type Pump, type Pumpable, pumpTo, type Writer } from "./writer.ts";

const END: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** The source that a PullIterator reads. */
export interface PullSource<T> {
  /** Returns the next value, or `undefined` if no value is ready. The iteration ends with an error that this throws. */
  take(): T | undefined;
  /** Called when the consumer waits and the source has no value. The source calls wake() when it has one. */
  onDry(): void;
  /** Called when the iteration has ended, for any reason. */
  onEnd(): void;
}

type Resolve<T> = (
  result: IteratorResult<T, undefined> | Promise<IteratorResult<T, undefined>>,
) => void;

/**
 * Iterates values that its source stores. It has no queue of its own, so many iterators can read one copy. Only one
 * consumer may read an iterator: with next(), which makes a promise for each value, or with takeReady() and onReady(),
 * which make none. A waiting consumer of the second kind costs only its listener.
 */
export class PullIterator<T> implements AsyncIterableIterator<T, undefined>, Pumpable<T> {
  readonly #source: PullSource<T>;
  #usesReady = false;
  /** Whether the consumer has reached the end, or has left. */
  #consumerDone = false;
  #listener: (() => void) | undefined;
  #resolve: Resolve<T> | undefined;
  /** The promise of the next() that waits; needed only if next() is called again before it settles. */
  #waiting: Promise<IteratorResult<T, undefined>> | undefined;
  readonly #wait = (resolve: Resolve<T>): void => {
    this.#resolve = resolve;
  };
  #closed: { error: unknown } | undefined;

  constructor(source: PullSource<T>) {
    this.#source = source;
  }

  /** Whether the iteration has ended. next() still returns or throws the end. */
  get isOver(): boolean {
    return this.#closed !== undefined;
  }

  /**
   * Whether a consumer has called claim(), waits, has reached the end or has left. A second consumer would steal
   * values, or get none.
   */
  get hasConsumer(): boolean {
    return this.#usesReady || this.#consumerDone || this.#resolve !== undefined;
  }

  /** Marks the iteration as read by a consumer that uses takeReady(). */
  claim(): void {
    this.#usesReady = true;
  }

  /** Returns the next value, if there is one now. A consumer that uses takeReady() calls next() only for the end. */
  takeReady(): T | undefined {
    if (this.#closed !== undefined) return undefined;
    try {
      return this.#source.take();
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  /** Calls `listener` once, when takeReady() may have a value again, or the iteration has ended. */
  onReady(listener: () => void): void {
    this.#listener = listener;
    this.#source.onDry();
  }

  /** Looks for a value again, for the consumer that waits. */
  wake(): void {
    const listener = this.#listener;
    this.#listener = undefined;
    if (listener !== undefined) listener();
    else if (this.#resolve !== undefined) this.#answer(this.#resolve);
  }

  /** Ends the iteration now. If `error` is set, the iteration throws it. */
  close(error?: unknown): void {
    if (this.#closed !== undefined) return;
    this.#closed = { error };
    this.#source.onEnd();
    this.wake();
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#resolve !== undefined) {
      const again = () => this.next();
      return (this.#waiting as Promise<unknown>).then(again, again);
    }
    const result = this.#take();
    if (result !== undefined) return Promise.resolve(result);
    this.#waiting = new Promise(this.#wait);
    this.#source.onDry();
    return this.#waiting;
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#consumerDone = true;
    this.close();
    return END;
  }

  async throw(error: unknown): Promise<IteratorReturnResult<undefined>> {
    this.#consumerDone = true;
    this.close();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  [pumpTo](writer: Writer<T>): Pump {
    return new PullPump(this, writer);
  }

  #answer(resolve: Resolve<T>): void {
    // take() of the source may call wake() or close() of this iterator, so clear #resolve first.
    this.#resolve = undefined;
    const result = this.#take();
    if (result !== undefined) {
      resolve(result);
      return;
    }
    this.#resolve = resolve;
    this.#source.onDry();
  }

  #take(): IteratorResult<T, undefined> | Promise<never> | undefined {
    const value = this.takeReady();
    if (value !== undefined) return { done: false, value };
    if (this.#closed === undefined) return undefined;
    const { error } = this.#closed;
    this.#consumerDone = true;
    // The error is thrown once; then the iteration has ended, as a generator's has.
    this.#closed = { error: undefined };
    return error === undefined ? END : Promise.reject(error);
  }

  #fail(error: unknown): void {
    const isOver = this.#closed !== undefined;
    this.#closed = { error };
    if (!isOver) this.#source.onEnd();
  }
}

/**
 * The pump of a PullIterator. Each step is a call, so that one message for thousands of consumers costs no promises.
 */
class PullPump<T> implements Pump {
  readonly #values: PullIterator<T>;
  readonly #writer: Writer<T>;
  /**
   * May write this many messages in a turn even after the slice has ended: the source keeps only a limited number, and
   * may drop them before a later turn.
   */
  readonly #share = new Share({ freeMessages: QUANTUM_MESSAGES });
  #stopped = false;

  constructor(values: PullIterator<T>, writer: Writer<T>) {
    values.claim();
    this.#values = values;
    this.#writer = writer;
    this.#step();
  }

  stop(): void {
    this.#stopped = true;
    this.#values.close();
  }

  readonly #step = (): void => {
    try {
      if (this.#stopped || !this.#writeReady()) return;
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (this.#values.isOver) this.#finish();
    else this.#values.onReady(this.#step);
  };

  /** Writes the values that are ready. Returns `false` if it stopped early, because the pump must pause or was stopped. */
  #writeReady(): boolean {
    for (
      let value = this.#values.takeReady();
      value !== undefined;
      value = this.#values.takeReady()
    ) {
      const pause =
        this.#writer.write(value) ?? (this.#share.countMessage() ? slices.next() : undefined);
      if (pause !== undefined) pause.then(this.#step, (error) => this.#fail(error));
      if (pause !== undefined || this.#stopped) return false;
    }
    return true;
  }

  #finish(): void {
    const end = () => {
      if (!this.#stopped) this.#writer.end();
      this.stop();
    };
    this.#values
      .next()
      .then(end)
      .catch((error) => this.#fail(error));
  }

  #fail(error: unknown): void {
    if (this.#stopped) return;
    this.stop();
    this.#writer.fail(error);
  }
}
