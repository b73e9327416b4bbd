/**
 * The options of Connect's own handlers, which serve the other protocols: Connect, gRPC-Web, and gRPC with JSON, over
 * HTTP/1.1 and HTTP/2.
 */
import type { DescMethod } from "@bufbuild/protobuf";
import {
  ConnectError,
  type ConnectRouter,
  type ConnectRouterOptions,
  type HandlerContext,
  type Interceptor,
} from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { fromAbort, knownCode, toWire } from "../failure.ts";
import { untilAborted } from "../flow/pump.ts";
import { onAbort } from "../flow/wait.ts";
import { CallValues } from "../grpc/caller.ts";
import { aroundHandler } from "../grpc/intercept.ts";
import { isThenable } from "../grpc/invoke.ts";
import type { BinaryOptions } from "../grpc/limits.ts";
import type { CallCounter } from "../observe/call-counts.ts";
import type { ServerObserver } from "../observe/events.ts";
import type { Notifier } from "../observe/notifier.ts";
import type { Callers } from "./callers.ts";
import { inTurns } from "./connect-turns.ts";
import { endExpired } from "./expiry.ts";
import { canMove } from "./move-elsewhere.ts";
import { countCalls, observing } from "./observe-connect.ts";
import { isOfApplication } from "./own-services.ts";

/** The options of a server that its Connect handlers need. */
export interface ConnectSettings {
  readonly interceptors: Interceptor[];
  readonly readMaxBytes: number;
  readonly writeMaxBytes: number;
  readonly binaryOptions?: BinaryOptions | undefined;
  readonly sendCompression: "gzip" | "identity" | undefined;
  readonly compressMinBytes: number;
  readonly maxTimeoutMs: number;
}

/** The parts of its server that Connect's handlers use. */
export interface ConnectServer {
  /** Aborts when the server begins to drain. */
  readonly draining: AbortSignal;
  /** Aborts when the server ends the calls that are still open. */
  readonly shutdown: AbortSignal;
  /** Called with an error that a handler threw and that is not a ConnectError: a bug. */
  readonly onHandlerError: (error: unknown, method: DescMethod) => void;
  readonly compression: Compression;
  readonly callers: Callers;
  readonly counter: CallCounter;
  /** Undefined if the server has no observer. */
  readonly notifier: Notifier<ServerObserver> | undefined;
}

/** Registers the routes on Connect's router, with an interceptor around each handler. */
type Routes = (router: ConnectRouter, around: Interceptor) => void;

/** Connect's options, and the routes, for any version of HTTP. */
export interface ConnectOptions extends ConnectRouterOptions {
  routes(router: ConnectRouter): void;
}

/** Makes the options of Connect's handlers. */
export function connectOptions(
  routes: Routes,
  settings: ConnectSettings,
  { draining, shutdown, compression, callers, notifier, ...server }: ConnectServer,
): ConnectOptions {
  const report = reportErrors(server);
  const move = moveCalls(draining);
  const count = ofApplication(countCalls(server.counter));
  const observe: Interceptor =
    notifier === undefined ? (next) => next : ofApplication(observing(notifier));
  const around: Interceptor = (next) => observe(count(move(endExpired(report(inTurns(next))))));
  const { binaryOptions } = settings;
  return {
    routes: (router) => routes(router, around),
    requestGate: (context) => identify(context, callers),
    interceptors: [around, ...aroundHandler(settings.interceptors)],
    readMaxBytes: settings.readMaxBytes,
    writeMaxBytes: settings.writeMaxBytes,
    ...(binaryOptions === undefined ? {} : { binaryOptions }),
    // Connect's handlers cannot turn compression off; no response is as long as this.
    compressMinBytes:
      settings.sendCompression === "identity" ? Number.MAX_SAFE_INTEGER : settings.compressMinBytes,
    acceptCompression: [compression],
    maxTimeoutMs: settings.maxTimeoutMs,
    shutdownSignal: shutdown,
  };
}

/** Refuses a call, or finds out who makes it and whether it is served, before its body is read. Until then `values` has the client of the connection. */
async function identify(context: HandlerContext, callers: Callers): Promise<void> {
  const { requestHeader: header, method, signal, values } = context;
  if (!(values instanceof CallValues)) return;
  if (values.refusal !== undefined) throw values.refusal;
  if (callers.knows(values.caller.peer)) return;
  const caller = callers.callerOf({ header, peer: values.caller.peer, method });
  if (!isThenable(caller)) {
    values.identify(caller);
    return;
  }
  const ended = Promise.withResolvers<never>();
  using _listening = onAbort(signal, (reason) => ended.reject(fromAbort(reason)));
  values.identify(await Promise.race([caller, ended.promise]));
}

/** Returns an interceptor that leaves out the calls of the server's own services. */
function ofApplication(interceptor: Interceptor): Interceptor {
  return (next) => {
    const intercepted = interceptor(next);
    return (request) => (isOfApplication(request.method) ? intercepted(request) : next(request));
  };
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
 * Reports an error of a handler that is not a ConnectError: Connect shows it neither to the client nor to the logger.
 */
function reportErrors({ onHandlerError }: Pick<ConnectServer, "onHandlerError">): Interceptor {
  const reportAndThrow = (
    error: unknown,
    { method, signal }: { method: DescMethod; signal: AbortSignal },
  ): never => {
    // connect-node's adapter throws its own write errors into a handler whose client has disconnected.
    if (!(error instanceof ConnectError) && !signal.aborted) onHandlerError(error, method);
    if (error instanceof ConnectError) throw withKnownCode(error);
    // Connect would take a thrown value that is not an Error, such as `undefined`, for no error.
    throw error instanceof Error ? error : toWire(error);
  };
  return (next) => async (request) => {
    try {
      const response = await next(request);
      if (!response.stream) return response;
      const message = catching(response.message, (error) => reportAndThrow(error, request));
      return { ...response, message };
    } catch (error) {
      return reportAndThrow(error, request);
    }
  };
}

/** Replaces a code that gRPC does not define. Connect would send it. */
function withKnownCode(error: ConnectError): ConnectError {
  const { rawMessage, code, metadata, details, cause } = error;
  if (knownCode(code) === code) return error;
  const known = new ConnectError(rawMessage, knownCode(code), metadata, undefined, cause);
  known.details = details;
  known.isWireError = error.isWireError;
  return known;
}

async function* catching<T>(messages: AsyncIterable<T>, onError: (error: unknown) => never) {
  try {
    yield* messages;
  } catch (error) {
    onError(error);
  }
}
