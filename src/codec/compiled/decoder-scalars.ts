/** The parts of generated decoders that read one value. */
import { type DescField, ScalarType } from "@bufbuild/protobuf";
import type { WireType } from "@bufbuild/protobuf/wire";
import { isLongAsString, scalarOf } from "../field-types.ts";
import { lenientUtf8, readLenientString, scalars, strictUtf8 } from "../wire-input.ts";
import {
  copyBytes,
  doubleOf,
  floatOf,
  generateShortText,
  longReader,
  signedLong,
  smallLong,
  textReader,
  unsignedLong,
} from "./reading.ts";
import type { Source } from "./source.ts";

/** How the generated code reads a value. */
export interface ScalarReading {
  readonly wireType: WireType;
  /** Reads any value of the type: what the inline code does not, and what must fail. */
  readonly slow: string;
  /** The inline code. */
  readonly inline:
    | { readonly is: "varint"; readonly make: (n: string, isOneByte: boolean) => string }
    | { readonly is: "fixed"; readonly size: 4 | 8; readonly make: string }
    | { readonly is: "delimited"; readonly make: string }
    | { readonly is: "none" };
}

interface ValueRules {
  /** Whether strings may have bytes that are not valid UTF-8. */
  readonly lenient: boolean;
  /** Whether numbers of 64 bits are strings. */
  readonly asText: boolean;
}

/** Returns how a value of a field is read, or an item of a list. */
export function scalarReading(source: Source, field: DescField): ScalarReading {
  const rules = { lenient: !field.utf8Validation, asText: isLongAsString(field) };
  return readingOf(source, scalarOf(field), rules);
}

let texts: Record<"strict" | "lenient", ReturnType<typeof textReader>> | undefined;

function textOf(lenient: boolean) {
  if (texts === undefined) {
    const short = generateShortText();
    texts = { strict: textReader(short, strictUtf8), lenient: textReader(short, lenientUtf8) };
  }
  return lenient ? texts.lenient : texts.strict;
}

const LOW = "bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24";
const HIGH = "bytes[at + 4] | bytes[at + 5] << 8 | bytes[at + 6] << 16 | bytes[at + 7] << 24";

/** Returns how a value of a scalar type is read. */
export function readingOf(source: Source, scalar: ScalarType, rules: ValueRules): ScalarReading {
  const [wireType, read] = scalars[scalar];
  const slow = source.constant(read);
  const varint = (make: (n: string) => string) =>
    ({ wireType, slow, inline: { is: "varint", make } }) as const;
  const fixed = (size: 4 | 8, make: string) =>
    ({ wireType, slow, inline: { is: "fixed", size, make } }) as const;
  if (rules.asText) {
    const asText = source.constant((input: Parameters<typeof read>[0]) => String(read(input)));
    return { wireType, slow: asText, inline: { is: "none" } };
  }
  switch (scalar) {
    case ScalarType.STRING: {
      const make = `${source.constant(textOf(rules.lenient))}(bytes, at, n)`;
      const any = rules.lenient ? source.constant(readLenientString) : slow;
      return { wireType, slow: any, inline: { is: "delimited", make } };
    }
    case ScalarType.BYTES: {
      const make = `${source.constant(copyBytes)}(input, at, n)`;
      return { wireType, slow, inline: { is: "delimited", make } };
    }
    case ScalarType.BOOL:
      return varint((n) => `${n} !== 0`);
    case ScalarType.INT32:
      return varint((n) => n);
    case ScalarType.UINT32:
      return varint((n) => n);
    case ScalarType.SINT32:
      return varint((n) => `(${n} >>> 1) ^ -(${n} & 1)`);
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64: {
      const small = source.constant(smallLong);
      const number = (n: string) =>
        scalar === ScalarType.SINT64 ? `(${n} >>> 1) ^ -(${n} & 1)` : n;
      return {
        wireType,
        slow: source.constant(longReader(scalar)),
        inline: {
          is: "varint",
          make: (n, isOneByte) => (isOneByte ? `${small}(${number(n)})` : `BigInt(${number(n)})`),
        },
      };
    }
    case ScalarType.FIXED32:
      return fixed(4, `(${LOW}) >>> 0`);
    case ScalarType.SFIXED32:
      return fixed(4, LOW);
    case ScalarType.FLOAT:
      return fixed(4, `${source.constant(floatOf)}(${LOW})`);
    case ScalarType.FIXED64:
      return fixed(8, `${source.constant(unsignedLong)}(${LOW}, ${HIGH})`);
    case ScalarType.SFIXED64:
      return fixed(8, `${source.constant(signedLong)}(${LOW}, ${HIGH})`);
    case ScalarType.DOUBLE:
      return fixed(8, `${source.constant(doubleOf)}(${LOW}, ${HIGH})`);
  }
}

/** Adds the code that sets `value` to the next one, before `end`: a variable with the value of `input.end`. */
export function addScalar(source: Source, reading: ScalarReading, end: string): void {
  const { inline, slow } = reading;
  const otherwise = `{ input.at = at; value = ${slow}(input); at = input.at; }`;
  switch (inline.is) {
    case "varint":
      source.add(
        `n = at < ${end} ? bytes[at] : 128;`,
        `if (n < 128) { at++; value = ${inline.make("n", true)}; }`,
        `else if (at + 1 < ${end} && (k = bytes[at + 1]) < 128) {`,
        `n = (n & 127) | (k << 7); at += 2; value = ${inline.make("n", false)};`,
        "}",
        `else ${otherwise}`,
      );
      return;
    case "fixed":
      source.add(
        `if (at + ${inline.size} <= ${end}) { value = ${inline.make}; at += ${inline.size}; }`,
        `else ${otherwise}`,
      );
      return;
    case "delimited":
      source.add(
        `n = at < ${end} ? bytes[at] : 128;`,
        `if (n < 128 && at + n < ${end}) { at++; n += at; value = ${inline.make}; at = n; }`,
        `else ${otherwise}`,
      );
      return;
    case "none":
      source.add(otherwise);
  }
}
