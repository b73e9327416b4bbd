import {
  type DescField,
  type DescMethod,
  getOption,
  hasOption,
  type Message,
} from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { resume } from "hawser/gen/hawser/v1/resume_pb.js";

/** Whether a method declares a cursor (hawser/v1/resume.proto), after which a call continues. */
export function hasCursor(method: DescMethod): boolean {
  return hasOption(method, resume);
}

/** Has a call begin after a cursor. createClient() refuses a method whose option names no such field. */
export function beginAfter(method: DescMethod, request: Message, cursor: string): void {
  const field = fieldOf(method.input.fields, getOption(method, resume).after);
  if (field !== undefined) reflect(method.input, request).set(field, cursor);
}

/** Returns the cursor in a response; `undefined` if it has none. */
export function cursorIn(method: DescMethod, response: Message): string | undefined {
  if (!hasCursor(method)) return undefined;
  const field = fieldOf(method.output.fields, getOption(method, resume).cursor);
  const cursor = field && reflect(method.output, response).get(field);
  return typeof cursor === "string" && cursor !== "" ? cursor : undefined;
}

function fieldOf(fields: readonly DescField[], name: string): DescField | undefined {
  return fields.find((field) => field.name === name);
}
