/**
 * The length-prefixed messages of gRPC over HTTP/2 (gRPC PROTOCOL-HTTP2,
 * "Length-Prefixed-Message"): a flag byte, four bytes of length, the message.
 */
import { Code } from "@connectrpc/connect";
import type { Received } from "../call-stream.ts";
import { peerFailure, tooLarge } from "../failure.ts";
import { PREFIX_BYTES, readLength } from "../flow/length-prefix.ts";
import { messageBuffers } from "../flow/message-buffers.ts";

/** The message is compressed with the call's grpc-encoding. */
export const COMPRESSED = 0x01;

/**
 * The first buffer of a message that arrives in parts, unless an unused one of its size exists. It grows with the bytes that
 * arrive, not with the announced length.
 */
const FIRST_BYTES = 16 * 1024;

/** The buffer grows by this factor: few copies for a large message, and at most 8 times the bytes that arrived. */
const GROWTH = 8;

/** Takes the frames that a FrameReader cuts. */
export interface FrameReceiver {
  onFrame(frame: Received): void;
}

/** The rules for control frames, which stand among the messages; a flag marks them. */
export interface ControlFrames {
  readonly flag: number;
  /** A longer control frame is refused as soon as its prefix is read. */
  readonly maxBytes: number;
}

/** The frames that a FrameReader accepts. */
export interface FrameRules {
  /** A longer frame is refused as soon as its prefix is read, before anything is allocated. */
  readonly readMaxBytes: number;
  /** Default: only messages are accepted. */
  readonly controlFrames?: ControlFrames | undefined;
}

/** Cuts the DATA of an HTTP/2 stream into frames, which may begin and end anywhere in a chunk. */
export class FrameReader {
  readonly #rules: FrameRules;
  readonly #receiver: FrameReceiver;
  /** The flag bits that a frame may have. */
  readonly #allowedFlags: number;
  /** The first bytes of a prefix that is not complete yet; most streams never have one. */
  #prefix: number[] | undefined;
  #flags = 0;
  #prefixBytes = 0;
  /** The frame that is not complete yet. */
  #body: Uint8Array | undefined;
  #bodyBytes = 0;
  #bodyLength = 0;

  constructor(rules: FrameRules, receiver: FrameReceiver) {
    this.#rules = rules;
    this.#receiver = receiver;
    this.#allowedFlags = COMPRESSED | (rules.controlFrames?.flag ?? 0);
  }

  /** Whether the bytes so far end inside a frame. At the end of the stream that frame was cut off. */
  get isPartial(): boolean {
    return this.#prefixBytes > 0 || this.#body !== undefined;
  }

  /** The bytes that are still to come of a frame whose prefix is complete. */
  get missingBytes(): number {
    return this.#body === undefined ? 0 : this.#bodyLength - this.#bodyBytes;
  }

  /** The bytes of the frame that is not complete yet, with its prefix. */
  get partialBytes(): number {
    return this.#body === undefined ? this.#prefixBytes : PREFIX_BYTES + this.#bodyBytes;
  }

  /**
   * Reads the next bytes, from `start` up to `end`, and passes each complete frame to the receiver. Throws a
   * ConnectError if a prefix is not gRPC's, or a frame is over its limit.
   */
  push(bytes: Uint8Array, start: number, end: number): void {
    let at = this.isPartial ? this.#resume(bytes, start, end) : start;
    while (end - at >= PREFIX_BYTES) {
      const flags = bytes[at] as number;
      const size = readLength(bytes, at);
      this.#check(flags, size);
      const from = at + PREFIX_BYTES;
      if (end - from < size) {
        this.#begin(flags, size);
        this.#append(bytes, from, end);
        return;
      }
      at = from + size;
      this.#receiver.onFrame({ flags, bytes, start: from, end: at });
    }
    if (at === end) return;
    this.#prefix = [];
    while (at < end) this.#prefix[this.#prefixBytes++] = bytes[at++] as number;
  }

  /** Continues the incomplete frame; returns the index in `bytes` where the next frame starts. */
  #resume(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    if (this.#body === undefined) {
      const prefix = this.#prefix as number[];
      while (this.#prefixBytes < PREFIX_BYTES) {
        if (at === end) return at;
        prefix[this.#prefixBytes++] = bytes[at++] as number;
      }
      this.#prefix = undefined;
      const flags = prefix[0] as number;
      const size = readLength(prefix, 0);
      this.#check(flags, size);
      this.#begin(flags, size);
    }
    return this.#append(bytes, at, end);
  }

  #begin(flags: number, size: number): void {
    this.#flags = flags;
    this.#prefixBytes = 0;
    this.#bodyLength = size;
    this.#bodyBytes = 0;
    this.#body = messageBuffers.reuse(size) ?? messageBuffers.take(Math.min(size, FIRST_BYTES));
  }

  #append(bytes: Uint8Array, from: number, end: number): number {
    const take = Math.min(end - from, this.#bodyLength - this.#bodyBytes);
    let body = this.#body as Uint8Array;
    const needed = this.#bodyBytes + take;
    if (needed > body.length) {
      const size = Math.min(this.#bodyLength, Math.max(needed, body.length * GROWTH));
      const larger = messageBuffers.take(size);
      larger.set(body.subarray(0, this.#bodyBytes));
      messageBuffers.giveBack(body);
      this.#body = body = larger;
    }
    body.set(bytes.subarray(from, from + take), this.#bodyBytes);
    this.#bodyBytes = needed;
    if (needed === this.#bodyLength) {
      this.#body = undefined;
      const flags = this.#flags;
      this.#receiver.onFrame({ flags, bytes: body, start: 0, end: needed, isReusable: true });
    }
    return from + take;
  }

  #check(flags: number, size: number): void {
    if ((flags & ~this.#allowedFlags) !== 0) {
      throw peerFailure(
        Code.Internal,
        `protocol error: a message has the reserved flag bits 0x${flags.toString(16).padStart(2, "0")}`,
      );
    }
    const { readMaxBytes, controlFrames } = this.#rules;
    const isControl = controlFrames !== undefined && (flags & controlFrames.flag) !== 0;
    if (isControl && size > controlFrames.maxBytes) {
      throw peerFailure(
        Code.InvalidArgument,
        `protocol error: a control frame of ${size} B is over ${controlFrames.maxBytes} B`,
      );
    }
    if (size > readMaxBytes) throw tooLarge(size, "readMaxBytes", readMaxBytes);
  }
}
