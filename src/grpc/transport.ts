import type {
  BinaryReadOptions,
  BinaryWriteOptions,
  DescMessage,
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import {
  Code,
  type ConnectError,
  type ContextValues,
  createContextValues,
  type Interceptor,
  type StreamRequest,
  type StreamResponse,
  type Transport,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import { callWatcher, comesBack, compressRequests, wantsSession } from "../call-options.ts";
import { asFailure, failure } from "../failure.ts";
import { map, one, pause } from "../flow.ts";
import type { Logger } from "../logger.ts";
import {
  type Checks,
  callable,
  checkArgument,
  checkOptions,
  either,
  listOf,
  needed,
  notNegative,
  oneOf,
  optionsOf,
  positive,
  text,
  timeout,
  trueOrFalse,
  whole,
  withFunctions,
} from "../options.ts";
import { DEFAULT_WINDOW, type Window } from "../session/ledger.ts";
import { StallWarnings, stallWarnings } from "../stalls.ts";
import { version } from "../version.ts";
import { parseTargets } from "./address.ts";
import { Addresses } from "./addresses.ts";
import { carry } from "./carry.ts";
import { ClientCall } from "./client-call.ts";
import { giveMessage } from "./complete.ts";
import { ENCODING } from "./compression.ts";
import { intercept, intercepted } from "./intercept.ts";
import { type KeepaliveOptions, keepaliveChecks } from "./keepalive.ts";
import { binaryChecks, limitsOf } from "./limits.ts";
import { asHeaders } from "./metadata.ts";
import { RequestHeaders } from "./request-headers.ts";
import { isIdempotent, Retries } from "./retry.ts";
import type { Deadline } from "./timeout.ts";
import { type ClientTls, clientTls, clientTlsChecks } from "./tls.ts";

export interface TransportOptions {
  /**
   * `http://host:port`, `https://host:port`, or `unix:/path`. Several, in order, are servers that can stand in for each
   * other: where one cannot be reached, or drains, calls go to the next. All have TLS, or none. A path, as in
   * `http://host/api`, stands before the path of every request.
   */
  baseUrl: string | readonly string[];
  /** The deadline of calls that set none, in milliseconds; 0, less, and Infinity mean none. Default: none. */
  timeoutMs?: number;
  /** For TCP, TLS and the server's first words together, at each address. Default: 10 000. */
  connectTimeoutMs?: number;
  /**
   * HTTP/2 pings on connections with open calls: a server that vanished
   * without a word is noticed, and its calls fail with UNAVAILABLE, or go on
   * over another connection where they have sessions. Default: after 300 000 ms
   * of silence, 20 000 ms for the answer; 30 000 and 10 000 to Hawser servers.
   */
  keepalive?: KeepaliveOptions;
  /** Around every call; the first is the outermost. */
  interceptors?: Interceptor[];
  /** "gzip" compresses requests. Default: "identity". For one call: its option `compress`. */
  sendCompression?: "gzip" | "identity";
  /** Smaller requests are not compressed. Default: 1024. */
  compressMinBytes?: number;
  /** Whether the server may compress responses (gzip). Default: true. */
  acceptCompression?: boolean;
  /** A longer response ends its call with RESOURCE_EXHAUSTED before it is read. Default: 4 MiB. */
  readMaxBytes?: number;
  /** A longer request is refused with RESOURCE_EXHAUSTED. Default: 4 MiB. */
  writeMaxBytes?: number;
  /**
   * How messages are read and written: protobuf-es' `readUnknownFields` and `writeUnknownFields` (default: both), and
   * `recursionLimit`: how many messages may stand within each other, the outermost counted, and a map's entry as one.
   * Default: 101, which is upb's; a response that is nested deeper ends its call with INTERNAL.
   */
  binaryOptions?: Partial<BinaryReadOptions & BinaryWriteOptions>;
  /** For `https://`; refused with INVALID_ARGUMENT where baseUrl has none. */
  tls?: ClientTls;
  /**
   * Whether streaming calls outlive their connections, where the server keeps
   * sessions. For one call: its option `session`. Default: true.
   */
  session?: boolean | SessionWindow;
  /**
   * Told, once a transport for each, of a call that has waited for 10 s for what does not come by itself: responses
   * that may need `closeSend()`, trailers of a call that nobody reads. What it throws is ignored. Default: `console`.
   */
  logger?: Pick<Logger, "warn">;
}

/** What one session may hold, of what it sent and of what it received. */
export interface SessionWindow {
  /** Default: 1 MiB. */
  windowBytes?: number;
  /** Default: 16 384. */
  windowMessages?: number;
}

/** What is counted in whole numbers, also on the wire. */
const count = whole(1, Number.MAX_SAFE_INTEGER);

const checks = {
  baseUrl: needed(either(Array.isArray, text)),
  timeoutMs: timeout,
  connectTimeoutMs: positive,
  keepalive: optionsOf(keepaliveChecks),
  interceptors: listOf(callable),
  sendCompression: oneOf("gzip", "identity"),
  compressMinBytes: notNegative,
  acceptCompression: trueOrFalse,
  readMaxBytes: positive,
  writeMaxBytes: positive,
  binaryOptions: optionsOf(binaryChecks),
  tls: optionsOf(clientTlsChecks),
  session: either(
    (value) => typeof value === "boolean",
    optionsOf<SessionWindow>({ windowBytes: count, windowMessages: count }),
  ),
  logger: withFunctions("warn"),
} satisfies Checks<TransportOptions>;

/** A Connect Transport that can be closed. */
export interface ClosableTransport extends Transport, AsyncDisposable {
  /** The deadline of calls that set none, in milliseconds, if there is one. */
  readonly timeoutMs: number | undefined;
  /** Closes its connections; open calls, and new ones, fail with CANCELED. */
  close(): Promise<void>;
}

const HERE = "createTransport";
const USER_AGENT = `hawser/${version}`;

/**
 * Makes a transport: the connections to one server, or to several that can
 * stand in for each other, and how calls are made there. Nothing is connected before the first call. Throws
 * INVALID_ARGUMENT, which names the option and its value, where an option is unknown or not what it must be.
 */
export function createTransport(options: TransportOptions): ClosableTransport {
  checkOptions(HERE, options, checks);
  const targets = parseTargets(options.baseUrl);
  const [target] = targets;
  const { keepalive, connectTimeoutMs = 10_000, logger = console } = options;
  if (options.tls !== undefined && !target.tls) throw tlsWithoutHttps(options.baseUrl);
  const tls = clientTls(HERE, options.tls);
  const addresses = new Addresses(targets, { tls, connectTimeoutMs, keepalive });
  const limits = limitsOf(options);
  const interceptors = options.interceptors ?? [];
  const origin = `${target.tls ? "https" : "http"}://${target.authority}`;
  const retries = new Retries();
  const window = windowOf(options.session);
  const sendsGzip = options.sendCompression === ENCODING;

  /** The request headers of a method that are no call's own. */
  function ownHeaders(method: DescMethod): Record<string, string> {
    return {
      ":method": "POST",
      ":scheme": target.tls ? "https" : "http",
      ":path": pathOf(method),
      ":authority": target.authority,
      te: "trailers",
      "content-type": "application/grpc+proto",
    };
  }

  /** A call as it is when the interceptors, if any, have had their say. */
  function start<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O> | DescMethodStreaming<I, O>,
    signal: AbortSignal | undefined,
    deadline: Deadline | undefined,
    header: Headers | undefined,
    requests: AsyncIterable<MessageInitShape<I>>,
    contextValues: ContextValues | undefined,
    previousAttempts = 0,
  ): ClientCall<I, O> {
    const gzip = contextValues?.get(compressRequests) ?? sendsGzip;
    const wants =
      method.methodKind !== "unary" &&
      (contextValues?.get(wantsSession) ?? options.session !== false);
    const returns = contextValues?.get(comesBack) ?? false;
    if (returns) addresses.hurry();
    const headers = ownHeaders(method);
    headers["grpc-accept-encoding"] = options.acceptCompression === false ? "identity" : ENCODING;
    if (gzip) headers["grpc-encoding"] = ENCODING;
    if (previousAttempts > 0) headers["grpc-previous-rpc-attempts"] = String(previousAttempts);
    headers["user-agent"] = header?.get("user-agent") ?? USER_AGENT;
    const carriage = {
      addresses,
      headers: new RequestHeaders(headers, header, deadline),
      ownHeaders,
      readMaxBytes: limits.readMaxBytes,
      window: wants ? window : undefined,
      comesBack: returns,
      watcher: contextValues?.get(callWatcher),
    };
    const init = {
      ...limits,
      input: method.input,
      output: method.output,
      deadline,
      signal,
      compressFromBytes: gzip ? (options.compressMinBytes ?? 1024) : undefined,
      requests,
    };
    return new ClientCall(init, (call) => carry(carriage, call));
  }

  /** A unary call, made again where that is safe and may help. */
  async function single<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    signal: AbortSignal | undefined,
    header: Headers | undefined,
    message: MessageInitShape<I>,
    values: ContextValues | undefined,
    deadline: Deadline | undefined,
  ): Promise<{ call: ClientCall<I, O>; response: MessageShape<O> }> {
    const endsAt = deadline?.endsAt ?? Number.POSITIVE_INFINITY;
    for (let attempts = 1; ; attempts++) {
      const call = start(method, signal, deadline, header, one(message), values, attempts - 1);
      try {
        const response = await only(call);
        retries.succeeded();
        return { call, response };
      } catch (error) {
        const waitMs = retries.failed(asFailure(error), attempts);
        if (!isIdempotent(method) || !call.reached || call.committed) throw error;
        if (waitMs === undefined || performance.now() + waitMs >= endsAt) throw error;
        await pause(waitMs, signal);
        if (signal?.aborted) throw error;
      }
    }
  }

  function deadlineOf(callMs: number | undefined): Deadline | undefined {
    const timeoutMs = callMs ?? options.timeoutMs;
    if (timeoutMs === undefined) return undefined;
    checkArgument("the call", "timeoutMs", timeoutMs, timeout);
    if (timeoutMs <= 0 || timeoutMs === Infinity) return undefined;
    return { timeoutMs, endsAt: performance.now() + timeoutMs };
  }

  function pathOf(method: DescMethod): string {
    return `${target.pathPrefix}/${method.parent.typeName}/${method.name}`;
  }

  function requestCommon(
    method: DescMethod,
    header: HeadersInit | undefined,
    contextValues: ContextValues | undefined,
  ) {
    return {
      service: method.parent,
      requestMethod: "POST",
      url: origin + pathOf(method),
      header: asHeaders(header ?? {}),
      contextValues: contextValues ?? createContextValues(),
    };
  }

  const stalls = new StallWarnings(logger);
  const close = () => {
    stalls[Symbol.dispose]();
    return addresses.close();
  };

  const transport: ClosableTransport & { [stallWarnings]: StallWarnings } = {
    timeoutMs: options.timeoutMs,
    [stallWarnings]: stalls,

    async unary<I extends DescMessage, O extends DescMessage>(
      method: DescMethodUnary<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      header: HeadersInit | undefined,
      input: MessageInitShape<I>,
      contextValues?: ContextValues,
    ): Promise<UnaryResponse<I, O>> {
      const deadline = deadlineOf(timeoutMs);
      const send = async (
        signal: AbortSignal | undefined,
        header: Headers | undefined,
        message: MessageInitShape<I>,
        values: ContextValues | undefined,
      ): Promise<UnaryResponse<I, O>> => {
        const { call, response } = await single(method, signal, header, message, values, deadline);
        return {
          stream: false,
          service: method.parent,
          method,
          header: call.header,
          message: response,
          trailer: call.trailer,
        };
      };
      if (interceptors.length === 0) {
        return await send(signal, header && asHeaders(header), input, contextValues);
      }
      const linked = intercepted(signal, deadline);
      const next = intercept(
        (request: UnaryRequest<I, O>) =>
          send(
            request.signal,
            request.header,
            request.message as MessageInitShape<I>,
            request.contextValues,
          ),
        interceptors,
      );
      try {
        return await linked.race(
          next({
            ...requestCommon(method, header, contextValues),
            stream: false,
            method,
            signal: linked.signal,
            message: giveMessage(method.input, input),
          }),
        );
      } finally {
        linked.over();
      }
    },

    async stream<I extends DescMessage, O extends DescMessage>(
      method: DescMethodStreaming<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      header: HeadersInit | undefined,
      input: AsyncIterable<MessageInitShape<I>>,
      contextValues?: ContextValues,
    ): Promise<StreamResponse<I, O>> {
      const deadline = deadlineOf(timeoutMs);
      const send = async (
        signal: AbortSignal | undefined,
        header: Headers | undefined,
        messages: AsyncIterable<MessageInitShape<I>>,
        values: ContextValues | undefined,
      ): Promise<StreamResponse<I, O>> => {
        const call = start(method, signal, deadline, header, messages, values);
        await call.answered;
        return {
          stream: true,
          service: method.parent,
          method,
          message: call.responses,
          get header() {
            return call.header;
          },
          get trailer() {
            return call.trailer;
          },
        };
      };
      if (interceptors.length === 0) {
        return await send(signal, header && asHeaders(header), input, contextValues);
      }
      const linked = intercepted(signal, deadline);
      const next = intercept(
        async (request: StreamRequest<I, O>): Promise<StreamResponse<I, O>> => {
          const { header, contextValues } = request;
          const messages = request.message as AsyncIterable<MessageInitShape<I>>;
          const response = await send(request.signal, header, messages, contextValues);
          return { ...response, message: withEnd(response.message, linked.over) };
        },
        interceptors,
      );
      try {
        return await linked.race(
          next({
            ...requestCommon(method, header, contextValues),
            stream: true,
            method,
            signal: linked.signal,
            // Complete, also where the caller gave a part of the fields.
            message: map(input, (message) => giveMessage(method.input, message)),
          }),
        );
      } catch (error) {
        linked.over(error);
        throw error;
      }
    },

    close,
    [Symbol.asyncDispose]: close,
  };
  return transport;
}

