/** Arbitrary types of messages: every kind of field, with arbitrary numbers, names, labels and features. */
import { create, createFileRegistry, type DescMessage } from "@bufbuild/protobuf";
import {
  Edition,
  FeatureSet_EnumType as EnumType,
  type FieldDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  file_google_protobuf_struct,
  file_google_protobuf_wrappers,
  FieldOptions_JSType as JSType,
  FieldDescriptorProto_Label as Label,
  FeatureSet_MessageEncoding as MessageEncoding,
  FeatureSet_FieldPresence as Presence,
  FeatureSet_RepeatedFieldEncoding as RepeatedEncoding,
  FieldDescriptorProto_Type as Type,
  FeatureSet_Utf8Validation as Utf8Validation,
} from "@bufbuild/protobuf/wkt";
import fc from "fast-check";

/** How many types of messages a file has. */
const TYPES = 3;

const SCALARS = [
  ...[Type.DOUBLE, Type.FLOAT, Type.INT64, Type.UINT64, Type.INT32, Type.FIXED64, Type.FIXED32],
  ...[Type.BOOL, Type.STRING, Type.BYTES, Type.UINT32, Type.SFIXED32, Type.SFIXED64],
  ...[Type.SINT32, Type.SINT64],
];
const NO_KEYS: readonly Type[] = [Type.DOUBLE, Type.FLOAT, Type.BYTES];
const LONGS: readonly Type[] = [
  ...[Type.INT64, Type.UINT64, Type.FIXED64, Type.SFIXED64, Type.SINT64],
];

const OWN_FORMS = [
  ...["StringValue", "BytesValue", "Int64Value", "BoolValue", "FloatValue", "Struct", "Value"],
].map((name) => `.google.protobuf.${name}`);

/** Numbers with tags of one byte to five. */
const number = fc.oneof(
  fc.integer({ min: 1, max: 40 }),
  fc.constantFrom(15, 16, 2047, 2048, 262_143, 262_144, 2 ** 25, 2 ** 28, 2 ** 29 - 1),
);

/** Among them names of what every object has, and of properties that the codec uses. */
const name = fc.oneof(
  { weight: 60, arbitrary: fc.stringMatching(/^[a-z][a-z0-9_]{0,8}$/) },
  {
    weight: 10,
    arbitrary: fc.constantFrom(
      ...["constructor", "to_string", "value_of", "to_json", "__proto__", "prototype", "then"],
      ...["case", "value", "length", "message", "input", "bytes", "at", "n", "k", "default"],
    ),
  },
  // A type with such a field, or that holds one, is not compiled.
  { weight: 1, arbitrary: fc.constantFrom("hasOwnProperty", "is_prototype_of") },
);

const kind = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...SCALARS).map((type) => ({ type })) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(".any.Open", ".any.Closed").map((typeName) => ({
      type: Type.ENUM,
      typeName,
    })),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.nat(TYPES - 1), fc.boolean()).map(([at, isGroup]) => ({
      type: isGroup ? Type.GROUP : Type.MESSAGE,
      typeName: `.any.T${at}`,
    })),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(...OWN_FORMS).map((typeName) => ({ type: Type.MESSAGE, typeName })),
  },
);

const field = fc.record({
  name,
  number,
  kind,
  place: fc.constantFrom("single", "single", "list", "oneof", "map"),
  presence: fc.constantFrom(
    ...["default", "default", "default", "optional", "required", "implicit"],
  ),
  packed: fc.option(fc.boolean(), { nil: undefined }),
  isText: fc.boolean(),
  isLenient: fc.boolean(),
  hasDefault: fc.boolean(),
  oneof: fc.nat(1),
  key: fc.constantFrom(...SCALARS.filter((type) => !NO_KEYS.includes(type))),
});

type Field = typeof field extends fc.Arbitrary<infer One> ? One : never;
type Syntax = "proto2" | "proto3" | "editions";

const message = fc.uniqueArray(field, {
  maxLength: 9,
  selector: ({ number }) => number,
});

/** Arbitrary types. Each may hold messages of itself, and of two others. */
export const anyType: fc.Arbitrary<DescMessage> = fc
  .tuple(
    fc.constantFrom<Syntax>("proto2", "proto3", "editions"),
    fc.array(message, { minLength: TYPES, maxLength: TYPES }),
  )
  .map(([syntax, messages]) => typeOf(syntax, messages));

