/** Arbitrary messages of any type, as callers pass them to create(), and arbitrary changes of their bytes. */
import {
  create,
  type DescField,
  type DescMessage,
  type MessageInitShape,
  ScalarType,
} from "@bufbuild/protobuf";
import fc from "fast-check";
import { ownFormOf } from "../../src/codec/own-form.ts";

type Init = Record<string, unknown>;

const int32 = fc.oneof(fc.constantFrom(0, 1, -1, 127, 128, 16_383, 16_384), fc.integer());
const uint32 = fc.oneof(
  fc.constantFrom(0, 1, 127, 128, 2 ** 32 - 1),
  fc.integer({ min: 0, max: 2 ** 32 - 1 }),
);
const int64 = fc.oneof(
  fc.constantFrom(0n, 1n, -1n, 63n, 127n, 128n, -64n, -65n, 2n ** 31n, 2n ** 32n, 2n ** 63n - 1n),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
);
const uint64 = fc.oneof(
  fc.constantFrom(0n, 1n, 127n, 128n, 16_384n, 2n ** 28n, 2n ** 35n, 2n ** 64n - 1n),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
);
const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 30 }) },
  { weight: 2, arbitrary: fc.string({ unit: "grapheme", maxLength: 60 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ..."x".repeat(3).split(""),
      ...[24, 25, 48, 49, 64, 65, 127, 128].flatMap((n) => ["a".repeat(n), "é".repeat(n)]),
      "\ufeffmark",
      "\ud800 alone",
      "w".repeat(9000),
    ),
  },
);
const bytes = fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ maxLength: 300 }));

function scalarOf(scalar: ScalarType): fc.Arbitrary<unknown> {
  switch (scalar) {
    case ScalarType.STRING:
      return text;
    case ScalarType.BYTES:
      return bytes;
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.DOUBLE:
      return fc.oneof(fc.constantFrom(0, -0), fc.double());
    case ScalarType.FLOAT:
      return fc.oneof(fc.constantFrom(0, -0), fc.float());
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return int32;
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return uint32;
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return uint64;
    default:
      return int64;
  }
}

/** How messages are made. */
export interface ArbitraryOptions {
  /** The share of values that are not valid, in hundredths. */
  readonly odd: number;
  /** How many messages may be within each other. */
  readonly depth: number;
}

const odd = fc.constantFrom<unknown>(
  ...["5", "", "0", 5, 0, 5n, true, null, undefined, {}, [], [1], -1, 2 ** 40, 2n ** 70n, 1.25],
  ...["0x10", " 7 ", "-0", "1e3", "1.5", "+5", "many", "true", "NaN", "9".repeat(30)],
  ...[
    -0,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2 ** 31,
    2 ** 32,
    3.4028235e38,
    3.5e38,
    -(2n ** 63n),
  ],
  ...[0n, false, [undefined], [null], ["a", "b"], [1.5, -3], [{}], { a: {} }, { length: 2 }],
  ...[{ case: "none" }, { case: 5 }, { value: 5 }, { $typeName: "other.Type" }, { $unknown: [] }],
  ...[{ $unknown: 5 }, { $typeName: "" }, { $typeName: undefined, $unknown: [{ no: 1 }] }],
  Symbol.iterator,
  new Map(),
  new Date(0),
  new String("text"),
  Object(5),
  Object.create(null),
  () => 5,
  new Uint8Array([1, 2]),
  new Uint16Array([1, 2]),
  Buffer.from("abc"),
);

/** Names of properties that are not keys of every type. */
const oddKey = fc.constantFrom(
  ...["", "0x10", "5", "-1", "1e3", " 7 ", "07", "5 apples", "true", "TRUE", "__proto__", "NaN"],
  ...["-0", "99999999999999999999", "4294967296", "1.5", "constructor"],
);

const known = new WeakMap<DescMessage, Map<string, fc.Arbitrary<Init>>>();

/** Returns arbitrary messages of a type. */
export function messageOf(desc: DescMessage, options: ArbitraryOptions): fc.Arbitrary<Init> {
  // A type within itself in many fields would take very long otherwise.
  const ofType = known.get(desc) ?? new Map<string, fc.Arbitrary<Init>>();
  known.set(desc, ofType);
  const key = `${options.odd} ${options.depth}`;
  const messages = ofType.get(key) ?? makeMessages(desc, options);
  ofType.set(key, messages);
  return messages;
}

