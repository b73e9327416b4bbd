import { Code, type ConnectError } from "@connectrpc/connect";
import type { End, HeaderList, ServerCallStream } from "../call-stream.ts";
import { failure } from "../failure.ts";
import { headerListBytes, trailersLimit } from "./header-limits.ts";
import { hasMetadata } from "./metadata.ts";
import { fitTrailers } from "./status.ts";

/** The reason with which a handler's signal aborts when its call has ended. */
export const OVER = failure(Code.Canceled, "the call is over");

/** The reason if HTTP/2 does not allow the headers or trailers that the handler set. */
export const UNSENDABLE = failure(
  Code.Internal,
  "the response headers or trailers could not be sent",
);

/** The end of a call with OK, without trailers of the handler: that of most calls. */
const ENDED_OK: End = { status: "ok", trailers: Object.freeze({ "grpc-status": "0" }) };

/** What is at the end of a call. */
interface EndingCall {
  /** Undefined: the status is OK. */
  readonly error: ConnectError | undefined;
  /** The trailers of the handler, if it has set some. */
  readonly metadata: Headers | undefined;
  /** The headers of every response, if no headers were sent: the end includes them. */
  readonly head: HeaderList | undefined;
  readonly stream: ServerCallStream;
}

/**
 * Makes the end of a call. `fault`: if the handler's trailers are not valid or too large, the error with which the call
 * ends instead.
 */
export function endOf({ error, metadata, head, stream }: EndingCall): {
  readonly end: End;
  readonly fault: ConnectError | undefined;
} {
  if (error === undefined && !hasMetadata(metadata)) {
    if (head === undefined) return { end: ENDED_OK, fault: undefined };
    const trailers = { ...withoutEncoding(head), ...ENDED_OK.trailers };
    return { end: { status: "ok", trailers }, fault: undefined };
  }
  const own = head === undefined ? {} : withoutEncoding(head);
  const { fields, fault } = fitTrailers(error, metadata, {
    usedBytes: stream.ownTrailerBytes + headerListBytes(own),
    limitBytes: trailersLimit(stream.announcedHeaderBytes),
  });
  return { end: { status: error ?? "ok", trailers: { ...own, ...fields } }, fault };
}

/** The headers of a response without messages: nothing is compressed. */
function withoutEncoding(head: HeaderList): HeaderList {
  const { "grpc-encoding": _encoding, ...rest } = head;
  return rest;
}
