import type { Http2Stream } from "node:http2";
import type { ConnectError } from "@connectrpc/connect";
import type { CallStream, CallStreamListener, Received } from "../../call-stream.ts";
import { handled } from "../../failure.ts";
import { PREFIX_BYTES, writePrefix } from "../../flow/length-prefix.ts";
import { FrameReader, type FrameRules } from "../../grpc/framing.ts";
import { INBOX_BYTES } from "../../grpc/limits.ts";
import type { FramedSource } from "../../session/spool.ts";
import { batchOf, writeFrames } from "./batch.ts";
import { readOn, receive } from "./receive.ts";

/** Messages above this size are written by themselves, so that they are not copied. */
const COPY_MAX_BYTES = 16 * 1024;

/** A batch of this size is written immediately. */
const BATCH_BYTES = 32 * 1024;

/** The approximate cost of a message that waits for the application, beside its bytes. */
const ENTRY_BYTES = 64;

/** The property of a stream of node:http2 that is its MessageStream, for the listeners that all streams share. */
export const MESSAGES: unique symbol = Symbol("message stream");

type NativeStream = Http2Stream & { [MESSAGES]: MessageStream<Http2Stream> };

/**
 * The messages of an HTTP/2 stream in both directions: the common part of its two
 * ends.
 *
 * The first message is written in the next tick. While node:http2 still holds a
 * write, further messages wait, and then go out together. Reason: node:http2 runs
 * ticks after each received DATA frame, so one write per tick would be one per
 * frame. write() returns a promise while the peer takes no more.
 *
 * The peer may send until INBOX_BYTES of messages wait for the application; then
 * nothing is read until half of that was taken. A stream with control frames
 * belongs to a session, whose window limits the peer instead: it is always read.
 */
export abstract class MessageStream<Native extends Http2Stream> implements CallStream {
  protected readonly native: Native;
  protected readonly reader: FrameReader;
  #source: FramedSource | undefined;
  #payloads: Uint8Array[] = [];
  #flags: number[] = [];
  #bytes = 0;
  #scheduled = false;
  /** Writes that node:http2 has not handed to the socket yet. */
  #inFlight = 0;
  readonly #onWritten = () => {
    if (--this.#inFlight === 0 && this.#bytes > 0) this.flush();
  };
  #drained: PromiseWithResolvers<void> | undefined;
  #failure: { error: unknown } | undefined;
  /** If true, received data is dropped. */
  protected isDiscarding = false;
  /** If true, DATA is kept until the response headers were reported. Only a client's stream waits for headers. */
  protected awaitsHeaders = false;
  /** DATA received before the headers were reported. */
  #early: Uint8Array[] | undefined;
  /** Whether reading stops while too many messages wait. `false` for a session, which has a window. */
  readonly #isPaced: boolean;
  /** The bytes of messages that the listener was given and the application has not taken. */
  #waitingBytes = 0;
  #isFull = false;

  constructor(native: Native, rules: FrameRules) {
    this.native = native;
    this.reader = new FrameReader(rules, this);
    this.#isPaced = rules.controlFrames === undefined;
    (native as Http2Stream as NativeStream)[MESSAGES] = this;
    receive(native, this);
    native.on("drain", MessageStream.#onDrain);
  }

  write(flags: number, payload: Uint8Array): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#payloads.push(payload);
    this.#flags.push(flags);
    return this.#add(payload.length + PREFIX_BYTES);
  }

  pull(source: FramedSource, bytes: number): Promise<void> | undefined {
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
    if (!this.native.writableNeedDrain) return undefined;
    this.#drained ??= Promise.withResolvers();
    return this.#drained.promise;
  }

