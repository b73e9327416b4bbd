import { constants, type Http2Stream, type ServerHttp2Stream } from "node:http2";
import { Code, type ConnectError } from "@connectrpc/connect";
import { failure } from "../../failure.ts";
import { HEADERS_MAX_BYTES } from "../../grpc/header-limits.ts";

/** The meaning of HTTP/2 error codes for a call (gRPC PROTOCOL-HTTP2, "Errors"); all others are INTERNAL. */
const MEANING: Record<number, [Code, string]> = {
  [constants.NGHTTP2_NO_ERROR]: [Code.Internal, "ended the call without a gRPC status"],
  [constants.NGHTTP2_REFUSED_STREAM]: [Code.Unavailable, "refused the call"],
  [constants.NGHTTP2_CANCEL]: [Code.Canceled, "cancelled the call"],
  [constants.NGHTTP2_ENHANCE_YOUR_CALM]: [
    Code.ResourceExhausted,
    // node:http2 resets a call with the same code if the response is over its own limit; the two cannot be
    // distinguished.
    `reset the call with ENHANCE_YOUR_CALM: too many requests or resets, or response headers over the ${HEADERS_MAX_BYTES} B that this client takes`,
  ],
  [constants.NGHTTP2_INADEQUATE_SECURITY]: [
    Code.PermissionDenied,
    "asks for a more secure connection",
  ],
};

export interface Reset {
  readonly error: ConnectError;
  /** Whether the server did nothing for the call (REFUSED_STREAM). */
  readonly refused: boolean;
}

/** Returns the error of a call whose stream was reset by `peer` with an HTTP/2 error code. */
export function readReset(rstCode: number, peer: string): Reset {
  const [code, what] = MEANING[rstCode] ?? [Code.Internal, "broke off the call"];
  return {
    error: failure(code, `${peer} ${what} (RST_STREAM with HTTP/2 error ${rstCode})`),
    refused: rstCode === constants.NGHTTP2_REFUSED_STREAM,
  };
}

/**
 * Resets a stream without END_STREAM. close() of node:http2 would end the writable
 * side first, and the peer would take a cancelled call for a half-closed one.
 */
export function reset(stream: Http2Stream, rstCode: number): void {
  if (stream.closed || stream.destroyed) return;
  if (!stream.writableEnded) stream._final = (done) => done();
  stream.close(rstCode);
}

/**
 * Destroys a stream that the peer reset with NO_ERROR: node:http2 keeps it, and
 * does not emit 'close', while something waits to be written.
 */
export function destroyReset(stream: Http2Stream): void {
  if (stream.closed && !stream.destroyed && !stream.writableFinished) stream.destroy();
}

/**
 * Frees a stream that the server has ended. If the client has not ended its side,
 * RST_STREAM(NO_ERROR) asks it to stop (RFC 9113, 8.1). A reset overtakes what
 * waits for the socket, so this waits until the end was sent; node:http2 has no
 * event for that.
 */
export function free(stream: ServerHttp2Stream, waitMs = 0): void {
  if (stream.closed || stream.destroyed) return;
  const { localClose, remoteClose } = stream.state;
  if (remoteClose === 1) return;
  if (localClose === 1) reset(stream, constants.NGHTTP2_NO_ERROR);
  else if (waitMs === 0) setImmediate(free, stream, 1);
  else setTimeout(free, waitMs, stream, Math.min(waitMs * 2, 1000)).unref();
}
