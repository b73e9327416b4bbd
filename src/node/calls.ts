import type {
  DescMessage,
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import {
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
import { isIdempotent, Retries } from "../client/retry.ts";
import { windowOf } from "../client/session-option.ts";
import { giveMessage } from "../codec/complete.ts";
import { ENCODING } from "../codec/compression.ts";
import type { Target } from "../connection/address.ts";
import type { Addresses } from "../connection/addresses.ts";
import type { MethodHeaders } from "../connection/negotiate.ts";
import { openCallStream } from "../connection/open-call-stream.ts";
import { asFailure, fromAbort, ownCopy } from "../failure.ts";
import { map, one } from "../flow/pump.ts";
import { type AbortSource, onAbort, sleep } from "../flow/wait.ts";
import { CallMetadata, HeaderOptions, type HeaderValues } from "../grpc/call-metadata.ts";
import { ClientCall } from "../grpc/client-call.ts";
import { exactlyOne } from "../grpc/exactly-one.ts";
import { aroundCall, intercept, intercepted } from "../grpc/intercept.ts";
import { limitsOf, type MessageOptions } from "../grpc/limits.ts";
import { asHeaders } from "../grpc/metadata.ts";
import { type RequestHead, RequestHeaders } from "../grpc/request-headers.ts";
import type { Deadline } from "../grpc/timeout.ts";
import { timeout } from "../options.ts";
import type { Window } from "../session/session-window.ts";
import { version } from "../version.ts";
import { StreamingCallResponse, UnaryCallResponse, wholeResponse } from "./call-response.ts";
import { nodeGzip } from "./gzip.ts";
import type { TransportOptions } from "./transport-options.ts";

const USER_AGENT = `hawser/${version}`;

/** The parts of a transport that all its calls use. */
export interface CallsInit {
  readonly target: Target;
  readonly addresses: Addresses;
}

/** A call whose headers are known. */
interface ReadyCall {
  readonly deadline: Deadline | undefined;
  readonly signal: AbortSource | undefined;
  readonly metadata: CallMetadata;
}

interface ReadyUnaryCall<I extends DescMessage> extends ReadyCall {
  readonly request: MessageInitShape<I>;
}

/** One attempt at a call. */
interface Attempt<I extends DescMessage> {
  readonly ready: ReadyCall;
  readonly requests: AsyncIterable<MessageInitShape<I>>;
  readonly previousAttempts: number;
}

/** The parts of a call that an interceptor may change. */
type InterceptedCall = Pick<CallInit, "signal"> & { readonly header: Headers | undefined };

/** Makes the calls of one transport: options and headers, interceptors, retries. */
export class Calls implements CallOpener {
  readonly #options: TransportOptions;
  readonly closing: AbortSource;
  readonly #init: CallsInit;
  readonly #headers: Headers | (() => HeadersInit | Promise<HeadersInit>) | undefined;
  readonly #messages: MessageOptions;
  readonly #interceptors: Interceptor[];
  readonly #retries = new Retries();
  /** Makes the headers of Negotiate; undefined if the option `headers` is a function, whose values change. */
  readonly #negotiateHeaders: MethodHeaders | undefined;
  /** The window for calls that ask for a session; also set if the transport asks for none. */
  readonly #window: Window | undefined;

  constructor(options: TransportOptions, init: CallsInit) {
    this.#options = options;
    this.#init = init;
    this.closing = init.addresses.closing;
    const { headers } = options;
    if (typeof headers === "function") this.#headers = headers;
    else {
      const metadata = headers === undefined ? undefined : asHeaders(headers);
      this.#headers = metadata;
      this.#negotiateHeaders = (method) => this.#headOf(method, metadata);
    }
    this.#messages = { ...limitsOf(options), compression: nodeGzip };
    this.#interceptors = aroundCall(options.interceptors ?? []);
    this.#window = windowOf(options.sessions || true);
  }

  async openUnaryCall<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    init: UnaryCallInit<I>,
  ): Promise<UnaryResponse<I, O>> {
    const { headerOptions, pending, deadline } = this.#begin(init);
    const headers =
      pending === undefined
        ? headerOptions.current()
        : await this.#awaitHeaders(pending, init.signal, deadline);
    const send = async (
      { signal, header }: InterceptedCall,
      request: MessageInitShape<I>,
    ): Promise<UnaryResponse<I, O>> => {
      const metadata = new CallMetadata(headerOptions, headers, header);
      const ready = { deadline, signal, metadata, request };
      const { call, response } = await this.#single(method, ready, init);
      return new UnaryCallResponse(method, response, call);
    };
    const { signal, request } = init;
    if (this.#interceptors.length === 0)
      return await send({ signal, header: headers.call }, request);
    const linked = intercepted(signal, deadline);
    try {
      const next = intercept(
        async (request: UnaryRequest<I, O>) =>
          wholeResponse(await send(request, request.message as MessageInitShape<I>)),
        this.#interceptors,
      );
      return await linked.race(
        next({
          ...this.#requestCommon(method, headers.call, init.contextValues),
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
    const { headerOptions, pending, deadline } = this.#begin(init);
    const headers =
      pending === undefined
        ? headerOptions.current()
        : await this.#awaitHeaders(pending, init.signal, deadline);
    const send = async (
      { signal, header }: InterceptedCall,
      requests: AsyncIterable<MessageInitShape<I>>,
    ): Promise<StreamResponse<I, O>> => {
      const metadata = new CallMetadata(headerOptions, headers, header);
      const ready = { deadline, signal, metadata };
      const call = this.#start(method, { ready, requests, previousAttempts: 0 }, init);
      await call.answered;
      return new StreamingCallResponse(method, call.responses, call);
    };
    const { signal, requests } = init;
    if (this.#interceptors.length === 0) {
      return await send({ signal, header: headers.call }, requests);
    }
    const linked = intercepted(signal, deadline);
    try {
      const next = intercept(
        async (request: StreamRequest<I, O>): Promise<StreamResponse<I, O>> => {
          const messages = request.message as AsyncIterable<MessageInitShape<I>>;
          const response = await send(request, messages);
          return { ...wholeResponse(response), message: withEnd(response.message, linked.end) };
        },
        this.#interceptors,
      );
      return await linked.race(
        next({
          ...this.#requestCommon(method, headers.call, init.contextValues),
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
  #begin({ headers, timeoutMs }: CallInit) {
    const deadline = this.#deadlineOf(timeoutMs);
    const headerOptions = new HeaderOptions(this.#headers, headers);
    return { headerOptions, pending: headerOptions.ask?.(), deadline };
  }

  /**
   * Awaits the headers that a function returns. The deadline, the caller's signal, or the end of the transport ends the
   * wait.
   */
  async #awaitHeaders(
    pending: Promise<HeaderValues>,
    signal: AbortSource | undefined,
    deadline: Deadline | undefined,
  ): Promise<HeaderValues> {
    const linked = intercepted(signal, deadline);
    const closed = Promise.withResolvers<never>();
    using _closing = onAbort(this.closing, (reason) => closed.reject(ownCopy(asFailure(reason))));
    try {
      return await Promise.race([linked.race(pending), closed.promise]);
    } finally {
      linked.end();
    }
  }

  /** Makes a unary call, and makes it again if that is safe and may succeed. */
  async #single<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    ready: ReadyUnaryCall<I>,
    init: CallInit,
  ): Promise<{ call: ClientCall<I, O>; response: MessageShape<O> }> {
    const { deadline, signal, request } = ready;
    const endsAt = deadline?.endsAt ?? Number.POSITIVE_INFINITY;
    for (let attempts = 1; ; attempts++) {
      const attempt = { ready, requests: one(request), previousAttempts: attempts - 1 };
      const call = this.#start(method, attempt, init);
      try {
        const response = await onlyResponse(call);
        this.#retries.onSuccess();
        return { call, response };
      } catch (error) {
        const waitMs = this.#retries.pauseAfter(asFailure(error), attempts);
        if (!isIdempotent(method) || !call.reached || call.committed) throw error;
        if (waitMs === undefined || performance.now() + waitMs >= endsAt) throw error;
        await sleep(waitMs, signal, this.closing);
        if (signal?.aborted) throw fromAbort(signal.reason);
        if (this.closing.aborted) throw ownCopy(asFailure(this.closing.reason));
      }
    }
  }

  /** Starts a call. Interceptors, if there are any, have run. */
  #start<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O> | DescMethodStreaming<I, O>,
    { ready, requests, previousAttempts }: Attempt<I>,
    init: CallInit & Partial<Pick<StreamingCallInit<I>, "watcher" | "fastReconnect">>,
  ): ClientCall<I, O> {
    const { deadline, signal, metadata } = ready;
    const { watcher, fastReconnect = false } = init;
    const { acceptCompression, compressMinBytes = 1024, sendCompression } = this.#options;
    const { addresses } = this.#init;
    const gzip = init.compress ?? sendCompression === ENCODING;
    const sessions = init.sessions ?? this.#options.sessions ?? true;
    if (fastReconnect) addresses.useFastReconnect();
    const own = (header: Headers | undefined) => {
      const headers = this.#ownHeaders(method, header);
      headers["grpc-accept-encoding"] = acceptCompression === false ? "identity" : ENCODING;
      if (gzip) headers["grpc-encoding"] = ENCODING;
      if (previousAttempts > 0) headers["grpc-previous-rpc-attempts"] = String(previousAttempts);
      return headers;
    };
    const streamOptions = {
      addresses,
      headers: new RequestHeaders({
        own,
        metadata: metadata.sent,
        isFresh: previousAttempts === 0,
        again: metadata.again,
        deadline,
      }),
      negotiateHeaders:
        this.#negotiateHeaders ??
        ((method: DescMethod) => this.#headOf(method, metadata.transport)),
      readMaxBytes: this.#messages.readMaxBytes,
      window: method.methodKind === "unary" ? undefined : windowOf(sessions, this.#window),
      fastReconnect,
      watcher,
    };
    const callInit = {
      method,
      messages: this.#messages,
      deadline,
      signal,
      compressFromBytes: gzip ? compressMinBytes : undefined,
      requests,
      watcher,
    };
    return new ClientCall(callInit, (call) => openCallStream(streamOptions, call));
  }

  #deadlineOf(callMs: number | undefined): Deadline | undefined {
    const timeoutMs = callMs ?? this.#options.timeoutMs;
    if (timeoutMs === undefined) return undefined;
    timeout(timeoutMs, { of: "the call", option: "timeoutMs" });
    if (timeoutMs <= 0 || timeoutMs === Infinity) return undefined;
    return { timeoutMs, endsAt: performance.now() + timeoutMs };
  }

  /** Makes the request headers of a method, for a request that belongs to no call. */
  #headOf(method: DescMethod, metadata: Headers | undefined): RequestHead {
    return new RequestHeaders({
      own: (header) => this.#ownHeaders(method, header),
      metadata,
      isFresh: true,
      again: undefined,
      deadline: undefined,
    }).make();
  }

  /** Returns the request headers that Hawser sets. */
  #ownHeaders(method: DescMethod, metadata: Headers | undefined): Record<string, string> {
    const { tls, authority } = this.#init.target;
    return {
      ":method": "POST",
      ":scheme": tls ? "https" : "http",
      ":path": this.#pathOf(method),
      ":authority": authority,
      te: "trailers",
      "content-type": "application/grpc+proto",
      "user-agent": metadata?.get("user-agent") ?? USER_AGENT,
    };
  }

  #pathOf(method: DescMethod): string {
    return `${this.#init.target.pathPrefix}/${method.parent.typeName}/${method.name}`;
  }

  #requestCommon(
    method: DescMethod,
    header: Headers | undefined,
    contextValues: ContextValues | undefined,
  ) {
    const { tls, authority } = this.#init.target;
    return {
      service: method.parent,
      requestMethod: "POST",
      url: `${tls ? "https" : "http"}://${authority}${this.#pathOf(method)}`,
      header: new Headers(header),
      contextValues: contextValues ?? createContextValues(),
    };
  }
}

/** Returns the one response of a unary call. */
async function onlyResponse<I extends DescMessage, O extends DescMessage>({
  responses,
}: ClientCall<I, O>): Promise<MessageShape<O>> {
  try {
    return await exactlyOne(() => responses.next(), "response", "a unary call");
  } catch (error) {
    await responses.return();
    throw error;
  }
}

async function* withEnd<T>(messages: AsyncIterable<T>, onEnd: () => void): AsyncGenerator<T> {
  try {
    yield* messages;
  } finally {
    onEnd();
  }
}
