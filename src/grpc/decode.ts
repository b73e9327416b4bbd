/**
 * Decoding in place: protobuf-es' fromBinary() makes a reader, a view and a context for each
 * message; this reads the bytes of a frame where they stand. What it does not know (maps,
 * groups, proto2, messages with a form of their own, unknown fields) and what is not as it
 * should be goes through fromBinary(), which decodes it or says what is wrong. A test holds
 * the two against each other.
 */
import {
  create,
  type DescField,
  type DescMessage,
  fromBinary,
  type MessageShape,
  ScalarType,
} from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";

type Fields = Record<string, unknown>;
/** Reads one field into a message; `false`: this is one for fromBinary(). */
type Read = (cursor: Cursor, message: Fields) => boolean;
/** Reads one value; `undefined`: this is one for fromBinary(). */
type ReadValue = (cursor: Cursor) => unknown;

/** Decodes the message between `start` and `end`. Throws what fromBinary() throws. */
export function decode<Desc extends DescMessage>(
  desc: Desc,
  bytes: Uint8Array,
  start: number,
  end: number,
): MessageShape<Desc> {
  const decoder = decoderOf(desc);
  if (decoder !== undefined) {
    const message = create(desc);
    cursor.bytes = bytes;
    cursor.at = start;
    cursor.end = end;
    cursor.depth = 0;
    if (decoder.read(cursor, byName(message))) return message;
  }
  return fromBinary(desc, own(bytes, start, end));
}

/** A message as a record of its fields: its type knows each by name, and none by a name at run time. */
function byName(message: object): Fields {
  return message as Fields;
}

/** A part of the bytes, as a plain Uint8Array; a small part is copied, so that it does not hold on to the rest. */
function own(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const view = new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start);
  return view.length * 4 < view.buffer.byteLength ? view.slice() : view;
}

/** Where in the bytes we are. Decoding is synchronous, so one is enough. */
interface Cursor {
  bytes: Uint8Array;
  at: number;
  end: number;
  /** How many messages we are inside of. */
  depth: number;
}

const cursor: Cursor = { bytes: new Uint8Array(), at: 0, end: 0, depth: 0 };

const DEEPEST = 100;

class Decoder {
  /** By tag: field number and wire type. */
  readonly fields = new Map<number, Read>();
  /** The same for tags of one byte, which most are. */
  readonly near: (Read | undefined)[] = new Array(128).fill(undefined);

  read(cursor: Cursor, message: Fields): boolean {
    if (cursor.depth >= DEEPEST) return false;
    while (cursor.at < cursor.end) {
      const first = cursor.bytes[cursor.at] as number;
      let read: Read | undefined;
      if (first < 0x80) {
        cursor.at++;
        read = this.near[first];
      } else {
        const tag = uint32(cursor);
        read = tag === undefined ? undefined : this.fields.get(tag);
      }
      if (read === undefined || !read(cursor, message)) return false;
    }
    return cursor.at === cursor.end;
  }

  add(field: number, wireType: WireType, read: Read): void {
    const tag = ((field << 3) | wireType) >>> 0;
    this.fields.set(tag, read);
    if (tag < 0x80) this.near[tag] = read;
  }
}

const decoders = new WeakMap<DescMessage, { decoder: Decoder | undefined }>();

function decoderOf(desc: DescMessage): Decoder | undefined {
  let known = decoders.get(desc);
  if (known === undefined) {
    known = { decoder: knows(desc, new Set()) ? compile(desc) : undefined };
    decoders.set(desc, known);
  }
  return known.decoder;
}

const OWN_FORM = /^google\.protobuf\.(?:\w+Value|Struct)$/;

function knows(desc: DescMessage, seen: Set<DescMessage>): boolean {
  if (seen.has(desc)) return true;
  seen.add(desc);
  if (desc.file.proto.syntax !== "proto3") return false;
  return desc.fields.every((field) => {
    if (field.fieldKind === "map" || field.enum?.open === false) return false;
    if ("longAsString" in field && field.longAsString) return false;
    const { message } = field;
    return message === undefined || (!OWN_FORM.test(message.typeName) && knows(message, seen));
  });
}

function compile(desc: DescMessage): Decoder {
  const decoder = new Decoder();
  // Before the fields, which may hold messages of this type themselves.
  decoders.set(desc, { decoder });
  for (const field of desc.fields) compileField(decoder, field);
  return decoder;
}

function compileField(decoder: Decoder, field: DescField): void {
  const { localName, number, oneof, message: desc } = field;
  if (desc !== undefined) {
    const child = decoders.get(desc)?.decoder ?? compile(desc);
    decoder.add(number, WireType.LengthDelimited, readMessage(field, desc, child));
    return;
  }
  const scalar = field.enum !== undefined ? ScalarType.INT32 : (field.scalar as ScalarType);
  const [wireType, readValue] = scalars[scalar];
  if (field.fieldKind === "list") {
    decoder.add(number, wireType, (cursor, message) => {
      const value = readValue(cursor);
      return value !== undefined && (message[localName] as unknown[]).push(value) > 0;
    });
    if (wireType !== WireType.LengthDelimited) {
      decoder.add(number, WireType.LengthDelimited, readPacked(localName, readValue));
    }
  } else if (oneof !== undefined) {
    const group = oneof.localName;
    decoder.add(number, wireType, (cursor, message) => {
      const value = readValue(cursor);
      message[group] = { case: localName, value };
      return value !== undefined;
    });
  } else {
    decoder.add(number, wireType, (cursor, message) => {
      const value = readValue(cursor);
      message[localName] = value;
      return value !== undefined;
    });
  }
}

