import type { DescMethod } from "@bufbuild/protobuf";
import { type ContextValues, createContextValues, type HandlerContext } from "@connectrpc/connect";
import { rawToHeaders } from "./metadata.ts";

const sendNow = Symbol("sendHeaders");

/**
 * Sends the response headers of a call now, for a client that waits for them
 * before it speaks. Without it they leave with the first response, or when a
 * bidirectional handler waits for a request after it has had one. Does nothing where they
 * are on their way, and for protocols other than gRPC.
 */
export function sendHeaders(context: HandlerContext): void {
  (context as Partial<CallContext>)[sendNow]?.onHeadersNeeded();
}

/** Who sends the response headers of a call. */
interface HeadersSender {
  onHeadersNeeded(): void;
}

/** What a handler sees of its call, and what the call needs of it. */
export interface CallContext extends HandlerContext {
  /** A property, so that a copy of the context has it too: interceptors get one. */
  readonly [sendNow]: HeadersSender;
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
 *
 * @param rawHeaders names and values in turn, as node:http2 gives them
 */
export function createContext(
  method: DescMethod,
  rawHeaders: readonly string[],
  timeoutMs: number | undefined,
  sender: HeadersSender,
): CallContext {
  return new Context(method, rawHeaders, timeoutMs, sender);
}

const noTimeout = () => undefined;

/** With its accessors on the prototype: closures of its own would be a tenth of an idle stream. */
class Context implements CallContext {
  readonly method: DescMethod;
  readonly #rawHeaders: readonly string[];
  #requestHeader: Headers | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;
  #values: ContextValues | undefined;
  #controller: AbortController | undefined;
  #aborted: { reason: unknown } | undefined;
  readonly [sendNow]: HeadersSender;
  /** A function without `this`, since handlers take it out of the context. */
  readonly timeoutMs: () => number | undefined;

  constructor(
    method: DescMethod,
    rawHeaders: readonly string[],
    timeoutMs: number | undefined,
    sender: HeadersSender,
  ) {
    this.method = method;
    this.#rawHeaders = rawHeaders;
    this[sendNow] = sender;
    this.timeoutMs = timeoutMs === undefined ? noTimeout : countdown(timeoutMs);
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
    const scheme = this.#raw(":scheme") ?? "http";
    const host = this.#raw(":authority") ?? this.#raw("host") ?? "localhost";
    return `${scheme}://${host}${this.#raw(":path")}`;
  }

  get requestHeader() {
    this.#requestHeader ??= rawToHeaders(this.#rawHeaders);
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

  #raw(name: string): string | undefined {
    const at = this.#rawHeaders.indexOf(name);
    return at === -1 ? undefined : this.#rawHeaders[at + 1];
  }
}

function countdown(timeoutMs: number): () => number {
  const endsAt = performance.now() + timeoutMs;
  return () => endsAt - performance.now();
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
