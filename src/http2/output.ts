import {
  ACK,
  CONTINUATION,
  copyBytes,
  DATA,
  END_HEADERS,
  END_STREAM,
  GOAWAY,
  HEAD_BYTES,
  HEADERS,
  MAX_FRAME_BYTES,
  PING,
  RST_STREAM,
  SETTINGS,
  SHORT_COPY_BYTES,
  WINDOW_UPDATE,
  writeUint32,
} from "./frames.ts";
import type { BytesPart, OutputBuffers } from "./types.ts";

/** onFull() is called when so much is in the output: a message of 64 KiB with its headers and trailers is one write. */
const FULL_BYTES = 96 * 1024;

/** How many bytes of control frames the peer may leave unread; then it provokes frames and does not read them. */
const MAX_CONTROL_BYTES = 1024 * 1024;

/** Frames are not made shorter than this only because the buffer ends. */
const SHORT_FRAME_BYTES = 2 * 1024;

/** The prefix of a gRPC message: flags, and four bytes of length. */
export const PREFIX_BYTES = 5;

/** Data that waits: bytes, or a gRPC message. */
interface WaitingData {
  /** The flags of a message; below 0: bytes. */
  readonly kind: number;
  readonly payload: Uint8Array;
  /** How many bytes were written, with the prefix of a message. */
  readonly offset: number;
}

/** Listens to the output. */
export interface OutputListener {
  /** There is output, and there was none. It may be taken now. */
  onOutput(): void;
  /** There is much output. It may be taken now. */
  onFull(): void;
}

/**
 * The frames that wait to be taken, in one buffer, which is held only while there are any. It knows neither streams nor
 * windows: what is written here is on its way. Calls its listener only after a whole frame.
 */
export class Output {
  /** The pipe takes no more for now: onFull() is not called, the buffer grows instead. */
  isBlocked = false;
  /** How many times the output was taken. */
  takes = 0;
  /** How many DATA frames were written. A message that extends a frame makes no new one. */
  dataFrames = 0;
  /** How many header blocks were written. */
  headerBlocks = 0;
  readonly #buffers: OutputBuffers;
  readonly #listener: OutputListener;
  #buffer: Uint8Array<ArrayBuffer> | undefined;
  /** Whether the buffer is one of #buffers, not a larger one of this connection. */
  #isPooled = false;
  #at = 0;
  /** How many bytes are much output; negative until the listener has heard that there is output. */
  #fullBytes = 0;
  #controlBytes = 0;
  #isInOnFull = false;
  /** Set by end(): what is written after it is never taken. */
  #endAt: number | undefined;
  /** The stream whose DATA frame is the last one in the buffer, so that the next message may extend it; else 0. */
  #dataStream = 0;
  #dataAt = 0;
  #dataBytes = 0;

  constructor(buffers: OutputBuffers, listener: OutputListener) {
    this.#buffers = buffers;
    this.#listener = listener;
  }

  get isEmpty(): boolean {
    return this.#at === 0 || this.#endAt === 0;
  }

  /** Whether the peer lets more control frames accumulate than it may. */
  get isOverControlLimit(): boolean {
    return this.#controlBytes > MAX_CONTROL_BYTES;
  }

