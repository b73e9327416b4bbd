import { Code, ConnectError } from "hawser/server";
import { NAME_CHARACTERS, TEXT_CHARACTERS } from "./limits.ts";
import { faultOf } from "./names.ts";

/** The largest sequence: stores keep it in 64 bits with a sign. */
const LARGEST_SEQUENCE = 2n ** 63n - 1n;

/** Line breaks and tabs are text. */
const CONTROL_IN_TEXT = /[^\P{Cc}\n\r\t]/u;

/** An error with the code INVALID_ARGUMENT. */
export function invalid(message: string): ConnectError {
  return new ConnectError(message, Code.InvalidArgument);
}

/** Throws unless the value can be the name of a room, a member or a producer. */
export function checkName(field: string, value: string): void {
  checkLength(field, value, NAME_CHARACTERS);
  const fault = faultOf(value);
  if (fault !== undefined) throw invalid(`${field} ${fault}`);
}

/** Throws unless the value can be the text of a message. */
export function checkText(field: string, value: string): void {
  checkLength(field, value, TEXT_CHARACTERS);
  const [found] = CONTROL_IN_TEXT.exec(value) ?? [];
  if (found === undefined) return;
  const code = found.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
  const what = "leave out control characters other than line breaks and tabs";
  throw invalid(`${field} holds U+${code}: ${what}`);
}

/** Throws unless the value can be the number of a message. */
export function checkSequence(field: string, value: bigint): void {
  if (value < 1n || value > LARGEST_SEQUENCE) {
    throw invalid(`${field} is ${value}: count messages from 1, at most to ${LARGEST_SEQUENCE}`);
  }
}

function checkLength(field: string, value: string, maxCharacters: number): void {
  // There are never more code points than UTF-16 units.
  if (value.length > 0 && value.length <= maxCharacters) return;
  let characters = 0;
  for (const _ of value) characters++;
  if (characters >= 1 && characters <= maxCharacters) return;
  const has = characters === 0 ? "is empty" : `has ${characters} characters`;
  throw invalid(`${field} ${has}: it must have 1 to ${maxCharacters}`);
}
