/** The memory into which the generated encoders write, and what they call. */
import type { BinaryWriteOptions } from "@bufbuild/protobuf";
import { runtime } from "../../flow/runtime.ts";
import { KEEP_BYTES } from "../closure-encoder.ts";

/** The size of the buffer at first. */
const FIRST_BYTES = 16 * 1024;

/** The error of a value that the library must encode, or refuse. No caller of encode() gets it. */
export const FOR_LIBRARY = new Error("for toBinary()");

const NOTHING = new Uint8Array();

/** Up to this length the array that finish() returns is kept for the next message of the same length. */
const KEPT_LENGTH = 2047;

/** For a text that begins below this byte the array to encode it into is kept too. */
const KEPT_RESTS = 32;

/** The memory of one message at a time: that which is being encoded, or was encoded and is in use. */
export class Output {
  bytes: Uint8Array = NOTHING;
  view: DataView = new DataView(NOTHING.buffer);
  /** Where the next byte is written. */
  at = 0;
  /** Whether properties must be as toBinary() requires them, because the closures leave this type to it. */
  isStrict = false;
  options: Partial<BinaryWriteOptions> | undefined;
  /** Parts of `bytes` from its start, by their length. A new array for each message takes as long as encoding a small one. */
  #messages: Uint8Array[] = [];
  /** `bytes.subarray(n)`, by n. */
  #rests: Uint8Array[] = [];

  begin(isStrict: boolean, options: Partial<BinaryWriteOptions> | undefined): void {
    this.isStrict = isStrict;
    this.options = options;
    this.at = 0;
    if (this.bytes === NOTHING) this.grow(FIRST_BYTES);
  }

  /** Returns the message. It is valid until release(). */
  finish(): Uint8Array {
    const length = this.at;
    if (length > KEPT_LENGTH) return this.bytes.subarray(0, length);
    const kept = this.#messages[length];
    if (kept !== undefined) return kept;
    const message = this.bytes.subarray(0, length);
    this.#messages[length] = message;
    return message;
  }

  /** The message is not in use any more. Keeps the memory for the next one, unless it is much. */
  release(): void {
    this.options = undefined;
    if (runtime.poison !== undefined) {
      runtime.poison(this.bytes.subarray(0, this.at));
      this.#use(NOTHING);
    } else if (this.bytes.length > KEEP_BYTES) this.#use(NOTHING);
  }

  #rest(from: number): Uint8Array {
    if (from >= KEPT_RESTS) return this.bytes.subarray(from);
    let rest = this.#rests[from];
    if (rest === undefined) {
      rest = this.bytes.subarray(from);
      this.#rests[from] = rest;
    }
    return rest;
  }

  /** Makes the buffer large enough for `more` bytes. */
  grow(more: number): void {
    const needed = this.at + more;
    let size = FIRST_BYTES;
    while (size < needed) size *= 2;
    // A plain Uint8Array: that of the library is one, too.
    const larger = new Uint8Array(runtime.allocateAlone(size).buffer);
    larger.set(this.bytes.subarray(0, this.at));
    this.#use(larger);
  }

  #use(bytes: Uint8Array): void {
    this.bytes = bytes;
    // With all its places: V8 makes a hash table of an array that grows by more than 1,024.
    this.#messages = new Array(bytes === NOTHING ? 0 : KEPT_LENGTH + 1);
    this.#rests = [];
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Writes the length of what was written since `from`. The byte before `from` is reserved: most lengths are below 128. */
  join(from: number): void {
    const length = this.at - from;
    if (length < 128) this.bytes[from - 1] = length;
    else this.#widen(from, length);
  }

  #widen(from: number, length: number): void {
    const more = lengthOfVarint(length) - 1;
    if (this.at + more > this.bytes.length) this.grow(more);
    this.bytes.copyWithin(from + more, from, this.at);
    writeVarint(this.bytes, from - 1, length);
    this.at += more;
  }

  /** Writes a string with its length. */
  text(value: string): void {
    const most = value.length * 3;
    if (this.at + most + 5 > this.bytes.length) this.grow(most + 5);
    const { at } = this;
    // Most text is ASCII: the guess is right then.
    const reserved = lengthOfVarint(value.length);
    const from = at + reserved;
    const { written } = encoder.encodeInto(value, this.#rest(from));
    const used = lengthOfVarint(written);
    if (used !== reserved) this.bytes.copyWithin(at + used, from, from + written);
    writeVarint(this.bytes, at, written);
    this.at = at + used + written;
  }

  /** Writes bytes with their length. */
  delimited(value: Uint8Array): void {
    if (this.at + value.length + 5 > this.bytes.length) this.grow(value.length + 5);
    this.at = writeVarint(this.bytes, this.at, value.length);
    this.raw(value);
  }

  raw(value: Uint8Array): void {
    const { length } = value;
    if (this.at + length > this.bytes.length) this.grow(length);
    const { bytes, at } = this;
    if (length > 64) bytes.set(value, at);
    else for (let i = 0; i < length; i++) bytes[at + i] = value[i] as number;
    this.at = at + length;
  }

  /** Writes the unknown fields of a message. */
  unknown(fields: unknown): void {
    if (!Array.isArray(fields)) throw FOR_LIBRARY;
    const { options } = this;
    // As in protobuf-es, whose default does not replace a value that is undefined.
    if (options && "writeUnknownFields" in options && !options.writeUnknownFields) return;
    for (const { no, wireType, data } of fields) {
      if (!(data instanceof Uint8Array)) throw FOR_LIBRARY;
      if (this.at + 5 > this.bytes.length) this.grow(5);
      this.at = writeVarint(this.bytes, this.at, ((no << 3) | wireType) >>> 0);
      this.raw(data);
    }
  }
}

