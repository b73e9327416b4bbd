/** Which header fields HTTP/2 allows, received and sent (RFC 9113, 8.2 and 8.3). */
import { InvalidFieldsError } from "./errors.ts";
import type { FieldList } from "./hpack/field-list.ts";

/** The pseudo-header fields of a kind of header block; the required ones are first. */
export interface FieldsKind {
  readonly name: string;
  readonly pseudo: readonly string[];
  readonly required: number;
}

export const REQUEST: FieldsKind = {
  name: "requests",
  pseudo: [":method", ":scheme", ":path", ":authority"],
  required: 3,
};
export const RESPONSE: FieldsKind = { name: "responses", pseudo: [":status"], required: 1 };
export const TRAILERS: FieldsKind = { name: "trailers", pseudo: [], required: 0 };

// Positions among the pseudo-header fields.
const METHOD = 0;
const SCHEME = 1;
const PATH = 2;
const AUTHORITY = 3;
const STATUS = 0;

/** Fields of HTTP/1.1 connections, which HTTP/2 has none of (RFC 9113, 8.2.2). */
const CONNECTION_FIELDS: readonly string[] = [
  ...["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"],
];

/** The characters of names: of a token (RFC 9110, 5.6.2), in lower case. */
const NAME_CHARACTERS = new Uint8Array(256);
for (const c of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
  NAME_CHARACTERS[c.charCodeAt(0)] = 1;
}

const NONE: FieldList = [];

const COLON = 0x3a;
const SPACE = 0x20;
const TAB = 0x09;

/** How much of a name or a value an error shows. */
const SHOWN_CHARACTERS = 60;

/**
 * Returns why HTTP/2 does not allow these fields; undefined if it does.
 *
 * @param valid fields of the same kind that are allowed: names and values that are equal to theirs are not checked again
 */
export function findInvalid(
  fields: FieldList,
  kind: FieldsKind,
  valid: FieldList = NONE,
): string | undefined {
  const pseudo: (string | undefined)[] = [];
  let host: string | undefined;
  let isPastPseudo = false;
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] as string;
    const value = fields[at + 1] as string;
    let reason: string | undefined;
    const isKnown = valid[at] === name && valid[at + 1] === value;
    if (name.charCodeAt(0) === COLON) {
      const index = kind.pseudo.indexOf(name);
      if (isPastPseudo) reason = "pseudo-header fields come first";
      else if (index < 0) reason = `not a pseudo-header field of ${kind.name}`;
      else if (pseudo[index] !== undefined) reason = "it is there twice";
      else pseudo[index] = value;
    } else {
      isPastPseudo = true;
      if (!isKnown) reason = findInvalidName(name, value);
      if (name === "host") {
        if (host !== undefined && host !== value) reason = "it is there twice";
        host = value;
      }
    }
    if (!isKnown) reason ??= findInvalidValue(value);
    if (reason !== undefined) return `the field ${shown(name)}: ${reason}`;
  }
  if (kind === REQUEST) return findInvalidRequest(pseudo, host);
  return findMissing(pseudo, kind) ?? (kind === RESPONSE ? findInvalidStatus(pseudo) : undefined);
}

/** Throws an InvalidFieldsError if HTTP/2 does not allow these fields to be sent. */
export function checkSentFields(fields: FieldList, kind: FieldsKind): void {
  const reason = findInvalid(fields, kind);
  if (reason !== undefined) throw new InvalidFieldsError(reason);
  if (kind === REQUEST && fieldOf(fields, ":method") === "CONNECT") {
    throw new InvalidFieldsError('the field ":method": CONNECT is not supported');
  }
}

/** The value of the first field of this name. */
export function fieldOf(fields: FieldList, name: string): string | undefined {
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] === name) return fields[at + 1];
  }
  return undefined;
}

/** The status of valid response headers. */
export const statusOf = (fields: FieldList): string => fieldOf(fields, ":status") as string;

