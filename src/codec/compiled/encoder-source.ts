/**
 * Generates encoders. The generated code writes the valid values of a type; for any other value it throws FOR_LIBRARY,
 * and the library encodes the whole message, or says what is wrong with it. This is the code of `int32 count = 3`:
 *
 *     value = message["count"];
 *     if (value === undefined || value === null) { if (type !== undefined && output.isStrict) throw c0; }
 *     else if (!(value === 0 || value === 0n || value === "0")) {
 *       if (at + 15 > bytes.length) { output.at = at; output.grow(15); bytes = output.bytes; }
 *       bytes[at++] = 24;
 *       if (!((value | 0) === value)) throw c0;
 *       if (value >= 0 && value < 128) bytes[at++] = value;
 *       else at = c1(bytes, at, value);
 *     }
 *
 * Here c0 is FOR_LIBRARY, c1 is writeInt32().
 */
import { create, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { isObject } from "../closure-encoder.ts";
import { type Fields, tagOf } from "../decoder.ts";
import {
  IMPLICIT,
  isGroup,
  isLongAsString,
  LEGACY_REQUIRED,
  scalarOf,
  wireTypeOf,
} from "../field-types.ts";
import { jsonToStruct, ownFormOf } from "../own-form.ts";
import { addScalar, keyOf, leftOut, sizeOf } from "./encoder-scalars.ts";
import { FOR_LIBRARY, type Output } from "./output.ts";
import { literal, property, Source } from "./source.ts";

/** Encodes the messages of one type into an output. */
export interface MessageWriter {
  write(output: Output, message: Fields): void;
}

/** Returns the writer of the messages within a message. It may be one that is compiled later. */
export type WriterOf = (desc: DescMessage) => MessageWriter;

/**
 * The variables of all fields, as in decoder-source.ts: of a value, a list, a length, and a map. A message within this one
 * has its own.
 */
const VARIABLES = "value, one, items, i = 0, from = 0, entries, names, name, entry = 0";

/** Generates the encoder of a type. Throws if it is too long. */
export function encoderSource(desc: DescMessage, writerOf: WriterOf): Source {
  const source = new Source();
  source.add(
    "return {",
    "write(output, message) {",
    "const type = message.$typeName;",
    `if (type !== undefined && type !== ${literal(desc.typeName)}) throw ${source.constant(FOR_LIBRARY)};`,
    `let bytes = output.bytes, at = output.at, n = 0, k = 0, ${VARIABLES};`,
  );
  for (const { localName } of desc.oneofs) {
    source.add(`if (${property("message", localName)} == null) { ${refuseIfStrict(source)} }`);
  }
  // The defaults of fields with presence are on a prototype there.
  const hasDefaults = Object.getPrototypeOf(create(desc)) !== Object.prototype;
  const fields = [...desc.fields].sort((a, b) => a.number - b.number);
  for (const field of fields) {
    addField(source, field, { writerOf, hasDefaults });
  }
  source.add(
    "output.at = at;",
    "value = message.$unknown;",
    "if (value !== undefined) {",
    `if (type === undefined) throw ${source.constant(FOR_LIBRARY)};`,
    "output.unknown(value);",
    "}",
    "}",
    "};",
  );
  return source;
}

interface Context {
  readonly writerOf: WriterOf;
  readonly hasDefaults: boolean;
}

/** Returns the statement for a property that toBinary() refuses in a complete message, and the closures take as not set. */
function refuseIfStrict(source: Source): string {
  return `if (type !== undefined && output.isStrict) throw ${source.constant(FOR_LIBRARY)};`;
}

function addField(source: Source, field: DescField, context: Context): void {
  const { localName, oneof } = field;
  if (oneof !== undefined) {
    source.add(
      `one = ${property("message", oneof.localName)};`,
      `if (one != null && one.case === ${literal(localName)}) {`,
      "value = one.value;",
    );
    addValue(source, field, context);
    source.add("}");
    return;
  }
  source.add(`value = ${property("message", localName)};`);
  if (field.fieldKind === "list" || field.fieldKind === "map") {
    source.add("if (value !== undefined && value !== null) {");
    if (field.fieldKind === "list") addList(source, field, context);
    else addMap(source, field, context);
    source.add(`} else { ${refuseIfStrict(source)} }`);
    return;
  }
  const { presence } = field;
  if (presence === IMPLICIT) {
    source.add(`if (value === undefined || value === null) { ${refuseIfStrict(source)} }`);
    source.add(`else if (!(${leftOut(source, field)})) {`);
    addValue(source, field, context);
    source.add("}");
    return;
  }
  // A complete message may inherit defaults: only its own properties are values. toBinary() requires that in all types, the
  // closures in none, since their types have no defaults.
  const mayInherit = context.hasDefaults
    ? "type === undefined"
    : "type === undefined || !output.isStrict";
  const isOwn = `(${mayInherit} || Object.hasOwn(message, ${literal(localName)}))`;
  source.add(
    `if (value === null) { ${refuseIfStrict(source)} }`,
    `if (value !== undefined && value !== null && ${isOwn}) {`,
  );
  addValue(source, field, context);
  source.add("}");
  // The library names the field that is missing.
  if (presence === LEGACY_REQUIRED) source.add(`else throw ${source.constant(FOR_LIBRARY)};`);
}

/** Returns the statement that makes the buffer large enough for `size` more bytes. */
function ensure(size: number): string {
  return (
    `if (at + ${size} > bytes.length) ` +
    `{ output.at = at; output.grow(${size}); bytes = output.bytes; }`
  );
}

/** Returns the statements that write a tag, whose bytes must fit. */
function writeTag(number: number, wireType: WireType): string {
  const parts: string[] = [];
  let rest = tagOf(number, wireType);
  while (rest > 0x7f) {
    parts.push(`bytes[at++] = ${(rest & 0x7f) | 0x80};`);
    rest >>>= 7;
  }
  parts.push(`bytes[at++] = ${rest};`);
  return parts.join(" ");
}

/** The length of the longest tag. */
const TAG_BYTES = 5;

/** Adds code that writes `value`, which is set, with its tag. */
function addValue(source: Source, field: DescField, context: Context): void {
  if (field.message !== undefined) {
    addMessage(source, field, { ...context, number: field.number });
    return;
  }
  const scalar = scalarOf(field);
  source.add(ensure(TAG_BYTES + sizeOf(scalar)), writeTag(field.number, wireTypeOf(scalar)));
  addScalar(source, scalar, isLongAsString(field));
}

interface MessageContext extends Context {
  /** The number of the field, or of the value in an entry of a map. */
  readonly number: number;
}

/** Adds code that writes the message `value` with its tag. */
function addMessage(source: Source, field: DescField, { writerOf, number }: MessageContext): void {
  const desc = field.message as DescMessage;
  const writer = source.constant(writerOf(desc));
  const form = ownFormOf(field);
  if (form !== undefined) {
    const toMessage =
      desc.typeName === "google.protobuf.Struct"
        ? (value: unknown) => jsonToStruct(value)
        : (value: unknown) => ({ $typeName: desc.typeName, value });
    source.add(`value = ${source.constant(toMessage)}(value);`);
  } else {
    source.add(
      `if (!${source.constant(isObject)}(value)) throw ${source.constant(FOR_LIBRARY)};`,
      `if (value.$typeName === undefined) { ${refuseIfStrict(source)} }`,
    );
  }
  if (isGroup(field)) {
    source.add(
      ensure(TAG_BYTES),
      writeTag(number, WireType.StartGroup),
      "output.at = at;",
      `${writer}.write(output, value);`,
      "at = output.at; bytes = output.bytes;",
      ensure(TAG_BYTES),
      writeTag(number, WireType.EndGroup),
    );
    return;
  }
  source.add(
    ensure(TAG_BYTES + 1),
    writeTag(number, WireType.LengthDelimited),
    "from = output.at = at + 1;",
    `${writer}.write(output, value);`,
    "output.join(from);",
    "at = output.at; bytes = output.bytes;",
  );
}

function addList(source: Source, field: DescField & { fieldKind: "list" }, context: Context): void {
  source.add(`if (!Array.isArray(value)) throw ${source.constant(FOR_LIBRARY)};`, "items = value;");
  if (!field.packed) {
    source.add("for (i = 0; i < items.length; i++) {", "value = items[i];");
    addValue(source, field, context);
    source.add("}");
    return;
  }
  const scalar = scalarOf(field);
  source.add(
    "if (items.length > 0) {",
    ensure(TAG_BYTES + 1),
    writeTag(field.number, WireType.LengthDelimited),
    "from = ++at;",
    "for (i = 0; i < items.length; i++) {",
    "value = items[i];",
    ensure(sizeOf(scalar)),
  );
  addScalar(source, scalar, isLongAsString(field));
  source.add(
    "}",
    "output.at = at;",
    "output.join(from);",
    "at = output.at; bytes = output.bytes;",
    "}",
  );
}

function addMap(source: Source, field: DescField & { fieldKind: "map" }, context: Context): void {
  const forLibrary = source.constant(FOR_LIBRARY);
  const key = field.mapKey;
  source.add(
    `if (typeof value !== "object" || Array.isArray(value)) throw ${forLibrary};`,
    "entries = value;",
    "names = Object.keys(entries);",
    "for (i = 0; i < names.length; i++) {",
    "name = names[i];",
    ensure(2 * TAG_BYTES + 1 + sizeOf(key)),
    writeTag(field.number, WireType.LengthDelimited),
    "entry = ++at;",
    writeTag(1, wireTypeOf(key)),
    `value = ${source.constant(keyOf(key))}(name);`,
  );
  addScalar(source, key, false);
  source.add("value = entries[name];");
  if (field.mapKind === "message") {
    addMessage(source, field, { ...context, number: 2 });
  } else {
    const scalar = scalarOf(field);
    source.add(ensure(TAG_BYTES + sizeOf(scalar)), writeTag(2, wireTypeOf(scalar)));
    addScalar(source, scalar, false);
  }
  source.add(
    "output.at = at;",
    "output.join(entry);",
    "at = output.at; bytes = output.bytes;",
    "}",
  );
}
