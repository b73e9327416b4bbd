/** Fields, and keys of maps, that are named like something that every JavaScript object has. */
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
import { describe, expect, test } from "vitest";
import { encodedOnce } from "../src/server.ts";
import { decode, encode } from "./support/codecs.ts";

/** Names of fields, as in a .proto. */
const NAMES = [
  "has_own_property",
  "is_prototype_of",
  "property_is_enumerable",
  "to_locale_string",
  "to_string",
  "value_of",
  "constructor",
  "to_json",
  "__proto__",
  "__define_getter__",
  "hasOwnProperty2",
];

interface Kind {
  readonly kind: string;
  readonly type: Type;
  readonly more?: object;
  readonly value: unknown;
}

const KINDS: Kind[] = [
  { kind: "text", type: Type.STRING, value: "text" },
  { kind: "optional text", type: Type.STRING, more: { proto3Optional: true }, value: "" },
  { kind: "number", type: Type.INT32, value: 5 },
  { kind: "list", type: Type.STRING, more: { label: Label.REPEATED }, value: ["a", "b"] },
  { kind: "message", type: Type.MESSAGE, value: { other: "below" } },
  {
    kind: "list of messages",
    type: Type.MESSAGE,
    more: { label: Label.REPEATED },
    value: [{ other: "below" }, {}],
  },
  {
    kind: "map",
    type: Type.MESSAGE,
    more: { label: Label.REPEATED, typeName: ".n.Named.MEntry" },
    value: { a: { other: "below" }, ["__proto__"]: {}, constructor: {}, hasOwnProperty: {} },
  },
];

/** A message with the field, another field, and a field of the message's own type. */
function describeNamed(name: string, { type, more }: Kind, syntax = "proto3"): DescMessage {
  const optional = more !== undefined && "proto3Optional" in more;
  const label = Label.OPTIONAL;
  const entry = { name: "MEntry", options: { mapEntry: true } };
  const messageType = {
    name: "Named",
    field: [
      {
        ...{ name, number: 1, type, label, ...more },
        ...(type === Type.MESSAGE && { typeName: ".n.Named", ...more }),
        ...(optional && { oneofIndex: 0 }),
      },
      { name: "other", number: 2, type: Type.STRING, label },
      { name: "child", number: 3, type: Type.MESSAGE, label, typeName: ".n.Named" },
    ],
    oneofDecl: optional ? [{ name: "_one" }] : [],
    nestedType: [
      {
        ...entry,
        field: [
          { name: "key", number: 1, type: Type.STRING, label },
          { name: "value", number: 2, type: Type.MESSAGE, label, typeName: ".n.Named" },
        ],
      },
    ],
  };
  const file = create(FileDescriptorProtoSchema, {
    name: "n.proto",
    package: "n",
    syntax,
    messageType: [messageType],
  });
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: [file] }));
  return registry.getMessage("n.Named") as DescMessage;
}

const init = (fields: object) => fields as MessageInitShape<DescMessage>;

function read(desc: DescMessage, bytes: Uint8Array): Record<string, unknown> {
  return decode(desc, { bytes: Buffer.from(bytes), start: 0, end: bytes.length });
}

describe.each(KINDS)("a field of kind $kind", (kind) => {
  test.each(NAMES)("named %s is sent and read", (name) => {
    const desc = describeNamed(name, kind);
    const { localName } = desc.fields[0] as { localName: string };
    const plain = describeNamed("plain", kind);
    for (const fields of [
      {},
      { other: "o" },
      { field: kind.value },
      { field: kind.value, other: "o" },
    ]) {
      const under = (localName: string, $typeName?: string) => {
        const { field, ...rest } = fields as { field?: unknown; other?: string };
        return {
          ...($typeName && { $typeName }),
          ...rest,
          ...(field !== undefined && { [localName]: field }),
        };
      };
      // The same under a name that no object has.
      const expected = toBinary(plain, create(plain, init(under("plain"))));
      const child = toBinary(plain, create(plain, init({ child: under("plain") })));
      expect(encode(desc, init(under(localName)))).toEqual(expected);
      expect(encode(desc, init({ child: under(localName) }))).toEqual(child);
      expect(encode(desc, encodedOnce(desc, init(under(localName))))).toEqual(expected);
      expect(encode(desc, create(desc, init(under(localName))))).toEqual(expected);

      const message = read(desc, Buffer.concat([expected, child]));
      expect(encode(desc, message as never)).toEqual(Uint8Array.from([...expected, ...child]));
      if ("field" in fields && kind.type !== Type.MESSAGE) {
        expect(Object.getOwnPropertyDescriptor(message, localName)?.value).toEqual(kind.value);
      }
    }
  });
});

test("the keys of a map may have any name, and change only the map", () => {
  const desc = describeNamed("plain", KINDS[6] as Kind);
  const keys = ["__proto__", "constructor", "hasOwnProperty", "toString", "valueOf", ""];
  const map = Object.fromEntries(keys.map((key) => [key, { other: key }]));
  const message = read(desc, encode(desc, init({ plain: map })));
  const plain = message.plain as Record<string, { other: string }>;
  expect(Object.keys(plain)).toEqual(keys);
  for (const key of keys)
    expect(Object.getOwnPropertyDescriptor(plain, key)?.value.other).toBe(key);
  expect(Object.getPrototypeOf(plain)).toBe(Object.prototype);
  expect(({} as { other?: string }).other).toBeUndefined();
});

test("the presence of proto2 fields stays as it was, and unknown fields are kept", () => {
  const desc = describeNamed("has_own_property", KINDS[0] as Kind, "proto2");
  const unset = create(desc);
  expect(encode(desc, unset)).toHaveLength(0);
  unset.$unknown = [{ no: 9, wireType: 0, data: Uint8Array.of(5) }];
  expect(Buffer.from(encode(desc, unset)).toString("hex")).toBe("4805");
  expect(Buffer.from(encode(desc, init({ hasOwnProperty: "" }))).toString("hex")).toBe("0a00");
});
