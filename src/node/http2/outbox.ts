import type { Http2Stream } from "node:http2";
import { PREFIX_BYTES, writePrefix } from "../../flow/length-prefix.ts";
import { batchOf, writeFrames } from "./batch.ts";

/** A larger message is written by itself, so that it is not copied once more. */
const COPY_MAX_BYTES = 16 * 1024;

/** A batch of this size leaves at once. */
const BATCH_BYTES = 32 * 1024;

/** Whose an outbox is. */
export interface OutboxOwner {
  /** Messages are about to be written: what must leave before them leaves now. */
  onHeadersNeeded(): void;
}

/** Keeps messages in pieces that are framed already. */
export interface Source {
  /** The next piece, if there is one. */
  next(): Uint8Array | undefined;
}

/**
 * Writes messages to an HTTP/2 stream. The first leaves with the next tick;
 * what follows while it is on its way to the socket leaves in one write behind
 * it: node:http2 runs the next ticks after each DATA frame that comes, and
 * what many of them set off must not become as many writes. write() says when
 * the peer takes no more for now; whoever has the stream tells drained() of its
 * 'drain'.
 */
export class Outbox {
  readonly #stream: Http2Stream;
  readonly #owner: OutboxOwner | undefined;
  #source: Source | undefined;
  #payloads: Uint8Array[] = [];
  #flags: number[] = [];
  #bytes = 0;
  #scheduled = false;
  /** Writes that node:http2 has not handed to the socket yet. */
  #inFlight = 0;
  readonly #onWritten = () => {
    if (--this.#inFlight === 0) this.flush();
  };
  #drained: PromiseWithResolvers<void> | undefined;
  #failure: { error: unknown } | undefined;

  constructor(stream: Http2Stream, owner?: OutboxOwner) {
    this.#stream = stream;
    this.#owner = owner;
  }

  /** `undefined`: there is room for more. A promise: there will be when it resolves. */
  write(flags: number, payload: Uint8Array): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#payloads.push(payload);
    this.#flags.push(flags);
    return this.#add(payload.length + PREFIX_BYTES);
  }

  /** As write(), of `bytes` more that `source` has; they leave before what write() was given. */
  pull(source: Source, bytes: number): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#source = source;
    return this.#add(bytes);
  }

  #add(bytes: number): Promise<void> | undefined {
    this.#bytes += bytes;
    if (this.#bytes >= BATCH_BYTES) this.flush();
    else if (!this.#scheduled && this.#inFlight === 0) {
      this.#scheduled = true;
      process.nextTick(flushLater, this);
    }
    if (!this.#stream.writableNeedDrain) return undefined;
    this.#drained ??= Promise.withResolvers();
    return this.#drained.promise;
  }

  /** The stream takes more again. */
  drained(): void {
    this.#drained?.resolve();
    this.#drained = undefined;
  }

  /** Writes what waits, now. */
  flush(): void {
    this.#scheduled = false;
    if (this.#bytes === 0 || this.#failure !== undefined) return;
    this.#owner?.onHeadersNeeded();
    this.#bytes = 0;
    const last = this.#source === undefined ? undefined : this.#empty(this.#source);
    if (this.#payloads.length > 0) this.#write(last);
    else if (last !== undefined) this.#send(last);
    if (this.#stream.writableCorked > 0) this.#stream.uncork();
  }

  /** Writes the pieces of a source but for the last, which it returns. Several leave as one write. */
  #empty(source: Source): Uint8Array | undefined {
    let last = source.next();
    for (let piece = last && source.next(); piece !== undefined; piece = source.next()) {
      if (this.#stream.writableCorked === 0) this.#stream.cork();
      this.#send(last as Uint8Array);
      last = piece;
    }
    return last;
  }

  /** Writes the messages that wait, as few pieces, behind `head`. */
  #write(head: Uint8Array | undefined): void {
    const payloads = this.#payloads;
    const flags = this.#flags;
    let from = 0;
    let batch = 0;
    let before = head;
    if (head !== undefined && head.length > COPY_MAX_BYTES) {
      this.#send(head);
      before = undefined;
    }
    for (let at = 0; at < payloads.length; at++) {
      const size = (payloads[at] as Uint8Array).length;
      if (size <= COPY_MAX_BYTES) {
        batch += size + PREFIX_BYTES;
        continue;
      }
      this.#writeBatch(before, payloads, flags, from, at, batch);
      before = undefined;
      const prefix = Buffer.allocUnsafe(PREFIX_BYTES);
      writePrefix(prefix, 0, { flags: flags[at] as number, size });
      this.#stream.cork();
      this.#stream.write(prefix);
      this.#inFlight++;
      this.#stream.write(payloads[at] as Uint8Array, this.#onWritten);
      this.#stream.uncork();
      from = at + 1;
      batch = 0;
    }
    this.#writeBatch(before, payloads, flags, from, payloads.length, batch);
    this.#payloads = [];
    this.#flags = [];
  }

  /** Writes what waits and ends the stream behind it. */
  end(): void {
    this.flush();
    this.#stream.end();
  }

  /** Drops what waits, and lets go who waits for room: another outbox goes on. */
  release(): void {
    this.#failure ??= { error: new Error("this outbox was released") };
    this.#source = undefined;
    this.#payloads = [];
    this.#flags = [];
    this.#bytes = 0;
    this.drained();
  }

  /** Drops what waits; every waiting and later write fails with `error`. */
  fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { error };
    this.#source = undefined;
    this.#payloads = [];
    this.#flags = [];
    this.#bytes = 0;
    this.#drained?.reject(error);
    this.#drained?.promise.catch(() => {});
  }

  #writeBatch(
    head: Uint8Array | undefined,
    payloads: Uint8Array[],
    flags: number[],
    from: number,
    to: number,
    bytes: number,
  ): void {
    const headBytes = head?.length ?? 0;
    if (headBytes + bytes === 0) return;
    if (headBytes === 0 && bytes > 0 && to - from === payloads.length) {
      this.#send(batchOf(payloads, flags, bytes));
      return;
    }
    const batch = Buffer.allocUnsafe(headBytes + bytes);
    if (head !== undefined) batch.set(head);
    writeFrames(batch, headBytes, payloads, flags, from, to);
    this.#send(batch);
  }

  #send(piece: Uint8Array): void {
    this.#inFlight++;
    this.#stream.write(piece, this.#onWritten);
  }
}

function flushLater(outbox: Outbox): void {
  outbox.flush();
}
