/**
 * How large headers and trailers are, as HPACK counts them (RFC 7541, 4.1: the
 * bytes of a name and of its value, and 32 for each field), and how large they
 * may be. What is counted here is ASCII: metadata is checked before.
 */

import { Code, type ConnectError } from "@connectrpc/connect";
import type { HeaderList } from "../call-stream.ts";
import { failure, HEADERS_MAX_FIELDS } from "../failure.ts";

/** What HPACK adds for each field. */
const FIELD_BYTES = 32;

/** The longest header list that this side sends, and that our client announces to take: node:http2 sends no more. */
export const HEADERS_MAX_BYTES = 64 * 1024;

/**
 * The trailers of a call stay below this: grpc-java takes 8 KiB of headers, and
 * grpc-python loses the status of some calls from 8 KiB on.
 */
export const TRAILERS_BYTES = 8000;

/** A peer that announces this much, or more, reads trailers up to what it announces. */
const LARGE_PEER_BYTES = 32 * 1024;

/** What node:http2 gives for a peer that announced no SETTINGS_MAX_HEADER_LIST_SIZE. */
export const NOT_ANNOUNCED = 2 ** 32 - 1;

/** What the header `date` counts, which node:http2 adds to a response. */
export const DATE_BYTES = 65;

/** Response headers leave this for what is added to them: the date, and the answer of a session. */
const RESPONSE_RESERVE_BYTES = 512;

/** What one field counts. */
export function fieldBytes(name: string, value: string): number {
  return name.length + value.length + FIELD_BYTES;
}

/** What a header list counts, pseudo-headers included. */
export function headerListBytes(headers: HeaderList): number {
  let bytes = 0;
  forEachField(headers, (name, value) => {
    bytes += fieldBytes(name, value);
  });
  return bytes;
}

/** How many fields a header list has, pseudo-headers included. */
export function countFields(headers: HeaderList): number {
  let count = 0;
  forEachField(headers, () => {
    count++;
  });
  return count;
}

function forEachField(headers: HeaderList, visit: (name: string, value: string) => void): void {
  for (const name in headers) {
    const value = headers[name];
    if (Array.isArray(value)) for (const one of value) visit(name, one);
    else if (value !== undefined) visit(name, String(value));
  }
}

/** Below how many bytes the trailers of a call stay, by the SETTINGS_MAX_HEADER_LIST_SIZE that its client announced. */
export function trailersLimit(announced: number): number {
  if (announced === NOT_ANNOUNCED) return TRAILERS_BYTES;
  if (announced >= LARGE_PEER_BYTES) return Math.min(announced, HEADERS_MAX_BYTES);
  return Math.min(announced, TRAILERS_BYTES);
}

/**
 * The most bytes of response headers, by the same announcement. A client that
 * announced nothing gets what this side can send; grpc-python, which announces
 * 16 KiB, loses some calls from 8 KiB on here too.
 */
export function responseHeadersLimit(announced: number): number {
  const limit = announced === NOT_ANNOUNCED ? HEADERS_MAX_BYTES : trailersLimit(announced);
  return Math.max(limit - RESPONSE_RESERVE_BYTES, 0);
}

/**
 * Throws RESOURCE_EXHAUSTED where request headers are more than this side
 * sends, or than the server takes.
 *
 * @param announced the server's SETTINGS_MAX_HEADER_LIST_SIZE
 * @param moreBytes what is still added to them
 */
export function checkRequestHeaders(
  headers: HeaderList,
  announced = NOT_ANNOUNCED,
  moreBytes = 0,
): void {
  const bytes = headerListBytes(headers) + moreBytes;
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

/** A server reset a call with more request headers than node:http2's servers take. */
export function requestRefused(count: number, by: string): ConnectError {
  return failure(
    Code.ResourceExhausted,
    `${by} refused the call's ${count} headers (RST_STREAM with HTTP/2 error ENHANCE_YOUR_CALM): servers on Node take ${HEADERS_MAX_FIELDS}; send less metadata`,
  );
}
