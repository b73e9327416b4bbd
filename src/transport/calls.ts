import type {
  DescMessage,
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
  MessageInitShape,
} from "@bufbuild/protobuf";
import {
  type ConnectError,
  type ContextValues,
  createContextValues,
  type Interceptor,
  type StreamRequest,
  type StreamResponse,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import type {
  CallInit,
  CallOpener,
  StreamingCallInit,
  UnaryCallInit,
} from "../client/open-call.ts";
import { Retries } from "../client/retry.ts";
import { requiresSession, windowOf } from "../client/session-option.ts";
import { giveMessage } from "../codec/complete.ts";
import { type Compression, ENCODING } from "../codec/compression.ts";
import type { Target } from "../connection/address.ts";
import type { Addresses } from "../connection/addresses.ts";
import type { NegotiateHeaders } from "../connection/negotiate.ts";
import { openCallStream } from "../connection/open-call-stream.ts";
import { RequestHeaders } from "../connection/request-headers.ts";
import { asFailure, ownCopy } from "../failure.ts";
import type { Pause } from "../flow/pauses.ts";
import { map } from "../flow/pump.ts";
import { type AbortSource, onAbort } from "../flow/wait.ts";
import {
  type CallMetadata,
  HeaderOptions,
  type HeaderValues,
  merged,
} from "../grpc/call-metadata.ts";
import { ClientCall } from "../grpc/client-call.ts";
import { aroundCall, intercept, intercepted } from "../grpc/intercept.ts";
import { limitsOf, type MessageOptions } from "../grpc/limits.ts";
import { asHeaders } from "../grpc/metadata.ts";
import type { Deadline } from "../grpc/timeout.ts";
import { CallCounter } from "../observe/call-counts.ts";
import { ObservedClientStream } from "../observe/client-call.ts";
import { timeout } from "../options.ts";
import type { Window } from "../session/session-window.ts";
import { StreamingCallResponse, wholeResponse } from "./call-response.ts";
import { MethodHeaders } from "./method-headers.ts";
import type { CommonTransportOptions } from "./transport-options.ts";
import { type Attempt, makeUnaryCall, type ReadyCall, type UnaryCallOwner } from "./unary-call.ts";

/** The parts of a transport that all its calls use. */
export interface CallsInit {
  readonly target: Target;
  readonly addresses: Addresses;
  readonly compression: Compression;
  /**
   * Whether a call without a session asks whether the server keeps sessions, after it was made: so that a later call with one
   * need not wait for the answer.
   */
  readonly asksEarly: boolean;
}

/** A call whose options were read. */
interface BegunCall {
  readonly headerOptions: HeaderOptions;
  /** The headers, if a function must return them. */
  readonly pending: Promise<HeaderValues> | undefined;
  readonly deadline: Deadline | undefined;
}

/** Makes the calls of one transport: options and headers, interceptors, retries. */
export class Calls implements CallOpener, UnaryCallOwner {
  readonly #options: CommonTransportOptions;
  readonly closing: AbortSource;
  readonly #init: CallsInit;
  readonly #headers: Headers | (() => HeadersInit | Promise<HeadersInit>) | undefined;
  readonly #messages: MessageOptions;
  readonly #interceptors: Interceptor[];
  readonly retries = new Retries();
  readonly counter = new CallCounter();
  readonly #methodHeaders: MethodHeaders;
  /** The headers of calls that have no option `headers`; undefined if the transport's is a function. */
  readonly #headerOptions: HeaderOptions | undefined;
  /** Whether requests are compressed. */
  readonly #gzip: boolean;
  /** Makes the headers of Negotiate; undefined if the option `headers` is a function, whose values change. */
  readonly #negotiateHeaders: NegotiateHeaders | undefined;
  readonly #asksEarly: boolean;
  /** The window for calls that ask for a session; also set if the transport asks for none. */
  readonly #window: Window | undefined;

  constructor(options: CommonTransportOptions, init: CallsInit) {
    this.#options = options;
    this.#init = init;
    this.closing = init.addresses.closing;
    const { headers, acceptCompression = true, sendCompression } = options;
    const isFunction = typeof headers === "function";
    const metadata = isFunction || headers === undefined ? undefined : asHeaders(headers);
    this.#headers = isFunction ? headers : metadata;
    this.#gzip = sendCompression === ENCODING;
    this.#methodHeaders = new MethodHeaders({
      target: init.target,
      acceptsGzip: acceptCompression,
      gzip: this.#gzip,
      metadata,
    });
    if (!isFunction) {
      this.#headerOptions = new HeaderOptions(metadata, undefined);
      this.#negotiateHeaders = (method) => this.#methodHeaders.ofMethod(method, metadata);
    }
    this.#messages = { ...limitsOf(options), compression: init.compression };
    this.#interceptors = aroundCall(options.interceptors ?? []);
    this.#asksEarly = init.asksEarly && options.sessions !== false;
    this.#window = windowOf(options.sessions || true);
  }

  pause(pause: Pause): Promise<void> {
    return this.#init.addresses.pause(pause);
  }

  /** There is no observer: with one, the calls are ObservedCalls. */
  observe(): undefined {}

  openUnaryCall<I extends DescMessage, O extends DescMessage, R>(
    method: DescMethodUnary<I, O>,
    init: UnaryCallInit<I>,
    read: (response: UnaryResponse<I, O>) => R,
  ): Promise<R> {
    try {
      const begun = this.#begin(init);
      const { headerOptions, pending } = begun;
      if (pending !== undefined || this.#interceptors.length > 0) {
        return this.#openUnaryLater(method, init, begun).then(read);
      }
      const ready = readyCall(begun, headerOptions.current(), init.signal);
      return makeUnaryCall(this, { method, ready, request: init.request, init }, read);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #openUnaryLater<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    init: UnaryCallInit<I>,
    begun: BegunCall,
  ): Promise<UnaryResponse<I, O>> {
    const { signal, request, contextValues } = init;
    // Without an await if nothing is pending: interceptors get the request as it is now.
    const headers =
      begun.pending === undefined
        ? begun.headerOptions.current()
        : await this.#pendingHeaders(begun.pending, begun.deadline, signal);
    const call = (ready: ReadyCall, request: MessageInitShape<I>) =>
      makeUnaryCall(this, { method, ready, request, init }, wholeResponse);
    if (this.#interceptors.length === 0) {
      return await call(readyCall(begun, headers, signal), request);
    }
    const linked = intercepted(signal, begun.deadline);
    try {
      const next = intercept(({ signal, header, message }: UnaryRequest<I, O>) => {
        const ready = readyCall(begun, headers, signal, header);
        return call(ready, message as MessageInitShape<I>);
      }, this.#interceptors);
      return await linked.race(
        next({
          ...this.#requestCommon(method, headers.call, contextValues),
          stream: false,
          method,
          signal: linked.signal,
          message: giveMessage(method.input, request),
        }),
      );
    } catch (error) {
      throw asFailure(error);
    } finally {
      linked.end();
    }
  }

  async openCall<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    init: StreamingCallInit<I>,
  ): Promise<StreamResponse<I, O>> {
    const { signal, requests, contextValues } = init;
    const begun = this.#begin(init);
    const headers =
      begun.pending === undefined
        ? begun.headerOptions.current()
        : await this.#pendingHeaders(begun.pending, begun.deadline, signal);
    const send = async (ready: ReadyCall, requests: AsyncIterable<MessageInitShape<I>>) => {
      const onEnded = (error: ConnectError | undefined) => {
        this.counter.onEnded(error);
        init.onEnded?.(error);
      };
      const call = this.start(method, { ready, requests, previousAttempts: 0, onEnded }, init);
      this.counter.onStarted();
      await call.answered;
      return new StreamingCallResponse(method, call.responses, call);
    };
    if (this.#interceptors.length === 0) {
      return await send(readyCall(begun, headers, signal), requests);
    }
    const linked = intercepted(signal, begun.deadline);
    try {
      const next = intercept(
        async ({ signal, header, message }: StreamRequest<I, O>): Promise<StreamResponse<I, O>> => {
          const ready = readyCall(begun, headers, signal, header);
          const requests = message as AsyncIterable<MessageInitShape<I>>;
          const response: StreamResponse<I, O> = wholeResponse(await send(ready, requests));
          return { ...response, message: withEnd(response.message, linked.end) };
        },
        this.#interceptors,
      );
      return await linked.race(
        next({
          ...this.#requestCommon(method, headers.call, contextValues),
          stream: true,
          method,
          signal: linked.signal,
          // Completes a message of which the caller gave only some fields.
          message: map(requests, (message) => giveMessage(method.input, message)),
        }),
      );
    } catch (error) {
      const failed = asFailure(error);
      linked.end(failed);
      throw failed;
    }
  }

  /** Reads the headers and the deadline from the options. */
  #begin({ headers, timeoutMs }: CallInit): BegunCall {
    const deadline = this.#deadlineOf(timeoutMs);
    const ofTransport = headers === undefined ? this.#headerOptions : undefined;
    const headerOptions = ofTransport ?? new HeaderOptions(this.#headers, headers);
    return { headerOptions, pending: headerOptions.ask?.(), deadline };
  }

  /**
   * Awaits the headers that a function returns. The deadline, the caller's signal, or the end of the transport ends the
   * wait.
   */
  async #pendingHeaders(
    pending: Promise<HeaderValues>,
    deadline: Deadline | undefined,
    signal: AbortSource | undefined,
  ): Promise<HeaderValues> {
    const linked = intercepted(signal, deadline);
    const closed = Promise.withResolvers<never>();
    const closing = onAbort(this.closing, (reason) => closed.reject(ownCopy(asFailure(reason))));
    try {
      return await Promise.race([linked.race(pending), closed.promise]);
    } finally {
      closing[Symbol.dispose]();
      linked.end();
    }
  }

  /** Starts a call. Interceptors, if there are any, have run. */
  start<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O> | DescMethodStreaming<I, O>,
    { ready, requests, previousAttempts, onlyResponse, onEnded }: Attempt<I, O>,
    init: CallInit & Partial<Pick<StreamingCallInit<I>, "watcher" | "fastReconnect">>,
  ): ClientCall<I, O> {
    const { deadline, signal, metadata } = ready;
    const { watcher, fastReconnect = false, observation } = init;
    const { compressMinBytes = 1024 } = this.#options;
    const { addresses } = this.#init;
    const gzip = init.compress ?? this.#gzip;
    const sessions = init.sessions ?? this.#options.sessions ?? true;
    if (fastReconnect) addresses.useFastReconnect();
    const { sent, again } = metadata;
    const withOwn = (metadata: Headers | undefined) => merged(metadata, observation?.headers);
    const headersInit = { metadata: withOwn(sent), gzip, previousAttempts };
    const streamOptions = {
      addresses,
      headers: new RequestHeaders({
        fields: this.#methodHeaders.ofCall(method, headersInit),
        deadline,
        renewal: again && {
          isFresh: previousAttempts === 0,
          again: async () =>
            this.#methodHeaders.ofCall(method, {
              ...headersInit,
              metadata: withOwn(await again()),
            }),
        },
      }),
      negotiateHeaders: this.#negotiateHeaders ?? this.#negotiateWith(metadata),
      readMaxBytes: this.#messages.readMaxBytes,
      window: method.methodKind === "unary" ? undefined : windowOf(sessions, this.#window),
      isSessionRequired: requiresSession(init.sessions, this.#options.sessions),
      asks: fastReconnect || this.#asksEarly,
      watcher: observation?.watching(watcher) ?? watcher,
    };
    const callInit = {
      method,
      messages: this.#messages,
      deadline,
      signal,
      compressFromBytes: gzip ? compressMinBytes : undefined,
      requests,
      watcher,
      onlyResponse,
      onEnded,
    };
    observation?.onAttempt();
    return new ClientCall(callInit, (call) => {
      const isObserved = observation !== undefined;
      openCallStream(
        streamOptions,
        isObserved ? new ObservedClientStream(observation, call) : call,
      );
    });
  }

  /** Makes the headers of Negotiate with the newest values of the transport's option `headers`. */
  #negotiateWith(metadata: CallMetadata): NegotiateHeaders {
    return (method) => this.#methodHeaders.ofMethod(method, metadata.transport);
  }

  #deadlineOf(callMs: number | undefined): Deadline | undefined {
    const timeoutMs = callMs ?? this.#options.timeoutMs;
    if (timeoutMs === undefined) return undefined;
    timeout(timeoutMs, { of: "the call", option: "timeoutMs" });
    if (timeoutMs <= 0 || timeoutMs === Infinity) return undefined;
    return { timeoutMs, endsAt: performance.now() + timeoutMs };
  }

  #requestCommon(
    method: DescMethod,
    header: Headers | undefined,
    contextValues: ContextValues | undefined,
  ) {
    return {
      service: method.parent,
      requestMethod: "POST",
      url: this.#methodHeaders.urlOf(method),
      header: new Headers(header),
      contextValues: contextValues ?? createContextValues(),
    };
  }
}

/** @param sent the headers as the interceptors changed them; default: those of the options */
function readyCall(
  { headerOptions, deadline }: BegunCall,
  headers: HeaderValues,
  signal: AbortSource | undefined,
  sent?: Headers,
): ReadyCall {
  return { deadline, signal, metadata: headerOptions.metadataOf(headers, sent) };
}

async function* withEnd<T>(messages: AsyncIterable<T>, onEnd: () => void): AsyncGenerator<T> {
  try {
    yield* messages;
  } finally {
    onEnd();
  }
}
