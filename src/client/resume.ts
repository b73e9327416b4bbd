import { type DescMessage, type DescMethod, ScalarType } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";

/** The number of the option, and those of its fields (resume.proto). */
const OPTION = 27610468;
const CURSOR = 1;
const AFTER = 2;

/** How a call continues after an earlier one: the local names of the two fields that the option names. */
export interface Resumption {
  /** The response's field that holds the cursor. */
  readonly cursor: string;
  /** The request's field that says after which cursor to continue. */
  readonly after: string;
}

/**
 * Reads a method's option hawser.v1.resume; returns `undefined` if the method has none. Finds the option by its number,
 * because the program that generated the method's code has its own copy of the option.
 */
export function resumptionOf(method: DescMethod): Resumption | undefined {
  const option = optionOf(method);
  if (option === undefined) return undefined;
  const { cursor, after } = option;
  return {
    cursor: stringField(method, "cursor", cursor),
    after: stringField(method, "after", after),
  };
}

/** Throws INVALID_ARGUMENT if a method that is not server-streaming has the option. */
export function refuseResumption(method: DescMethod): void {
  if (optionOf(method) === undefined) return;
  const kind = method.methodKind.replaceAll("_", "-");
  throw wrong(method, `is for server-streaming methods; this one is ${kind}: take it away`);
}

/** Returns the option. getOption() would, with what it needs, be 3 KB of a page after gzip. */
function optionOf({ proto }: DescMethod): Resumption | undefined {
  const found = proto.options?.$unknown?.filter(({ no }) => no === OPTION);
  if (found === undefined || found.length === 0) return undefined;
  const option = { cursor: "", after: "" };
  for (const { data } of found) {
    const reader = new BinaryReader(new BinaryReader(data).bytes());
    while (reader.pos < reader.len) {
      const [no, wireType] = reader.tag();
      const isText = wireType === WireType.LengthDelimited;
      if (isText && no === CURSOR) option.cursor = reader.string();
      else if (isText && no === AFTER) option.after = reader.string();
      else reader.skip(wireType, no);
    }
  }
  return option;
}

/** Finds the field that the option names: `cursor` in the response, `after` in the request. */
function stringField(method: DescMethod, key: "cursor" | "after", name: string): string {
  const message = key === "cursor" ? method.output : method.input;
  if (name === "") throw wrong(method, `has no ${key}: name a field of ${message.typeName}`);
  const field = message.fields.find((one) => one.name === name);
  if (field === undefined) {
    throw wrong(
      method,
      `has ${key}: "${name}", but ${message.typeName} has no such field; ${alternatives(message)}`,
    );
  }
  if (isString(field)) return field.localName;
  throw wrong(
    method,
    `has ${key}: "${name}", but that field of ${message.typeName} is no string, or repeated, or in a oneof; ${alternatives(message)}`,
  );
}

function isString(field: DescMessage["fields"][number]): boolean {
  const { fieldKind, scalar, oneof } = field;
  return fieldKind === "scalar" && scalar === ScalarType.STRING && oneof === undefined;
}

/** Lists the fields that the option could name instead. */
function alternatives(message: DescMessage): string {
  const names = message.fields.filter(isString).map(({ name }) => name);
  return names.length === 0 ? "add a string field for it" : `name one of: ${names.join(", ")}`;
}

function wrong({ parent, name }: DescMethod, what: string) {
  const method = `${parent.typeName}.${name}`;
  return failure(Code.InvalidArgument, `${method}: its option hawser.v1.resume ${what}`);
}
