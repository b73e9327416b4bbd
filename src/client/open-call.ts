/** How clients make calls on a transport: through the door that Hawser's transports have, else as Connect's do. */
import type {
  DescMessage,
  DescMethodStreaming,
  DescMethodUnary,
  MessageInitShape,
} from "@bufbuild/protobuf";
import type { StreamResponse, Transport, UnaryResponse } from "@connectrpc/connect";
import { deadlineExceeded, fromAbort, handled } from "../failure.ts";
import { onAbort, startTimer } from "../flow/wait.ts";
import { type HeadersFunction, runHeaders } from "../grpc/call-headers.ts";
import type { CallOptions } from "./call-options.ts";

/** Whoever makes a call, and hears how it fares beneath. */
export interface CallWatcher {
  /** The call has a session: it outlives its connections. */
  onSession(): void;
  /** Its session continues over a connection, or looks for one. */
  onCarried(state: "open" | "resuming"): void;
  /** The call takes no more requests: those that wait, and later ones, fail with `error`. */
  onSendEnded(error: unknown): void;
}

/** What can be said of a call of any kind. */
export interface CallInit
  extends Pick<CallOptions, "headers" | "contextValues" | "compress" | "sessions"> {
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number | undefined;
}

export interface UnaryCallInit<I extends DescMessage> extends CallInit {
  readonly request: MessageInitShape<I>;
}

export interface StreamingCallInit<I extends DescMessage> extends CallInit {
  readonly requests: AsyncIterable<MessageInitShape<I>>;
  readonly watcher?: CallWatcher | undefined;
  /** Whether the call is made again by itself where it is lost: connections are tried more often. */
  readonly fastReconnect?: boolean | undefined;
}

/** The door of a transport of Hawser's: what Connect's Transport has no place for goes through here. */
export interface CallDoor {
  openCall<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    init: StreamingCallInit<I>,
  ): Promise<StreamResponse<I, O>>;
  openUnaryCall<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    init: UnaryCallInit<I>,
  ): Promise<UnaryResponse<I, O>>;
}

/** A transport with its door; not enumerable: a copy with another `stream` must not be passed by. */
export function withDoor<T extends Transport>(transport: T, door: CallDoor): T & CallDoor {
  return Object.defineProperties(transport as T & CallDoor, {
    openCall: { value: door.openCall.bind(door) },
    openUnaryCall: { value: door.openUnaryCall.bind(door) },
  });
}

function hasDoor(transport: Transport): transport is Transport & CallDoor {
  return "openCall" in transport && "openUnaryCall" in transport;
}

/** Makes a streaming call. */
export function openCall<I extends DescMessage, O extends DescMessage>(
  transport: Transport,
  method: DescMethodStreaming<I, O>,
  init: StreamingCallInit<I>,
): Promise<StreamResponse<I, O>> {
  if (hasDoor(transport)) return transport.openCall(method, init);
  return openAnywhere(init, ({ header, timeoutMs }) => {
    const { signal, requests, contextValues } = init;
    return transport.stream(method, signal, timeoutMs, header, requests, contextValues);
  });
}

/** Makes a unary call. */
export function openUnaryCall<I extends DescMessage, O extends DescMessage>(
  transport: Transport,
  method: DescMethodUnary<I, O>,
  init: UnaryCallInit<I>,
): Promise<UnaryResponse<I, O>> {
  if (hasDoor(transport)) return transport.openUnaryCall(method, init);
  return openAnywhere(init, ({ header, timeoutMs }) => {
    const { signal, request, contextValues } = init;
    return transport.unary(method, signal, timeoutMs, header, request, contextValues);
  });
}

/** Calls a transport that is not Hawser's; a function that says headers runs once, before the call. */
async function openAnywhere<T>(
  { headers, signal, timeoutMs }: CallInit,
  call: (said: Said) => Promise<T>,
): Promise<T> {
  if (typeof headers !== "function") return await call({ header: headers, timeoutMs });
  return await call(await read(headers, signal, timeoutMs));
}

interface Said {
  readonly header: HeadersInit | undefined;
  /** What is left of the deadline. */
  readonly timeoutMs: number | undefined;
}

/** The deadline and the caller end the wait. */
async function read(
  headers: HeadersFunction,
  signal: AbortSignal | undefined,
  timeoutMs: number | undefined,
): Promise<Said> {
  const began = performance.now();
  const ended = Promise.withResolvers<never>();
  handled(ended.promise);
  using _abort = onAbort(signal, (reason) => ended.reject(fromAbort(reason)));
  const limitMs = timeoutMs !== undefined && timeoutMs > 0 ? timeoutMs : undefined;
  using _timer =
    limitMs === undefined
      ? undefined
      : startTimer(limitMs, () => ended.reject(deadlineExceeded(limitMs)));
  const header = await Promise.race([runHeaders(headers), ended.promise]);
  const tookMs = performance.now() - began;
  return {
    header,
    timeoutMs: limitMs === undefined ? timeoutMs : Math.max(limitMs - tookMs, 1),
  };
}
