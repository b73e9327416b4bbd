import { ConnectionError } from "./errors.ts";
import {
  CONTINUATION,
  DATA,
  END_STREAM,
  FRAME_SIZE_ERROR,
  frameName,
  HEAD_BYTES,
  HEADERS,
  MAX_FRAME_BYTES,
  PADDED,
  PREFACE,
  PROTOCOL_ERROR,
  readUint31,
} from "./frames.ts";

/** A received frame, other than DATA. Its payload is valid until onFrame() returns. */
export interface ReceivedFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** Handles frames. What it throws ends the connection. */
export interface FrameHandler {
  /** Whether no more frames are wanted. */
  readonly isClosed: boolean;
  /** A DATA frame begins. Returns false if its payload is to be dropped: then nothing more is called for it. */
  onDataFrame(stream: number, length: number): boolean;
  /** Called next: what the payload consists of; the length of padding counts as padding. */
  onDataLength(dataBytes: number, paddingBytes: number, endStream: boolean): void;
  /** Data of the frame, as it comes. */
  onData(bytes: Uint8Array, start: number, end: number): void;
  /** The DATA frame is complete. */
  onDataEnd(endStream: boolean): void;
  /** Whether frames of this type are ignored: their payload is not kept until it is complete. */
  isIgnored(type: number): boolean;
  onFrame(frame: ReceivedFrame): void;
}

/** What the next byte is. */
const HEAD = 0;
const PADDING_LENGTH = 1;
const DATA_BYTES = 2;
const PADDING_BYTES = 3;
const PAYLOAD = 4;

const NOTHING = new Uint8Array(0);

/**
 * Cuts received bytes into frames. DATA is handed on as it comes; another frame when it is complete, in place if it is in
 * one chunk.
 */
export class FrameReader {
  readonly #handler: FrameHandler;
  /** The bytes of the client's preface that are still to come. */
  #prefaceLeft: number;
  #next = HEAD;
  /** What is read now, only during read(). */
  #chunk: Uint8Array = NOTHING;
  #at = 0;
  /** A head that comes in several chunks; undefined until there is one. */
  #head: Uint8Array | undefined;
  #headBytes = 0;
  // The frame that is not complete.
  #type = 0;
  #flags = 0;
  #stream = 0;
  #left = 0;
  #paddingLeft = 0;
  /** Whether the DATA frame is dropped. */
  #isDropped = false;
  #payload: Uint8Array | undefined;

  constructor(handler: FrameHandler, expectsPreface: boolean) {
    this.#handler = handler;
    this.#prefaceLeft = expectsPreface ? PREFACE.length : 0;
  }

  /** Whether HEADERS or CONTINUATION have come in part. */
  get isInHeaders(): boolean {
    return this.#next === PAYLOAD && (this.#type === HEADERS || this.#type === CONTINUATION);
  }

