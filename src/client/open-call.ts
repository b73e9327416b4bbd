/** Makes calls on a transport: by the CallOpener of Hawser's transports, and as Connect's clients do on any other. */
import type {
  DescMessage,
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
  MessageInitShape,
} from "@bufbuild/protobuf";
import type { ConnectError, StreamResponse, Transport, UnaryResponse } from "@connectrpc/connect";
import { asFailure, deadlineExceeded, fromAbort, handled } from "../failure.ts";
import { LazyAbortController } from "../flow/lazy-abort.ts";
import type { Pause } from "../flow/pauses.ts";
import { type AbortSource, onAbort, sleep, startTimer } from "../flow/wait.ts";
import { type HeadersFunction, runHeaders } from "../grpc/call-headers.ts";
import type { ClientCallObservation } from "../observe/client-call.ts";
import type { CallOptions } from "./call-options.ts";

/** Listens to what the transport does with a call. */
export interface CallWatcher {
  /** Called when the call has a session: it outlives its connections. */
  onSession(): void;
  /** Called when the call continues without a session, because the server takes no more. */
  onSessionRefused(): void;
  /** Called when the session has a connection again, and when it begins to look for one. */
  onSessionState(state: "open" | "resuming"): void;
  /** Called when the call accepts no more requests: those that wait, and later ones, fail with `error`. */
  onSendEnded(error: unknown): void;
}

/** The options of a call of any kind. */
export interface CallInit
  extends Pick<CallOptions, "headers" | "contextValues" | "compress" | "sessions"> {
  readonly signal: AbortSource | undefined;
  readonly timeoutMs: number | undefined;
  /** Undefined if the transport has no observer. */
  readonly observation?: ClientCallObservation | undefined;
}

export interface UnaryCallInit<I extends DescMessage> extends CallInit {
  readonly request: MessageInitShape<I>;
}

export interface StreamingCallInit<I extends DescMessage> extends CallInit {
  readonly requests: AsyncIterable<MessageInitShape<I>>;
  readonly watcher?: CallWatcher | undefined;
  /** Whether the client makes a lost call again by itself. Connections are then tried more often. */
  readonly fastReconnect?: boolean | undefined;
  /** As of ClientCallInit. */
  readonly onEnded?: ((error: ConnectError | undefined) => void) | undefined;
}

/** Makes calls on a Hawser transport, with options that Connect's Transport has no parameters for. */
export interface CallOpener {
  /**
   * Waits before a call is made again. The wait ends early if `signal` aborts, if the transport is closed, and, unless the
   * server has asked for the pause, if the network may have returned.
   */
  pause(pause: Pause): Promise<void>;
  /** Tells the observer, if there is one, of a call that its caller makes of several ones, and ends itself. */
  observe(method: DescMethod, timeoutMs: number | undefined): ClientCallObservation | undefined;
  openCall<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    init: StreamingCallInit<I>,
  ): Promise<StreamResponse<I, O>>;
  /** Resolves with what `read` makes of the response. */
  openUnaryCall<I extends DescMessage, O extends DescMessage, R>(
    method: DescMethodUnary<I, O>,
    init: UnaryCallInit<I>,
    read: (response: UnaryResponse<I, O>) => R,
  ): Promise<R>;
}

/**
 * Adds a CallOpener to a transport. Its members are not enumerable: a program that copies the transport with another
 * `stream` gets calls through that `stream`.
 */
export function withCallOpener<T extends Transport>(
  transport: T,
  opener: CallOpener,
): T & CallOpener {
  return Object.defineProperties(transport as T & CallOpener, {
    openCall: { value: opener.openCall.bind(opener) },
    openUnaryCall: { value: opener.openUnaryCall.bind(opener) },
    observe: { value: opener.observe.bind(opener) },
    pause: { value: opener.pause.bind(opener) },
  });
}

