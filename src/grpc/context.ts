import type { DescMethod } from "@bufbuild/protobuf";
import type { ContextValues, HandlerContext } from "@connectrpc/connect";
import { LazyAbortController } from "../flow/lazy-abort.ts";
import type { AsyncContext } from "../flow/runtime.ts";
import type { AbortSource } from "../flow/wait.ts";
import { anObject } from "../options.ts";
import { CallValues, type KnownCaller } from "./caller.ts";
import { rawToHeaders } from "./metadata.ts";
import { type HeadersLeft, ResponseHeaders } from "./response-headers.ts";

const sender = Symbol("headers");

/**
 * Sends the response headers of a call now, for a client that waits for them
 * before it sends. Without this they are sent with the first response; in a
 * bidirectional call also when the handler waits for its second request, or has
 * waited 50 ms for its first. Does nothing if they were sent, and for protocols
 * other than gRPC. Over gRPC, changing a response header after they were sent
 * throws FAILED_PRECONDITION.
 */
export function sendHeaders(context: HandlerContext): void {
  anObject(context, { of: "sendHeaders", option: "context" });
  (context as Partial<CallContext>)[sender]?.sendHeaders("at sendHeaders()");
}

/**
 * Makes the response headers of a bidirectional call wait for its first request
 * without a limit, not for 50 ms: for a handler that needs the request to set
 * them. A client that waits for headers before it sends then waits for ever, so
 * call this only if there is no such client. Does nothing if they were sent, in
 * the other kinds of calls, and for protocols other than gRPC.
 */
export function holdHeaders(context: HandlerContext): void {
  anObject(context, { of: "holdHeaders", option: "context" });
  (context as Partial<CallContext>)[sender]?.holdHeaders();
}

/** Returns what aborts when a call has ended. The signal of a call of Hawser's own is not made for it. */
export function abortSource(context: HandlerContext): AbortSource {
  return context instanceof LazyAbortController ? context : context.signal;
}

/** Sends the response headers of a call. */
interface HeadersSender {
  sendHeaders(left: HeadersLeft): void;
  holdHeaders(): void;
}

/** The handler's view of a call, and what the call needs of it. */
export interface CallContext extends HandlerContext {
  /** A property, so that a copy of the context has it too: interceptors get one. */
  readonly [sender]: HeadersSender;
  /** The response headers that the handler set, if it did. */
  readonly setHeaders: () => Headers | undefined;
  /** Closes the response headers: the handler can no longer change them. */
  readonly closeHeaders: (left: HeadersLeft) => void;
  /** The trailers that the handler set, if it did. */
  readonly setTrailers: () => Headers | undefined;
  /** Aborts the signal. */
  readonly abort: (reason: unknown) => void;
  /** Returns a function that does what `run` does, in the context (AsyncLocalStorage) of the call. */
  readonly inScope: (run: () => void) => () => void;
}

/** The request as the client sent it. */
export interface RequestInfo {
  /** Names and values in turn. */
  readonly rawHeaders: readonly string[];
  readonly caller: KnownCaller;
  readonly timeoutMs: number | undefined;
  /** The context in which the handler runs. Default: any. */
  readonly scope: AsyncContext | undefined;
}

/**
 * Makes the handler's view of a call. What few handlers use (headers, signal,
 * values) is made when it is first used, so that an idle stream stays small.
 */
export function createContext(
  method: DescMethod,
  request: RequestInfo,
  headers: HeadersSender,
): CallContext {
  return new Context(method, request, headers);
}

const noTimeout = () => undefined;

/** A class, with accessors on the prototype: closures for each call would be a tenth of an idle stream. */
class Context extends LazyAbortController implements CallContext {
  readonly method: DescMethod;
  readonly #rawHeaders: readonly string[];
  readonly #caller: KnownCaller;
  readonly #scope: AsyncContext | undefined;
  #requestHeader: Headers | undefined;
  /** The response headers; until the handler uses them, when they were sent, if they were. */
  #responseHeader: ResponseHeaders | HeadersLeft | undefined;
  #responseTrailer: Headers | undefined;
  #values: ContextValues | undefined;
  readonly [sender]: HeadersSender;
  /** A function without `this`, since handlers take it out of the context. */
  readonly timeoutMs: () => number | undefined;

  constructor(
    method: DescMethod,
    { rawHeaders, caller, timeoutMs, scope }: RequestInfo,
    headers: HeadersSender,
  ) {
    super();
    this.method = method;
    this.#rawHeaders = rawHeaders;
    this.#caller = caller;
    this.#scope = scope;
    this[sender] = headers;
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
    if (!(this.#responseHeader instanceof ResponseHeaders)) {
      this.#responseHeader = new ResponseHeaders(this.#responseHeader);
    }
    return this.#responseHeader;
  }

  get responseTrailer() {
    this.#responseTrailer ??= new Headers();
    return this.#responseTrailer;
  }

  get values() {
    this.#values ??= new CallValues(this.#caller);
    return this.#values;
  }

  inScope(run: () => void): () => void {
    const scope = this.#scope;
    return scope === undefined ? run : () => scope.runInAsyncScope(run);
  }

  override abort(reason: unknown): void {
    if (this.#scope === undefined) super.abort(reason);
    else this.#scope.runInAsyncScope(() => super.abort(reason));
  }

  setHeaders() {
    return this.#responseHeader instanceof ResponseHeaders ? this.#responseHeader : undefined;
  }

  closeHeaders(left: HeadersLeft) {
    if (this.#responseHeader instanceof ResponseHeaders) this.#responseHeader.close(left);
    else this.#responseHeader ??= left;
  }

  setTrailers() {
    return this.#responseTrailer;
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

/** A plain copy of a context, for interceptors: Connect copies own properties only. */
export function whole(context: CallContext): HandlerContext {
  const { method, service, protocolName, requestMethod, url, values, signal } = context;
  const { requestHeader, responseHeader, responseTrailer } = context;
  const own = {
    ...{ method, service, protocolName, requestMethod, url, values, signal },
    ...{ requestHeader, responseHeader, responseTrailer },
    timeoutMs: context.timeoutMs,
    [sender]: context[sender],
  };
  return own;
}