  /**
   * Reads a chunk from `start`, at most `maxFrames` frames of it. Returns where the next call must begin: at the end of the
   * chunk if nothing of it is left, or no more frames are wanted.
   */
  read(chunk: Uint8Array, start = 0, maxFrames = Number.POSITIVE_INFINITY): number {
    this.#chunk = plain(chunk);
    this.#at = start;
    try {
      if (this.#prefaceLeft > 0) this.#readPreface();
      for (let left = maxFrames; left > 0 && this.#at < chunk.length; left--) {
        if (this.#handler.isClosed) return chunk.length;
        this.#readNext();
      }
      return this.#at;
    } finally {
      this.#chunk = NOTHING;
    }
  }

  #readNext(): void {
    const next = this.#next;
    if (next === HEAD) this.#readHead();
    else if (next === DATA_BYTES) this.#readData();
    else if (next === PADDING_LENGTH) this.#readPaddingLength();
    else if (next === PADDING_BYTES) this.#skipPadding();
    else this.#readPayload();
  }

  #readPreface(): void {
    const chunk = this.#chunk;
    for (; this.#prefaceLeft > 0 && this.#at < chunk.length; this.#at++, this.#prefaceLeft--) {
      if (chunk[this.#at] === PREFACE[PREFACE.length - this.#prefaceLeft]) continue;
      throw new ConnectionError(
        PROTOCOL_ERROR,
        "what the client sent first is not HTTP/2's preface",
      );
    }
  }

  #readHead(): void {
    const chunk = this.#chunk;
    if (this.#headBytes === 0 && chunk.length - this.#at >= HEAD_BYTES) {
      this.#at += HEAD_BYTES;
      this.#begin(chunk, this.#at - HEAD_BYTES);
      return;
    }
    this.#head ??= new Uint8Array(HEAD_BYTES);
    while (this.#headBytes < HEAD_BYTES && this.#at < chunk.length) {
      this.#head[this.#headBytes++] = chunk[this.#at++] as number;
    }
    if (this.#headBytes < HEAD_BYTES) return;
    const head = this.#head;
    this.#head = undefined;
    this.#headBytes = 0;
    this.#begin(head, 0);
  }

  /** Begins a frame, whose head is `head` from `headAt`. */
  #begin(head: Uint8Array, headAt: number): void {
    const length =
      ((head[headAt] as number) << 16) |
      ((head[headAt + 1] as number) << 8) |
      (head[headAt + 2] as number);
    const type = head[headAt + 3] as number;
    const flags = head[headAt + 4] as number;
    const stream = readUint31(head, headAt + 5);
    if (length > MAX_FRAME_BYTES) {
      throw new ConnectionError(
        FRAME_SIZE_ERROR,
        `${frameName(type)} of ${length} bytes: SETTINGS_MAX_FRAME_SIZE is ${MAX_FRAME_BYTES}`,
      );
    }
    this.#flags = flags;
    this.#left = length;
    if (type === DATA) {
      this.#beginData(stream, length);
      return;
    }
    const start = this.#at;
    const end = start + length;
    if (end <= this.#chunk.length) {
      this.#at = end;
      this.#handler.onFrame({ type, flags, stream, bytes: this.#chunk, start, end });
      return;
    }
    this.#type = type;
    this.#stream = stream;
    this.#next = PAYLOAD;
    this.#payload = this.#handler.isIgnored(type) ? undefined : new Uint8Array(length);
  }

  #beginData(stream: number, length: number): void {
    const handler = this.#handler;
    const isDropped = !handler.onDataFrame(stream, length);
    const isPadded = (this.#flags & PADDED) !== 0;
    const start = this.#at;
    const end = start + length;
    if (end <= this.#chunk.length && !isPadded && !isDropped) {
      // Most frames: whole, without padding.
      this.#at = end;
      handler.onDataLength(length, 0, this.#hasEndStream());
      if (length > 0) handler.onData(this.#chunk, start, end);
      handler.onDataEnd(this.#hasEndStream());
      return;
    }
    this.#isDropped = isDropped;
    this.#paddingLeft = 0;
    if (isPadded) {
      if (length === 0)
        throw new ConnectionError(
          FRAME_SIZE_ERROR,
          "padded DATA without the length of its padding",
        );
      this.#next = PADDING_LENGTH;
    } else this.#beginPayload(0);
  }

  /** @param paddingBytes with the length of the padding */
  #beginPayload(paddingBytes: number): void {
    if (!this.#isDropped) {
      this.#handler.onDataLength(this.#left, paddingBytes, this.#hasEndStream());
    }
    this.#next = DATA_BYTES;
    this.#readData();
  }

  #readPaddingLength(): void {
    const padding = this.#chunk[this.#at++] as number;
    const length = this.#left - 1;
    if (padding > length) {
      throw new ConnectionError(PROTOCOL_ERROR, "DATA with padding that is longer than the frame");
    }
    this.#left = length - padding;
    this.#paddingLeft = padding;
    this.#beginPayload(padding + 1);
  }

  #readData(): void {
    const start = this.#at;
    const available = this.#chunk.length - start;
    const length = Math.min(available, this.#left);
    this.#at = start + length;
    this.#left -= length;
    if (length > 0 && !this.#isDropped) this.#handler.onData(this.#chunk, start, start + length);
    if (this.#left > 0) return;
    if (this.#paddingLeft > 0) this.#next = PADDING_BYTES;
    else this.#endData();
  }

  #skipPadding(): void {
    const length = Math.min(this.#chunk.length - this.#at, this.#paddingLeft);
    this.#at += length;
    this.#paddingLeft -= length;
    if (this.#paddingLeft === 0) this.#endData();
  }

  #endData(): void {
    this.#next = HEAD;
    if (!this.#isDropped) this.#handler.onDataEnd(this.#hasEndStream());
  }

  /** Collects the payload of a frame that came in several chunks. */
  #readPayload(): void {
    const payload = this.#payload;
    const length = Math.min(this.#left, this.#chunk.length - this.#at);
    const part = this.#chunk.subarray(this.#at, this.#at + length);
    payload?.set(part, payload.length - this.#left);
    this.#at += length;
    this.#left -= length;
    if (this.#left > 0) return;
    this.#next = HEAD;
    this.#payload = undefined;
    const bytes = payload ?? NOTHING;
    const frame = { type: this.#type, flags: this.#flags, stream: this.#stream };
    this.#handler.onFrame({ ...frame, bytes, start: 0, end: bytes.length });
  }

  #hasEndStream(): boolean {
    return (this.#flags & END_STREAM) !== 0;
  }
}

/** The same bytes, but no Buffer: its slice() makes views where a copy is meant. */
function plain(chunk: Uint8Array): Uint8Array {
  if (Object.getPrototypeOf(chunk) === Uint8Array.prototype) return chunk;
  return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
}
