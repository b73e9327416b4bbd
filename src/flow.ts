/**
 * Flow: the only home of hand-made iterators.
 *
 *     Queue   the sender's end: many push, one takes; full means push() waits
 *     Inbox   the receiver's end: the wire fills it and is told to pause
 *     pump    carries an iterable to a writer, no faster than the writer takes
 */
import { Code } from "@connectrpc/connect";
import { failure, handled } from "./failure.ts";

/** What takes messages off a Queue or a pump, one at a time and in order. */
export interface Writer<T> {
  /**
   * Takes one message. `undefined`: there is room for the next. A promise: the
   * message is taken, and the next must wait until it resolves. A throw or a
   * rejection: the message was refused, and so is every later one.
   */
  write(message: T): Promise<void> | undefined;
  /** No more messages follow. */
  end(): void;
}

const DONE: Promise<void> = Promise.resolve();
const END: IteratorReturnResult<undefined> = { done: true, value: undefined };

interface Entry<T> {
  value: T;
  /** Set where the pusher waits for room. */
  waiting: PromiseWithResolvers<void> | undefined;
}

/**
 * A bounded queue: the sender's end of a stream. Any number of places may push
 * at the same time; messages leave whole, in the order of the pushes. One
 * consumer takes them: either an async iteration, or a Writer that pipeTo()
 * attaches, which then gets each message without a promise in between.
 */
export class Queue<T> implements AsyncIterable<T> {
  readonly #limit: number;
  readonly #entries: Entry<T>[] = [];
  #first = 0;
  #writer: Writer<T> | undefined;
  #writing = false;
  #reader: PromiseWithResolvers<IteratorResult<T, undefined>> | undefined;
  #onTake: (() => void) | undefined;
  #ended = false;
  #failure: { error: unknown } | undefined;

  /**
   * @param limit how many messages wait inside before push() waits too
   * @param onTake called once, when a consumer first asks for a message
   */
  constructor(limit: number, onTake?: () => void) {
    this.#limit = limit;
    this.#onTake = onTake;
  }

  /**
   * Resolves when there is room for another message; rejects with the error of
   * fail(). Not awaiting it loses no message, only the backpressure.
   */
  push(value: T): Promise<void> {
    if (this.#failure !== undefined) return handled(Promise.reject(this.#failure.error));
    if (this.#reader !== undefined) {
      const reader = this.#reader;
      this.#reader = undefined;
      reader.resolve({ done: false, value });
      return DONE;
    }
    if (this.#writer !== undefined && !this.#writing && this.#size === 0) {
      return this.#give(this.#writer, value) ?? DONE;
    }
    const waiting = this.#size >= this.#limit ? Promise.withResolvers<void>() : undefined;
    this.#entries.push({ value, waiting });
    return waiting === undefined ? DONE : handled(waiting.promise);
  }

  /** No more pushes: the consumer ends when it has taken what is inside. */
  end(): void {
    if (this.#ended || this.#failure !== undefined) return;
    this.#ended = true;
    if (this.#reader !== undefined) {
      this.#reader.resolve(END);
      this.#reader = undefined;
    }
    this.#drain();
  }

  /** Drops what is inside; every waiting and later push() rejects with `error`. */
  fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { error };
    const dropped = this.#entries.splice(0).slice(this.#first);
    this.#first = 0;
    for (const { waiting } of dropped) waiting?.reject(error);
    this.#reader?.reject(error);
    this.#reader = undefined;
    this.#writer = undefined;
  }

  /** Hands every message to `writer` from now on, those that wait inside first. */
  pipeTo(writer: Writer<T>): void {
    this.#taken();
    if (this.#failure !== undefined) return;
    this.#writer = writer;
    this.#drain();
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return {
      next: () => this.#next(),
      return: async () => {
        this.fail(failure(Code.FailedPrecondition, "the call takes no more messages: it is over"));
        return END;
      },
      throw: async (error: unknown) => {
        this.fail(error);
        throw error;
      },
    };
  }

  /** Whether fail() was called. */
  get failed(): boolean {
    return this.#failure !== undefined;
  }

  get #size(): number {
    return this.#entries.length - this.#first;
  }

  #taken(): void {
    this.#onTake?.();
    this.#onTake = undefined;
  }

