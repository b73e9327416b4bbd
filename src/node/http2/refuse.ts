import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { ConnectError } from "@connectrpc/connect";
import { DATE_BYTES, headerListBytes, trailersLimit } from "../../grpc/header-limits.ts";
import { statusTrailers } from "../../grpc/status.ts";
import { announcedHeaderBytes } from "./announced.ts";
import { reset } from "./reset.ts";

/** Ends a gRPC call that gets no handler with an error, and frees its stream. */
export function refuse(stream: ServerHttp2Stream, error: ConnectError): void {
  const head = { ":status": 200, "content-type": "application/grpc" };
  const budget = {
    limitBytes: trailersLimit(announcedHeaderBytes(stream)),
    usedBytes: headerListBytes(head) + DATE_BYTES,
  };
  answer(stream, { ...head, ...statusTrailers(error, undefined, budget) });
}

/** Answers a request whose body is not read, and frees its stream. */
export function answer(stream: ServerHttp2Stream, headers: OutgoingHttpHeaders): void {
  stream.on("error", () => {});
  if (stream.destroyed || stream.closed) return;
  stream.respond(headers, { endStream: true });
  reset(stream, constants.NGHTTP2_NO_ERROR);
}
