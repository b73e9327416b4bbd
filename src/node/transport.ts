import type {
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
  type StreamRequest,
  type StreamResponse,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import {
  callWatcher,
  comesBack,
  compressRequests,
  sessionsOption,
} from "../client/call-options.ts";
import { isIdempotent, Retries } from "../client/retry.ts";
import { windowOf } from "../client/session-option.ts";
import { giveMessage } from "../codec/complete.ts";
import { ENCODING } from "../codec/compression.ts";
import { parseTargets } from "../connection/address.ts";
import { Addresses } from "../connection/addresses.ts";
import { carry } from "../connection/carry.ts";
import { asFailure, failure } from "../failure.ts";
import { map, one } from "../flow/pump.ts";
import { onAbort, sleep } from "../flow/wait.ts";
import { callHeaders, runsCallHeaders } from "../grpc/call-headers.ts";
import { CallMetadata, HeaderOptions, type SaidHeaders } from "../grpc/call-metadata.ts";
import { ClientCall } from "../grpc/client-call.ts";
import { exactlyOne } from "../grpc/exactly-one.ts";
import { aroundCall, intercept, intercepted } from "../grpc/intercept.ts";
import { limitsOf } from "../grpc/limits.ts";
import { asHeaders } from "../grpc/metadata.ts";
import { RequestHeaders } from "../grpc/request-headers.ts";
import type { Deadline } from "../grpc/timeout.ts";
import { StallWarnings, stallWarnings } from "../observe/stalls.ts";
import { checkOptions, timeout } from "../options.ts";
import { version } from "../version.ts";
import { nodeGzip } from "./gzip.ts";
import { clientTls } from "./tls.ts";
import {
  type ClosableTransport,
  type TransportOptions,
  transportChecks,
} from "./transport-options.ts";

const HERE = "createTransport";
const USER_AGENT = `hawser/${version}`;

/**
 * Makes a transport: the connections to one server, or to several that can
 * stand in for each other, and how calls are made there. Nothing is connected before the first call. Throws
 * INVALID_ARGUMENT, which names the option and its value, where an option is unknown or not what it must be.
 */
export function createTransport(options: TransportOptions): ClosableTransport {
  checkOptions(HERE, options, transportChecks);
  const targets = parseTargets(options.baseUrl);
  const [target] = targets;
  const { keepalive, connectTimeoutMs = 10_000, logger = console } = options;
  if (options.tls !== undefined && !target.tls) throw tlsWithoutHttps(options.baseUrl);
  const tls = clientTls(HERE, options.tls);
  const transportHeaders =
    typeof options.headers === "function" || options.headers === undefined
      ? options.headers
      : asHeaders(options.headers);
  const closing = new AbortController();
  const addresses = new Addresses(targets, { tls, connectTimeoutMs, keepalive });
  const limits = limitsOf(options);
  const interceptors = aroundCall(options.interceptors ?? []);
  const origin = `${target.tls ? "https" : "http"}://${target.authority}`;
  const retries = new Retries();
  // A call may ask for a session although the transport asks for none.
  const window = windowOf(options.sessions || true);
  const sendsGzip = options.sendCompression === ENCODING;

  /** The request headers of a method that are not the application's. */
  function ownHeaders(method: DescMethod, metadata: Headers | undefined): Record<string, string> {
    return {
      ":method": "POST",
      ":scheme": target.tls ? "https" : "http",
      ":path": pathOf(method),
      ":authority": target.authority,
      te: "trailers",
      "content-type": "application/grpc+proto",
      "user-agent": metadata?.get("user-agent") ?? USER_AGENT,
    };
  }

  /** A call as it is when the interceptors, if any, have had their say. */
  function start<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O> | DescMethodStreaming<I, O>,
    signal: AbortSignal | undefined,
    deadline: Deadline | undefined,
    metadata: CallMetadata,
    requests: AsyncIterable<MessageInitShape<I>>,
    contextValues: ContextValues | undefined,
    previousAttempts = 0,
  ): ClientCall<I, O> {
    const gzip = contextValues?.get(compressRequests) ?? sendsGzip;
    const sessions = contextValues?.get(sessionsOption) ?? options.sessions ?? true;
    const returns = contextValues?.get(comesBack) ?? false;
    if (returns) addresses.hurry();
    const own = (header: Headers | undefined) => {
      const headers = ownHeaders(method, header);
      headers["grpc-accept-encoding"] = options.acceptCompression === false ? "identity" : ENCODING;
      if (gzip) headers["grpc-encoding"] = ENCODING;
      if (previousAttempts > 0) headers["grpc-previous-rpc-attempts"] = String(previousAttempts);
      return headers;
    };
    const carriage = {
      addresses,
      headers: new RequestHeaders({
        own,
        metadata: metadata.sent,
        isFresh: previousAttempts === 0,
        again: metadata.again,
        deadline,
      }),
      ownHeaders: (method: DescMethod) =>
        new RequestHeaders({
          own: (header) => ownHeaders(method, header),
          metadata: metadata.transport,
          isFresh: true,
          again: undefined,
          deadline: undefined,
        }).make(),
      readMaxBytes: limits.readMaxBytes,
      window: method.methodKind === "unary" ? undefined : windowOf(sessions, window),
      comesBack: returns,
      watcher: contextValues?.get(callWatcher),
    };
    const init = {
      ...limits,
      compression: nodeGzip,
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
    metadata: CallMetadata,
    message: MessageInitShape<I>,
    values: ContextValues | undefined,
    deadline: Deadline | undefined,
  ): Promise<{ call: ClientCall<I, O>; response: MessageShape<O> }> {
    const endsAt = deadline?.endsAt ?? Number.POSITIVE_INFINITY;
    for (let attempts = 1; ; attempts++) {
      const call = start(method, signal, deadline, metadata, one(message), values, attempts - 1);
      try {
        const response = await only(call);
        retries.succeeded();
        return { call, response };
      } catch (error) {
        const waitMs = retries.failed(asFailure(error), attempts);
        if (!isIdempotent(method) || !call.reached || call.committed) throw error;
        if (waitMs === undefined || performance.now() + waitMs >= endsAt) throw error;
        await sleep(waitMs, signal);
        if (signal?.aborted) throw error;
      }
    }
  }

  /** What the options `headers` say of a call. The deadline, the caller and the transport's end end the wait for it. */
  async function answered(
    said: Promise<SaidHeaders>,
    signal: AbortSignal | undefined,
    deadline: Deadline | undefined,
  ): Promise<SaidHeaders> {
    const linked = intercepted(signal, deadline);
    const closed = Promise.withResolvers<never>();
    using _closing = onAbort(closing.signal, closed.reject);
    try {
      return await Promise.race([linked.race(said), closed.promise]);
    } finally {
      linked.over();
    }
  }

  function deadlineOf(callMs: number | undefined): Deadline | undefined {
    const timeoutMs = callMs ?? options.timeoutMs;
    if (timeoutMs === undefined) return undefined;
    timeout(timeoutMs, { of: "the call", option: "timeoutMs" });
    if (timeoutMs <= 0 || timeoutMs === Infinity) return undefined;
    return { timeoutMs, endsAt: performance.now() + timeoutMs };
  }

  function pathOf(method: DescMethod): string {
    return `${target.pathPrefix}/${method.parent.typeName}/${method.name}`;
  }

  function requestCommon(
    method: DescMethod,
    header: Headers | undefined,
    contextValues: ContextValues | undefined,
  ) {
    return {
      service: method.parent,
      requestMethod: "POST",
      url: origin + pathOf(method),
      header: new Headers(header),
      contextValues: contextValues ?? createContextValues(),
    };
  }

  const stalls = new StallWarnings(logger);
  async function close(): Promise<void> {
    stalls[Symbol.dispose]();
    const { name } = addresses;
    const what = `the transport to ${name} was closed: create another to make calls`;
    closing.abort(failure(Code.Canceled, what));
    await addresses.close(closing.signal.reason);
  }

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
      const said = new HeaderOptions(transportHeaders, contextValues?.get(callHeaders) ?? header);
      const asked = said.ask?.();
      const given = asked === undefined ? said.said() : await answered(asked, signal, deadline);
      const send = async (
        signal: AbortSignal | undefined,
        header: Headers | undefined,
        message: MessageInitShape<I>,
        values: ContextValues | undefined,
      ): Promise<UnaryResponse<I, O>> => {
        const metadata = new CallMetadata(said, given, header);
        const { call, response } = await single(
          method,
          signal,
          metadata,
          message,
          values,
          deadline,
        );
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
        return await send(signal, given.call, input, contextValues);
      }
      const linked = intercepted(signal, deadline);
      try {
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
        return await linked.race(
          next({
            ...requestCommon(method, given.call, contextValues),
            stream: false,
            method,
            signal: linked.signal,
            message: giveMessage(method.input, input),
          }),
        );
      } catch (error) {
        throw asFailure(error);
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
      const said = new HeaderOptions(transportHeaders, contextValues?.get(callHeaders) ?? header);
      const asked = said.ask?.();
      const given = asked === undefined ? said.said() : await answered(asked, signal, deadline);
      const send = async (
        signal: AbortSignal | undefined,
        header: Headers | undefined,
        messages: AsyncIterable<MessageInitShape<I>>,
        values: ContextValues | undefined,
      ): Promise<StreamResponse<I, O>> => {
        const metadata = new CallMetadata(said, given, header);
        const call = start(method, signal, deadline, metadata, messages, values);
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
        return await send(signal, given.call, input, contextValues);
      }
      const linked = intercepted(signal, deadline);
      try {
        const next = intercept(
          async (request: StreamRequest<I, O>): Promise<StreamResponse<I, O>> => {
            const { header, contextValues } = request;
            const messages = request.message as AsyncIterable<MessageInitShape<I>>;
            const response = await send(request.signal, header, messages, contextValues);
            return { ...response, message: withEnd(response.message, linked.over) };
          },
          interceptors,
        );
        return await linked.race(
          next({
            ...requestCommon(method, given.call, contextValues),
            stream: true,
            method,
            signal: linked.signal,
            // Complete, also where the caller gave a part of the fields.
            message: map(input, (message) => giveMessage(method.input, message)),
          }),
        );
      } catch (error) {
        const failed = asFailure(error);
        linked.over(failed);
        throw failed;
      }
    },

    close,
    [Symbol.asyncDispose]: close,
  };
  return Object.assign(transport, { [runsCallHeaders]: true });
}

/** Cleartext where the caller asked for TLS must not go unnoticed. */
function tlsWithoutHttps(baseUrl: TransportOptions["baseUrl"]): ConnectError {
  const [first] = [baseUrl].flat();
  return failure(
    Code.InvalidArgument,
    `${HERE}: tls is for https://, and baseUrl ${JSON.stringify(first)} has no TLS: use https://, or leave tls out`,
  );
}

/** The one response of a unary call. */
async function only<I extends DescMessage, O extends DescMessage>({
  responses,
}: ClientCall<I, O>): Promise<MessageShape<O>> {
  try {
    return await exactlyOne(() => responses.next(), "response", "a unary call");
  } catch (error) {
    await responses.return();
    throw error;
  }
}

async function* withEnd<T>(messages: AsyncIterable<T>, over: () => void): AsyncGenerator<T> {
  try {
    yield* messages;
  } finally {
    over();
  }
}
