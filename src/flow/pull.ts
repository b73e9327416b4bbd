import { QUANTUM_MESSAGES, Share, slices } from "./slice.ts";
import { type Pump, type Pumpable, pumpTo, type Writer } from "./writer.ts";

const END: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** What a PullIterator reads. */
export interface PullSource<T> {
  /** The next value; `undefined`: there is none now. Where it throws, the iteration ends with that error. */
  take(): T | undefined;
  /** The consumer waits, and there is nothing for it: wake() when there is. */
  onDry(): void;
  /** The iteration has ended, in whatever way. */
  onEnd(): void;
}

type Resolve<T> = (
  result: IteratorResult<T, undefined> | Promise<IteratorResult<T, undefined>>,
) => void;

/**
 * An iteration of values that are stored elsewhere: it has no queue, so that
 * many consumers can share what they read. Iterated once, by one consumer: by
 * next(), where each step is a promise, or by ready() and onReady(), where a
 * step is a call, and a consumer that waits holds nothing but its listener.
 */
export class PullIterator<T> implements AsyncIterableIterator<T, undefined>, Pumpable<T> {
  readonly #source: PullSource<T>;
  #claimed = false;
  #isRead = false;
  #listener: (() => void) | undefined;
  #resolve: Resolve<T> | undefined;
  /** The promise of the next() that waits; used only where next() is called again before it settles. */
  #waiting: Promise<IteratorResult<T, undefined>> | undefined;
  readonly #wait = (resolve: Resolve<T>): void => {
    this.#resolve = resolve;
  };
  #closed: { error: unknown } | undefined;

  constructor(source: PullSource<T>) {
    this.#source = source;
  }

  /** Whether the iteration has ended; next() still tells how. */
  get isOver(): boolean {
    return this.#closed !== undefined;
  }

  /** Whether a consumer begins with ready(), waits, was told the end or has left: another would take its values, or get none. */
  get isTaken(): boolean {
    return this.#claimed || this.#isRead || this.#resolve !== undefined;
  }

  /** A consumer begins with ready(). */
  claim(): void {
    this.#claimed = true;
  }

  /** The next value, where there is one now. A consumer that begins with this asks next() for the end alone. */
  ready(): T | undefined {
    if (this.#closed !== undefined) return undefined;
    try {
      return this.#source.take();
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  /** Calls `listener` once, when ready() may have something again, or the iteration is over. */
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

  /** Ends the iteration now: it throws `error`, where there is one. */
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
    this.#isRead = true;
    this.close();
    return END;
  }

  async throw(error: unknown): Promise<IteratorReturnResult<undefined>> {
    this.#isRead = true;
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
    // The source may wake or close this iterator while it is taken from.
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
    const value = this.ready();
    if (value !== undefined) return { done: false, value };
    if (this.#closed === undefined) return undefined;
    const { error } = this.#closed;
    this.#isRead = true;
    // Thrown once; after it the iteration is over, as a generator's is.
    this.#closed = { error: undefined };
    return error === undefined ? END : Promise.reject(error);
  }

  #fail(error: unknown): void {
    const isOver = this.#closed !== undefined;
    this.#closed = { error };
    if (!isOver) this.#source.onEnd();
  }
}

/** The pump of a PullIterator: steps are calls, so that thousands of consumers that wait for one message cost no promises. */
class PullPump<T> implements Pump {
  readonly #values: PullIterator<T>;
  readonly #writer: Writer<T>;
  /** What a source has ready is bounded, and may not be there much longer. */
  readonly #share = new Share(QUANTUM_MESSAGES);
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

  /** Writes what there is; `false` where more is to be written later, or never. */
  #writeReady(): boolean {
    for (let value = this.#values.ready(); value !== undefined; value = this.#values.ready()) {
      const full =
        this.#writer.write(value) ?? (this.#share.countMessage() ? slices.next() : undefined);
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