function makeMessages(desc: DescMessage, options: ArbitraryOptions): fc.Arbitrary<Init> {
  const fields = desc.fields.filter(({ message }) => message === undefined || options.depth > 0);
  const members = new Map<string, fc.Arbitrary<unknown>>();
  const required: string[] = [];
  for (const field of fields) {
    if (field.oneof !== undefined) continue;
    members.set(field.localName, fieldOf(field, options));
    if (field.presence === LEGACY_REQUIRED) required.push(field.localName);
  }
  for (const oneof of desc.oneofs) {
    const cases = oneof.fields
      .filter((field) => fields.includes(field))
      .map((field) =>
        fieldOf(field, options).map((value): unknown => ({ case: field.localName, value })),
      );
    if (cases.length > 0) members.set(oneof.localName, fc.oneof(...cases));
  }
  const names = [...members.keys()];
  const chosen = fc.subarray(names, { maxLength: Math.min(names.length, 6) });
  return chosen.chain((some) => {
    const arbitraries = [...new Set([...some, ...required])].map(
      (name) => [name, members.get(name) as fc.Arbitrary<unknown>] as const,
    );
    return fc.record(Object.fromEntries(arbitraries));
  });
}

const LEGACY_REQUIRED = 3;

function fieldOf(field: DescField, options: ArbitraryOptions): fc.Arbitrary<unknown> {
  const valid = valueIn(field, options);
  const value =
    options.odd === 0
      ? valid
      : fc.oneof(
          { weight: 3 * options.odd, arbitrary: odd },
          { weight: 300 - 3 * options.odd, arbitrary: valid },
        );
  const all =
    field.fieldKind === "list"
      ? fc.array(value, { maxLength: 4 })
      : field.fieldKind === "map"
        ? fc
            .array(fc.tuple(keyOf(field.mapKey, options), value), { maxLength: 3 })
            .map((entries) => Object.fromEntries(entries))
        : value;
  if (options.odd === 0) return all;
  return fc.oneof(
    { weight: options.odd, arbitrary: odd },
    { weight: 100 - options.odd, arbitrary: all },
  );
}

function keyOf(scalar: ScalarType, options: ArbitraryOptions): fc.Arbitrary<string> {
  const key = scalarOf(scalar).map(String);
  return options.odd === 0 ? key : fc.oneof({ weight: 3, arbitrary: key }, oddKey);
}

function valueIn(field: DescField, options: ArbitraryOptions): fc.Arbitrary<unknown> {
  if (field.message !== undefined) {
    if (field.message.typeName === "google.protobuf.Struct" && ownFormOf(field) !== undefined) {
      return fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 });
    }
    if (ownFormOf(field) !== undefined)
      return valueIn(field.message.fields[0] as DescField, options);
    return messageOf(field.message, { ...options, depth: options.depth - 1 });
  }
  if (field.enum !== undefined) {
    const known = fc.constantFrom(...field.enum.values.map(({ number }) => number));
    return field.enum.open ? fc.oneof(known, int32) : known;
  }
  const scalar = scalarOf(field.scalar as ScalarType);
  return "longAsString" in field && field.longAsString ? scalar.map(String) : scalar;
}

/** A change of bytes. */
type Change = (bytes: Uint8Array) => Uint8Array;

const at = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const byte = fc.oneof(fc.constantFrom(0, 1, 2, 0x7f, 0x80, 0xff), fc.nat({ max: 255 }));

const change: fc.Arbitrary<Change> = fc.oneof(
  fc.tuple(at, byte).map(
    ([where, value]): Change =>
      (all) =>
        all.map((one, index) => (index === Math.floor(where * all.length) ? value : one)),
  ),
  fc.tuple(at, fc.array(byte, { minLength: 1, maxLength: 12 })).map(
    ([where, more]): Change =>
      (all) => {
        const index = Math.floor(where * all.length);
        return Uint8Array.from([...all.subarray(0, index), ...more, ...all.subarray(index)]);
      },
  ),
  fc.tuple(at, fc.integer({ min: 1, max: 12 })).map(
    ([where, count]): Change =>
      (all) => {
        const index = Math.floor(where * all.length);
        return Uint8Array.from([...all.subarray(0, index), ...all.subarray(index + count)]);
      },
  ),
  at.map(
    (where): Change =>
      (all) =>
        all.slice(0, Math.floor(where * all.length)),
  ),
);

/** Returns what some changes make of bytes. */
export function changed(all: Uint8Array): fc.Arbitrary<Uint8Array> {
  return fc
    .array(change, { minLength: 1, maxLength: 3 })
    .map((changes) => changes.reduce((bytes, one) => one(bytes), all));
}

/** Options of decoding, with limits that small messages reach. */
export const decodeOptions = fc.record(
  { readUnknownFields: fc.boolean(), recursionLimit: fc.integer({ min: 1, max: 6 }) },
  { requiredKeys: [] },
);

/** What callers may make of the fields of a message. Its `make` may throw, as create() does. */
export const shape = fc.constantFrom<{
  name: string;
  make: (desc: DescMessage, init: Init) => object;
}>(
  { name: "its fields", make: (_, init) => init },
  { name: "a message", make: (desc, init) => create(desc, init as MessageInitShape<DescMessage>) },
  {
    name: "an object that inherits from a message",
    make: (desc, init) => Object.create(create(desc, init as MessageInitShape<DescMessage>)),
  },
  {
    name: "its fields, with the name of its type",
    make: ({ typeName }, init) => ({ ...init, $typeName: typeName }),
  },
);