/** Cleartext where the caller asked for TLS must not go unnoticed. */
function tlsWithoutHttps(baseUrl: TransportOptions["baseUrl"]): ConnectError {
  const [first] = [baseUrl].flat();
  return failure(
    Code.InvalidArgument,
    `${HERE}: tls is for https://, and baseUrl ${JSON.stringify(first)} has no TLS: use https://, or leave tls out`,
  );
}

function windowOf(session: TransportOptions["session"]): Window {
  const set = typeof session === "object" ? session : {};
  const { windowBytes = DEFAULT_WINDOW.bytes, windowMessages = DEFAULT_WINDOW.messages } = set;
  return { bytes: windowBytes, messages: windowMessages };
}

/** The one response of a unary call. */
async function only<I extends DescMessage, O extends DescMessage>(
  call: ClientCall<I, O>,
): Promise<MessageShape<O>> {
  const first = await call.responses.next();
  const second = first.done === true ? first : await call.responses.next();
  if (first.done !== true && second.done === true) return first.value;
  await call.responses.return();
  const got = first.done === true ? "no response" : "more than one response";
  throw failure(Code.Unimplemented, `protocol error: a unary call got ${got}; it has just one`);
}

async function* withEnd<T>(messages: AsyncIterable<T>, over: () => void): AsyncGenerator<T> {
  try {
    yield* messages;
  } finally {
    over();
  }
}