  #next(): Promise<IteratorResult<T, undefined>> {
    this.#taken();
    if (this.#failure !== undefined) return Promise.reject(this.#failure.error);
    if (this.#size > 0) {
      const { value, waiting } = this.#shift();
      waiting?.resolve();
      return Promise.resolve({ done: false, value });
    }
    if (this.#ended) return Promise.resolve(END);
    this.#reader ??= Promise.withResolvers();
    return this.#reader.promise;
  }

  /** Takes the oldest entry, and lets in the one that now fits. */
  #shift(): Entry<T> {
    const entry = this.#entries[this.#first] as Entry<T>;
    this.#first++;
    if (this.#first * 2 >= this.#entries.length) {
      this.#entries.splice(0, this.#first);
      this.#first = 0;
    }
    const fits = this.#entries[this.#first + this.#limit - 1];
    if (fits?.waiting !== undefined) {
      fits.waiting.resolve();
      fits.waiting = undefined;
    }
    return entry;
  }

  #give(writer: Writer<T>, value: T): Promise<void> | undefined {
    let full: Promise<void> | undefined;
    try {
      full = writer.write(value);
    } catch (error) {
      this.fail(error);
      return handled(Promise.reject(error));
    }
    if (full === undefined) return undefined;
    this.#writing = true;
    full.then(
      () => {
        this.#writing = false;
        this.#drain();
      },
      (error) => this.fail(error),
    );
    return full;
  }

  #drain(): void {
    while (this.#writer !== undefined && !this.#writing && this.#size > 0) {
      const { value, waiting } = this.#shift();
      const full = this.#give(this.#writer, value);
      if (waiting === undefined) continue;
      if (full === undefined) waiting.resolve();
      else full.then(waiting.resolve, waiting.reject);
    }
    if (this.#ended && this.#size === 0 && !this.#writing) {
      this.#writer?.end();
      this.#writer = undefined;
    }
  }
}

/** What an Inbox asks of the side that fills it. */
export interface Source<Raw, T> {
  /** Makes a message of what came; a throw ends the iteration with its error. */
  open(raw: Raw): T | Promise<T>;
  /** The consumer waits, and there is nothing for it. */
  onDry?(): void;
  /** There is room again after put() said that there is none. */
  onRoom?(): void;
  /** The consumer left the loop before its end. */
  onLeave?(): void;
  /** A message could not be opened; the iteration has thrown this. */
  onRefuse?(error: unknown): void;
}

/**
 * The receiver's end of a stream: what the wire delivers waits here until the
 * consumer takes it. put() never waits; it says when there is enough inside,
 * and onRoom() says when to go on. Iterated once, by one consumer.
 */
export class Inbox<Raw, T> implements AsyncIterableIterator<T, undefined> {
  readonly #source: Source<Raw, T>;
  readonly #limitBytes: number;
  readonly #items: Raw[] = [];
  readonly #sizes: number[] = [];
  #first = 0;
  #bytes = 0;
  #full = false;
  #readers: PromiseWithResolvers<IteratorResult<T, undefined>>[] = [];
  #opening: Promise<unknown> | undefined;
  #closed: { error: unknown } | undefined;

  constructor(limitBytes: number, source: Source<Raw, T>) {
    this.#limitBytes = limitBytes;
    this.#source = source;
  }

