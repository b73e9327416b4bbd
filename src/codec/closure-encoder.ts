/**
 * The encoder where no code may be generated, and of types that are used a few times. protobuf-es' toBinary() first
 * completes a partial message and makes a writer for each; this walks the fields that the caller set, with one writer
 * for all messages. toBinary() encodes what this does not know (maps, groups, proto2's required fields and defaults,
 * well-known types with a form of their own). It also gets values that are not valid, and says what is wrong with them.
 */
import {
  type BinaryWriteOptions,
  type DescField,
  type DescMessage,
  type MessageInitShape,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { complete, inheritedAs } from "./complete.ts";
import type { Fields } from "./decoder.ts";
import { IMPLICIT, isLongAsString, LEGACY_REQUIRED, scalarOf, wireTypeOf } from "./field-types.ts";

type Encode = (writer: BinaryWriter, message: Fields) => void;

/**
 * Encodes a message, or the fields of one. Throws what toBinary() throws, and a NotThatMessage if it is not of this
 * type.
 */
export function encodeByClosures(
  desc: DescMessage,
  message: unknown,
  options?: Partial<BinaryWriteOptions>,
): Uint8Array {
  const fast = isObject(message) ? encoderOf(desc) : undefined;
  if (fast !== undefined) {
    const writer = unusedWriter ?? new BinaryWriter();
    unusedWriter = undefined;
    try {
      fast(writer, message as Fields);
      const bytes = writer.finish();
      // The writer of a large message has much memory.
      if (bytes.length <= KEEP_BYTES) unusedWriter = writer;
      return bytes;
    } catch {
      // The writer holds a part of the message. toBinary() below names the field.
    }
  }
  return encodeByLibrary(desc, message, options);
}

/** Encodes as protobuf-es does: any valid value of any type. Throws as encodeByClosures(). */
export function encodeByLibrary(
  desc: DescMessage,
  message: unknown,
  options?: Partial<BinaryWriteOptions>,
): Uint8Array {
  return toBinary(desc, complete(desc, message as MessageInitShape<DescMessage>), options);
}

/** Whether a value can be a message: complete() refuses any other value. */
export function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether messages of a type need toBinary(), which is stricter than the closures with values that are not valid. */
export function needsLibrary(desc: DescMessage): boolean {
  return encoderOf(desc) === undefined;
}

/** A writer whose message was larger than this is not kept. */
export const KEEP_BYTES = 1024 * 1024;

/** One writer is enough, unless a getter of a message encodes another one meanwhile. */
let unusedWriter: BinaryWriter | undefined;

const encoders = new WeakMap<DescMessage, { encode: Encode | undefined }>();

/** Returns the encoder of a message, or `undefined` if a field in it, or below it, needs toBinary(). */
function encoderOf(desc: DescMessage): Encode | undefined {
  let known = encoders.get(desc);
  if (known === undefined) {
    known = { encode: knowsAll(desc) ? makeEncoder(desc) : undefined };
    encoders.set(desc, known);
  }
  return known.encode;
}

/** Messages that are another value in the messages around them: wrappers are their value, a Struct is an object. */
const OWN_FORM = /^google\.protobuf\.(?:\w+Value|Struct)$/;

/** Whether all fields of a message, and below it, can be encoded by closures. */
function knowsAll(desc: DescMessage): boolean {
  const seen = new Set<DescMessage>([desc]);
  for (const { fields, file } of seen) {
    // Other syntaxes put the defaults of fields with explicit presence on a prototype.
    if (fields.length > 0 && file.proto.syntax !== "proto3") return false;
    for (const field of fields) {
      if (field.fieldKind === "map" || field.presence === LEGACY_REQUIRED) return false;
      const { message } = field;
      if (message === undefined) continue;
      if (field.delimitedEncoding || OWN_FORM.test(message.typeName)) return false;
      seen.add(message);
    }
  }
  return true;
}

function makeEncoder(desc: DescMessage): Encode {
  const steps: Encode[] = [];
  const { typeName } = desc;
  const encode: Encode = (writer, message) => {
    const { $typeName, $unknown } = message;
    if ($unknown !== undefined || ($typeName !== undefined && $typeName !== typeName)) {
      throw new TypeError("for toBinary()");
    }
    for (let at = 0; at < steps.length; at++) (steps[at] as Encode)(writer, message);
  };
  // Before the fields, which may hold messages of this type themselves.
  encoders.set(desc, { encode });
  const fields = [...desc.fields].sort((a, b) => a.number - b.number);
  for (const field of fields) steps.push(makeField(field));
  return encode;
}

function makeField(field: DescField): Encode {
  const { localName, oneof } = field;
  if (field.fieldKind === "list") return makeList(field);
  const write = makeValue(field);
  if (oneof !== undefined) {
    return (writer, message) => {
      const set = message[oneof.localName] as { case?: string; value?: unknown } | undefined;
      if (set?.case === localName) write(writer, set.value);
    };
  }
  const isLeftOut = leftOutCheckOf(field);
  const inherited = inheritedAs(localName);
  return (writer, message) => {
    const value = message[localName];
    if (value !== inherited && value !== undefined && value !== null && !isLeftOut(value)) {
      write(writer, value);
    }
  };
}

/** Returns a function that says which values are left out on the wire: the zero, if presence is implicit. */
function leftOutCheckOf(field: DescField): (value: unknown) => boolean {
  if (field.presence !== IMPLICIT) return () => false;
  if (field.fieldKind === "enum") {
    const zero = field.enum.values[0]?.number;
    return (value) => value === zero;
  }
  switch (field.scalar) {
    case ScalarType.BOOL:
      return (value) => value === false;
    case ScalarType.STRING:
      return (value) => value === "";
    case ScalarType.BYTES:
      return (value) => value instanceof Uint8Array && value.byteLength === 0;
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return (value) => Object.is(value, 0);
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return isZeroLong;
    default:
      return (value) => value === 0 || value === 0n || value === "0";
  }
}

/** Whether a number of 64 bits, or a text that stands for it, is 0: "" is, as in protobuf-es. */
export function isZeroLong(value: unknown): boolean {
  if (typeof value === "bigint") return value === 0n;
  return typeof value === "string" ? Number(value) === 0 : value === 0;
}

type Write = (writer: BinaryWriter, value: unknown) => void;

function makeValue(field: DescField): Write {
  const { number } = field;
  if (field.message !== undefined) {
    const { message } = field;
    // At its first use: types may be nested deeper than the stack.
    let encode: Encode | undefined;
    return (writer, value) => {
      if (!isObject(value)) throw new TypeError("for toBinary()");
      encode ??= encoders.get(message)?.encode ?? makeEncoder(message);
      writer.tag(number, WireType.LengthDelimited).fork();
      encode(writer, value as Fields);
      writer.join();
    };
  }
  const scalar = scalarOf(field);
  const wireType = wireTypeOf(scalar);
  const write = writeScalar(scalar, isLongAsString(field));
  return (writer, value) => {
    writer.tag(number, wireType);
    write(writer, value);
  };
}

function makeList(field: DescField & { fieldKind: "list" }): Encode {
  const { localName, number } = field;
  const write = makeValue(field);
  const inherited = inheritedAs(localName);
  if (!field.packed) {
    return (writer, message) => {
      for (const value of itemsOf(message[localName], inherited)) write(writer, value);
    };
  }
  const item = writeScalar(scalarOf(field), isLongAsString(field));
  return (writer, message) => {
    const items = itemsOf(message[localName], inherited);
    if (items.length === 0) return;
    writer.tag(number, WireType.LengthDelimited).fork();
    for (const value of items) item(writer, value);
    writer.join();
  };
}

const NONE: readonly unknown[] = [];

function itemsOf(value: unknown, inherited: unknown): readonly unknown[] {
  if (value === undefined || value === null || value === inherited) return NONE;
  if (!Array.isArray(value)) throw new TypeError("for toBinary()");
  return value;
}

/**
 * Returns a writer of one scalar type. It accepts only values of that type.
 *
 * @param asText whether numbers of 64 bits may be strings
 */
function writeScalar(scalar: ScalarType, asText: boolean): Write {
  switch (scalar) {
    case ScalarType.STRING:
      return (writer, value) => writer.string(ensureType(value, "string"));
    case ScalarType.BYTES:
      return (writer, value) => {
        if (!(value instanceof Uint8Array)) throw new TypeError("for toBinary()");
        writer.bytes(value);
      };
    case ScalarType.BOOL:
      return (writer, value) => writer.bool(ensureType(value, "boolean"));
    case ScalarType.DOUBLE:
      return (writer, value) => writer.double(ensureType(value, "number"));
    case ScalarType.FLOAT:
      return (writer, value) => writer.float(ensureType(value, "number"));
    case ScalarType.INT32:
      return (writer, value) => writer.int32(ensureType(value, "number"));
    case ScalarType.UINT32:
      return (writer, value) => writer.uint32(ensureType(value, "number"));
    case ScalarType.SINT32:
      return (writer, value) => writer.sint32(ensureType(value, "number"));
    case ScalarType.FIXED32:
      return (writer, value) => writer.fixed32(ensureType(value, "number"));
    case ScalarType.SFIXED32:
      return (writer, value) => writer.sfixed32(ensureType(value, "number"));
    case ScalarType.INT64:
      return (writer, value) => writer.int64(ensureLong(value, asText));
    case ScalarType.UINT64:
      return (writer, value) => writer.uint64(ensureLong(value, asText));
    case ScalarType.SINT64:
      return (writer, value) => writer.sint64(ensureLong(value, asText));
    case ScalarType.FIXED64:
      return (writer, value) => writer.fixed64(ensureLong(value, asText));
    case ScalarType.SFIXED64:
      return (writer, value) => writer.sfixed64(ensureLong(value, asText));
  }
}

function ensureLong(value: unknown, asText: boolean): bigint | string {
  if (typeof value === "bigint" || (asText && typeof value === "string")) return value;
  throw new TypeError("for toBinary()");
}

interface Types {
  string: string;
  boolean: boolean;
  number: number;
}

function ensureType<Name extends keyof Types>(value: unknown, name: Name): Types[Name] {
  if (typeof value !== name) throw new TypeError("for toBinary()");
  return value as Types[Name];
}
