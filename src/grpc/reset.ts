import { constants, type Http2Stream } from "node:http2";
import { Code, type ConnectError } from "@connectrpc/connect";
import { failure } from "../failure.ts";

/** What each HTTP/2 error code means for a call (gRPC PROTOCOL-HTTP2, "Errors"); the rest is INTERNAL. */
const MEANING: Record<number, [Code, string]> = {
  [constants.NGHTTP2_NO_ERROR]: [Code.Internal, "ended the call without a gRPC status"],
  [constants.NGHTTP2_REFUSED_STREAM]: [Code.Unavailable, "refused the call"],
  [constants.NGHTTP2_CANCEL]: [Code.Canceled, "cancelled the call"],
  [constants.NGHTTP2_ENHANCE_YOUR_CALM]: [
    Code.ResourceExhausted,
    "asks for calm: it gets more than it serves",
  ],
  [constants.NGHTTP2_INADEQUATE_SECURITY]: [
    Code.PermissionDenied,
    "asks for a more secure connection",
  ],
};

export interface Reset {
  readonly error: ConnectError;
  /** Whether the server says that it did nothing for the call. */
  readonly refused: boolean;
}

/** What it means that `peer` reset the stream of a call with an HTTP/2 error code. */
export function readReset(rstCode: number, peer: string): Reset {
  const [code, what] = MEANING[rstCode] ?? [Code.Internal, "broke off the call"];
  return {
    error: failure(code, `${peer} ${what} (RST_STREAM with HTTP/2 error ${rstCode})`),
    refused: rstCode === constants.NGHTTP2_REFUSED_STREAM,
  };
}

/**
 * Resets a stream, and does nothing else: close() of node:http2 ends the
 * writable side first, which the peer sees as END_STREAM: a cancelled call
 * would look like a half-closed one.
 */
export function reset(stream: Http2Stream, rstCode: number): void {
  if (stream.closed || stream.destroyed) return;
  if (!stream.writableEnded) stream._final = (done) => done();
  stream.close(rstCode);
}
