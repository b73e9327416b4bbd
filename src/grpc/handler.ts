import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { Code, type ConnectError, type MethodImplSpec } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { isGrpc } from "./metadata.ts";
import { reset } from "./reset.ts";
import { ServerCall, type ServerCallOptions } from "./server-call.ts";
import { statusTrailers } from "./status.ts";

/** One method that is served, and how. */
export interface Route {
  readonly spec: MethodImplSpec;
  readonly options: ServerCallOptions;
}

/** Serves gRPC calls, one HTTP/2 stream each. */
export interface GrpcHandler {
  /** Takes the stream of a gRPC call; `false` where it is none: another protocol may have it. */
  accept(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    rawHeaders: readonly string[],
  ): boolean;
  /** How many calls are open: their streams are not closed yet. */
  readonly open: number;
  /** Refuses every new call in a way that lets its client try it elsewhere (REFUSED_STREAM). */
  refuse(): void;
  /** Ends every open call with `error`. */
  abort(error: ConnectError): void;
}

/**
 * A handler of the methods in `routes`, by path: `/package.Service/Method`.
 *
 * @param onClosed called when a call is no longer open
 */
export function createGrpcHandler(
  routes: ReadonlyMap<string, Route>,
  onClosed: () => void,
): GrpcHandler {
  const calls = new Set<ServerCall>();
  let refusing = false;
  const closed = (call: ServerCall) => {
    calls.delete(call);
    onClosed();
  };
  return {
    accept(stream, headers, rawHeaders) {
      if (!isGrpc(headers["content-type"])) return false;
      if (refusing) {
        stream.on("error", () => {});
        reset(stream, constants.NGHTTP2_REFUSED_STREAM);
        return true;
      }
      if (headers[":method"] !== "POST") {
        answer(stream, { ":status": 405, allow: "POST" });
        return true;
      }
      const path = String(headers[":path"]);
      const route = routes.get(path);
      if (route === undefined) {
        const error = failure(Code.Unimplemented, `${path} is not served here`);
        answer(stream, {
          ":status": 200,
          "content-type": "application/grpc",
          ...statusTrailers(error, undefined),
        });
        return true;
      }
      const { spec, options } = route;
      const call = new ServerCall(stream, headers, rawHeaders, spec, options, closed);
      calls.add(call);
      call.start();
      return true;
    },
    get open() {
      return calls.size;
    },
    refuse() {
      refusing = true;
    },
    abort(error) {
      for (const call of calls) call.abort(error);
    },
  };
}

/** Answers a stream that no handler will read, and frees it. */
function answer(stream: ServerHttp2Stream, headers: Parameters<ServerHttp2Stream["respond"]>[0]) {
  stream.on("error", () => {});
  stream.respond(headers, { endStream: true });
  reset(stream, constants.NGHTTP2_NO_ERROR);
}
