/**
 * Serves the other protocols, by Connect's own adapter: Connect, gRPC-Web, and gRPC with JSON; over HTTP/1.1 and
 * HTTP/2.
 */
import type { ServerResponse } from "node:http";
import type { ServerHttp2Stream } from "node:http2";
import { ConnectError, type ConnectRouter, type Interceptor } from "@connectrpc/connect";
import { compressionGzip, connectNodeAdapter } from "@connectrpc/connect-node";
import { knownCode, toWire } from "../failure.ts";
import { untilAborted } from "../flow/pump.ts";
import { aroundHandler } from "../grpc/intercept.ts";
import { canMove } from "../server/move-elsewhere.ts";
import { free } from "./http2/reset.ts";
import type { withDefaults } from "./server-options.ts";

/** A listener for requests of node:http, and of node:http2's compatibility API. */
export type NodeHandler = ReturnType<typeof connectNodeAdapter>;

/** The parts of its server that a fallback uses. */
export interface FallbackServer {
  /** Aborts when the server begins to drain. */
  readonly draining: AbortSignal;
  /** Aborts when the server ends the calls that are still open. */
  readonly shutdown: AbortSignal;
  /** Called with an error that a handler threw and that is not a ConnectError: a bug. */
  readonly onHandlerError: (error: unknown, path: string) => void;
}

/** Makes the handler of the requests that are not gRPC with protobuf over HTTP/2. */
export function createConnectFallback(
  routes: (router: ConnectRouter, around: Interceptor) => void,
  options: ReturnType<typeof withDefaults>,
  { draining, shutdown, onHandlerError }: FallbackServer,
): NodeHandler {
  const report = reportErrors(onHandlerError);
  const move = moveCalls(draining);
  const around: Interceptor = (next) => move(report(next));
  const handle = connectNodeAdapter({
    routes: (router) => routes(router, around),
    interceptors: [around, ...aroundHandler(options.interceptors)],
    readMaxBytes: options.readMaxBytes,
    writeMaxBytes: options.writeMaxBytes,
    ...(options.binaryOptions === undefined ? {} : { binaryOptions: options.binaryOptions }),
    // The adapter cannot turn compression off; no response is as long as this.
    compressMinBytes:
      options.sendCompression === "identity" ? Number.MAX_SAFE_INTEGER : options.compressMinBytes,
    acceptCompression: [compressionGzip],
    maxTimeoutMs: options.maxTimeoutMs,
    shutdownSignal: shutdown,
  });
  return (request, response) => {
    answerBeforeEnd(request, response as ServerResponse);
    handle(request, response);
  };
}

/**
 * Lets the adapter answer a call before its client has sent everything. The adapter then stops reading, which must not
 * close the connection or lose the answer.
 */
function answerBeforeEnd(request: Parameters<NodeHandler>[0], response: ServerResponse): void {
  Object.defineProperty(request, Symbol.asyncIterator, {
    value: () => request.iterator({ destroyOnReturn: false }),
  });
  if ("stream" in request) {
    const stream = request.stream as ServerHttp2Stream;
    stream.once("finish", () => free(stream));
  } else {
    response.once("finish", () => request.resume());
  }
}

/** Ends calls that can continue at another server when this server begins to drain. */
function moveCalls(draining: AbortSignal): Interceptor {
  return (next) => async (request) => {
    const response = await next(request);
    if (!response.stream || !canMove(response.method)) return response;
    return { ...response, message: untilAborted(response.message, draining) };
  };
}

/**
 * Reports an error of a handler that is not a ConnectError: Connect's adapter shows it neither to the client nor to the
 * logger.
 */
function reportErrors(report: (error: unknown, path: string) => void): Interceptor {
  const reportAndThrow = (
    error: unknown,
    { url, signal }: { url: string; signal: AbortSignal },
  ): never => {
    // The adapter throws its own write errors into a handler whose client has disconnected.
    if (!(error instanceof ConnectError) && !signal.aborted) report(error, new URL(url).pathname);
    if (error instanceof ConnectError) throw withKnownCode(error);
    // The adapter would take a thrown value that is not an Error, such as `undefined`, for no error.
    throw error instanceof Error ? error : toWire(error);
  };
  return (next) => async (request) => {
    try {
      const response = await next(request);
      if (!response.stream) return response;
      const message = observe(response.message, (error) => reportAndThrow(error, request));
      return { ...response, message };
    } catch (error) {
      return reportAndThrow(error, request);
    }
  };
}

/** Replaces a code that gRPC does not define. The adapter would send it. */
function withKnownCode(error: ConnectError): ConnectError {
  const { rawMessage, code, metadata, details, cause } = error;
  if (knownCode(code) === code) return error;
  const known = new ConnectError(rawMessage, knownCode(code), metadata, undefined, cause);
  known.details = details;
  known.isWireError = error.isWireError;
  return known;
}

async function* observe<T>(messages: AsyncIterable<T>, onError: (error: unknown) => never) {
  try {
    yield* messages;
  } catch (error) {
    onError(error);
  }
}