function hasCallOpener(transport: Transport): transport is Transport & CallOpener {
  return "openCall" in transport && "openUnaryCall" in transport;
}

/** As CallOpener.pause(). A transport that is not Hawser's cannot end the pause. */
export function pause(transport: Transport, pause: Pause): Promise<void> {
  return hasCallOpener(transport) ? transport.pause(pause) : sleep(pause.ms, pause.signal);
}

/** Tells the observer of a transport, if it has one, of a call that is made of several ones. */
export function observationOf(
  transport: Transport,
  method: DescMethod,
  timeoutMs: number | undefined,
): ClientCallObservation | undefined {
  return hasCallOpener(transport) ? transport.observe(method, timeoutMs) : undefined;
}

/** Makes a streaming call. */
export function openCall<I extends DescMessage, O extends DescMessage>(
  transport: Transport,
  method: DescMethodStreaming<I, O>,
  init: StreamingCallInit<I>,
): Promise<StreamResponse<I, O>> {
  if (hasCallOpener(transport)) return transport.openCall(method, init);
  return openPlain(init, ({ header, timeoutMs }) => {
    const { requests, contextValues } = init;
    return transport.stream(method, signalOf(init), timeoutMs, header, requests, contextValues);
  });
}

/**
 * Makes unary calls of a method on a transport. Each resolves with what its `read` makes of the response. Rejects with a
 * ConnectError, or with what `read` throws.
 */
export function unaryOpener<I extends DescMessage, O extends DescMessage>(
  transport: Transport,
  method: DescMethodUnary<I, O>,
) {
  return <R>(init: UnaryCallInit<I>, read: (response: UnaryResponse<I, O>) => R): Promise<R> => {
    if (hasCallOpener(transport)) return transport.openUnaryCall(method, init, read);
    const response = openPlain(init, ({ header, timeoutMs }) => {
      const { request, contextValues } = init;
      return transport.unary(method, signalOf(init), timeoutMs, header, request, contextValues);
    });
    return response.then(read, (error) => {
      throw asFailure(error);
    });
  };
}

function signalOf({ signal }: CallInit): AbortSignal | undefined {
  return signal instanceof LazyAbortController ? signal.signal : signal;
}

/** Calls a transport that is not Hawser's. If `headers` is a function, it runs once, before the call. */
async function openPlain<T>(
  { headers, signal, timeoutMs }: CallInit,
  call: (init: PlainCallInit) => Promise<T>,
): Promise<T> {
  if (typeof headers !== "function") return await call({ header: headers, timeoutMs });
  return await call(await runHeadersBefore(headers, signal, timeoutMs));
}

/** The arguments for a transport that is not Hawser's. */
interface PlainCallInit {
  readonly header: HeadersInit | undefined;
  /** The time that is left until the deadline. */
  readonly timeoutMs: number | undefined;
}

/** Runs the function `headers` before a call; the deadline, or the caller's signal, ends the wait. */
async function runHeadersBefore(
  headers: HeadersFunction,
  signal: AbortSource | undefined,
  timeoutMs: number | undefined,
): Promise<PlainCallInit> {
  const startedAtMs = performance.now();
  const ended = Promise.withResolvers<never>();
  handled(ended.promise);
  const listening = onAbort(signal, (reason) => ended.reject(fromAbort(reason)));
  const limitMs = timeoutMs !== undefined && timeoutMs > 0 ? timeoutMs : undefined;
  const timer =
    limitMs === undefined
      ? undefined
      : startTimer(limitMs, () => ended.reject(deadlineExceeded(limitMs)));
  try {
    const header = await Promise.race([runHeaders(headers), ended.promise]);
    const elapsedMs = performance.now() - startedAtMs;
    return {
      header,
      timeoutMs: limitMs === undefined ? timeoutMs : Math.max(limitMs - elapsedMs, 1),
    };
  } finally {
    listening[Symbol.dispose]();
    timer?.[Symbol.dispose]();
  }
}
