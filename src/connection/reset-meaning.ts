import { Code, type ConnectError } from "@connectrpc/connect";
import { peerFailure } from "../failure.ts";
import {
  CANCEL,
  ENHANCE_YOUR_CALM,
  INADEQUATE_SECURITY,
  NO_ERROR,
  REFUSED_STREAM,
} from "../http2/frames.ts";

/** The meaning of HTTP/2 error codes for a call (gRPC PROTOCOL-HTTP2, "Errors"); all others are INTERNAL. */
const MEANING: Record<number, [Code, string]> = {
  [NO_ERROR]: [Code.Internal, "ended the call without a gRPC status"],
  [REFUSED_STREAM]: [Code.Unavailable, "refused the call"],
  [CANCEL]: [Code.Canceled, "cancelled the call"],
  [ENHANCE_YOUR_CALM]: [
    Code.ResourceExhausted,
    "reset the call with ENHANCE_YOUR_CALM: it takes too much of a resource there, or there are too many requests or resets",
  ],
  [INADEQUATE_SECURITY]: [Code.PermissionDenied, "asks for a more secure connection"],
};

/** Returns the error of a call whose stream `peer` has reset with an HTTP/2 error code. */
export function resetMeaning(code: number, peer: string): ConnectError {
  const [status, what] = MEANING[code] ?? [Code.Internal, "broke off the call"];
  return peerFailure(status, `${peer} ${what} (RST_STREAM with HTTP/2 error ${code})`);
}
