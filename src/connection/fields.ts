/** Converts between the fields of HTTP/2 and the header objects of a call. */
import type { HeaderList } from "../call-stream.ts";
import { FixedFields, type SentFields } from "../http2/fixed-fields.ts";
import type { FieldList } from "../http2/hpack/field-list.ts";

/**
 * Fields of which only the first counts if a peer sends several: HTTP allows one of each, and joined values would mean
 * something else (RFC 9110, 5.3).
 */
const SINGLE = new Set([
  "authorization",
  "content-length",
  "content-type",
  "date",
  "from",
  "grpc-timeout",
  "host",
  "user-agent",
]);

/**
 * Converts received fields. Several fields of one name become one value, joined by commas; `set-cookie` becomes an array.
 *
 * The objects are not kept for a header block that comes again: a WeakMap would take ten times as long for each block
 * that does not.
 */
export function toHeaderList(fields: FieldList): HeaderList {
  // A peer may name a field as a property that every other object has.
  const headers: HeaderList = Object.create(null);
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] as string;
    const value = fields[at + 1] as string;
    const before = headers[name];
    if (name === "set-cookie") headers[name] = [...((before as string[] | undefined) ?? []), value];
    else if (name === ":status") headers[name] = Number(value);
    else if (before === undefined) headers[name] = value;
    else if (!SINGLE.has(name)) {
      headers[name] = `${before}${name === "cookie" ? "; " : ", "}${value}`;
    }
  }
  return headers;
}

/** The fields of frozen header lists: these never change, and many calls send them. */
const fixedFields = new WeakMap<HeaderList, FixedFields>();

/** As toFields(), for response headers. A frozen list is converted and checked once. */
export function toResponseFields(headers: HeaderList): SentFields {
  return fixedFields.get(headers) ?? fixedOnce(headers, FixedFields.ofResponse);
}

/** As toFields(), for trailers. A frozen list is converted and checked once. */
export function toTrailerFields(headers: HeaderList): SentFields {
  return fixedFields.get(headers) ?? fixedOnce(headers, FixedFields.ofTrailers);
}

function fixedOnce(headers: HeaderList, fix: (fields: FieldList) => FixedFields): SentFields {
  const fields = toFields(headers);
  if (!Object.isFrozen(headers)) return fields;
  const fixed = fix(fields);
  fixedFields.set(headers, fixed);
  return fixed;
}

/** Converts headers that are sent: an array becomes several fields. */
export function toFields(headers: HeaderList): string[] {
  const fields: string[] = [];
  for (const name in headers) {
    const value = headers[name];
    if (typeof value === "string") fields.push(name, value);
    else if (Array.isArray(value)) for (const one of value) fields.push(name, one);
    else if (value !== undefined) fields.push(name, String(value));
  }
  return fields;
}
