/** Types of messages that a test makes from a list of their fields. */
import { create, createFileRegistry, type DescMessage } from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";

export interface FieldInit {
  readonly name: string;
  readonly number: number;
  readonly type: Type;
  readonly typeName?: string;
  readonly label?: Label;
}

/** Makes proto3 types of the package `n`, from the fields of each. Returns a function that finds them by name. */
export function makeTypes(
  messages: Record<string, readonly FieldInit[]>,
): (name: string) => DescMessage {
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

/** Makes a type with one text, and a message of the same type. */
export function textType(): DescMessage {
  return makeTypes({
    One: [
      { name: "text", number: 1, type: Type.STRING },
      { name: "child", number: 2, type: Type.MESSAGE, typeName: ".n.One" },
    ],
  })("One");
}
