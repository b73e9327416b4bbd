/**
 * Reads protobuf's wire format in place, by the rules of upb, the decoder of protobuf for Python, Ruby and PHP. C++
 * agrees with it: test/protobuf/vectors.json has these rules. Throws an Error, which says what is wrong, if upb refuses the bytes.
 */
import { ScalarType } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { runtime } from "../flow/runtime.ts";

/** The bytes that are decoded, the position in them, and the limits there. */
export interface WireInput {
  bytes: Uint8Array;
  /** The index of the next byte. */
  at: number;
  /** The end of the message that is being read. */
  end: number;
  /** How many more messages, map entries and groups may be nested here. */
  depthLeft: number;
  /** The initial value of `depthLeft`. */
  recursionLimit: number;
  readUnknownFields: boolean;
  /** Whether the message has parts of `bytes` that are not copied. */
  isShared: boolean;
}

/** Reads one value. */
export type ReadValue = (input: WireInput) => unknown;

/** Enters a message, an entry or a group. The caller raises `depthLeft` again after it. */
export function enter(input: WireInput): void {
  if (--input.depthLeft < 0) throw tooDeep(input);
}

export function tooDeep({ recursionLimit }: WireInput): Error {
  return new Error(
    `messages are nested deeper than recursionLimit ${recursionLimit}: ` +
      "send flatter ones, or raise it in binaryOptions",
  );
}

/** Reads a length; returns where the bytes that it announces end. */
export function endOf(input: WireInput): number {
  const length = uint32(input, "a length");
  const end = input.at + length;
  if (end > input.end) {
    throw new Error(`${length} B are announced where ${input.end - input.at} B are left`);
  }
  return end;
}

/** Reads a number of at most 32 bits in at most five bytes: a tag or a length. */
export function uint32(input: WireInput, what: "a tag" | "a length"): number {
  const { bytes, end } = input;
  let value = 0;
  for (let at = input.at, shift = 0; at < end; at++, shift += 7) {
    const byte = bytes[at] as number;
    value |= (byte & 0x7f) << shift;
    if (shift === 28 && byte > 0x0f) throw new Error(`${what} has more than 32 bits`);
    if (byte >= 0x80) continue;
    input.at = at + 1;
    return value >>> 0;
  }
  throw new Error(`${what} is cut off`);
}

/** Skips the value of a field that is unknown or has another wire type than the message's type says. */
export function skip(input: WireInput, tag: number): void {
  switch (tag & 7) {
    case WireType.Varint:
      readVarint(input);
      return;
    case WireType.Bit64:
      skipFixed(input, 8);
      return;
    case WireType.LengthDelimited:
      input.at = endOf(input);
      return;
    case WireType.StartGroup:
      enter(input);
      for (;;) {
        const inner = uint32(input, "a tag");
        if (inner === tag + 1) break;
        skip(input, inner);
      }
      input.depthLeft++;
      return;
    case WireType.EndGroup:
      throw new Error(`a group of number ${tag >>> 3} ends that did not begin`);
    case WireType.Bit32:
      skipFixed(input, 4);
      return;
    default:
      throw new Error(`field number ${tag >>> 3} has wire type ${tag & 7}, which does not exist`);
  }
}

function skipFixed(input: WireInput, size: 4 | 8): void {
  input.at += size;
  if (input.at > input.end) throw cutOff();
}

function cutOff(): Error {
  return new Error("the last value is cut off");
}

/** The high 32 bits of the varint that was read. */
export let varintHigh = 0;

/** Reads a varint. Returns its low 32 bits as a signed number, and sets `varintHigh`. Drops bits above the 64th. */
export function readVarint(input: WireInput): number {
  const { bytes } = input;
  const stop = Math.min(input.end, input.at + 10);
  let low = 0;
  varintHigh = 0;
  for (let at = input.at, shift = 0; at < stop; at++, shift += 7) {
    const byte = bytes[at] as number;
    const bits = byte & 0x7f;
    if (shift < 28) low |= bits << shift;
    else if (shift === 28) {
      low |= bits << 28;
      varintHigh = bits >>> 4;
    } else varintHigh |= bits << (shift - 32);
    if (byte < 0x80) {
      input.at = at + 1;
      return low;
    }
  }
  throw stop < input.end ? new Error("a varint has more than 10 bytes") : cutOff();
}

const toBigInt = (low: number) => (BigInt(varintHigh >>> 0) << 32n) | BigInt(low >>> 0);

const scratch = new DataView(new ArrayBuffer(8));

function fixed<T>(size: 4 | 8, get: (view: DataView) => T): ReadValue {
  return (input) => {
    const { bytes, at } = input;
    skipFixed(input, size);
    for (let i = 0; i < size; i++) scratch.setUint8(i, bytes[at + i] as number);
    return get(scratch);
  };
}

function varintOf<T>(make: (low: number) => T): ReadValue {
  return (input) => make(readVarint(input));
}

