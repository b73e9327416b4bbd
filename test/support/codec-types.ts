/** Types of messages with every kind of field. */
import { readFileSync } from "node:fs";
import {
  create,
  createFileRegistry,
  type DescMessage,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import {
  Edition,
  FeatureSet_EnumType as EnumType,
  type FeatureSetSchema,
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
import { typesOf, type Vectors } from "./protobuf-vectors.ts";

function field(name: string, number: number, type: Type, more: object = {}) {
  return { name, number, type, label: Label.OPTIONAL, ...more };
}

const repeated = { label: Label.REPEATED };
const features = (features: MessageInitShape<typeof FeatureSetSchema>) => ({
  options: { features },
});

/** A message in which other messages have a form of their own: a wrapper is its value, a Struct an object. */
const ownForms = create(FileDescriptorProtoSchema, {
  name: "forms.proto",
  package: "fuzz",
  syntax: "proto3",
  dependency: ["google/protobuf/struct.proto", "google/protobuf/wrappers.proto"],
  messageType: [
    {
      name: "Forms",
      field: [
        field("text", 1, Type.MESSAGE, { typeName: ".google.protobuf.StringValue" }),
        field("data", 2, Type.MESSAGE, { typeName: ".google.protobuf.BytesValue" }),
        field("long", 3, Type.MESSAGE, { typeName: ".google.protobuf.Int64Value" }),
        field("flag", 4, Type.MESSAGE, { typeName: ".google.protobuf.BoolValue" }),
        field("texts", 5, Type.MESSAGE, { typeName: ".google.protobuf.StringValue", ...repeated }),
        field("object", 6, Type.MESSAGE, { typeName: ".google.protobuf.Struct" }),
        field("objects", 7, Type.MESSAGE, { typeName: ".google.protobuf.Struct", ...repeated }),
        field("value", 8, Type.MESSAGE, { typeName: ".google.protobuf.Value" }),
        field("one_object", 9, Type.MESSAGE, {
          typeName: ".google.protobuf.Struct",
          oneofIndex: 0,
        }),
        field("one_text", 10, Type.MESSAGE, {
          typeName: ".google.protobuf.StringValue",
          oneofIndex: 0,
        }),
        field("long_text", 11, Type.SINT64, { options: { jstype: JSType.JS_STRING } }),
        field("long_texts", 12, Type.FIXED64, {
          ...repeated,
          options: { jstype: JSType.JS_STRING },
        }),
        field("maybe_long_text", 13, Type.UINT64, {
          options: { jstype: JSType.JS_STRING },
          proto3Optional: true,
          oneofIndex: 1,
        }),
      ],
      oneofDecl: [{ name: "one" }, { name: "_maybe_long_text" }],
    },
  ],
});

/** What editions have: features of single fields. */
const editions = create(FileDescriptorProtoSchema, {
  name: "editions.proto",
  package: "fuzz",
  syntax: "editions",
  edition: Edition.EDITION_2023,
  messageType: [
    {
      name: "Features",
      field: [
        field("with_default", 1, Type.INT32, { defaultValue: "-7" }),
        field("text_default", 2, Type.STRING, { defaultValue: "hello" }),
        field("implicit", 3, Type.STRING, features({ fieldPresence: Presence.IMPLICIT })),
        field("required", 4, Type.BOOL, features({ fieldPresence: Presence.LEGACY_REQUIRED })),
        field("packed", 5, Type.SINT32, repeated),
        field("expanded", 6, Type.SINT32, {
          ...repeated,
          ...features({ repeatedFieldEncoding: RepeatedEncoding.EXPANDED }),
        }),
        field("any_text", 7, Type.STRING, features({ utf8Validation: Utf8Validation.NONE })),
        field("part", 8, Type.MESSAGE, {
          typeName: ".fuzz.Features",
          ...features({ messageEncoding: MessageEncoding.DELIMITED }),
        }),
        field("parts", 9, Type.MESSAGE, {
          typeName: ".fuzz.Features",
          ...repeated,
          ...features({ messageEncoding: MessageEncoding.DELIMITED }),
        }),
        field("child", 10, Type.MESSAGE, { typeName: ".fuzz.Features" }),
        field("closed", 11, Type.ENUM, { typeName: ".fuzz.Closed" }),
        field("closeds", 12, Type.ENUM, { typeName: ".fuzz.Closed", ...repeated }),
        field("half", 13, Type.FLOAT, { defaultValue: "0.5" }),
        field("data", 14, Type.BYTES, {}),
        field("one_text", 15, Type.STRING, { oneofIndex: 0 }),
        field("one_part", 2000, Type.MESSAGE, {
          typeName: ".fuzz.Features",
          oneofIndex: 0,
          ...features({ messageEncoding: MessageEncoding.DELIMITED }),
        }),
        field("longs", 300, Type.MESSAGE, { typeName: ".fuzz.Features.LongsEntry", ...repeated }),
      ],
      oneofDecl: [{ name: "one" }],
      nestedType: [
        {
          name: "LongsEntry",
          options: { mapEntry: true },
          field: [field("key", 1, Type.UINT64), field("value", 2, Type.SINT64)],
        },
      ],
    },
  ],
  enumType: [
    {
      name: "Closed",
      options: { features: { enumType: EnumType.CLOSED } },
      value: [
        { name: "CLOSED_NONE", number: 0 },
        { name: "CLOSED_ONE", number: 1 },
        { name: "CLOSED_FAR", number: -5 },
      ],
    },
  ],
});

const registry = createFileRegistry(
  create(FileDescriptorSetSchema, {
    file: [
      file_google_protobuf_struct.proto,
      file_google_protobuf_wrappers.proto,
      ownForms,
      editions,
    ],
  }),
);

const vectorsFile = new URL("../protobuf/vectors.json", import.meta.url);
export const vectors = JSON.parse(readFileSync(vectorsFile, "utf8")) as Vectors;
const vectorTypeOf = typesOf(vectors);

/** proto3, proto2, editions, own forms, and a type of the library with maps of defaults: descriptors themselves. */
export const codecTypes: readonly DescMessage[] = [
  vectorTypeOf("vectors.All"),
  vectorTypeOf("vectors.Old"),
  registry.getMessage("fuzz.Features") as DescMessage,
  registry.getMessage("fuzz.Forms") as DescMessage,
  FileDescriptorProtoSchema,
];
