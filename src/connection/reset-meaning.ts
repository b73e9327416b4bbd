import { Code, type ConnectError } from "@connectrpc/connect";
import { failure } from "../failure.ts";

/** Error codes of HTTP/2 (RFC 9113, 7). */
export const Http2Code = {
  NO_ERROR: 0,
  INTERNAL_ERROR: 2,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  ENHANCE_YOUR_CALM: 11,
  INADEQUATE_SECURITY: 12,
} as const;

/** The meaning of HTTP/2 error codes for a call (gRPC PROTOCOL-HTTP2, "Errors"); all others are INTERNAL. */
const MEANING: Record<number, [Code, string]> = {
  [Http2Code.NO_ERROR]: [Code.Internal, "ended the call without a gRPC status"],
  [Http2Code.REFUSED_STREAM]: [Code.Unavailable, "refused the call"],
  [Http2Code.CANCEL]: [Code.Canceled, "cancelled the call"],
  [Http2Code.ENHANCE_YOUR_CALM]: [
    Code.ResourceExhausted,
    "reset the call with ENHANCE_YOUR_CALM: it takes too much of a resource there, or there are too many requests or resets",
  ],
  [Http2Code.INADEQUATE_SECURITY]: [Code.PermissionDenied, "asks for a more secure connection"],
};

/** Returns the error of a call whose stream `peer` has reset with an HTTP/2 error code. */
export function resetMeaning(code: number, peer: string): ConnectError {
  const [status, what] = MEANING[code] ?? [Code.Internal, "broke off the call"];
  return failure(status, `${peer} ${what} (RST_STREAM with HTTP/2 error ${code})`);
}
