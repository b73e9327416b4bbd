/**
 * The size of headers and trailers as HPACK counts it (RFC 7541, 4.1: the bytes
 * of a name and of its value, and 32 for each field), and the limits. The text
 * that is counted here is ASCII: metadata is checked before.
 */

import { Code, type ConnectError } from "@connectrpc/connect";
import type { HeaderList } from "../call-stream.ts";
import { failure, HEADERS_MAX_FIELDS, peerFailure } from "../failure.ts";

/** HPACK adds this for each field. */
const FIELD_BYTES = 32;

/** The limit of header lists that this side sends, and that it announces: node:http2 sends no longer ones. */
export const HEADERS_MAX_BYTES = 64 * 1024;

/**
 * The trailers of a call stay below this: grpc-java takes 8 KiB of headers, and
 * grpc-python loses the status of some calls from 8 KiB on.
 */
export const TRAILERS_BYTES = 8000;

/** A peer that announces at least this much reads trailers up to the announced size. */
const LARGE_PEER_BYTES = 32 * 1024;

/** A peer that announced no SETTINGS_MAX_HEADER_LIST_SIZE has no limit (RFC 9113, 6.5.2). */
const NOT_ANNOUNCED = Number.POSITIVE_INFINITY;

/** Response headers stay this far below the limit, for the answer of a session. */
const RESPONSE_RESERVE_BYTES = 512;

/** The size of one field. */
export function fieldBytes(name: string, value: string): number {
  return name.length + value.length + FIELD_BYTES;
}

/** The size of a header list, pseudo-headers included. */
export function headerListBytes(headers: HeaderList): number {
  let bytes = 0;
  forEachField(headers, (name, value) => {
    bytes += fieldBytes(name, value);
  });
  return bytes;
}

function forEachField(headers: HeaderList, visit: (name: string, value: string) => void): void {
  for (const name in headers) {
    const value = headers[name];
    if (Array.isArray(value)) for (const one of value) visit(name, one);
    else if (value !== undefined) visit(name, String(value));
  }
}

/**
 * The limit of a call's trailers, by the SETTINGS_MAX_HEADER_LIST_SIZE that its client announced. They stay below it.
 */
export function trailersLimit(announced: number): number {
  if (announced === NOT_ANNOUNCED) return TRAILERS_BYTES;
  if (announced >= LARGE_PEER_BYTES) return Math.min(announced, HEADERS_MAX_BYTES);
  return Math.min(announced, TRAILERS_BYTES);
}

/**
 * The limit of response headers, by the same SETTINGS value. For a client that
 * announced none it is what this side can send; grpc-python, which announces
 * 16 KiB, loses some calls from 8 KiB on here too.
 */
export function responseHeadersLimit(announced: number): number {
  const limit = announced === NOT_ANNOUNCED ? HEADERS_MAX_BYTES : trailersLimit(announced);
  return Math.max(limit - RESPONSE_RESERVE_BYTES, 0);
}

/**
 * Throws RESOURCE_EXHAUSTED if request headers of this size are larger than this
 * side sends, or than the server accepts.
 *
 * @param announced the server's SETTINGS_MAX_HEADER_LIST_SIZE
 */
export function checkRequestBytes(bytes: number, announced = NOT_ANNOUNCED): void {
  if (bytes <= Math.min(announced, HEADERS_MAX_BYTES)) return;
  const limit =
    announced < HEADERS_MAX_BYTES
      ? `the server's SETTINGS_MAX_HEADER_LIST_SIZE ${announced} B`
      : `the ${HEADERS_MAX_BYTES} B that this client sends at most`;
  throw failure(
    Code.ResourceExhausted,
    `the call's headers are ${bytes} B, over ${limit} (32 B are counted for each header): send less metadata`,
  );
}

/** The error of a call that a server reset, probably because it has more headers than servers on Node accept. */
export function requestRefused(count: number, by: string): ConnectError {
  return peerFailure(
    Code.ResourceExhausted,
    `${by} refused the call's ${count} headers (RST_STREAM with HTTP/2 error ENHANCE_YOUR_CALM): servers on Node take ${HEADERS_MAX_FIELDS}; send less metadata`,
  );
}