function readMessage(field: DescField, desc: DescMessage, child: Decoder): Read {
  const { localName, oneof, fieldKind } = field;
  /** The message to read into: one that is there already is merged with. */
  const target = (message: Fields): Fields => {
    if (fieldKind === "list") {
      const item = byName(create(desc));
      (message[localName] as unknown[]).push(item);
      return item;
    }
    if (oneof !== undefined) {
      const group = message[oneof.localName] as { case?: string; value?: unknown };
      if (group.case === localName) return group.value as Fields;
      const value = byName(create(desc));
      message[oneof.localName] = { case: localName, value };
      return value;
    }
    message[localName] ??= create(desc);
    return message[localName] as Fields;
  };
  return (cursor, message) => {
    const end = endOf(cursor);
    if (end === undefined) return false;
    const outer = cursor.end;
    cursor.end = end;
    cursor.depth++;
    const whole = child.read(cursor, target(message));
    cursor.depth--;
    cursor.end = outer;
    return whole;
  };
}

function readPacked(localName: string, readValue: ReadValue): Read {
  return (cursor, message) => {
    const end = endOf(cursor);
    if (end === undefined) return false;
    const items = message[localName] as unknown[];
    const outer = cursor.end;
    cursor.end = end;
    while (cursor.at < end) {
      const value = readValue(cursor);
      if (value === undefined) break;
      items.push(value);
    }
    cursor.end = outer;
    return cursor.at === end;
  };
}

/** The end of what a length introduces. */
function endOf(cursor: Cursor): number | undefined {
  const length = uint32(cursor);
  if (length === undefined) return undefined;
  const end = cursor.at + length;
  return end <= cursor.end ? end : undefined;
}

/** The high 32 bits of the last varint. */
let high = 0;

/** The low 32 bits of a varint, as a signed number; `undefined` where it is cut off or too long. */
function varint(cursor: Cursor): number | undefined {
  const { bytes } = cursor;
  const stop = Math.min(cursor.end, cursor.at + 10);
  let low = 0;
  high = 0;
  for (let at = cursor.at, shift = 0; at < stop; at++, shift += 7) {
    const byte = bytes[at] as number;
    const bits = byte & 0x7f;
    if (shift < 28) low |= bits << shift;
    else if (shift === 28) {
      low |= bits << 28;
      high = bits >>> 4;
    } else high |= bits << (shift - 32);
    if (byte < 0x80) {
      cursor.at = at + 1;
      return low;
    }
  }
  return undefined;
}

/** A number of up to five bytes, as tags and lengths are. */
function uint32(cursor: Cursor): number | undefined {
  const first = cursor.bytes[cursor.at] as number;
  if (cursor.at < cursor.end && first < 0x80) {
    cursor.at++;
    return first;
  }
  const low = varint(cursor);
  return low === undefined || high !== 0 ? undefined : low >>> 0;
}

const wide = (low: number) => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);

const scratch = new DataView(new ArrayBuffer(8));

function fixed<T>(size: 4 | 8, get: (view: DataView) => T): ReadValue {
  return (cursor) => {
    const { bytes, at } = cursor;
    if (at + size > cursor.end) return undefined;
    for (let i = 0; i < size; i++) scratch.setUint8(i, bytes[at + i] as number);
    cursor.at = at + size;
    return get(scratch);
  };
}

function varintOf<T>(make: (low: number) => T): ReadValue {
  return (cursor) => {
    const low = varint(cursor);
    return low === undefined ? undefined : make(low);
  };
}

function bytesOf(cursor: Cursor): Uint8Array | undefined {
  const end = endOf(cursor);
  if (end === undefined) return undefined;
  const { at } = cursor;
  cursor.at = end;
  return own(cursor.bytes, at, end);
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Up to here it is cheaper to look whether a string is ASCII than to have it decoded. */
const SHORT_BYTES = 64;

function stringOf(cursor: Cursor): string | undefined {
  const end = endOf(cursor);
  if (end === undefined) return undefined;
  const { bytes, at } = cursor;
  cursor.at = end;
  if (end - at <= SHORT_BYTES && bytes instanceof Buffer && isAscii(bytes, at, end)) {
    return bytes.toString("latin1", at, end);
  }
  try {
    return strict.decode(bytes.subarray(at, end));
  } catch {
    return undefined;
  }
}

function isAscii(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if ((bytes[at] as number) >= 0x80) return false;
  return true;
}

const scalars: Record<ScalarType, readonly [WireType, ReadValue]> = {
  [ScalarType.STRING]: [WireType.LengthDelimited, stringOf],
  [ScalarType.BYTES]: [WireType.LengthDelimited, bytesOf],
  [ScalarType.BOOL]: [WireType.Varint, varintOf((low) => low !== 0 || high !== 0)],
  [ScalarType.INT32]: [WireType.Varint, varintOf((low) => low)],
  [ScalarType.UINT32]: [WireType.Varint, varintOf((low) => low >>> 0)],
  [ScalarType.SINT32]: [WireType.Varint, varintOf((low) => (low >>> 1) ^ -(low & 1))],
  [ScalarType.INT64]: [WireType.Varint, varintOf((low) => BigInt.asIntN(64, wide(low)))],
  [ScalarType.UINT64]: [WireType.Varint, varintOf((low) => BigInt.asUintN(64, wide(low)))],
  [ScalarType.SINT64]: [
    WireType.Varint,
    varintOf((low) => {
      const value = BigInt.asUintN(64, wide(low));
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
