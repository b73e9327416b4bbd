/** Types that are not compiled, types that are compiled although there are many, and types with many fields. */
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { FieldDescriptorProto_Type as Type } from "@bufbuild/protobuf/wkt";
import { afterEach, expect, test, vi } from "vitest";
import { compiledCodecs } from "../src/codec/compiled/compiled-codecs.ts";
import { compiledOf, decode, decodeClosures, encode } from "./support/codecs.ts";
import { type FieldInit, makeTypes, textType } from "./support/made-types.ts";

afterEach(() => vi.unstubAllGlobals());

const init = (fields: object) => fields as MessageInitShape<DescMessage>;

/** Encodes and decodes a message more often than a type is used before it is compiled. */
function expectSame(desc: DescMessage, fields: object): void {
  const expected = Buffer.from(toBinary(desc, create(desc, init(fields))));
  for (let use = 0; use < 250; use++) {
    const bytes = encode(desc, init(fields));
    expect(expected.equals(bytes)).toBe(true);
    const read = decode(desc, { bytes, start: 0, end: bytes.length });
    if (use % 120 === 0) expect(read).toStrictEqual(create(desc, init(fields)));
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
  const desc = makeTypes({ Evil: fields })("Evil");
  // createFileRegistry() refuses such names, but it is not the only way to a descriptor.
  for (const [at, localName] of names.entries())
    Object.assign(desc.fields[at] as object, { localName });
  Object.assign(desc, { typeName: 'n."];throw new Error("run");//' });
  expect(compiledCodecs.encoderOf(desc)).toBeDefined();
  expect(compiledCodecs.decoderOf(desc)).toBeDefined();
  expectSame(desc, Object.fromEntries(names.map((name, at) => [name, `value ${at}`])));
});

test("a type with a thousand fields is not compiled, but a message around it is", () => {
  const many = Array.from({ length: 1000 }, (_, at) => ({
    ...{ name: `f${at}`, number: at + 1, type: Type.STRING },
  }));
  const child = { name: "many", number: 1, type: Type.MESSAGE, typeName: ".n.Many" };
  const typeOf = makeTypes({
    Many: many,
    Around: [child, { name: "after", number: 2, type: Type.STRING }],
  });
  expect(compiledCodecs.encoderOf(typeOf("Many"))).toBeUndefined();
  expect(compiledCodecs.decoderOf(typeOf("Many"))).toBeUndefined();
  expect(compiledCodecs.encoderOf(typeOf("Around"))).toBeDefined();
  expectSame(typeOf("Many"), { f0: "first", f999: "last" });
  expectSame(typeOf("Around"), { many: { f0: "first", f999: "last" }, after: "after" });
});

test("a type with a very long name of a field is not compiled", () => {
  const name = "a".repeat(100_000);
  const desc = makeTypes({ Long: [{ name, number: 1, type: Type.STRING }] })("Long");
  expect(compiledCodecs.encoderOf(desc)).toBeUndefined();
  expect(compiledCodecs.decoderOf(desc)).toBeUndefined();
  expectSame(desc, { [name]: "text" });
});

test("messages of a type with many fields may be within each other as deep as the stack allows others", () => {
  const many: FieldInit[] = Array.from({ length: 150 }, (_, at) => ({
    ...{ name: `f${at}`, number: at + 2, type: Type.BOOL },
  }));
  const child = { name: "child", number: 1, type: Type.MESSAGE, typeName: ".n.Many" };
  const desc = makeTypes({ Many: [child, ...many] })("Many");
  const compiled = compiledOf(desc);
  const depth = 1500;
  let message = {};
  for (let at = 0; at < depth; at++) message = { child: message };
  const bytes = compiled.encode(message);
  const options = { recursionLimit: depth + 1 };
  let read: unknown = compiled.decode(bytes, options);
  let levels = 0;
  for (; read !== undefined; levels++) read = (read as { child: unknown }).child;
  expect(levels).toBe(depth + 1);
  expect(() => decodeClosures(desc, bytes, options)).not.toThrow();
});

test("a message whose type cannot be compiled is encoded and decoded by the closures", () => {
  const desc = textType();
  vi.stubGlobal("Function", function Full() {
    throw new RangeError("Maximum call stack size exceeded");
  });
  expectSame(desc, { text: "a text" });
  expect(compiledCodecs.encoderOf(desc)).toBeUndefined();
  vi.unstubAllGlobals();
  expect(compiledCodecs.encoderOf(textType())).toBeDefined();
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
  const desc = makeTypes(types)("T0");
  const fields = { text: "top", child: { child: { text: "below" } } };
  for (let use = 0; use < 250; use++) {
    const bytes = encode(desc, init(fields));
    // protobuf-es' toBinary() has no such depth.
    expect(Buffer.from(bytes).toString("hex")).toBe("0a03746f70120912070a0562656c6f77");
    expect(decode(desc, { bytes, start: 0, end: bytes.length })).toMatchObject(fields);
  }
});
