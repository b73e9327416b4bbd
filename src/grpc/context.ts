import type { IncomingHttpHeaders } from "node:http2";
import type { DescMethod } from "@bufbuild/protobuf";
import { type ContextValues, createContextValues, type HandlerContext } from "@connectrpc/connect";
import { toHeaders } from "./metadata.ts";

const sendNow = Symbol("sendHeaders");

/**
 * Sends the response headers of a call now, for a client that waits for them
 * before it speaks. Without it they leave with the first response, or when a
 * bidirectional handler waits for a request after it has had one. Does nothing where they
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
  return new Context(method, incoming, timeoutMs, onSendHeaders);
}

/** With its accessors on the prototype: closures of its own would be a tenth of an idle stream. */
class Context implements CallContext {
  readonly method: DescMethod;
  readonly #incoming: IncomingHttpHeaders;
  readonly #endsAt: number | undefined;
  #requestHeader: Headers | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;
  #values: ContextValues | undefined;
  #controller: AbortController | undefined;
  #aborted: { reason: unknown } | undefined;
  readonly [sendNow]: () => void;
  /** A function of its own, since handlers take it out of the context. */
  readonly timeoutMs = () =>
    this.#endsAt === undefined ? undefined : this.#endsAt - performance.now();

  constructor(
    method: DescMethod,
    incoming: IncomingHttpHeaders,
    timeoutMs: number | undefined,
    onSendHeaders: () => void,
  ) {
    this.method = method;
    this.#incoming = incoming;
    this[sendNow] = onSendHeaders;
    this.#endsAt = timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
  }

  get service() {
    return this.method.parent;
  }

  get protocolName() {
    return "grpc";
  }

  get requestMethod() {
    return "POST";
  }

  get url() {
    const incoming = this.#incoming;
    const scheme = incoming[":scheme"] ?? "http";
    return `${scheme}://${incoming[":authority"] ?? incoming.host ?? "localhost"}${incoming[":path"]}`;
  }

  get requestHeader() {
    this.#requestHeader ??= toHeaders(this.#incoming);
    return this.#requestHeader;
  }

  get responseHeader() {
    this.#responseHeader ??= new Headers();
    return this.#responseHeader;
  }

  get responseTrailer() {
    this.#responseTrailer ??= new Headers();
    return this.#responseTrailer;
  }

  get values() {
    this.#values ??= createContextValues();
    return this.#values;
  }

  get signal() {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted !== undefined) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  setHeaders() {
    return this.#responseHeader;
  }

  setTrailers() {
    return this.#responseTrailer;
  }

  abort(reason: unknown) {
    if (this.#aborted !== undefined) return;
    this.#aborted = { reason };
    this.#controller?.abort(reason);
  }
}

/** A context whose parts are all its own, for interceptors: Connect gives the handler a copy. */
export function whole(context: CallContext): HandlerContext {
  const { method, service, protocolName, requestMethod, url, values, signal } = context;
  const { requestHeader, responseHeader, responseTrailer } = context;
  const own = {
    ...{ method, service, protocolName, requestMethod, url, values, signal },
    ...{ requestHeader, responseHeader, responseTrailer },
    timeoutMs: context.timeoutMs,
    [sendNow]: context[sendNow],
  };
  return own;
}
