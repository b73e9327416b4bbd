/** Converts metadata between the Headers of Connect's API and header lists, and checks it. */
import { Code, type ConnectError } from "@connectrpc/connect";
import type { HeaderList } from "../call-stream.ts";
import { failure } from "../failure.ts";
import { show } from "../options.ts";

/** Converts received headers, without the pseudo-headers. */
export function toHeaders(incoming: HeaderList): Headers {
  const headers = new Headers();
  for (const name in incoming) {
    if (name.startsWith(":")) continue;
    const value = incoming[name];
    if (typeof value === "string") headers.append(name, value);
    else if (Array.isArray(value)) for (const one of value) headers.append(name, one);
  }
  return headers;
}

/** Whether a header belongs to sessions: a handler does not see it, and cannot set it. */
const isOfSessions = (name: string) => name.startsWith("hawser-");

/** Removes the headers of sessions from names and values in turn. */
export function withoutSessions(raw: readonly string[]): string[] {
  return raw.filter((_, at) => !isOfSessions(raw[at - (at % 2)] as string));
}

/** As toHeaders(), from names and values in turn. */
export function rawToHeaders(raw: readonly string[]): Headers {
  const headers = new Headers();
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] as string;
    if (!name.startsWith(":")) headers.append(name, raw[at + 1] as string);
  }
  return headers;
}

const GRPC_WITH_PROTOBUF = /^application\/grpc(?:\+proto)?(?:;|$)/i;

/** Whether a content-type means gRPC with protobuf messages. */
export function isGrpc(contentType: HeaderList[string]): boolean {
  if (contentType === "application/grpc" || contentType === "application/grpc+proto") return true;
  return GRPC_WITH_PROTOBUF.test(String(contentType ?? ""));
}

/** Names that no application may set: those of a connection (RFC 9113, 8.2.2), and those of a message. */
const RESERVED = new Set([
  "connection",
  "content-length",
  "content-type",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade",
]);

/** Names that begin with "grpc-" are reserved, except for these, which applications and tracing libraries set. */
const FREE_OF_GRPC = new Set(["grpc-retry-pushback-ms", "grpc-tags-bin", "grpc-trace-bin"]);

const isReserved = (name: string) =>
  RESERVED.has(name) || isOfSessions(name) || (name.startsWith("grpc-") && !FREE_OF_GRPC.has(name));

/** Header-Name and ASCII-Value of gRPC's PROTOCOL-HTTP2; an empty value is allowed too. */
const NAME = /^[0-9a-z_.-]+$/;
const ASCII_VALUE = /^[\x20-\x7e]*$/;

/** Splits the values that Headers has joined: peers such as grpc-go do not do that for binary values. */
const splitBinary = (value: string) => value.split(/,\s*/);

/** Whether a value is base64, padded or not. */
function isBase64(value: string): boolean {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(value)) return false;
  return value.length % 4 === 0 || (!value.endsWith("=") && value.length % 4 !== 1);
}

/** Whether there is any metadata. */
export function hasMetadata(metadata: Headers | undefined): metadata is Headers {
  return metadata !== undefined && metadata.entries().next().done === false;
}

/**
 * Adds metadata to outgoing headers; headers that are set already stay. Returns
 * `undefined` if gRPC allows all of it, else what is wrong, with the name of the
 * header and never its value.
 */
export function addMetadata(outgoing: HeaderList, metadata: Headers): string | undefined {
  let wrong: string | undefined;
  const reserved: string[] = [];
  metadata.forEach((value, name) => {
    if (isReserved(name)) reserved.push(`"${name}"`);
    else wrong ??= wrongWith(name, value);
    if (Object.hasOwn(outgoing, name)) return;
    if (name === "set-cookie") outgoing[name] = metadata.getSetCookie();
    else outgoing[name] = name.endsWith("-bin") ? splitBinary(value) : value;
  });
  if (reserved.length === 0) return wrong;
  return `reserved for HTTP/2, gRPC or sessions: ${[...new Set(reserved)].join(", ")}; leave them out`;
}

function wrongWith(name: string, value: string): string | undefined {
  if (!NAME.test(name)) {
    return `"${name}": gRPC allows letters, digits, "_", "-" and "." in a name`;
  }
  if (name.endsWith("-bin")) {
    if (splitBinary(value).every(isBase64)) return undefined;
    return `"${name}": its value is not base64; encodeBinaryHeader makes it`;
  }
  if (ASCII_VALUE.test(value)) return undefined;
  return `"${name}": its value is not printable ASCII; give it a name that ends in "-bin", and base64`;
}

/**
 * Makes Headers of what the caller gave. Throws INVALID_ARGUMENT, with the name
 * of the first header that is not valid.
 */
export function asHeaders(given: HeadersInit): Headers {
  if (typeof given !== "object" || given === null) {
    throw notAllowed(`they are ${show(given)}, and not Headers, an object, or an array of pairs`);
  }
  try {
    return new Headers(given);
  } catch (error) {
    // The engine's error contains the value, which may be a secret.
    throw notAllowed(nameOfInvalid(given), error);
  }
}

/** The error of a call with metadata that gRPC does not allow. */
export function notAllowed(what: string, cause?: unknown): ConnectError {
  return failure(Code.InvalidArgument, `the call's headers cannot be sent: ${what}`, cause);
}

function nameOfInvalid(given: HeadersInit): string {
  const entries: Iterable<readonly string[]> =
    Symbol.iterator in given ? (given as Iterable<string[]>) : Object.entries(given);
  for (const [name = "", value = ""] of entries) {
    try {
      new Headers([[name, value]]);
    } catch {
      const wrong = wrongWith(name.toLowerCase(), String(value));
      return wrong ?? `"${name}": it is not a header of HTTP`;
    }
  }
  return "they are not pairs of names and values";
}
