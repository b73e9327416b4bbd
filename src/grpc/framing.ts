/**
 * The length-prefixed messages of gRPC over HTTP/2 (gRPC PROTOCOL-HTTP2,
 * "Length-Prefixed-Message"): a flag byte, four bytes of length, the message.
 */
import { Code } from "@connectrpc/connect";
import type { Received } from "../call-stream.ts";
import { failure, tooLarge } from "../failure.ts";
import { PREFIX_BYTES, readLength } from "../flow/length-prefix.ts";
import { runtime } from "../flow/runtime.ts";

/** The message is compressed with the call's grpc-encoding. */
export const COMPRESSED = 0x01;

/** What a partly received message gets at first; it grows with what arrives, not with what is announced. */
const FIRST_ALLOCATION_BYTES = 16 * 1024;

/** A buffer that is too small grows by this factor: few steps to a large message, and at most 8 times what came. */
const GROWTH = 8;

/** Takes the frames that a FrameReader cuts. */
export interface FrameReceiver {
  onFrame(frame: Received): void;
}

/** The frames of another protocol among the messages: a flag marks them. */
export interface ControlFrames {
  readonly flag: number;
  /** A longer control frame is refused by its prefix. */
  readonly maxBytes: number;
}

/** Which frames a FrameReader takes. */
export interface FrameRules {
  /** A longer frame is refused by its prefix, before anything is allocated. */
  readonly readMaxBytes: number;
  /** Default: there are messages only. */
  readonly controlFrames?: ControlFrames | undefined;
}

/** Cuts the chunks of an HTTP/2 stream into frames, wherever the chunks were split. */
export class FrameReader {
  readonly #rules: FrameRules;
  readonly #receiver: FrameReceiver;
  /** The flag bits that a frame may have. */
  readonly #knownFlags: number;
  /** The first bytes of a prefix that is not whole yet; most streams never have one. */
  #prefix: number[] | undefined;
  #flags = 0;
  #prefixBytes = 0;
  /** The message that is not whole yet. */
  #body: Uint8Array | undefined;
  #bodyBytes = 0;
  #bodyLength = 0;

  constructor(rules: FrameRules, receiver: FrameReceiver) {
    this.#rules = rules;
    this.#receiver = receiver;
    this.#knownFlags = COMPRESSED | (rules.controlFrames?.flag ?? 0);
  }

  /** Whether the bytes so far end inside a message: at the end of a stream, it was cut off. */
  get isPartial(): boolean {
    return this.#prefixBytes > 0 || this.#body !== undefined;
  }

  /**
   * Reads the next chunk; gives the receiver each frame that is whole now. Throws a
   * ConnectError where a prefix is not gRPC's, or a frame is over its limit.
   */
  push(chunk: Uint8Array): void {
    let at = this.isPartial ? this.#resume(chunk) : 0;
    const length = chunk.length;
    while (length - at >= PREFIX_BYTES) {
      const flags = chunk[at] as number;
      const size = readLength(chunk, at);
      this.#check(flags, size);
      const start = at + PREFIX_BYTES;
      if (length - start < size) {
        this.#begin(flags, size);
        this.#append(chunk, start);
        return;
      }
      at = start + size;
      this.#receiver.onFrame({ flags, bytes: chunk, start, end: at });
    }
    if (at === length) return;
    this.#prefix = [];
    while (at < length) this.#prefix[this.#prefixBytes++] = chunk[at++] as number;
  }

  /** Continues the frame that the last chunk left unfinished; returns where the next one starts. */
  #resume(chunk: Uint8Array): number {
    let at = 0;
    if (this.#body === undefined) {
      const prefix = this.#prefix as number[];
      while (this.#prefixBytes < PREFIX_BYTES) {
        if (at === chunk.length) return at;
        prefix[this.#prefixBytes++] = chunk[at++] as number;
      }
      this.#prefix = undefined;
      const flags = prefix[0] as number;
      const size = readLength(prefix, 0);
      this.#check(flags, size);
      this.#begin(flags, size);
    }
    return this.#append(chunk, at);
  }

  #begin(flags: number, size: number): void {
    this.#flags = flags;
    this.#prefixBytes = 0;
    this.#bodyLength = size;
    this.#bodyBytes = 0;
    this.#body = runtime.allocate(Math.min(size, FIRST_ALLOCATION_BYTES));
  }

  #append(chunk: Uint8Array, from: number): number {
    const take = Math.min(chunk.length - from, this.#bodyLength - this.#bodyBytes);
    let body = this.#body as Uint8Array;
    const needed = this.#bodyBytes + take;
    if (needed > body.length) {
      const larger = runtime.allocate(
        Math.min(this.#bodyLength, Math.max(needed, body.length * GROWTH)),
      );
      larger.set(body.subarray(0, this.#bodyBytes));
      this.#body = body = larger;
    }
    body.set(chunk.subarray(from, from + take), this.#bodyBytes);
    this.#bodyBytes = needed;
    if (needed === this.#bodyLength) {
      this.#body = undefined;
      this.#receiver.onFrame({ flags: this.#flags, bytes: body, start: 0, end: needed });
    }
    return from + take;
  }

  #check(flags: number, size: number): void {
    if ((flags & ~this.#knownFlags) !== 0) {
      throw failure(
        Code.Internal,
        `protocol error: a message has the reserved flag bits 0x${flags.toString(16).padStart(2, "0")}`,
      );
    }
    const { readMaxBytes, controlFrames } = this.#rules;
    if (flags > COMPRESSED && controlFrames !== undefined && size > controlFrames.maxBytes) {
      throw failure(
        Code.InvalidArgument,
        `protocol error: a control frame of ${size} B is over ${controlFrames.maxBytes} B`,
      );
    }
    if (size > readMaxBytes) throw tooLarge(size, "readMaxBytes", readMaxBytes);
  }
}

/**
 * A frame that can wait. Its bytes are a view of all that one read of the
 * socket brought, for any stream; where they came in a small part of that, they
 * are copied, so as not to hold on to the rest.
 */
export function alone(frame: Received): Received {
  const { flags, bytes, start, end } = frame;
  if (bytes.length * 4 >= bytes.buffer.byteLength) return frame;
  const own = runtime.allocate(end - start);
  own.set(bytes.subarray(start, end));
  return { flags, bytes: own, start: 0, end: end - start };
}
