import { failing, iteratedBefore } from "./second-loop.ts";
import { type Sharer, sharedBuffers } from "./shared-buffers.ts";

const END: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** The side that fills an Inbox. */
export interface InboxSource<Raw, T> {
  /** Makes a message from raw data. If it throws, the iteration ends with that error. */
  open(raw: Raw): T | Promise<T>;
  /** Returns the bytes of a socket read of which raw data is a part. A source that has this has keep() too. */
  readOf?(raw: Raw): Uint8Array;
  /**
   * Copies raw data that has waited for long, so that the buffer around it can be freed (shared-buffers.ts). Most consumers
   * have taken it before.
   *
   * @param isFirst whether no earlier data waits
   */
  keep?(raw: Raw, isFirst: boolean): Raw;
  /** Called for a message that is dropped without open(), because the consumer does not take it. */
  drop?(raw: Raw): void;
  /** Called when the consumer leaves the iteration before its end. */
  onLeave?(): void;
  /** Called when open() has failed and the iteration has thrown its error. */
  onRefuse?(error: unknown): void;
}

/** Takes what a source receives. */
export interface MessageSink<Raw> {
  /** Takes raw data that has arrived. */
  put(raw: Raw): void;
  /** No more data arrives; with an error if that is why. What has arrived before may still be taken. */
  close(error?: unknown): void;
  /** Drops what was not taken: the consumer gets `error` now. */
  fail(error: unknown): void;
}

type Reader<T> = (
  result: IteratorResult<T, undefined> | Promise<IteratorResult<T, undefined>>,
) => void;

/** Marks an Inbound. */
const inbound: unique symbol = Symbol("hawser: inbound");

/** Listens to an Inbound. */
export interface InboundListener {
  /** Called when the consumer reaches the end, with the error if the end is one. The consumer gets what this throws. */
  onReadToEnd(error?: unknown): void;
}

/** Messages that report when their consumer reaches the end, so that the caller need not check each result for it. */
export interface Inbound<T> extends AsyncIterableIterator<T, undefined> {
  readonly [inbound]: true;
  listener: InboundListener | undefined;
  /** Whether the consumer waits for a message. */
  readonly isAwaited: boolean;
  /** How many messages the consumer was given. */
  readonly taken: number;
}

/** Whether an iterable is an Inbound. One that an interceptor has wrapped is not. */
export function isInbound<T>(messages: AsyncIterable<T>): messages is Inbound<T> {
  return inbound in messages;
}

/**
 * The receiver's end of a stream: what arrives waits here until the consumer takes it. The inbox does not limit how
 * much waits; flow control does, because the source learns of each message that is taken, by open(), or dropped, by
 * drop(). Iterated once, by one consumer.
 */
export class Inbox<Raw, T> implements Inbound<T>, MessageSink<Raw>, Sharer {
  readonly [inbound] = true;
  readonly #source: InboxSource<Raw, T>;
  readonly #what: string;
  /** Undefined until an item has waited. */
  #items: Raw[] | undefined;
  #first = 0;
  /** How many of the last items still share the buffer in which they arrived. */
  #sharing = 0;
  /** How many of these waited already when copyOld() was last called. */
  #old = 0;
  /** Whether `sharedBuffers` has this inbox. */
  #isListed = false;
  /** The reader that waits for the next message; most often the only one. */
  #reader: Reader<T> | undefined;
  /** The readers that wait after it, in order; undefined until there is one. */
  #readers: Reader<T>[] | undefined;
  readonly #wait = (resolve: Reader<T>): void => {
    if (this.#reader === undefined) this.#reader = resolve;
    else {
      this.#readers ??= [];
      this.#readers.push(resolve);
    }
  };
  #opening: Promise<unknown> | undefined;
  /** Whether the consumer has reached the end, or has left. */
  #consumerDone = false;
  /** How many messages the consumer was given. */
  taken = 0;
  #closed: { error: unknown } | undefined;
  listener: InboundListener | undefined;
  /** Called when the consumer waits and the inbox is empty. */
  onDry: (() => void) | undefined;

  /** @param what the name of the messages in errors */
  constructor(source: InboxSource<Raw, T>, what = "the messages of this call") {
    this.#source = source;
    this.#what = what;
  }

