/** What the generated decoders call. */
import { ScalarType } from "@bufbuild/protobuf";
import {
  asciiOrDecoded,
  ownBytes,
  type ReadValue,
  readVarint,
  type Utf8,
  varintHigh,
  type WireInput,
} from "../wire-input.ts";
import { Source } from "./source.ts";

type ShortText = (bytes: Uint8Array, at: number, length: number) => string | undefined;

/** Strings up to this length are made from their characters: a call of a function in C++ takes longer. */
const SHORT_BYTES = 40;

/** Returns a function that makes the text of up to SHORT_BYTES ASCII bytes; `undefined` if they are not ASCII. */
export function generateShortText(): ShortText {
  const source = new Source();
  source.add(
    "return function shortText(b, at, length) {",
    "switch (length) {",
    'case 0: return "";',
  );
  for (let length = 1; length <= SHORT_BYTES; length++) {
    const bytes = Array.from({ length }, (_, at) => `b${at}`);
    source.add(
      `case ${length}: {`,
      `const ${bytes.map((byte, at) => `${byte} = b[at + ${at}]`).join(", ")};`,
      `return (${bytes.join(" | ")}) < 128 ? String.fromCharCode(${bytes.join(", ")}) : undefined;`,
      "}",
    );
  }
  source.add("}", "};");
  return source.compile() as ShortText;
}

/** Returns a function that makes the text of bytes, and throws as the readers in wire-input.ts. */
export function textReader(
  short: ShortText,
  utf8: Utf8,
): (bytes: Uint8Array, at: number, end: number) => string {
  return (bytes, at, end) => {
    const text = end - at <= SHORT_BYTES ? short(bytes, at, end - at) : undefined;
    return text ?? asciiOrDecoded(utf8, bytes, { from: at, end });
  };
}

/** Returns a part of the bytes, as ownBytes(). */
export function copyBytes(input: WireInput, at: number, end: number): Uint8Array {
  const { bytes } = input;
  const length = end - at;
  // V8 keeps such a small array in its heap; slice() and set() take longer than a loop.
  if (length > 64 || length * 4 >= bytes.buffer.byteLength) return ownBytes(input, at, end);
  const copy = new Uint8Array(length);
  for (let i = 0; i < length; i++) copy[i] = bytes[at + i] as number;
  return copy;
}

const scratch = new DataView(new ArrayBuffer(8));

/** The signed numbers of one byte, from -64 to 127. */
const smallLongs = Array.from({ length: 192 }, (_, at) => BigInt(at - 64));

/** Returns a bigint from -64 to 127. */
export function smallLong(value: number): bigint {
  return smallLongs[value + 64] as bigint;
}

export function signedLong(low: number, high: number): bigint {
  scratch.setInt32(0, low, true);
  scratch.setInt32(4, high, true);
  return scratch.getBigInt64(0, true);
}

export function unsignedLong(low: number, high: number): bigint {
  scratch.setInt32(0, low, true);
  scratch.setInt32(4, high, true);
  return scratch.getBigUint64(0, true);
}

export function floatOf(bits: number): number {
  scratch.setInt32(0, bits, true);
  return scratch.getFloat32(0, true);
}

export function doubleOf(low: number, high: number): number {
  scratch.setInt32(0, low, true);
  scratch.setInt32(4, high, true);
  return scratch.getFloat64(0, true);
}

/** Returns a reader of varints of 64 bits. */
export function longReader(
  scalar: ScalarType.INT64 | ScalarType.UINT64 | ScalarType.SINT64,
): ReadValue {
  if (scalar === ScalarType.UINT64) {
    return (input) => {
      const low = readVarint(input);
      return varintHigh === 0 ? BigInt(low >>> 0) : unsignedLong(low, varintHigh);
    };
  }
  if (scalar === ScalarType.INT64) {
    return (input) => {
      const low = readVarint(input);
      return varintHigh === 0 ? BigInt(low >>> 0) : signedLong(low, varintHigh);
    };
  }
  return (input) => {
    const low = readVarint(input);
    const sign = -(low & 1);
    return signedLong(((low >>> 1) | (varintHigh << 31)) ^ sign, (varintHigh >>> 1) ^ sign);
  };
}
