/** Makes complete messages from what callers pass. */
import {
  create,
  type DescField,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import type { Fields } from "./decoder.ts";
import { ownFormOf } from "./own-form.ts";

/** The error of a value that is not a message of the required type. */
export class NotThatMessage extends TypeError {}

/**
 * Makes a message from what a caller passed, like protobuf-es' create(); but fields may be named like methods that
 * every object has. Throws a NotThatMessage if the value is not an object, or is a message of another type.
 */
export function complete<Desc extends DescMessage>(
  desc: Desc,
  given: MessageInitShape<Desc>,
): MessageShape<Desc> {
  checkIsObject(desc, given);
  checkTypes(desc, given as Fields);
  return hasInherited(desc) ? rebuild(desc, given as Fields) : create(desc, given);
}

/** Does the same for the functions of the API: the error is INVALID_ARGUMENT. */
export function giveMessage<Desc extends DescMessage>(
  desc: Desc,
  given: MessageInitShape<Desc>,
): MessageShape<Desc> {
  try {
    return complete(desc, given);
  } catch (error) {
    if (!(error instanceof NotThatMessage)) throw error;
    throw failure(Code.InvalidArgument, error.message, error);
  }
}

/** Throws a NotThatMessage if a value is not an object. */
function checkIsObject(desc: DescMessage, value: unknown): void {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return;
  throw new NotThatMessage(
    `${describe(value)} is not a ${desc.typeName}: give an object with its fields`,
  );
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return "an array";
  if (typeof value === "string") return `the string ${JSON.stringify(value.slice(0, 40))}`;
  return typeof value === "function" ? "a function" : String(value);
}

/** Throws if a message, or one within it, is of another type. */
function checkTypes(desc: DescMessage, message: Fields): void {
  if (message.$typeName !== undefined && message.$typeName !== desc.typeName) {
    throw new NotThatMessage(`a ${message.$typeName} is not a ${desc.typeName}`);
  }
  for (const field of messageFieldsOf(desc)) {
    for (const value of valuesIn(message, field)) checkTypes(field.message, value);
  }
}

type MessageField = DescField & { readonly message: DescMessage };

const messageFields = new WeakMap<DescMessage, readonly MessageField[]>();

/** Returns the fields that hold messages, without those whose messages have a form of their own (own-form.ts). */
function messageFieldsOf(desc: DescMessage): readonly MessageField[] {
  let fields = messageFields.get(desc);
  if (fields === undefined) {
    fields = desc.fields.filter(
      (field): field is MessageField =>
        field.message !== undefined && ownFormOf(field) === undefined,
    );
    messageFields.set(desc, fields);
  }
  return fields;
}

/** Returns the value that the caller set; `undefined` if the property is only a method that every object has. */
function givenTo({ localName, oneof }: DescField, message: Fields): unknown {
  if (oneof === undefined) return ownOf(message, localName);
  const set = ownOf(message, oneof.localName) as { case?: string; value?: unknown } | undefined;
  return set?.case === localName ? set.value : undefined;
}

function ownOf(message: Fields, name: string): unknown {
  const value = message[name];
  return value === inheritedAs(name) ? undefined : value;
}

/** Returns the method of this name that every object has. It is not a value that a caller set. */
export function inheritedAs(name: string): unknown {
  // TypeScript's Object has no index by arbitrary names; only a few names have a method.
  return (Object.prototype as unknown as Fields)[name];
}

/** Returns the messages in a field of any kind. */
function valuesIn(message: Fields, field: MessageField): Fields[] {
  const given = givenTo(field, message);
  if (typeof given !== "object" || given === null) return [];
  const values = field.fieldKind === "message" ? [given] : Object.values(given);
  return values.filter((value) => typeof value === "object" && value !== null);
}

const inherited = new WeakMap<DescMessage, boolean>();

/** Whether the message, or a message within it, has a field with the name of a method of Object.prototype. */
export function hasInherited(desc: DescMessage): boolean {
  let has = inherited.get(desc);
  if (has === undefined) {
    const seen = new Set<DescMessage>();
    const below = [desc];
    for (let one = below.pop(); one !== undefined; one = below.pop()) {
      if (seen.has(one)) continue;
      seen.add(one);
      for (const field of messageFieldsOf(one)) below.push(field.message);
    }
    has = [...seen].some(({ members }) =>
      members.some(({ localName }) => localName in Object.prototype),
    );
    inherited.set(desc, has);
  }
  return has;
}

/** Does what create() does, which would mistake the methods that every object has for values of the caller. */
function rebuild<Desc extends DescMessage>(desc: Desc, given: Fields): MessageShape<Desc> {
  const init: Fields = Object.create(null);
  for (const { localName } of desc.members) {
    const value = ownOf(given, localName);
    // If presence is on a prototype (proto2), a field that the caller did not set stays unset.
    if (value !== undefined && (given.$typeName === undefined || Object.hasOwn(given, localName))) {
      init[localName] = value;
    }
  }
  for (const field of messageFieldsOf(desc)) rebuildField(field, init);
  const message = create(desc, init as MessageInitShape<Desc>);
  if (given.$unknown !== undefined) (message as Fields).$unknown = given.$unknown;
  return message;
}

function rebuildField(field: MessageField, init: Fields): void {
  const given = givenTo(field, init);
  if (typeof given !== "object" || given === null) return;
  const whole = (value: unknown) =>
    typeof value === "object" && value !== null ? rebuild(field.message, value as Fields) : value;
  const { localName, oneof } = field;
  if (field.fieldKind === "message") {
    if (oneof === undefined) init[localName] = whole(given);
    else init[oneof.localName] = { case: localName, value: whole(given) };
  } else if (field.fieldKind === "list") {
    if (Array.isArray(given)) init[localName] = given.map(whole);
  } else {
    const entries = Object.entries(given).map(([key, value]) => [key, whole(value)]);
    init[localName] = Object.fromEntries(entries);
  }
}