  /** Takes raw data that has arrived. */
  put(raw: Raw): void {
    if (this.#closed !== undefined) {
      this.#source.drop?.(raw);
      return;
    }
    if (this.#reader !== undefined && this.#opening === undefined && this.#size === 0) {
      const resolve = this.#reader;
      this.#reader = this.#readers?.shift();
      resolve(this.#open(raw));
      return;
    }
    this.#items ??= [];
    this.#items.push(raw);
    if (this.#source.readOf === undefined) return;
    this.#sharing++;
    sharedBuffers.count(this.#source.readOf(raw));
    if (this.#isListed) return;
    this.#isListed = true;
    sharedBuffers.add(this);
  }

  /** For `sharedBuffers`. */
  copyOld(): boolean {
    const items = this.#items ?? [];
    const from = items.length - this.#sharing;
    this.#sharing -= this.#old;
    for (let at = from; at < from + this.#old; at++)
      items[at] = this.#source.keep!(items[at] as Raw, at === this.#first);
    this.#old = this.#sharing;
    this.#isListed = this.#sharing > 0;
    return this.#isListed;
  }

  /** Closes the inbox: once the waiting messages are taken, the iteration ends, or throws `error`. */
  close(error?: unknown): void {
    if (this.#closed !== undefined) return;
    this.#closed = { error };
    for (const reader of this.#takeReaders()) this.#settle(reader);
  }

  /** Drops the waiting messages: the iteration throws `error` now. */
  fail(error: unknown): void {
    if (this.#closed === undefined || this.#size > 0) {
      this.#closed = { error };
      this.#clear();
    }
    for (const reader of this.#takeReaders()) this.#settle(reader);
  }

  next(): Promise<IteratorResult<T, undefined>> {
    // Readers get their messages in the order of their calls.
    if (this.#opening !== undefined || this.#reader !== undefined) return this.#queue();
    return this.#take();
  }

  #take(): Promise<IteratorResult<T, undefined>> {
    if (this.#size > 0) return Promise.resolve(this.#open(this.#shift()));
    if (this.#closed !== undefined) {
      const { error } = this.#closed;
      this.#consumerDone = true;
      // The error is thrown once; then the iteration has ended, as a generator's has.
      this.#closed = { error: undefined };
      const thrown = this.#reachEnd(error);
      if (thrown !== undefined) return thrown;
      return error === undefined ? Promise.resolve(END) : Promise.reject(error);
    }
    const waiting = this.#queue();
    this.onDry?.();
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

  /**
   * Returns the inbox to one consumer at a time. While that one waits, and after its end, another one gets
   * FAILED_PRECONDITION.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<T, undefined> {
    return this.#consumerDone || this.isAwaited ? failing(iteratedBefore(this.#what)) : this;
  }

  /** Whether the consumer waits for a message. */
  get isAwaited(): boolean {
    return this.#reader !== undefined;
  }

  get #size(): number {
    return this.#items === undefined ? 0 : this.#items.length - this.#first;
  }

  #queue(): Promise<IteratorResult<T, undefined>> {
    return new Promise(this.#wait);
  }

  /** Returns the readers that wait, in order. The caller must settle them. */
  #takeReaders(): Reader<T>[] {
    if (this.#reader === undefined) return [];
    const readers = [this.#reader, ...(this.#readers ?? [])];
    this.#reader = undefined;
    this.#readers = undefined;
    return readers;
  }

  /** Ends the iteration here. Returns `false` if it had ended. */
  #leave(): boolean {
    this.#consumerDone = true;
    const hadEnded = this.#closed !== undefined && this.#size === 0;
    this.#closed = { error: undefined };
    this.#clear();
    for (const resolve of this.#takeReaders()) resolve(END);
    return !hadEnded;
  }

  #clear(): void {
    const dropped = this.#items?.slice(this.#first);
    this.#items = undefined;
    this.#first = 0;
    this.#sharing = 0;
    this.#old = 0;
    if (dropped === undefined || this.#source.drop === undefined) return;
    for (const raw of dropped) this.#source.drop(raw);
  }

  #settle(resolve: Reader<T>): void {
    resolve(this.#take());
  }

  /** Reports that the consumer has reached the end. */
  #reachEnd(error?: unknown): Promise<never> | undefined {
    try {
      this.listener?.onReadToEnd(error);
    } catch (thrown) {
      return Promise.reject(thrown);
    }
    return undefined;
  }

  #shift(): Raw {
    const items = this.#items as Raw[];
    const at = this.#first++;
    const raw = items[at] as Raw;
    if (this.#first === items.length) {
      items.length = 0;
      this.#first = 0;
    } else if (this.#first >= 1024) {
      items.splice(0, this.#first);
      this.#first = 0;
    } else {
      items[at] = undefined as Raw;
    }
    if (this.#sharing > this.#size) {
      this.#sharing--;
      if (this.#old > 0) this.#old--;
    }
    return raw;
  }

  /** Opens one message. If it returns a promise, later readers wait until that settles. */
  #open(raw: Raw): IteratorResult<T, undefined> | Promise<IteratorResult<T, undefined>> {
    this.taken++;
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
      while (this.#reader !== undefined && this.#opening === undefined) {
        if (this.#size === 0 && this.#closed === undefined) return;
        const resolve = this.#reader;
        this.#reader = this.#readers?.shift();
        this.#settle(resolve);
      }
    };
    opened.then(turn, turn);
    return opened;
  }

  #refuse(error: unknown): Promise<never> {
    this.#leave();
    this.#reachEnd(error);
    this.#source.onRefuse?.(error);
    return Promise.reject(error);
  }
}