  /** Takes in what came; `false` when there is enough inside. */
  put(raw: Raw, sizeBytes: number): boolean {
    if (this.#closed !== undefined) return true;
    if (this.#readers.length > 0 && this.#opening === undefined) {
      const reader = this.#readers.shift() as PromiseWithResolvers<IteratorResult<T, undefined>>;
      reader.resolve(this.#open(raw));
      return true;
    }
    this.#items.push(raw);
    this.#sizes.push(sizeBytes);
    // 64 B stand for what a message costs beside its bytes.
    this.#bytes += sizeBytes + 64;
    if (this.#bytes >= this.#limitBytes) this.#full = true;
    return !this.#full;
  }

  /** Nothing more comes: the iteration ends, or throws, behind what is inside. */
  close(error?: unknown): void {
    if (this.#closed !== undefined) return;
    this.#closed = { error };
    for (const reader of this.#readers.splice(0)) this.#settle(reader);
  }

  /** Drops what is inside: the iteration throws `error` at once. */
  fail(error: unknown): void {
    if (this.#closed === undefined || this.#size > 0) {
      this.#closed = { error };
      this.#clear();
    }
    for (const reader of this.#readers.splice(0)) this.#settle(reader);
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#opening !== undefined) return this.#queue();
    if (this.#size > 0) return Promise.resolve(this.#open(this.#shift()));
    if (this.#closed !== undefined) {
      const { error } = this.#closed;
      // The error is thrown once; after it the iteration is over, as a generator's is.
      this.#closed = { error: undefined };
      return error === undefined ? Promise.resolve(END) : Promise.reject(error);
    }
    const waiting = this.#queue();
    this.#source.onDry?.();
    return waiting;
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    if (this.#leave()) this.#source.onLeave?.();
    return END;
  }

  async throw(error: unknown): Promise<IteratorReturnResult<undefined>> {
    if (this.#leave()) this.#source.onLeave?.();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  get #size(): number {
    return this.#items.length - this.#first;
  }

  #queue(): Promise<IteratorResult<T, undefined>> {
    const reader = Promise.withResolvers<IteratorResult<T, undefined>>();
    this.#readers.push(reader);
    return reader.promise;
  }

  /** Ends the iteration here; `false` where it was over. */
  #leave(): boolean {
    const over = this.#closed !== undefined && this.#size === 0;
    this.#closed = { error: undefined };
    this.#clear();
    for (const reader of this.#readers.splice(0)) reader.resolve(END);
    return !over;
  }

  #clear(): void {
    this.#items.length = 0;
    this.#sizes.length = 0;
    this.#first = 0;
    this.#bytes = 0;
    this.#room();
  }

  #room(): void {
    if (!this.#full) return;
    this.#full = false;
    this.#source.onRoom?.();
  }

  #settle(reader: PromiseWithResolvers<IteratorResult<T, undefined>>): void {
    this.next().then(reader.resolve, reader.reject);
  }

  #shift(): Raw {
    const at = this.#first++;
    const raw = this.#items[at] as Raw;
    this.#bytes -= (this.#sizes[at] as number) + 64;
    if (this.#first === this.#items.length) {
      this.#items.length = 0;
      this.#sizes.length = 0;
      this.#first = 0;
    } else if (this.#first >= 1024) {
      this.#items.splice(0, this.#first);
      this.#sizes.splice(0, this.#first);
      this.#first = 0;
    } else {
      this.#items[at] = undefined as Raw;
    }
    if (this.#full && this.#bytes * 2 <= this.#limitBytes) this.#room();
    return raw;
  }

  /** Opens one message; while that takes a promise, later readers wait their turn. */
  #open(raw: Raw): IteratorResult<T, undefined> | Promise<IteratorResult<T, undefined>> {
    let value: T | Promise<T>;
    try {
      value = this.#source.open(raw);
    } catch (error) {
      return this.#refuse(error);
    }
    if (!(value instanceof Promise)) return { done: false, value };
    const opened = value.then(
      (value): IteratorResult<T, undefined> => ({ done: false, value }),
      (error) => this.#refuse(error),
    );
    this.#opening = opened;
    const turn = () => {
      this.#opening = undefined;
      if (this.#size === 0 && this.#closed === undefined) return;
      const reader = this.#readers.shift();
      if (reader !== undefined) this.#settle(reader);
    };
    opened.then(turn, turn);
    return opened;
  }

  #refuse(error: unknown): Promise<never> {
    this.#leave();
    this.#source.onRefuse?.(error);
    return Promise.reject(error);
  }
}

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

/**
 * Runs `listener` once when `signal` aborts, at once if it already has.
 * Dispose what comes back to stop listening.
 */
export function onAbort(
  signal: AbortSignal | undefined,
  listener: (reason: unknown) => void,
): Disposable {
  if (signal === undefined) return { [Symbol.dispose]() {} };
  if (signal.aborted) {
    listener(signal.reason);
    return { [Symbol.dispose]() {} };
  }
  const heard = () => listener(signal.reason);
  signal.addEventListener("abort", heard, { once: true });
  return { [Symbol.dispose]: () => signal.removeEventListener("abort", heard) };
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** setTimeout for any length, also beyond 31 bits. It does not keep the process alive. */
export function after(ms: number, run: () => void): Disposable {
  let timer: NodeJS.Timeout;
  const endsAt = performance.now() + ms;
  const arm = (rest: number) => {
    timer = setTimeout(
      () => {
        const left = endsAt - performance.now();
        if (left >= 1) arm(left);
        else run();
      },
      Math.min(Math.max(rest, 0), LONGEST_TIMER_MS),
    );
    // Where timers are numbers (browsers) there is nothing to unref.
    (timer as Partial<NodeJS.Timeout>).unref?.();
  };
  arm(ms);
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}