const encoder = new TextEncoder();

function lengthOfVarint(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  return value < 0x10000000 ? 4 : 5;
}

/** Writes a number from 0 to 2^32-1. Returns the index after it. */
export function writeVarint(bytes: Uint8Array, from: number, value: number): number {
  let at = from;
  let rest = value;
  while (rest > 0x7f) {
    bytes[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[at++] = rest;
  return at;
}

/** Writes a number of 64 bits. Returns the index after it. */
export function writeLong(bytes: Uint8Array, from: number, halves: Halves): number {
  let { low, high } = halves;
  let at = from;
  while (high !== 0) {
    bytes[at++] = (low & 0x7f) | 0x80;
    low = (low >>> 7) | (high << 25);
    high >>>= 7;
  }
  return writeVarint(bytes, at, low >>> 0);
}

/** The two halves of the number that is being written. */
interface Halves {
  low: number;
  high: number;
}

export const halves: Halves = { low: 0, high: 0 };

const scratch = new DataView(new ArrayBuffer(8));

/** Sets `halves` to a signed number. */
export function splitSigned(value: unknown): void {
  if (typeof value !== "bigint" || BigInt.asIntN(64, value) !== value) throw FOR_LIBRARY;
  scratch.setBigInt64(0, value, true);
  halves.low = scratch.getInt32(0, true);
  halves.high = scratch.getInt32(4, true);
}

/** Sets `halves` to an unsigned number. */
export function splitUnsigned(value: unknown): void {
  if (typeof value !== "bigint" || BigInt.asUintN(64, value) !== value) throw FOR_LIBRARY;
  scratch.setBigUint64(0, value, true);
  halves.low = scratch.getInt32(0, true);
  halves.high = scratch.getInt32(4, true);
}

/** Sets `halves` to a signed number in zigzag form. */
export function splitZigzag(value: unknown): void {
  splitSigned(value);
  const { low, high } = halves;
  const sign = high >> 31;
  halves.low = (low << 1) ^ sign;
  halves.high = ((high << 1) | (low >>> 31)) ^ sign;
}

/** Writes a signed number of 32 bits, as 64 bits if it is below 0. Returns the index after it. */
export function writeInt32(bytes: Uint8Array, at: number, value: number): number {
  if (value >= 0) return writeVarint(bytes, at, value);
  halves.low = value;
  halves.high = -1;
  return writeLong(bytes, at, halves);
}

/** Writes ASCII characters. Returns the index after them, or -1 if there are others. */
export function writeAscii(bytes: Uint8Array, from: number, text: string): number {
  const { length } = text;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return -1;
    bytes[from + i] = code;
  }
  return from + length;
}
