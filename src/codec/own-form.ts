/**
 * Messages that stand as something else in the messages around them (protobuf-es): google.protobuf.Struct as an
 * object, and a wrapper (google.protobuf.StringValue …) in a field of its own as its value.
 */
import { create, type DescField, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { isWrapperDesc, type Struct, type Value } from "@bufbuild/protobuf/wkt";
import type { Fields } from "./decoder.ts";

/** Between a message and what stands for it. */
export interface OwnForm {
  /** A message to read into, which `present`, if there is something, is merged with. */
  begin(present: unknown): Fields;
  /** What stands for the message that was read. */
  end(message: Fields, present: unknown): unknown;
}

/** The form of the messages in a field, where it is not their own. */
export function ownFormOf(field: DescField): OwnForm | undefined {
  const { message: desc, parent } = field;
  if (desc === undefined) return undefined;
  if (desc.typeName === "google.protobuf.Struct") {
    if (parent.typeName === "google.protobuf.Value") return undefined;
    return {
      begin: () => create(desc) as Fields,
      // Fields has no type of its own: the type name above says that it is a Struct.
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

/** Sets a property of the record's own, whatever its name: `__proto__` is one like any other. */
export function setOwn(record: Fields, name: string, value: unknown): void {
  if (name !== "__proto__") record[name] = value;
  else {
    const own = { value, writable: true, enumerable: true, configurable: true };
    Object.defineProperty(record, name, own);
  }
}
