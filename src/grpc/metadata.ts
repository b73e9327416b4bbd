/** Metadata between the Headers of Connect's API and the header objects of node:http2. */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http2";

/** What came, without the pseudo-headers. */
export function toHeaders(incoming: IncomingHttpHeaders): Headers {
  const headers = new Headers();
  for (const name in incoming) {
    if (name.startsWith(":")) continue;
    const value = incoming[name];
    if (typeof value === "string") headers.append(name, value);
    else if (Array.isArray(value)) for (const one of value) headers.append(name, one);
  }
  return headers;
}

/** Headers of sessions: a handler does not see them, and cannot set them. */
const isOfSessions = (name: string) => name.startsWith("hawser-");

/** Names and values in turn, as node:http2 gives them, without those of sessions. */
export function withoutSessions(raw: readonly string[]): string[] {
  return raw.filter((_, at) => !isOfSessions(raw[at - (at % 2)] as string));
}

/** What toHeaders() makes, of names and values in turn. */
export function rawToHeaders(raw: readonly string[]): Headers {
  const headers = new Headers();
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] as string;
    if (!name.startsWith(":")) headers.append(name, raw[at + 1] as string);
  }
  return headers;
}

const GRPC_WITH_PROTOBUF = /^application\/grpc(?:\+proto)?(?:;|$)/i;

/** Whether a content-type is that of gRPC with protobuf messages. */
export function isGrpc(contentType: string | string[] | undefined): boolean {
  return GRPC_WITH_PROTOBUF.test(String(contentType ?? ""));
}

/** Headers that belong to a connection, which HTTP/2 forbids (RFC 9113, 8.2.2), and those the protocol sets itself. */
const RESERVED = new Set([
  "connection",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade",
  "content-length",
]);

/** Adds metadata to what leaves; names that gRPC, HTTP/2 or sessions keep for themselves are left out. */
export function addHeaders(outgoing: OutgoingHttpHeaders, headers: Headers | undefined): void {
  headers?.forEach((value, name) => {
    if (RESERVED.has(name) || isOfSessions(name) || Object.hasOwn(outgoing, name)) return;
    if (name === "set-cookie") outgoing[name] = headers.getSetCookie();
    // Headers joins what was appended; peers such as grpc-go do not split binary values again.
    else outgoing[name] = name.endsWith("-bin") ? value.split(/,\s*/) : value;
  });
}
