/**
 * Generates decoders. The generated code reads what is usual inline; the functions of the closures' decoder read
 * everything else, at the same place in the same input, and throw its errors. This is the code of `int32 count = 3`:
 *
 *     switch (tag) {
 *       case 24:
 *         n = at < end ? bytes[at] : 128;
 *         if (n < 128) { at++; value = n; }
 *         else if (at + 1 < end && (k = bytes[at + 1]) < 128) { n = (n & 127) | (k << 7); at += 2; value = n; }
 *         else { input.at = at; value = c2(input); at = input.at; }
 *         message["count"] = value;
 *         break;
 *
 * Here c2 is the closures' reader of an int32.
 */
import { create, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { decoderOf } from "../closure-decoder.ts";
import type { CompiledDecoder } from "../compiler.ts";
import { zeroOf } from "../decode-map.ts";
import { keepUnknown, type ReadUnknown, readUnknown, skipUnknown, tagOf } from "../decoder.ts";
import { isGroup } from "../field-types.ts";
import { ownFormOf, setOwn } from "../own-form.ts";
import { endOf, ownBytes, tooDeep, uint32 } from "../wire-input.ts";
import { addScalar, readingOf, type ScalarReading, scalarReading } from "./decoder-scalars.ts";
import { integer, literal, property, Source } from "./source.ts";

/** Returns the decoder of the messages within a message. It may be one that is compiled later. */
export type DecoderOf = (desc: DescMessage) => CompiledDecoder;

/**
 * The variables of all fields: those of a list or a message, and those of the entry of a map. If each field declared its own,
 * a message of a type with many fields would take kilobytes of the stack, at each level of messages within each other.
 */
const VARIABLES = "value, child, items, stop = 0, start = 0, entryTag = 0, key, content, isUnknown";

/** Generates the decoder of a type. Throws if it is too long. */
export function decoderSource(desc: DescMessage, childOf: DecoderOf): Source {
  const source = new Source();
  source.add("return {");
  addCreate(source, desc);
  source.add(
    "read(input, message, endTag) {",
    `if (--input.depthLeft < 0) throw ${source.constant(tooDeep)}(input);`,
    "const bytes = input.bytes, end = input.end;",
    `let at = input.at, n = 0, k = 0, tag = 0, ${VARIABLES};`,
    "while (at < end) {",
    "tag = bytes[at];",
    "if (tag < 128) at++;",
    "else if (at + 1 < end && (n = bytes[at + 1]) < 128) { tag = (tag & 127) | (n << 7); at += 2; }",
    `else { input.at = at; tag = ${source.constant(uint32)}(input, "a tag"); at = input.at; }`,
    "switch (tag) {",
  );
  // The last of two fields with the same tag counts, as in the closures' decoder.
  const fields = new Map(desc.fields.map((field) => [tagOf(field.number, 0), field]));
  let hasOthers = fields.size !== desc.fields.length;
  for (const field of fields.values()) {
    hasOthers = !addField(source, field, childOf) || hasOthers;
  }
  const readOther: ReadUnknown = hasOthers
    ? (input, message, tag) => decoderOf(desc).readTagged(input, message, tag)
    : readUnknown;
  source.add(
    "default:",
    "input.at = at;",
    "if (tag === endTag) { input.depthLeft++; return; }",
    `${source.constant(readOther)}(input, message, tag);`,
    "at = input.at;",
    "}",
    "}",
    "input.at = at;",
    // The group is cut off: this throws.
    `if (endTag >= 0) ${source.constant(uint32)}(input, "a tag");`,
    "input.depthLeft++;",
    "}",
    "};",
  );
  return source;
}

/** Adds create(): a message without fields has the same properties each time. */
function addCreate(source: Source, desc: DescMessage): void {
  const sample = create(desc) as Record<string, unknown>;
  const prototype = Object.getPrototypeOf(sample);
  const values = Object.entries(sample).map(
    ([name, value]) => [name, initialValue(source, value)] as const,
  );
  if (prototype === Object.prototype) {
    source.add(
      `create() { return { ${values.map(([n, v]) => `${literal(n)}: ${v}`).join(", ")} }; },`,
    );
    return;
  }
  // The prototype has the defaults of the fields with presence.
  function Message(this: Record<string, unknown>) {}
  Message.prototype = prototype;
  const made = source.constant(Message);
  source.add(
    "create() {",
    `const message = new ${made}();`,
    ...values.map(([name, value]) => `${property("message", name)} = ${value};`),
    "return message;",
    "},",
  );
}

function initialValue(source: Source, value: unknown): string {
  if (typeof value === "string") return literal(value);
  if (typeof value === "boolean") return String(value);
  if (typeof value === "bigint") return `${value}n`;
  if (Number.isInteger(value) && !Object.is(value, -0)) return `${value}`;
  if (Array.isArray(value)) return "[]";
  if (typeof value === "object" && value !== null && !(value instanceof Uint8Array)) {
    return "case" in value ? "{ case: undefined }" : "{}";
  }
  return source.constant(value);
}

/** Adds the cases of a field. Returns whether there is one for each of its tags. */
function addField(source: Source, field: DescField, childOf: DecoderOf): boolean {
  if (field.enum?.open === false || ownFormOf(field) !== undefined) return false;
  const { number } = field;
  if (field.fieldKind === "map") {
    addMap(source, field, childOf);
    return true;
  }
  if (field.message !== undefined) {
    addMessage(source, field, childOf(field.message));
    return true;
  }
  const reading = scalarReading(source, field);
  source.add(`case ${integer(tagOf(number, reading.wireType))}:`);
  addScalar(source, reading, "end");
  source.add(store(field, "value"), "break;");
  if (field.fieldKind !== "list" || reading.wireType === WireType.LengthDelimited) return true;
  source.add(
    `case ${integer(tagOf(number, WireType.LengthDelimited))}:`,
    ...readLength(source, "end"),
    `items = ${property("message", field.localName)};`,
    "input.end = stop = n;",
    "while (at < stop) {",
  );
  addScalar(source, reading, "stop");
  source.add("items.push(value);", "}", "input.end = end;", "break;");
  return true;
}

/** Returns the statement that sets a field, or adds to it if it is a list. */
function store({ fieldKind, localName, oneof }: DescField, value: string): string {
  if (fieldKind === "list") return `${property("message", localName)}.push(${value});`;
  if (oneof === undefined) return `${property("message", localName)} = ${value};`;
  return `${property("message", oneof.localName)} = { case: ${literal(localName)}, value: ${value} };`;
}

/** Reads a length before `end`; `n` is where the bytes that it announces end, `at` where they begin. */
function readLength(source: Source, end: string): string[] {
  return [
    `n = at < ${end} ? bytes[at] : 128;`,
    `if (n < 128 && at + n < ${end}) { at++; n += at; }`,
    `else { input.at = at; n = ${source.constant(endOf)}(input); at = input.at; }`,
  ];
}

function addMessage(source: Source, field: DescField, child: CompiledDecoder): void {
  const decoder = source.constant(child);
  const isInGroup = isGroup(field);
  const { fieldKind, localName, number, oneof } = field;
  const wireType = isInGroup ? WireType.StartGroup : WireType.LengthDelimited;
  source.add(`case ${integer(tagOf(number, wireType))}:`);
  if (fieldKind === "list") {
    source.add(`child = ${decoder}.create();`, store(field, "child"));
  } else if (oneof === undefined) {
    // A message that is already there is merged with the new one.
    const present = property("message", localName);
    source.add(`child = ${present} ??= ${decoder}.create();`);
  } else {
    const set = property("message", oneof.localName);
    const isSet = `${set}.case === ${literal(localName)}`;
    source.add(
      `child = ${isSet} ? ${set}.value : ${decoder}.create();`,
      `if (!(${isSet})) ${store(field, "child")}`,
    );
  }
  if (isInGroup) {
    const endTag = integer(tagOf(number, WireType.EndGroup));
    source.add("input.at = at;", `${decoder}.read(input, child, ${endTag});`);
    source.add("at = input.at;", "break;");
    return;
  }
  source.add(...readLength(source, "end"), ...readChild(decoder, "end"), "break;");
}

/** Reads the message between `at` and `n` into `child`. */
function readChild(decoder: string, outerEnd: string): string[] {
  return [
    "input.at = at;",
    "input.end = n;",
    `${decoder}.read(input, child, -1);`,
    `input.end = ${outerEnd};`,
    "at = input.at;",
  ];
}

type MapField = DescField & { fieldKind: "map" };

/** Adds the case of a map. An entry with any other field than a key and a value is unknown as a whole. */
function addMap(source: Source, field: MapField, childOf: DecoderOf): void {
  const { localName, number, mapKey } = field;
  const lenient = !field.utf8Validation;
  const key: ScalarReading = readingOf(source, mapKey, { lenient, asText: false });
  const tag = tagOf(number, WireType.LengthDelimited);
  source.add(
    `case ${integer(tag)}:`,
    "start = at;",
    ...readLength(source, "end"),
    `if (--input.depthLeft < 0) throw ${source.constant(tooDeep)}(input);`,
    "input.end = stop = n;",
    "key = content = undefined;",
    "isUnknown = false;",
    "while (at < stop) {",
    "entryTag = bytes[at];",
    "if (entryTag < 128) at++;",
    `else { input.at = at; entryTag = ${source.constant(uint32)}(input, "a tag"); at = input.at; }`,
    "switch (entryTag) {",
    `case ${integer(tagOf(1, key.wireType))}:`,
  );
  addScalar(source, key, "stop");
  source.add("key = value;", "break;");
  const zero = addMapValue(source, field, childOf);
  source.add(
    "default:",
    "input.at = at;",
    `${source.constant(skipUnknown)}(input, entryTag);`,
    "at = input.at;",
    "isUnknown = true;",
    "}",
    "}",
    "input.end = end;",
    "input.depthLeft++;",
    "if (isUnknown) {",
    "if (input.readUnknownFields)",
    `${source.constant(keepUnknown)}(message, ${integer(tag)}, ${source.constant(ownBytes)}(input, start, at));`,
    "break;",
    "}",
    `key = key === undefined ? ${literal(String(zeroOf(mapKey)))} : String(key);`,
    `${source.constant(setOwn)}(${property("message", localName)}, key, content ?? ${zero});`,
    "break;",
  );
}

/** Adds the case of an entry's value. Returns the value of an entry without one. */
function addMapValue(source: Source, field: MapField, childOf: DecoderOf): string {
  if (field.mapKind === "message") {
    const decoder = source.constant(childOf(field.message));
    source.add(
      `case ${integer(tagOf(2, WireType.LengthDelimited))}:`,
      ...readLength(source, "stop"),
      `child = content ??= ${decoder}.create();`,
      ...readChild(decoder, "stop"),
      "break;",
    );
    return `${decoder}.create()`;
  }
  const scalar = field.mapKind === "enum" ? ScalarType.INT32 : field.scalar;
  const lenient = !field.utf8Validation;
  const reading = readingOf(source, scalar, { lenient, asText: false });
  source.add(`case ${integer(tagOf(2, reading.wireType))}:`);
  addScalar(source, reading, "stop");
  source.add("content = value;", "break;");
  if (field.mapKind === "enum") return integer(field.enum.values[0]?.number ?? 0);
  if (scalar === ScalarType.BYTES) return "new Uint8Array()";
  return initialValue(source, zeroOf(scalar));
}
