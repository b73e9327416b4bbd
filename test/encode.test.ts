/**
 * Our encoder and protobuf-es' toBinary() write the same bytes, or fail alike;
 * our decoder and fromBinary() read the same message. What our decoder refuses:
 * protobuf-vectors.test.ts.
 */
import {
  create,
  createFileRegistry,
  type DescField,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
  FieldOptions_JSType as JSType,
  FieldDescriptorProto_Label as Label,
  TimestampSchema,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { expect, test, vi } from "vitest";
import { decode, encode } from "./support/codecs.ts";

/** A busy machine takes several times as long. */
vi.setConfig({ testTimeout: 60_000 });

const SCALARS = {
  double: Type.DOUBLE,
  float: Type.FLOAT,
  int64: Type.INT64,
  uint64: Type.UINT64,
  int32: Type.INT32,
  fixed64: Type.FIXED64,
  fixed32: Type.FIXED32,
  bool: Type.BOOL,
  text: Type.STRING,
  bytes: Type.BYTES,
  uint32: Type.UINT32,
  sfixed32: Type.SFIXED32,
  sfixed64: Type.SFIXED64,
  sint32: Type.SINT32,
  sint64: Type.SINT64,
};

let registry: ReturnType<typeof createFileRegistry>;

/** Every scalar four times: implicit, optional, repeated, in a oneof; and messages, enums, and fields that toBinary() encodes. */
const everything = describeEverything();

function describeEverything(): DescMessage {
  const names = Object.entries(SCALARS);
  let number = 1;
  const field = (name: string, type: Type, more: object = {}) => ({
    name,
    number: number++,
    type,
    label: Label.OPTIONAL,
    ...more,
  });
  const message = (typeName: string) => ({ typeName });
  const repeated = (typeName: string) => ({ typeName, label: Label.REPEATED });
  const inOne = (typeName: string) => ({ typeName, oneofIndex: 0 });
  const asText = { options: { jstype: JSType.JS_STRING } };
  const fields = [
    // Not in the order of their numbers, which is the order on the wire.
    { ...field("late", Type.STRING), number: 500 },
    ...names.map(([name, type]) => field(`plain_${name}`, type)),
    ...names.map(([name, type]) => field(`list_${name}`, type, { label: Label.REPEATED })),
    ...names.map(([name, type]) => field(`one_${name}`, type, { oneofIndex: 0 })),
    ...names.map(([name, type], at) =>
      field(`maybe_${name}`, type, { oneofIndex: at + 1, proto3Optional: true }),
    ),
    field("color", Type.ENUM, message(".t.Color")),
    field("colors", Type.ENUM, { label: Label.REPEATED, ...message(".t.Color") }),
    field("child", Type.MESSAGE, message(".t.Everything")),
    field("children", Type.MESSAGE, { label: Label.REPEATED, ...message(".t.Everything") }),
    field("at", Type.MESSAGE, message(".google.protobuf.Timestamp")),
  ];
  const file = create(FileDescriptorProtoSchema, {
    name: "t.proto",
    package: "t",
    syntax: "proto3",
    dependency: [
      "google/protobuf/timestamp.proto",
      "google/protobuf/struct.proto",
      "google/protobuf/wrappers.proto",
    ],
    messageType: [
      {
        name: "Everything",
        field: fields,
        oneofDecl: [{ name: "one" }, ...names.map(([name]) => ({ name: `_maybe_${name}` }))],
      },
      {
        name: "Special",
        field: [
          { ...field("wrapped", Type.MESSAGE, message(".google.protobuf.StringValue")), number: 1 },
          { ...field("object", Type.MESSAGE, message(".google.protobuf.Struct")), number: 2 },
          { ...field("everything", Type.MESSAGE, message(".t.Everything")), number: 3 },
          { ...field("value", Type.MESSAGE, message(".google.protobuf.Value")), number: 4 },
          { ...field("long", Type.SINT64, asText), number: 5 },
          { ...field("longs", Type.SINT64, { ...asText, label: Label.REPEATED }), number: 6 },
          { ...field("objects", Type.MESSAGE, repeated(".google.protobuf.Struct")), number: 7 },
          { ...field("by_name", Type.MESSAGE, repeated(".t.Special.ByNameEntry")), number: 8 },
          { ...field("one_object", Type.MESSAGE, inOne(".google.protobuf.Struct")), number: 9 },
          {
            ...field("one_wrapped", Type.MESSAGE, inOne(".google.protobuf.StringValue")),
            number: 10,
          },
        ],
        oneofDecl: [{ name: "one" }],
        nestedType: [
          {
            name: "ByNameEntry",
            options: { mapEntry: true },
            field: [
              { ...field("key", Type.STRING), number: 1 },
              { ...field("value", Type.MESSAGE, message(".google.protobuf.Struct")), number: 2 },
            ],
          },
        ],
      },
    ],
    enumType: [
      {
        name: "Color",
        value: [
          { name: "NONE", number: 0 },
          { name: "RED", number: 1 },
          { name: "DARK", number: -3 },
        ],
      },
    ],
  });
  const old = create(FileDescriptorProtoSchema, {
    name: "old.proto",
    package: "old",
    syntax: "proto2",
    messageType: [{ name: "Old", field: [{ ...field("text", Type.STRING), number: 1 }] }],
  });
  const set = create(FileDescriptorSetSchema, {
    file: [
      file_google_protobuf_timestamp.proto,
      file_google_protobuf_struct.proto,
      file_google_protobuf_wrappers.proto,
      file,
      old,
    ],
  });
  registry = createFileRegistry(set);
  return registry.getMessage("t.Everything") as DescMessage;
}

/** A small generator with a seed, so that a failure can be run again. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0;
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32;
  };
}

const VALUES: Record<string, readonly unknown[]> = {
  double: [0, -0, 1.5, Number.NaN, Number.POSITIVE_INFINITY, -1e300],
  float: [0, -0, 0.5, Number.NaN, Number.NEGATIVE_INFINITY, 3.25],
  bool: [true, false],
  text: [
    "",
    "a",
    "grüße, 世界 🌊",
    "x".repeat(127),
    "x".repeat(128),
    "é".repeat(64),
    "\ud800 alone",
  ],
  bytes: [new Uint8Array(0), new Uint8Array([0, 255]), new Uint8Array(300).fill(7)],
  int32: [0, 1, -1, 2 ** 31 - 1, -(2 ** 31)],
  uint32: [0, 1, 127, 128, 2 ** 32 - 1],
  int64: [0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n)],
  uint64: [0n, 1n, 2n ** 64n - 1n],
  // Values that are not of the type, or that only toBinary() accepts.
  odd: ["5", 5, 5n, true, null, undefined, {}, [], -1, 2 ** 40, 1.25, Symbol.iterator],
};

function valuesOf(name: string): readonly unknown[] {
  const plain: Record<string, string> = {
    sint32: "int32",
    sfixed32: "int32",
    fixed32: "uint32",
    sint64: "int64",
    sfixed64: "int64",
    fixed64: "uint64",
  };
  return VALUES[plain[name] ?? name] as readonly unknown[];
}

function anything(next: () => number, oddness: number, depth = 0): Record<string, unknown> {
  const chance = (share: number) => next() < share;
  const pick = (values: readonly unknown[]) => values[Math.floor(next() * values.length)];
  const value = (name: string) => pick(chance(oddness) ? (VALUES.odd as []) : valuesOf(name));
  const message: Record<string, unknown> = {};
  const camel = (prefix: string, name: string) =>
    prefix + (name[0] as string).toUpperCase() + name.slice(1);
  for (const name of Object.keys(SCALARS)) {
    if (chance(0.4)) message[camel("plain", name)] = value(name);
    if (chance(0.2)) message[camel("maybe", name)] = value(name);
    if (chance(0.2)) {
      message[camel("list", name)] = Array.from({ length: next() * 4 }, () => value(name));
    }
    if (chance(0.1)) message.one = { case: camel("one", name), value: value(name) };
  }
  if (chance(0.3)) message.color = pick([0, 1, -3, 77]);
  if (chance(0.3)) message.colors = [0, 1, -3];
  if (chance(0.3)) message.late = "last";
  if (chance(0.3)) message.at = { seconds: 5n, nanos: 6 };
  if (chance(0.1)) message.at = create(TimestampSchema, { seconds: 7n });
  if (depth < 2 && chance(0.4)) message.child = anything(next, oddness, depth + 1);
  if (depth < 2 && chance(0.4)) {
    message.children = Array.from({ length: next() * 3 }, () => anything(next, oddness, depth + 1));
  }
  return message;
}

function outcome(run: () => Uint8Array): string {
  try {
    return Buffer.from(run()).toString("hex");
  } catch (error) {
    return String(error);
  }
}

function compare(desc: DescMessage, message: object, note: string): void {
  const init = message as MessageInitShape<DescMessage>;
  const theirs = outcome(() => toBinary(desc, create(desc, init)));
  expect(
    outcome(() => encode(desc, init)),
    note,
  ).toBe(theirs);
}

test.each([
  ["well-formed messages", 0],
  ["messages with odd values", 0.02],
])("%s encode as toBinary() encodes them", (_, oddness) => {
  for (let seed = 1; seed <= 1500; seed++) {
    const message = anything(random(seed), oddness);
    compare(everything, message, `seed ${seed}, as given`);
    let complete: object;
    try {
      complete = create(everything, message);
    } catch {
      continue;
    }
    compare(everything, complete, `seed ${seed}, complete`);
  }
});

test("a message of another type is refused, wherever it stands", () => {
  const other = create(TimestampSchema, { seconds: 1n });
  const special = registry.getMessage("t.Special") as DescMessage;
  const refused: [DescMessage, object, RegExp][] = [
    [everything, other, /a google.protobuf.Timestamp is not a t.Everything/],
    [everything, { child: other }, /a google.protobuf.Timestamp is not a t.Everything/],
    [everything, { children: [{}, other] }, /a google.protobuf.Timestamp is not a t.Everything/],
    [everything, { child: { at: create(everything) } }, /a t.Everything is not a google/],
    [special, { everything: { child: other } }, /a google.protobuf.Timestamp is not a t.Everyt/],
  ];
  for (const [desc, message, said] of refused) {
    expect(() => encode(desc, message as MessageInitShape<DescMessage>)).toThrow(said);
  }
});

test("unknown fields, wrappers and Structs go out as toBinary() writes them", () => {
  const unknown = create(everything, { plainText: "known" } as Record<string, unknown>);
  unknown.$unknown = [{ no: 1000, wireType: 0, data: new Uint8Array([5]) }];
  compare(everything, unknown, "unknown fields");
  const special = registry.getMessage("t.Special") as DescMessage;
  compare(special, { wrapped: "text", object: { a: [1, "two", null] } }, "own forms");
  compare(special, { everything: { plainText: "below" } }, "a message beside own forms");
});

test("a failure changes nothing in the messages that follow", () => {
  const bad = { plainText: "half", plainInt32: 2 ** 40 };
  expect(() => encode(everything, bad as MessageInitShape<DescMessage>)).toThrow(/plain_int32/);
  compare(everything, { plainText: "whole" }, "after a failure");
});

/** The result of a decoder, in a form that shows every difference, prototypes and unknown fields included. */
function reading(run: () => object): unknown {
  try {
    const message = run();
    return { message, again: outcome(() => toBinary(everything, message as never)) };
  } catch (error) {
    return String(error);
  }
}

function compareReading(bytes: Uint8Array, note: string): void {
  const theirs = reading(() => fromBinary(everything, new Uint8Array(bytes)));
  // As in a frame: somewhere within more bytes.
  const around = Buffer.concat([Buffer.alloc(7, 0x0a), bytes, Buffer.alloc(5, 0x0a)]);
  const ours = reading(() =>
    decode(everything, { bytes: around, start: 7, end: 7 + bytes.length }),
  );
  expect(ours, note).toStrictEqual(theirs);
}

test("messages are read as fromBinary() reads them", () => {
  for (let seed = 1; seed <= 1500; seed++) {
    const init = anything(random(seed), 0) as MessageInitShape<DescMessage>;
    compareReading(toBinary(everything, create(everything, init)), `seed ${seed}`);
  }
});

test("wrappers and Structs are read as fromBinary() reads them, even if a field comes twice", () => {
  const special = registry.getMessage("t.Special") as DescMessage;
  const read = (bytes: Uint8Array) => [
    decode(special, { bytes: Buffer.from(bytes), start: 0, end: bytes.length }),
    fromBinary(special, bytes),
  ];
  const inits: Record<string, unknown>[] = [
    { wrapped: "text", object: { a: [1, "two", null, { deep: true }], ["__proto__"]: 5 } },
    { wrapped: "", object: {} },
    { wrapped: "again", object: { b: 2, a: "replaced" }, long: "-5", longs: ["7", "8"] },
    { objects: [{ a: 1 }, {}, { b: [] }], byName: { x: { y: 1 } }, oneWrapped: {} },
    { one: { case: "oneObject", value: { a: 1 } } },
    { one: { case: "oneObject", value: { b: 2 } } },
    { one: { case: "oneWrapped", value: { value: "text" } } },
    { everything: { plainText: "below" }, value: { kind: { case: "numberValue", value: 1 } } },
  ];
  const all = inits.map((init) => toBinary(special, create(special, init)));
  for (const one of all) {
    for (const other of [new Uint8Array(), ...all]) {
      const [ours, theirs] = read(Buffer.concat([one, other]));
      expect(ours).toStrictEqual(theirs);
    }
  }
});

test("a proto2 string has U+FFFD in the place of bytes that are not valid UTF-8", () => {
  const bytes = Buffer.from("0a03612862", "hex");
  bytes[3] = 0xff;
  const old = registry.getMessage("old.Old") as DescMessage;
  expect(decode(old, { bytes: bytes, start: 0, end: bytes.length })).toMatchObject({
    text: "a\ufffdb",
  });
});

test("unknown fields are left out where readUnknownFields says so, in maps and children too", () => {
  const unknown = Buffer.from("c03e05", "hex");
  const child = everything.fields.find(({ name }) => name === "child") as DescField;
  const inner = new BinaryWriter().tag(child.number, WireType.LengthDelimited).bytes(unknown);
  const bytes = Buffer.concat([unknown, inner.finish()]);
  const read = (readUnknownFields?: boolean) => {
    const options = readUnknownFields === undefined ? {} : { readUnknownFields };
    return decode(
      everything,
      { bytes: bytes, start: 0, end: bytes.length },
      options,
    ) as unknown as Unknown;
  };
  interface Unknown {
    readonly $unknown?: unknown;
    readonly child: Unknown;
  }
  const field = { no: 1000, wireType: 0, data: new Uint8Array([5]) };
  for (const kept of [read(), read(true)]) {
    expect([kept.$unknown, kept.child.$unknown]).toEqual([[field], [field]]);
  }
  const left = read(false);
  expect([left.$unknown, left.child.$unknown]).toEqual([undefined, undefined]);
});

test("recursionLimit counts messages within each other, with the outermost", () => {
  const child = everything.fields.find(({ name }) => name === "child") as DescField;
  let bytes = new Uint8Array();
  for (let depth = 1; depth <= 120; depth++) {
    for (const recursionLimit of [1, 2, 7, 101, 110]) {
      const read = () =>
        decode(everything, { bytes: bytes, start: 0, end: bytes.length }, { recursionLimit });
      if (depth <= recursionLimit) expect(read).not.toThrow();
      else expect(read).toThrow(`nested deeper than recursionLimit ${recursionLimit}`);
    }
    const writer = new BinaryWriter().tag(child.number, WireType.LengthDelimited).bytes(bytes);
    bytes = writer.finish();
  }
});