  /** Writes the waiting messages now. */
  flush(): void {
    this.#scheduled = false;
    if (this.#bytes === 0 || this.#failure !== undefined) return;
    this.#bytes = 0;
    const tail = this.#source === undefined ? undefined : this.#writeAllButTail(this.#source);
    if (this.#payloads.length > 0) this.#writePayloads(tail);
    else if (tail !== undefined) this.#send(tail);
    if (this.native.writableCorked > 0) this.native.uncork();
  }

  /** Corks the stream and writes all pieces but the last, the tail, which it returns; flush() uncorks it. */
  #writeAllButTail(source: FramedSource): Uint8Array | undefined {
    let tail = source.next();
    for (let piece = tail && source.next(); piece !== undefined; piece = source.next()) {
      if (this.native.writableCorked === 0) this.native.cork();
      this.#send(tail as Uint8Array);
      tail = piece;
    }
    return tail;
  }

  /** Writes the waiting messages in few pieces, after the tail of a source. */
  #writePayloads(tail: Uint8Array | undefined): void {
    const payloads = this.#payloads;
    const flags = this.#flags;
    let from = 0;
    let batch = 0;
    let unsentTail = tail;
    if (tail !== undefined && tail.length > COPY_MAX_BYTES) {
      this.#send(tail);
      unsentTail = undefined;
    }
    for (let at = 0; at < payloads.length; at++) {
      const size = (payloads[at] as Uint8Array).length;
      if (size <= COPY_MAX_BYTES) {
        batch += size + PREFIX_BYTES;
        continue;
      }
      this.#writeBatch(unsentTail, { from, to: at }, batch);
      unsentTail = undefined;
      const prefix = Buffer.allocUnsafe(PREFIX_BYTES);
      writePrefix(prefix, 0, { flags: flags[at] as number, size });
      this.native.cork();
      this.native.write(prefix);
      this.#inFlight++;
      this.native.write(payloads[at] as Uint8Array, this.#onWritten);
      this.native.uncork();
      from = at + 1;
      batch = 0;
    }
    this.#writeBatch(unsentTail, { from, to: payloads.length }, batch);
    this.#payloads = [];
    this.#flags = [];
  }

  /** @param bytes the bytes of these messages, prefixes included */
  #writeBatch(
    tail: Uint8Array | undefined,
    { from, to }: { from: number; to: number },
    bytes: number,
  ): void {
    const tailBytes = tail?.length ?? 0;
    if (tailBytes + bytes === 0) return;
    const messages = { payloads: this.#payloads, flags: this.#flags };
    if (tailBytes === 0 && to - from === messages.payloads.length) {
      this.#send(batchOf(messages, bytes));
      return;
    }
    const batch = Buffer.allocUnsafe(tailBytes + bytes);
    if (tail !== undefined) batch.set(tail);
    writeFrames(batch.subarray(tailBytes), messages, { from, to });
    this.#send(batch);
  }

  #send(piece: Uint8Array): void {
    this.#inFlight++;
    this.native.write(piece, this.#onWritten);
  }

  release(): void {
    this.#failure ??= { error: new Error("this stream was released") };
    this.#dropWrites();
    this.#resolveDrained();
  }

  /** Drops the waiting messages; every later write fails with `error`. A write that waits continues to wait. */
  protected refuseWrites(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { error };
    this.#dropWrites();
  }

  /** Drops the waiting messages; every waiting and later write fails with `error`, or the error of refuseWrites(). */
  protected failWrites(error: unknown): void {
    this.refuseWrites(error);
    if (this.#drained === undefined) return;
    handled(this.#drained.promise);
    this.#drained.reject(this.#failure?.error);
  }

  #dropWrites(): void {
    this.#source = undefined;
    this.#payloads = [];
    this.#flags = [];
    this.#bytes = 0;
  }

  #resolveDrained(): void {
    this.#drained?.resolve();
    this.#drained = undefined;
  }

  static readonly #onDrain = function (this: Http2Stream): void {
    (this as NativeStream)[MESSAGES].#resolveDrained();
  };

  /** The call, or the session. */
  protected abstract readonly listener: CallStreamListener<CallStream>;
  abstract reset(reason: ConnectError): void;
  /** Called if the input is not gRPC or over a limit, or if the listener threw. */
  protected abstract refuseInput(error: unknown): void;

  get mayReceive(): boolean {
    return (!this.#isFull && this.#early === undefined) || this.isDiscarding;
  }

  onData(chunk: Uint8Array): void {
    if (this.isDiscarding) return;
    if (this.awaitsHeaders) {
      this.#early ??= [];
      this.#early.push(chunk);
      return;
    }
    try {
      this.reader.push(chunk);
    } catch (error) {
      this.refuseInput(error);
    }
  }

  onFrame(message: Received): void {
    if (this.isDiscarding) return;
    if (this.#isPaced) this.#waitingBytes += message.end - message.start + ENTRY_BYTES;
    this.listener.onMessage(message, this);
    if (this.#waitingBytes >= INBOX_BYTES) this.#isFull = true;
  }

  taken(bytes: number): void {
    this.#waitingBytes -= bytes + ENTRY_BYTES;
    if (this.#isFull && this.#waitingBytes * 2 <= INBOX_BYTES) {
      this.#isFull = false;
      this.#readOn();
    }
  }

  /** The response headers were reported: takes the DATA that was kept until then, and lets the server continue. */
  protected takeEarlyData(): void {
    if (this.#early === undefined) return;
    const early = this.#early;
    this.#early = undefined;
    for (const chunk of early) this.onData(chunk);
    this.#readOn();
  }

  #readOn(): void {
    if (this.mayReceive && !this.native.destroyed) readOn(this.native);
  }
}

function flushLater(stream: MessageStream<Http2Stream>): void {
  stream.flush();
}
