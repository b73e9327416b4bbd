/** The wire of the simulated network: what two ends of one HTTP/2 stream say to each other, byte by byte. */

import { PREFIX_BYTES, writePrefix } from "../../src/flow/length-prefix.ts";
import type { FramedSource } from "../../src/session/spool.ts";

/** Headers or trailers. */
export type Fields = Record<string, number | string | string[] | undefined>;

/** An item that one end of a stream sends. */
export type Item =
  | { readonly is: "headers"; readonly fields: Fields }
  | { readonly is: "data"; readonly bytes: Uint8Array }
  /** END_STREAM, with trailers if the server sends it. */
  | { readonly is: "end"; readonly fields: Fields }
  | { readonly is: "reset" };

/** An outbox's writer has to wait when this much is in the pipe. */
const HIGH_WATER_BYTES = 256;

/** A direction of a stream: items arrive in order, when the test delivers them. */
export class Pipe {
  #items: Item[] = [];
  #dataBytes = 0;
  /** Nothing is delivered while it is set, unless the test means this pipe. */
  stalled = false;
  onDrained: (() => void) | undefined;

  /** The units on their way: each byte of data, each headers, each end and each reset counts one. */
  get waiting(): number {
    return this.#items.length + this.#dataBytes;
  }

  /** The bytes of data on their way. */
  get dataBytes(): number {
    return this.#dataBytes;
  }

  get full(): boolean {
    return this.#dataBytes >= HIGH_WATER_BYTES;
  }

  put(item: Item): void {
    if (item.is === "data") this.#dataBytes += item.bytes.length;
    this.#items.push(item);
  }

  /** Drops the items that are on their way. */
  lose(): void {
    this.#items = [];
    this.#dataBytes = 0;
  }

  /** Delivers `units` of what waits: whole items, and the first bytes of data. */
  deliver(units: number, to: (item: Item) => void): void {
    let left = units;
    while (left > 0) {
      const item = this.#items.shift();
      if (item === undefined) break;
      if (item.is !== "data") {
        left--;
        to(item);
        continue;
      }
      const count = Math.min(item.bytes.length, left);
      left -= count;
      this.#dataBytes -= count;
      if (count < item.bytes.length) {
        this.#items.unshift({ is: "data", bytes: item.bytes.subarray(count) });
      }
      to({ is: "data", bytes: item.bytes.slice(0, count) });
    }
    if (!this.full) this.onDrained?.();
  }
}

/**
 * Does as src/connection/message-stream.ts does: what is written leaves immediately, and the pieces of a source while the
 * pipe takes them; a writer is held back while much waits.
 */
export class SimOutbox {
  readonly #pipe: Pipe;
  #source: FramedSource | undefined;
  #drained: PromiseWithResolvers<void> | undefined;
  #failure: { error: unknown } | undefined;

  constructor(pipe: Pipe) {
    this.#pipe = pipe;
    pipe.onDrained = () => {
      if (this.#source !== undefined) this.#putPieces(this.#source, false);
      if (!pipe.full) this.#drain();
    };
  }

  get waitingBytes(): number {
    return this.#pipe.dataBytes;
  }

  write(flags: number, payload: Uint8Array): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure.error;
    const frame = new Uint8Array(PREFIX_BYTES + payload.length);
    writePrefix(frame, 0, { flags, size: payload.length });
    frame.set(payload, PREFIX_BYTES);
    this.putRest();
    this.#pipe.put({ is: "data", bytes: frame });
    return this.#awaitCapacity();
  }

  pull(source: FramedSource): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#putPieces(source, false);
    return this.#awaitCapacity();
  }

  /** Puts what the source still has into the pipe. */
  putRest(): void {
    if (this.#source !== undefined) this.#putPieces(this.#source, true);
  }

  #putPieces(source: FramedSource, isAll: boolean): void {
    this.#source = source;
    while (isAll || !this.#pipe.full) {
      const piece = source.next();
      if (piece === undefined) {
        this.#source = undefined;
        return;
      }
      // Not copied: what a source has given out it must not write to again.
      this.#pipe.put({ is: "data", bytes: piece.subarray(source.start, source.end) });
    }
  }

  #awaitCapacity(): Promise<void> | undefined {
    if (!this.#pipe.full) return undefined;
    this.#drained ??= Promise.withResolvers();
    return this.#drained.promise;
  }

  /** Drops what waits, and lets writers continue that wait for the pipe. */
  release(): void {
    this.#failure ??= { error: new Error("this outbox was released") };
    this.#source = undefined;
    this.#drain();
  }

  /** Drops what waits; every waiting and later write fails with `error`. */
  fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { error };
    this.#source = undefined;
    this.#drained?.reject(error);
    this.#drained?.promise.catch(() => {});
  }

  #drain(): void {
    this.#drained?.resolve();
    this.#drained = undefined;
  }
}