  /** Returns what was written, if anything. The caller gives the buffer back to its OutputBuffers. */
  take(): Uint8Array | undefined {
    const buffer = this.#buffer;
    const length = this.#endAt ?? this.#at;
    if (buffer === undefined || length === 0) return undefined;
    this.#buffer = undefined;
    this.takes++;
    this.#at = 0;
    this.#controlBytes = 0;
    this.#dataStream = 0;
    if (this.#endAt !== undefined) this.#endAt = 0;
    return buffer.subarray(0, length);
  }

  /** The connection has ended: what is written from now on is never taken. */
  end(): void {
    this.#endAt ??= this.#at;
  }

  /** The pipe is lost: nothing is ever taken. */
  discard(): void {
    if (this.#buffer !== undefined && this.#isPooled) this.#buffers.giveBack(this.#buffer);
    this.#buffer = undefined;
    this.#at = 0;
    this.#endAt = 0;
  }

  /** How many bytes of data one frame may have now. */
  get dataCapacity(): number {
    const free = this.#sizeLimit - this.#at - HEAD_BYTES;
    // If hardly anything is free, the buffer grows.
    return free > SHORT_FRAME_BYTES ? Math.min(free, MAX_FRAME_BYTES) : MAX_FRAME_BYTES;
  }

  bytes(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length);
    copyBytes(bytes, this.#buffer as Uint8Array, at);
  }

  /** A whole gRPC message of less than a frame. It extends the last frame if that is DATA of the same stream. */
  message(stream: number, flags: number, payload: Uint8Array): void {
    const size = payload.length;
    let at = this.#extendData(stream, size + PREFIX_BYTES);
    const out = this.#buffer as Uint8Array;
    out[at++] = flags;
    writeUint32(out, at, size);
    copyBytes(payload, out, at + 4);
    if (this.#at >= this.#fullBytes) this.#report();
  }

  /** A part of bytes, of less than a frame. It extends the last frame if that is DATA of the same stream. */
  part(stream: number, bytes: Uint8Array, { start, end }: BytesPart): void {
    const at = this.#extendData(stream, end - start);
    const out = this.#buffer as Uint8Array;
    if (end - start > SHORT_COPY_BYTES) out.set(bytes.subarray(start, end), at);
    else for (let i = start; i < end; i++) out[at + i - start] = bytes[i] as number;
    if (this.#at >= this.#fullBytes) this.#report();
  }

  /** `length` bytes, dataCapacity at most, of what waits, from its offset on. The caller calls checkFull() next. */
  data(stream: number, waiting: WaitingData, length: number): void {
    let at = this.#extendData(stream, length);
    const { payload, kind } = waiting;
    const out = this.#buffer as Uint8Array;
    let from = waiting.offset;
    let to = from + length;
    if (kind >= 0) {
      for (; from < PREFIX_BYTES && from < to; from++) {
        out[at++] = from === 0 ? kind : payload.length >>> ((PREFIX_BYTES - 1 - from) * 8);
      }
      from -= PREFIX_BYTES;
      to -= PREFIX_BYTES;
    }
    if (from < to) out.set(to - from === payload.length ? payload : payload.subarray(from, to), at);
  }

  /** Calls the listener if there is much output. To be called after data(), when the caller has noted what was written. */
  checkFull(): void {
    if (this.#at >= this.#fullBytes) this.#report();
  }

  /** Ends a stream with its last DATA frame if that is the last one in the buffer, else with an empty one. */
  endStream(stream: number): void {
    if (this.#dataStream === stream) {
      (this.#buffer as Uint8Array)[this.#dataAt + 4] = END_STREAM;
      this.#dataStream = 0;
      return;
    }
    this.dataFrames++;
    this.#frame((DATA << 8) | END_STREAM, stream, 0);
    if (this.#at >= this.#fullBytes) this.#report();
  }

  /** Writes a header block: HEADERS, and CONTINUATIONs if it is long. No frame may be among them (RFC 9113, 4.3). */
  headers(stream: number, block: Uint8Array, endStream: boolean): void {
    this.headerBlocks++;
    const frames = Math.max(1, Math.ceil(block.length / MAX_FRAME_BYTES));
    this.#ensure(frames * HEAD_BYTES + block.length);
    for (let frame = 0, from = 0; frame < frames; frame++, from += MAX_FRAME_BYTES) {
      const to = Math.min(from + MAX_FRAME_BYTES, block.length);
      const flags =
        (frame === 0 && endStream ? END_STREAM : 0) | (frame === frames - 1 ? END_HEADERS : 0);
      const type = frame === 0 ? HEADERS : CONTINUATION;
      const at = this.#frame((type << 8) | flags, stream, to - from);
      const part = frames === 1 ? block : block.subarray(from, to);
      copyBytes(part, this.#buffer as Uint8Array, at);
    }
    if (this.#at >= this.#fullBytes) this.#report();
  }

  rstStream(stream: number, code: number): void {
    const at = this.#control(RST_STREAM << 8, stream, 4);
    this.#uint32(at, code);
    if (this.#at >= this.#fullBytes) this.#report();
  }

  windowUpdate(stream: number, bytes: number): void {
    const at = this.#control(WINDOW_UPDATE << 8, stream, 4);
    this.#uint32(at, bytes);
    if (this.#at >= this.#fullBytes) this.#report();
  }

  /** SETTINGS: identifiers and values, alternating. */
  settings(settings: readonly number[]): void {
    let at = this.#control(SETTINGS << 8, 0, settings.length * 3);
    const out = this.#buffer as Uint8Array;
    for (let i = 0; i < settings.length; i += 2, at += 6) {
      out[at] = 0;
      out[at + 1] = settings[i] as number;
      this.#uint32(at + 2, settings[i + 1] as number);
    }
    if (this.#at >= this.#fullBytes) this.#report();
  }

  settingsAck(): void {
    this.#control((SETTINGS << 8) | ACK, 0, 0);
    if (this.#at >= this.#fullBytes) this.#report();
  }

  /** PING with the eight bytes of `bytes` from `start`. */
  ping(isAck: boolean, bytes: Uint8Array, start: number): void {
    const at = this.#control((PING << 8) | (isAck ? ACK : 0), 0, 8);
    const out = this.#buffer as Uint8Array;
    for (let i = 0; i < 8; i++) out[at + i] = bytes[start + i] as number;
    if (this.#at >= this.#fullBytes) this.#report();
  }

  goaway(lastStream: number, code: number, debugData: Uint8Array): void {
    const at = this.#control(GOAWAY << 8, 0, 8 + debugData.length);
    this.#uint32(at, lastStream);
    this.#uint32(at + 4, code);
    copyBytes(debugData, this.#buffer as Uint8Array, at + 8);
    if (this.#at >= this.#fullBytes) this.#report();
  }

  /** Makes space for `length` bytes of DATA, in the last frame or in a new one. Returns where they go. */
  #extendData(stream: number, length: number): number {
    const bytes = this.#dataBytes + length;
    if (
      this.#dataStream !== stream ||
      bytes > MAX_FRAME_BYTES ||
      this.#at + length > this.#sizeLimit
    ) {
      this.dataFrames++;
      const at = this.#frame(DATA << 8, stream, length);
      this.#dataStream = stream;
      this.#dataAt = at - HEAD_BYTES;
      this.#dataBytes = length;
      return at;
    }
    const at = this.#reserve(length);
    this.#dataBytes = bytes;
    const out = this.#buffer as Uint8Array;
    out[this.#dataAt + 1] = bytes >>> 8;
    out[this.#dataAt + 2] = bytes;
    return at;
  }

  #control(typeAndFlags: number, stream: number, length: number): number {
    this.#controlBytes += HEAD_BYTES + length;
    return this.#frame(typeAndFlags, stream, length);
  }

  /** Writes the head of a frame; type and flags are two bytes of one number. Returns where its payload goes. */
  #frame(typeAndFlags: number, stream: number, length: number): number {
    const at = this.#reserve(HEAD_BYTES + length);
    const out = this.#buffer as Uint8Array;
    out[at] = length >>> 16;
    out[at + 1] = length >>> 8;
    out[at + 2] = length;
    out[at + 3] = typeAndFlags >>> 8;
    out[at + 4] = typeAndFlags;
    writeUint32(out, at + 5, stream);
    this.#dataStream = 0;
    return at + HEAD_BYTES;
  }

  #uint32(at: number, value: number): void {
    writeUint32(this.#buffer as Uint8Array, at, value);
  }

  #reserve(length: number): number {
    this.#ensure(length);
    const at = this.#at;
    this.#at += length;
    return at;
  }

  #ensure(length: number): void {
    const bytes = this.#at + length;
    const buffer = this.#buffer;
    if (buffer !== undefined && bytes <= buffer.length) return;
    const { maxBytes } = this.#buffers;
    const isPooled = bytes <= maxBytes;
    if (buffer === undefined) {
      this.#buffer = isPooled ? this.#buffers.take(bytes) : new Uint8Array(bytes);
      this.#fullBytes = -Math.min(FULL_BYTES, (maxBytes * 3) >>> 2);
    } else {
      const more = Math.max(bytes, Math.min(buffer.length * 2, maxBytes));
      const larger = isPooled
        ? this.#buffers.take(more)
        : new Uint8Array(buffer.length * 2 + length);
      larger.set(buffer.subarray(0, this.#at));
      if (this.#isPooled) this.#buffers.giveBack(buffer);
      this.#buffer = larger;
    }
    this.#isPooled = isPooled;
  }

  /** Up to this size the buffer grows, if need be, without making DATA frames shorter. */
  get #sizeLimit(): number {
    return Math.max(this.#buffer?.length ?? 0, this.#buffers.maxBytes);
  }

  /** Calls the listener: this is the first frame of the output, or there is much of it. */
  #report(): void {
    if (this.#endAt !== undefined) return;
    if (this.#fullBytes < 0) {
      this.#fullBytes = -this.#fullBytes;
      this.#listener.onOutput();
      if (this.#at < this.#fullBytes || this.#endAt !== undefined) return;
    }
    if (this.isBlocked || this.#isInOnFull) return;
    this.#isInOnFull = true;
    this.#listener.onFull();
    this.#isInOnFull = false;
  }
}