/** Returns the content-length; -1 if the fields have no content-length, undefined if it is not a number, or if two differ. */
export function contentLengthOf(fields: FieldList): number | undefined {
  let length = -1;
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] !== "content-length") continue;
    const value = fields[at + 1] as string;
    const bytes = /^\d{1,15}$/.test(value) ? Number(value) : undefined;
    if (bytes === undefined || (length >= 0 && length !== bytes)) return undefined;
    length = bytes;
  }
  return length;
}

/** Joins the cookies, which clients may send as several fields (RFC 9113, 8.2.3). */
export function joinCookies(fields: FieldList): FieldList {
  const first = fields.indexOf("cookie");
  if (first < 0) return fields;
  const joined: string[] = [];
  let cookieAt: number | undefined;
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] as string;
    const value = fields[at + 1] as string;
    if (name === "cookie" && cookieAt !== undefined) joined[cookieAt] += `; ${value}`;
    else joined.push(name, value);
    if (name === "cookie") cookieAt ??= joined.length - 1;
  }
  return joined.length === fields.length ? fields : joined;
}

function findInvalidName(name: string, value: string): string | undefined {
  if (name === "") return "the name is empty";
  for (let i = 0; i < name.length; i++) {
    const c = name.charCodeAt(i);
    if (NAME_CHARACTERS[c] === 1) continue;
    const isUpperCase = c >= 0x41 && c <= 0x5a;
    return isUpperCase ? "names are in lower case" : `the name contains ${character(c)}`;
  }
  if (name === "te") return value === "trailers" ? undefined : 'its value may only be "trailers"';
  return CONNECTION_FIELDS.includes(name) ? "HTTP/2 has no fields about a connection" : undefined;
}

function findInvalidValue(value: string): string | undefined {
  const { length } = value;
  if (length === 0) return undefined;
  for (let i = 0; i < length; i++) {
    const c = value.charCodeAt(i);
    // NUL, LF, CR, and what is not a byte.
    if (c <= 0x0d ? c === 0 || c === 0x0a || c === 0x0d : c > 0xff) {
      return `the value contains ${character(c)}`;
    }
  }
  const first = value.charCodeAt(0);
  const last = value.charCodeAt(length - 1);
  const hasSpace = first === SPACE || first === TAB || last === SPACE || last === TAB;
  return hasSpace ? "the value begins or ends with a space or a tab" : undefined;
}

function findMissing(
  pseudo: readonly (string | undefined)[],
  kind: FieldsKind,
): string | undefined {
  for (let i = 0; i < kind.required; i++) {
    if (pseudo[i] === undefined) return `the field ${shown(kind.pseudo[i] as string)} is missing`;
  }
  return undefined;
}

function findInvalidRequest(
  pseudo: readonly (string | undefined)[],
  host: string | undefined,
): string | undefined {
  const authority = pseudo[AUTHORITY];
  if (pseudo[METHOD] === "CONNECT") {
    // RFC 9113, 8.5.
    if (pseudo[SCHEME] !== undefined || pseudo[PATH] !== undefined) {
      return "CONNECT has neither :scheme nor :path";
    }
    return authority === undefined ? 'the field ":authority" is missing' : undefined;
  }
  const missing = findMissing(pseudo, REQUEST);
  if (missing !== undefined) return missing;
  if (pseudo[METHOD] === "") return 'the field ":method" is empty';
  if (pseudo[PATH] === "") return 'the field ":path" is empty';
  if (authority === undefined || host === undefined) return undefined;
  const agrees = authority.toLowerCase() === host.toLowerCase();
  return agrees ? undefined : "the fields :authority and host differ";
}

function findInvalidStatus(pseudo: readonly (string | undefined)[]): string | undefined {
  const status = pseudo[STATUS] as string;
  if (!/^[1-9]\d\d$/.test(status)) return `the field ":status": ${shown(status)} is not a status`;
  // RFC 9113, 8.6.
  return status === "101" ? 'the field ":status": HTTP/2 has no status 101' : undefined;
}

function character(code: number): string {
  return `the character 0x${code.toString(16).padStart(2, "0")}`;
}

function shown(text: string): string {
  const isLong = text.length > SHOWN_CHARACTERS;
  return JSON.stringify(isLong ? `${text.slice(0, SHOWN_CHARACTERS)}...` : text);
}
