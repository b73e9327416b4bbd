import type { DescMessage, DescMethod } from "@bufbuild/protobuf";
import type { Interceptor, MethodImplSpec } from "@connectrpc/connect";
import type { AsyncContext } from "../flow/runtime.ts";
import type { FirstRequestTimer } from "./first-request-timer.ts";
import type { Incoming, SendCompression } from "./incoming.ts";
import type { MessageOptions } from "./limits.ts";

/** The options that all calls of a server share. */
export interface ServerCallOptions extends MessageOptions {
  readonly interceptors: Interceptor[];
  readonly sendCompression: SendCompression;
  /** Smaller responses are never compressed. */
  readonly compressMinBytes: number;
  /** A longer deadline is refused. */
  readonly maxTimeoutMs: number;
  /** Calls bidirectional calls back when no request has arrived for 50 ms. */
  readonly firstRequests: FirstRequestTimer;
  /** Called with what a handler threw that is not a ConnectError: a bug. */
  readonly onHandlerError: (error: unknown, method: DescMethod) => void;
}

/** The parameters of a call. */
export interface ServerCallInit<I extends DescMessage, O extends DescMessage> {
  readonly incoming: Incoming;
  readonly spec: MethodImplSpec<I, O>;
  readonly options: ServerCallOptions;
  /** The owner of the messages of the call, its caller: several owners take turns, at decompressing and at late responses. */
  readonly turnsOf: object;
  /** The context (AsyncLocalStorage) in which the handler runs. Default: any. */
  readonly scope?: AsyncContext | undefined;
}
