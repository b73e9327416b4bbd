import { Code } from "@connectrpc/connect";
import { failure, handled } from "../failure.ts";
import { Share, slices } from "./slice.ts";
import { type Pump, type Pumpable, pumpTo, type Writer } from "./writer.ts";

const DONE: Promise<void> = Promise.resolve();
const END: IteratorReturnResult<undefined> = { done: true, value: undefined };

/**
 * After how much of the slice of all pumps a queue waits for the next turn of the event loop. It is more than that of
 * other pumps, since the program's own sends fill it: a sender that answers what it receives has many answers after one
 * read of the socket, and what waits is sent in smaller writes. With 1 ms, a client with 100 busy calls took a tenth
 * more CPU.
 */
const SLICE_MS = 4;

interface Queued<T> {
  value: T;
  /** Set if push() waits for capacity. */
  waiting: PromiseWithResolvers<void> | undefined;
}

/**
 * A bounded queue: the sender's end of a stream. Any code may push at any time. Messages are delivered in the order of
 * the pushes. One consumer takes them: either an async iteration, or a Writer, which gets each message without a promise
 * in between. An iteration may call next() again before the previous call has settled: each call gets a message of its
 * own, in the order of the calls.
 */
export class Queue<T> implements AsyncIterable<T>, Pumpable<T>, Pump {
  readonly #limit: number;
  readonly #entries: Queued<T>[] = [];
  #first = 0;
  #writer: Writer<T> | undefined;
  #writing = false;
  /** The calls of next() that wait, in order; undefined until there is one. */
  #readers: PromiseWithResolvers<IteratorResult<T, undefined>>[] | undefined;
  #onTake: (() => void) | undefined;
  readonly #share = new Share({ sliceMs: SLICE_MS });
  #pause: Promise<void> | undefined;
  /** Set by end(). */
  #end: { readonly error?: unknown } | undefined;
  /** `provisional` marks the error of stop(), which fail() may still replace by the reason. */
  #failure: { error: unknown; provisional: boolean } | undefined;

  /**
   * @param limit how many messages the queue holds before push() waits
   * @param onTake called once, when a consumer first asks for a message
   */
  constructor(limit: number, onTake?: () => void) {
    this.#limit = limit;
    this.#onTake = onTake;
  }

  /**
   * Resolves when there is capacity for another message. After too much work in one turn of the event loop, it
   * resolves in a later turn even if there is capacity, so that other calls can run. Rejects with the error of
   * fail(). A caller that does not await it loses no message, only the backpressure.
   */
  push(value: T): Promise<void> {
    if (this.#failure !== undefined) return handled(Promise.reject(this.#failure.error));
    const reader = this.#readers?.shift();
    if (reader !== undefined) {
      reader.resolve({ done: false, value });
      return DONE;
    }
    if (this.#writer !== undefined && !this.#writing && this.#size === 0) {
      return this.#writeTo(this.#writer, value) ?? this.#pauseAfterWrite();
    }
    const waiting = this.#size >= this.#limit ? Promise.withResolvers<void>() : undefined;
    this.#entries.push({ value, waiting });
    return waiting === undefined ? DONE : handled(waiting.promise);
  }

  /**
   * Ends the queue once the queued messages are taken; with an error, if `end` has one. Do not push() afterwards; this is
   * not checked.
   */
  end(end: { readonly error?: unknown } = {}): void {
    if (this.#end !== undefined || this.#failure !== undefined) return;
    this.#end = end;
    this.#drain();
  }

  /** Drops the queued messages; every waiting and later push() rejects with `error`. */
  fail(error: unknown): void {
    this.#fail(error, false);
  }

  #fail(error: unknown, provisional: boolean): void {
    if (this.#failure !== undefined) {
      if (this.#failure.provisional) this.#failure = { error, provisional };
      return;
    }
    this.#failure = { error, provisional };
    const dropped = this.#entries.splice(0).slice(this.#first);
    this.#first = 0;
    for (const { waiting } of dropped) waiting?.reject(error);
    // The error is thrown once; then the iteration has ended, as a generator's has.
    this.#readers?.shift()?.reject(error);
    this.#endReaders();
    this.#writer = undefined;
  }

  #endReaders(): void {
    const readers = this.#readers;
    this.#readers = undefined;
    for (const reader of readers ?? []) reader.resolve(END);
  }

  /** Writes every message to `writer` from now on, the queued ones first. */
  [pumpTo](writer: Writer<T>): Pump {
    this.#onFirstTake();
    if (this.#failure === undefined) {
      this.#writer = writer;
      this.#drain();
    }
    return this;
  }

  /** Ends the queue because its consumer takes no more messages. fail() may still give the reason. */
  stop(): void {
    const what = "the call has ended and takes no more messages";
    this.#fail(failure(Code.FailedPrecondition, what), true);
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return {
      next: () => this.#next(),
      return: async () => {
        this.stop();
        return END;
      },
      throw: async (error: unknown) => {
        this.fail(error);
        throw error;
      },
    };
  }

  /** Whether push() rejects: fail() or stop() was called, or the queue has ended with an error. */
  get isFailed(): boolean {
    return this.#failure !== undefined;
  }

  /** The error with which push() rejects, if it does. */
  get error(): unknown {
    return this.#failure?.error;
  }

  /** Whether the consumer has taken all that was pushed. */
  get isEmpty(): boolean {
    return this.#size === 0 && !this.#writing;
  }

  get #size(): number {
    return this.#entries.length - this.#first;
  }

