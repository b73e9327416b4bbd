import { Code, ConnectError } from "hawser/server";
import { NAME_CHARACTERS, TEXT_CHARACTERS } from "./limits.ts";

/** The largest sequence: stores keep it in 64 bits with a sign. */
const LARGEST_SEQUENCE = 2n ** 63n - 1n;

/** Control characters that a value must not hold. */
interface Controls {
  readonly pattern: RegExp;
  /** Which ones the value may hold, as an error says it. */
  readonly exception: string;
}

const CONTROLS: Controls = { pattern: /\p{Cc}/u, exception: "" };
const CONTROLS_IN_TEXT: Controls = {
  pattern: /[^\P{Cc}\n\r\t]/u,
  exception: " other than line breaks and tabs",
};

/** An error with the code INVALID_ARGUMENT. */
export function invalid(message: string): ConnectError {
  return new ConnectError(message, Code.InvalidArgument);
}

/** Throws unless the value can be the name of a room, a member or a producer. */
export function checkName(field: string, value: string): void {
  checkLength(field, value, NAME_CHARACTERS);
  checkControls(field, value, CONTROLS);
}

/** Throws unless the value can be the text of a message. */
export function checkText(field: string, value: string): void {
  checkLength(field, value, TEXT_CHARACTERS);
  checkControls(field, value, CONTROLS_IN_TEXT);
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

function checkControls(field: string, value: string, { pattern, exception }: Controls): void {
  const found = pattern.exec(value);
  if (found === null) return;
  const code = (found[0].codePointAt(0) as number).toString(16).toUpperCase().padStart(4, "0");
  throw invalid(`${field} holds U+${code}: leave out control characters${exception}`);
}
