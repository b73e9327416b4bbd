/** Types that are not compiled, and types that are compiled although there are many. */
import {
  create,
  createFileRegistry,
  type DescMessage,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { compiledCodecs } from "../src/codec/compiled/compiled-codecs.ts";
import { decode } from "../src/codec/decode.ts";
import { encode } from "../src/codec/encode.ts";

interface FieldInit {
  readonly name: string;
  readonly number: number;
  readonly type: Type;
  readonly typeName?: string;
}

/** Makes types from the fields of each. */
function typesOf(messages: Record<string, readonly FieldInit[]>): (name: string) => DescMessage {
  const messageType = Object.entries(messages).map(([name, fields]) => ({
    name,
    field: fields.map((field) => ({ label: Label.OPTIONAL, ...field })),
  }));
  const file = create(FileDescriptorProtoSchema, {
    ...{ name: "n.proto", package: "n", syntax: "proto3" },
    messageType,
  });
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: [file] }));
  return (name) => registry.getMessage(`n.${name}`) as DescMessage;
}

const init = (fields: object) => fields as MessageInitShape<DescMessage>;

/** Encodes and decodes a message more often than a type is used before it is compiled. */
function expectSame(desc: DescMessage, fields: object): void {
  const expected = Buffer.from(toBinary(desc, create(desc, init(fields))));
  for (let use = 0; use < 500; use++) {
    const bytes = encode(desc, init(fields));
    expect(expected.equals(bytes)).toBe(true);
    const read = decode(desc, { bytes, start: 0, end: bytes.length });
    if (use % 100 === 0) expect(read).toStrictEqual(create(desc, init(fields)));
  }
}

test("names in a descriptor are not code", () => {
  const names = [
    '"];throw new Error("run");//',
    "\\u0022",
    "`;fail();",
    "'\n;debugger;",
    "\u2028\u2029*/",
  ];
  const fields = names.map((_, at) => ({ name: `f${at}`, number: at + 1, type: Type.STRING }));
  const desc = typesOf({ Evil: fields })("Evil");
  // createFileRegistry() refuses such names, but it is not the only way to a descriptor.
  for (const [at, localName] of names.entries())
    Object.assign(desc.fields[at] as object, { localName });
  Object.assign(desc, { typeName: 'n."];throw new Error("run");//' });
  expect(compiledCodecs.encoderOf(desc)).toBeDefined();
  expect(compiledCodecs.decoderOf(desc)).toBeDefined();
  expectSame(desc, Object.fromEntries(names.map((name, at) => [name, `value ${at}`])));
});

test("a type with thousands of fields is not compiled, but a message around it is", () => {
  const many = Array.from({ length: 3000 }, (_, at) => ({
    ...{ name: `f${at}`, number: at + 1, type: Type.STRING },
  }));
  const child = { name: "many", number: 1, type: Type.MESSAGE, typeName: ".n.Many" };
  const typeOf = typesOf({
    Many: many,
    Around: [child, { name: "after", number: 2, type: Type.STRING }],
  });
  expect(compiledCodecs.encoderOf(typeOf("Many"))).toBeUndefined();
  expect(compiledCodecs.decoderOf(typeOf("Many"))).toBeUndefined();
  expect(compiledCodecs.encoderOf(typeOf("Around"))).toBeDefined();
  expectSame(typeOf("Many"), { f0: "first", f2999: "last" });
  expectSame(typeOf("Around"), { many: { f0: "first", f2999: "last" }, after: "after" });
});

test("types within each other deeper than the stack are compiled one by one", () => {
  const depth = 20_000;
  const types = Object.fromEntries(
    Array.from({ length: depth }, (_, at) => [
      `T${at}`,
      [
        { name: "text", number: 1, type: Type.STRING },
        ...(at + 1 < depth
          ? [{ name: "child", number: 2, type: Type.MESSAGE, typeName: `.n.T${at + 1}` }]
          : []),
      ],
    ]),
  );
  const desc = typesOf(types)("T0");
  const fields = { text: "top", child: { child: { text: "below" } } };
  for (let use = 0; use < 500; use++) {
    const bytes = encode(desc, init(fields));
    // protobuf-es' toBinary() has no such depth.
    expect(Buffer.from(bytes).toString("hex")).toBe("0a03746f70120912070a0562656c6f77");
    expect(decode(desc, { bytes, start: 0, end: bytes.length })).toMatchObject(fields);
  }
});

test("a large message does not change those after it", () => {
  const desc = typesOf({ One: [{ name: "text", number: 1, type: Type.STRING }] })("One");
  for (const length of [10, 5000, 20_000, 3_000_000, 10, 900, 8100, 10]) {
    for (const character of ["x", "é"]) {
      const fields = { text: character.repeat(length) };
      const expected = Buffer.from(toBinary(desc, create(desc, init(fields))));
      const encoder = compiledCodecs.encoderOf(desc);
      expect(expected.equals(encoder?.(fields, undefined) ?? new Uint8Array())).toBe(true);
    }
  }
});

test("a message stays as it is while others are encoded", () => {
  const desc = typesOf({ One: [{ name: "text", number: 1, type: Type.STRING }] })("One");
  const encoder = compiledCodecs.encoderOf(desc);
  const all = Array.from({ length: 2000 }, (_, at) =>
    encoder?.({ text: `message ${at}` }, undefined),
  );
  for (const [at, bytes] of all.entries()) {
    expect(
      Buffer.from(bytes ?? [])
        .subarray(2)
        .toString(),
    ).toBe(`message ${at}`);
  }
});
