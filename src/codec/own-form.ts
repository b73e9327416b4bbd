/**
 * Messages that are another value in the messages around them (protobuf-es): google.protobuf.Struct is an object, and a
 * wrapper (google.protobuf.StringValue …) in a singular field is its value.
 */
import { create, type DescField, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { isWrapperDesc, type Struct, type Value } from "@bufbuild/protobuf/wkt";
import type { Fields } from "./decoder.ts";

/** Converts between a message and the value that stands for it. */
export interface OwnForm {
  /** Makes a message to read into. If `present` is a value, the new message is merged with it. */
  begin(present: unknown): Fields;
  /** Makes the value that stands for the message. */
  end(message: Fields, present: unknown): unknown;
}

/** Returns the form of the messages in a field if they are another value there, otherwise `undefined`. */
export function ownFormOf(field: DescField): OwnForm | undefined {
  const { message: desc, parent } = field;
  if (desc === undefined) return undefined;
  if (desc.typeName === "google.protobuf.Struct") {
    if (parent.typeName === "google.protobuf.Value") return undefined;
    return {
      begin: () => create(desc) as Fields,
      // The type Fields does not say which message it is: the type name above says that it is a Struct.
      end: (message, present) => structToJson(message as unknown as Struct, present as JsonObject),
    };
  }
  if (field.fieldKind !== "message" || field.oneof !== undefined || !isWrapperDesc(desc)) {
    return undefined;
  }
  return {
    begin: (present) => {
      const message = create(desc) as Fields;
      if (present !== undefined) message.value = present;
      return message;
    },
    end: (message) => message.value,
  };
}

function structToJson({ fields }: Struct, into: JsonObject = {}): JsonObject {
  for (const [name, value] of Object.entries(fields)) setOwn(into, name, valueToJson(value));
  return into;
}

function valueToJson({ kind }: Value): JsonValue {
  switch (kind.case) {
    case "structValue":
      return structToJson(kind.value);
    case "listValue":
      return kind.value.values.map(valueToJson);
    case "nullValue":
    case undefined:
      return null;
    default:
      return kind.value;
  }
}

/** Makes the Struct that an object stands for, as protobuf-es does: a value that JSON does not have is left out. */
export function jsonToStruct(json: unknown): Fields {
  const fields: Fields = {};
  if (typeof json === "object" && json !== null && !Array.isArray(json)) {
    for (const [name, value] of Object.entries(json)) setOwn(fields, name, jsonToValue(value));
  }
  return { $typeName: "google.protobuf.Struct", fields };
}

function jsonToValue(json: unknown): Fields {
  return { $typeName: "google.protobuf.Value", kind: kindOf(json) };
}

function kindOf(json: unknown): { case: string | undefined; value?: unknown } {
  switch (typeof json) {
    case "number":
      return { case: "numberValue", value: json };
    case "string":
      return { case: "stringValue", value: json };
    case "boolean":
      return { case: "boolValue", value: json };
    case "object": {
      if (json === null) return { case: "nullValue", value: 0 };
      if (!Array.isArray(json)) return { case: "structValue", value: jsonToStruct(json) };
      const values = Array.from(json, jsonToValue);
      return { case: "listValue", value: { $typeName: "google.protobuf.ListValue", values } };
    }
    default:
      return { case: undefined };
  }
}

/** Sets an own property of a record, even if its name is `__proto__`. */
export function setOwn(record: Fields, name: string, value: unknown): void {
  if (name !== "__proto__") record[name] = value;
  else {
    const own = { value, writable: true, enumerable: true, configurable: true };
    Object.defineProperty(record, name, own);
  }
}