function bytesOf(input: WireInput): Uint8Array {
  const end = endOf(input);
  const { at } = input;
  input.at = end;
  return ownBytes(input, at, end);
}

/**
 * Returns a part of the bytes, as a plain Uint8Array. Copies a small part, so that it does not keep the others in
 * memory.
 */
export function ownBytes(input: WireInput, start: number, end: number): Uint8Array {
  const { bytes } = input;
  const view = new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start);
  if (view.length * 4 < view.buffer.byteLength) return view.slice();
  input.isShared = true;
  return view;
}

/** Decodes UTF-8, or throws if it is not valid. */
export type Utf8 = TextDecoder;

export const strictUtf8: Utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
export const lenientUtf8: Utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Up to this length, checking whether a string is ASCII is cheaper than the TextDecoder. */
const SHORT_BYTES = 64;

function stringBy(utf8: Utf8): (input: WireInput) => string {
  return (input) => {
    const end = endOf(input);
    const { bytes, at: from } = input;
    input.at = end;
    return asciiOrDecoded(utf8, bytes, { from, end });
  };
}

/** Returns the text of bytes. */
export function asciiOrDecoded(utf8: Utf8, bytes: Uint8Array, range: Range): string {
  const { from, end } = range;
  if (end - from <= SHORT_BYTES && isAscii(bytes, from, end)) {
    return runtime.asciiText(bytes, from, end);
  }
  try {
    return end - from <= PIECE_BYTES
      ? utf8.decode(bytes.subarray(from, end))
      : inPieces(utf8, bytes, range);
  } catch {
    throw new Error(`a string of ${end - from} B is not valid UTF-8`);
  }
}

/**
 * Longer strings are decoded in pieces. Node allocates a string of more than 1,031,913 bytes outside of V8's heap, by
 * malloc(), and after many of those the system does not get their memory back.
 */
const PIECE_BYTES = 1_000_000;

/** The bytes from `from` up to `end`. */
export interface Range {
  readonly from: number;
  readonly end: number;
}

function inPieces(utf8: Utf8, bytes: Uint8Array, { from, end }: Range): string {
  let text = "";
  for (let at = from; at < end; ) {
    const to = characterAt(bytes, Math.min(at + PIECE_BYTES, end), end);
    text += utf8.decode(bytes.subarray(at, to));
    at = to;
  }
  return text;
}

/**
 * Returns where the character begins that the byte at `at` belongs to. A character has at most three bytes after its
 * first.
 */
function characterAt(bytes: Uint8Array, at: number, end: number): number {
  if (at === end) return end;
  for (let first = at; first >= at - 3; first--) {
    if (((bytes[first] as number) & 0xc0) !== 0x80) return first;
  }
  return at;
}

function isAscii(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if ((bytes[at] as number) >= 0x80) return false;
  return true;
}

/** Reads a string of proto2: invalid UTF-8 becomes U+FFFD. */
export const readLenientString: ReadValue = stringBy(lenientUtf8);

/** The wire type of each scalar type, and the reader of its values. */
export const scalars: Record<ScalarType, readonly [WireType, ReadValue]> = {
  [ScalarType.STRING]: [WireType.LengthDelimited, stringBy(strictUtf8)],
  [ScalarType.BYTES]: [WireType.LengthDelimited, bytesOf],
  [ScalarType.BOOL]: [WireType.Varint, varintOf((low) => low !== 0 || varintHigh !== 0)],
  [ScalarType.INT32]: [WireType.Varint, varintOf((low) => low)],
  [ScalarType.UINT32]: [WireType.Varint, varintOf((low) => low >>> 0)],
  [ScalarType.SINT32]: [WireType.Varint, varintOf((low) => (low >>> 1) ^ -(low & 1))],
  [ScalarType.INT64]: [WireType.Varint, varintOf((low) => BigInt.asIntN(64, toBigInt(low)))],
  [ScalarType.UINT64]: [WireType.Varint, varintOf((low) => BigInt.asUintN(64, toBigInt(low)))],
  [ScalarType.SINT64]: [
    WireType.Varint,
    varintOf((low) => {
      const value = BigInt.asUintN(64, toBigInt(low));
      return (value >> 1n) ^ -(value & 1n);
    }),
  ],
  [ScalarType.FIXED32]: [WireType.Bit32, fixed(4, (view) => view.getUint32(0, true))],
  [ScalarType.SFIXED32]: [WireType.Bit32, fixed(4, (view) => view.getInt32(0, true))],
  [ScalarType.FLOAT]: [WireType.Bit32, fixed(4, (view) => view.getFloat32(0, true))],
  [ScalarType.FIXED64]: [WireType.Bit64, fixed(8, (view) => view.getBigUint64(0, true))],
  [ScalarType.SFIXED64]: [WireType.Bit64, fixed(8, (view) => view.getBigInt64(0, true))],
  [ScalarType.DOUBLE]: [WireType.Bit64, fixed(8, (view) => view.getFloat64(0, true))],
};
