import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { ConnectError } from "@connectrpc/connect";
import { DATE_BYTES, headerListBytes, trailersLimit } from "../../grpc/header-limits.ts";
import { statusTrailers } from "../../grpc/status.ts";
import { announcedHeaderBytes } from "./announced.ts";
import { reset } from "./reset.ts";

/** Answers a gRPC call that no handler will have, and frees its stream. */
export function refuse(stream: ServerHttp2Stream, error: ConnectError): void {
  const head = { ":status": 200, "content-type": "application/grpc" };
  const room = {
    limitBytes: trailersLimit(announcedHeaderBytes(stream)),
    usedBytes: headerListBytes(head) + DATE_BYTES,
  };
  answer(stream, { ...head, ...statusTrailers(error, undefined, room) });
}

/** Answers a stream that nobody will read, and frees it. */
export function answer(stream: ServerHttp2Stream, headers: OutgoingHttpHeaders): void {
  stream.on("error", () => {});
  if (stream.destroyed || stream.closed) return;
  stream.respond(headers, { endStream: true });
  reset(stream, constants.NGHTTP2_NO_ERROR);
}