  #onFirstTake(): void {
    this.#onTake?.();
    this.#onTake = undefined;
  }

  /** Returns the promise of push() for a message that the writer has taken. */
  #pauseAfterWrite(): Promise<void> {
    if (this.#pause !== undefined) return this.#pause;
    if (!this.#share.countMessage()) return DONE;
    this.#pause = slices.next().then(() => {
      this.#pause = undefined;
    });
    return this.#pause;
  }

  #next(): Promise<IteratorResult<T, undefined>> {
    this.#onFirstTake();
    if (this.#failure !== undefined) return Promise.reject(this.#failure.error);
    if (this.#size > 0) {
      const { value, waiting } = this.#shift();
      waiting?.resolve();
      return Promise.resolve({ done: false, value });
    }
    if (this.#end !== undefined) {
      return "error" in this.#end ? Promise.reject(this.#end.error) : Promise.resolve(END);
    }
    const reader = Promise.withResolvers<IteratorResult<T, undefined>>();
    this.#readers ??= [];
    this.#readers.push(reader);
    return reader.promise;
  }

  /** Takes the oldest entry, and resolves the push() of the entry that now fits. */
  #shift(): Queued<T> {
    const entry = this.#entries[this.#first] as Queued<T>;
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

  #writeTo(writer: Writer<T>, value: T): Promise<void> | undefined {
    let pause: Promise<void> | undefined;
    try {
      pause = writer.write(value);
    } catch (error) {
      this.fail(error);
      writer.fail(error);
      return handled(Promise.reject(error));
    }
    if (pause === undefined) return undefined;
    this.#writing = true;
    pause.then(
      () => {
        this.#writing = false;
        this.#drain();
      },
      (error) => {
        this.fail(error);
        writer.fail(error);
      },
    );
    return pause;
  }

  #drain(): void {
    while (this.#writer !== undefined && !this.#writing && this.#size > 0) {
      const { value, waiting } = this.#shift();
      const pause = this.#writeTo(this.#writer, value);
      if (waiting === undefined) continue;
      if (pause === undefined) waiting.resolve();
      else pause.then(waiting.resolve, waiting.reject);
    }
    if (this.#end !== undefined && this.isEmpty) this.#finish(this.#end);
  }

  /** Tells the consumer of the end: it has taken everything. */
  #finish(end: { readonly error?: unknown }): void {
    const writer = this.#writer;
    this.#writer = undefined;
    if ("error" in end) {
      this.fail(end.error);
      writer?.fail(end.error);
    } else {
      this.#endReaders();
      writer?.end();
    }
  }
}
