/** The parts of generated encoders that write one value. */
import { type DescField, ScalarType } from "@bufbuild/protobuf";
import { isZeroLong } from "../closure-encoder.ts";
import {
  FOR_LIBRARY,
  halves,
  splitSigned,
  splitUnsigned,
  splitZigzag,
  writeAscii,
  writeInt32,
  writeLong,
  writeVarint,
} from "./output.ts";
import { integer, type Source } from "./source.ts";

/** Strings up to this length are written by a loop; the length is one byte. */
const LOOP_CHARACTERS = 48;

/** Returns how many bytes must be there before the code of addScalar(). */
export function sizeOf(scalar: ScalarType): number {
  if (scalar === ScalarType.STRING) return LOOP_CHARACTERS + 1;
  // Bytes make the buffer large enough themselves.
  return scalar === ScalarType.BYTES ? 0 : 10;
}

/** Returns the condition that `value` is left out if presence is implicit: it is the zero. */
export function leftOut(source: Source, field: DescField): string {
  if (field.enum !== undefined) return `value === ${integer(field.enum.values[0]?.number ?? 0)}`;
  switch (field.scalar) {
    case ScalarType.BOOL:
      return "value === false";
    case ScalarType.STRING:
      return 'value === ""';
    case ScalarType.BYTES:
      return "value instanceof Uint8Array && value.byteLength === 0";
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return "Object.is(value, 0)";
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return `${source.constant(isZeroLong)}(value)`;
    default:
      return 'value === 0 || value === 0n || value === "0"';
  }
}

/**
 * Returns a function that makes the key of a map from the name of a property. It returns `undefined` for a name that no key
 * has, which the library refuses, or takes for a key ("0x10").
 */
export function keyOf(scalar: ScalarType): (name: string) => unknown {
  switch (scalar) {
    case ScalarType.STRING:
      return (name) => name;
    case ScalarType.BOOL:
      return (name) => (name === "true" ? true : name === "false" ? false : undefined);
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return (name) => BigInt(name);
    default:
      return (name) => {
        const key = Number(name);
        return String(key) === name ? key : undefined;
      };
  }
}

function longOf(value: unknown): unknown {
  return typeof value === "string" ? BigInt(value) : value;
}

/** Adds code that writes `value` without a tag, or throws if it is not of the type. sizeOf() bytes must be there. */
export function addScalar(source: Source, scalar: ScalarType, asText: boolean): void {
  const forLibrary = source.constant(FOR_LIBRARY);
  const throwUnless = (condition: string) => `if (!(${condition})) throw ${forLibrary};`;
  const call = (method: string) =>
    source.add(
      "output.at = at;",
      `output.${method}(value);`,
      "at = output.at; bytes = output.bytes;",
    );
  /** Adds the code that splits `value`. Returns the variable with its halves. */
  const long = (split: (value: unknown) => void) => {
    if (asText) source.add(`value = ${source.constant(longOf)}(value);`);
    source.add(`${source.constant(split)}(value);`);
    return source.constant(halves);
  };
  const longVarint = (split: (value: unknown) => void) => {
    const numbers = long(split);
    source.add(`at = ${source.constant(writeLong)}(bytes, at, ${numbers});`);
  };
  const longFixed = (split: (value: unknown) => void) => {
    const numbers = long(split);
    source.add(
      `output.view.setInt32(at, ${numbers}.low, true);`,
      `output.view.setInt32(at + 4, ${numbers}.high, true); at += 8;`,
    );
  };
  switch (scalar) {
    case ScalarType.STRING:
      source.add(
        throwUnless('typeof value === "string"'),
        "n = value.length;",
        `k = n <= ${LOOP_CHARACTERS} ? ${source.constant(writeAscii)}(bytes, at + 1, value) : -1;`,
        "if (k >= 0) { bytes[at] = n; at = k; } else {",
      );
      call("text");
      source.add("}");
      return;
    case ScalarType.BYTES:
      source.add(throwUnless("value instanceof Uint8Array"));
      call("delimited");
      return;
    case ScalarType.BOOL:
      source.add(throwUnless('typeof value === "boolean"'), "bytes[at++] = value ? 1 : 0;");
      return;
    case ScalarType.INT32:
      source.add(
        throwUnless("(value | 0) === value"),
        "if (value >= 0 && value < 128) bytes[at++] = value;",
      );
      source.add(`else at = ${source.constant(writeInt32)}(bytes, at, value);`);
      return;
    case ScalarType.UINT32:
      source.add(throwUnless("(value >>> 0) === value"), "if (value < 128) bytes[at++] = value;");
      source.add(`else at = ${source.constant(writeVarint)}(bytes, at, value);`);
      return;
    case ScalarType.SINT32:
      source.add(
        throwUnless("(value | 0) === value"),
        `at = ${source.constant(writeVarint)}(bytes, at, ((value << 1) ^ (value >> 31)) >>> 0);`,
      );
      return;
    case ScalarType.FIXED32:
      source.add(
        throwUnless("(value >>> 0) === value"),
        "output.view.setInt32(at, value, true); at += 4;",
      );
      return;
    case ScalarType.SFIXED32:
      source.add(
        throwUnless("(value | 0) === value"),
        "output.view.setInt32(at, value, true); at += 4;",
      );
      return;
    case ScalarType.FLOAT:
      source.add(
        throwUnless('typeof value === "number"'),
        throwUnless("Number.isFinite(Math.fround(value)) || !Number.isFinite(value)"),
        "output.view.setFloat32(at, value, true); at += 4;",
      );
      return;
    case ScalarType.DOUBLE:
      source.add(
        throwUnless('typeof value === "number"'),
        "output.view.setFloat64(at, value, true); at += 8;",
      );
      return;
    case ScalarType.INT64:
      longVarint(splitSigned);
      return;
    case ScalarType.UINT64:
      longVarint(splitUnsigned);
      return;
    case ScalarType.SINT64:
      longVarint(splitZigzag);
      return;
    case ScalarType.FIXED64:
      longFixed(splitUnsigned);
      return;
    case ScalarType.SFIXED64:
      longFixed(splitSigned);
      return;
  }
}
