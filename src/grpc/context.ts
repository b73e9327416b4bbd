import type { IncomingHttpHeaders } from "node:http2";
import type { DescMethod } from "@bufbuild/protobuf";
import { type ContextValues, createContextValues, type HandlerContext } from "@connectrpc/connect";
import { toHeaders } from "./metadata.ts";

const sendNow = Symbol("sendHeaders");

/**
 * Sends the response headers of a call now, for a client that waits for them
 * before it speaks. Without it they leave with the first response, or when the
 * handler waits for a request after it has had one. Does nothing where they
 * are on their way, and for protocols other than gRPC.
 */
export function sendHeaders(context: HandlerContext): void {
  (context as Partial<CallContext>)[sendNow]?.();
}

/** What a handler sees of its call, and what the call needs of it. */
export interface CallContext extends HandlerContext {
  /** A property, so that a copy of the context has it too: interceptors get one. */
  readonly [sendNow]: () => void;
  /** The response headers that the handler set, if it did. */
  readonly setHeaders: () => Headers | undefined;
  /** The trailers that the handler set, if it did. */
  readonly setTrailers: () => Headers | undefined;
  /** Aborts the signal. */
  readonly abort: (reason: unknown) => void;
}

/**
 * The handler's view of a call. What few handlers look at (headers, signal,
 * values) is made when it is first looked at: an idle stream stays small.
 */
export function createContext(
  method: DescMethod,
  incoming: IncomingHttpHeaders,
  timeoutMs: number | undefined,
  onSendHeaders: () => void,
): CallContext {
  const endsAt = timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
  let requestHeader: Headers | undefined;
  let responseHeader: Headers | undefined;
  let responseTrailer: Headers | undefined;
  let values: ContextValues | undefined;
  let controller: AbortController | undefined;
  let aborted: { reason: unknown } | undefined;
  return {
    [sendNow]: onSendHeaders,
    method,
    service: method.parent,
    protocolName: "grpc",
    requestMethod: "POST",
    get url() {
      const scheme = incoming[":scheme"] ?? "http";
      return `${scheme}://${incoming[":authority"] ?? incoming.host ?? "localhost"}${incoming[":path"]}`;
    },
    timeoutMs: () => (endsAt === undefined ? undefined : endsAt - performance.now()),
    get requestHeader() {
      requestHeader ??= toHeaders(incoming);
      return requestHeader;
    },
    get responseHeader() {
      responseHeader ??= new Headers();
      return responseHeader;
    },
    get responseTrailer() {
      responseTrailer ??= new Headers();
      return responseTrailer;
    },
    get values() {
      values ??= createContextValues();
      return values;
    },
    get signal() {
      if (controller === undefined) {
        controller = new AbortController();
        if (aborted !== undefined) controller.abort(aborted.reason);
      }
      return controller.signal;
    },
    setHeaders: () => responseHeader,
    setTrailers: () => responseTrailer,
    abort(reason) {
      if (aborted !== undefined) return;
      aborted = { reason };
      controller?.abort(reason);
    },
  };
}
