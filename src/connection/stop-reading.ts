import { runtime } from "../flow/runtime.ts";
import { startTimer } from "../flow/wait.ts";
import type { Http2Stream } from "../http2/types.ts";

/** How long a client may take to end its side after the server has. */
const WAIT_MS = 10;

/**
 * Asks a client that still sends after the server has ended the stream to stop (RST_STREAM with NO_ERROR, RFC 9113, 8.1).
 * A client that is about to end its side, as in each unary call, is not asked: node:http2's client would drop the part of
 * the response that it has not read yet. The caller drops what arrives until then.
 */
export function stopReadingSoon(stream: Http2Stream): void {
  if (hasEnded(stream)) return;
  runtime.inLaterTurn(() => {
    if (!hasEnded(stream)) startTimer(WAIT_MS, () => stream.stopReading());
  });
}

function hasEnded(stream: Http2Stream): boolean {
  return stream.isClosed || stream.isRemoteEnded;
}