function typeOf(syntax: Syntax, messages: readonly (readonly Field[])[]): DescMessage {
  const enumValues = (prefix: string, first: number) => [
    { name: `${prefix}_FIRST`, number: first },
    { name: `${prefix}_ONE`, number: 1 },
    { name: `${prefix}_FAR`, number: -70_000 },
  ];
  const file = create(FileDescriptorProtoSchema, {
    name: "any.proto",
    package: "any",
    syntax,
    ...(syntax === "editions" ? { edition: Edition.EDITION_2023 } : {}),
    dependency: ["google/protobuf/struct.proto", "google/protobuf/wrappers.proto"],
    messageType: messages.map((fields, at) => messageInit(syntax, `T${at}`, unique(fields))),
    enumType: [
      { name: "Open", value: enumValues("OPEN", 0) },
      {
        name: "Closed",
        value: enumValues("CLOSED", syntax === "proto3" ? 0 : 7),
        ...(syntax === "editions" ? { options: { features: { enumType: EnumType.CLOSED } } } : {}),
      },
    ],
  });
  const files = [file_google_protobuf_struct.proto, file_google_protobuf_wrappers.proto, file];
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: files }));
  return registry.getMessage("any.T0") as DescMessage;
}

/** Two fields with one name in JavaScript are an error of protoc. */
function unique(fields: readonly Field[]): Field[] {
  const nameOf = ({ name }: Field) => name.replaceAll("_", "").toLowerCase();
  return fields.filter((one, at) => fields.findIndex((f) => nameOf(f) === nameOf(one)) === at);
}

function messageInit(syntax: Syntax, name: string, fields: readonly Field[]) {
  const entries: object[] = [];
  const optional: string[] = [];
  const field = fields.map((one, at) => {
    const init = fieldInit(syntax, one);
    if (one.place === "map") {
      const entry = `E${at}Entry`;
      entries.push({
        name: entry,
        options: { mapEntry: true },
        field: [
          { name: "key", number: 1, type: one.key, label: Label.OPTIONAL },
          { ...init, name: "value", number: 2, label: Label.OPTIONAL, defaultValue: undefined },
        ],
      });
      const typeName = `.any.${name}.${entry}`;
      return { ...init, type: Type.MESSAGE, typeName, label: Label.REPEATED, options: {} };
    }
    if (syntax !== "proto3" || one.place !== "single" || one.presence !== "optional") return init;
    optional.push(`_${one.name}`);
    return { ...init, proto3Optional: true, oneofIndex: 1 + optional.length };
  });
  const oneofDecl = ["one", "two", ...optional].map((name) => ({ name: `${name}_` }));
  return { name, field, oneofDecl, nestedType: entries } as object;
}

function fieldInit(syntax: Syntax, one: Field): Partial<FieldDescriptorProto> {
  const { kind, place, presence } = one;
  const isMessage = kind.type === Type.MESSAGE || kind.type === Type.GROUP;
  const isGroup = kind.type === Type.GROUP && place !== "map";
  const isRequired = presence === "required" && place === "single" && syntax === "proto2";
  const features: Record<string, unknown> = {};
  if (syntax === "editions") {
    if (isGroup) features.messageEncoding = MessageEncoding.DELIMITED;
    if (place === "single" && presence === "required") {
      features.fieldPresence = Presence.LEGACY_REQUIRED;
    }
    if (place === "single" && presence === "implicit" && !isMessage) {
      features.fieldPresence = Presence.IMPLICIT;
    }
    if (one.isLenient) features.utf8Validation = Utf8Validation.NONE;
    if (place === "list" && one.packed === false) {
      features.repeatedFieldEncoding = RepeatedEncoding.EXPANDED;
    }
  }
  const options: Record<string, unknown> = {};
  if (Object.keys(features).length > 0) options.features = features;
  if (one.isText && LONGS.includes(kind.type)) options.jstype = JSType.JS_STRING;
  const isPackable = !isMessage && kind.type !== Type.STRING && kind.type !== Type.BYTES;
  if (syntax !== "editions" && place === "list" && isPackable && one.packed !== undefined) {
    options.packed = one.packed;
  }
  const hasDefault =
    one.hasDefault && place === "single" && syntax !== "proto3" && presence !== "implicit";
  const value = {
    ...{ name: one.name, number: one.number, ...kind },
    type: isGroup && syntax === "proto2" ? Type.GROUP : isMessage ? Type.MESSAGE : kind.type,
    label: isRequired ? Label.REQUIRED : place === "list" ? Label.REPEATED : Label.OPTIONAL,
    ...(place === "oneof" ? { oneofIndex: one.oneof } : {}),
    ...(hasDefault ? defaultOf(kind.type) : {}),
    options,
  };
  return value as Partial<FieldDescriptorProto>;
}

function defaultOf(type: Type): { defaultValue?: string } {
  switch (type) {
    case Type.MESSAGE:
    case Type.GROUP:
    case Type.BYTES:
      return {};
    case Type.STRING:
      return { defaultValue: "by default" };
    case Type.BOOL:
      return { defaultValue: "true" };
    case Type.DOUBLE:
    case Type.FLOAT:
      return { defaultValue: "-0" };
    case Type.ENUM:
      return {};
    default:
      return { defaultValue: "77" };
  }
}
