import type {
  DescMessage,
  DescMethodStreaming,
  DescMethodUnary,
  MessageInitShape,
} from "@bufbuild/protobuf";
import {
  Code,
  type ConnectError,
  type ContextValues,
  type StreamResponse,
  type UnaryResponse,
} from "@connectrpc/connect";
import { withCallOpener } from "../client/open-call.ts";
import { parseTargets } from "../connection/address.ts";
import { Addresses } from "../connection/addresses.ts";
import { ReceiveBudget, TOTAL_FACTOR, totalBudgetBytes } from "../connection/receive-budget.ts";
import { failure } from "../failure.ts";
import { realClock } from "../flow/clock.ts";
import { limitsOf } from "../grpc/limits.ts";
import { log } from "../observe/logger.ts";
import { Notifier } from "../observe/notifier.ts";
import { StallWarnings, stallWarnings } from "../observe/stalls.ts";
import { checkOptions } from "../options.ts";
import { wholeResponse } from "./call-response.ts";
import { Calls } from "./calls.ts";
import { connectBy } from "./connect.ts";
import { ObservedCalls } from "./observed-calls.ts";
import { outputBuffers } from "./output-buffers.ts";
import { clientTls } from "./tls.ts";
import {
  type ClosableTransport,
  type TransportOptions,
  transportChecks,
} from "./transport-options.ts";

const HERE = "createTransport";

/**
 * Makes a transport: the connections to one server, or to several that can stand in for each other, and the options of
 * calls there. Nothing is connected before the first call. Throws INVALID_ARGUMENT, which names the option and its
 * value, if an option is unknown or not valid.
 */
export function createTransport(options: TransportOptions): ClosableTransport {
  checkOptions(HERE, options, transportChecks);
  const targets = parseTargets(options.baseUrl);
  const [target] = targets;
  const { keepalive, connectTimeoutMs = 10_000, logger = console, observe } = options;
  if (options.tls !== undefined && !target.tls) throw tlsWithoutHttps(options.baseUrl);
  const tls = clientTls(HERE, options.tls);
  const notifier =
    observe && new Notifier(observe, (message, error) => log(logger, "warn", message, error));
  const budget = budgetOf(options);
  const addresses = new Addresses(targets, {
    connect: connectBy({
      ...{ tls, timeoutMs: connectTimeoutMs },
      ...{ buffers: outputBuffers, budget, notifier },
    }),
    connectTimeoutMs,
    keepalive,
  });
  const calls = new Calls(options, { target, addresses });
  const { timeoutMs } = options;
  const opener =
    notifier === undefined
      ? calls
      : new ObservedCalls({ calls, notifier, target: addresses.name, timeoutMs });
  const stalls = new StallWarnings(logger, notifier);

  async function close(): Promise<void> {
    stalls[Symbol.dispose]();
    const { name } = addresses;
    const what = `the transport to ${name} was closed: create another to make calls`;
    await addresses.close(failure(Code.Canceled, what));
  }

  const transport: ClosableTransport & { [stallWarnings]: StallWarnings } = {
    timeoutMs,
    [stallWarnings]: stalls,

    /** Connect's Transport interface, for Connect's own clients. */
    unary<I extends DescMessage, O extends DescMessage>(
      method: DescMethodUnary<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      headers: HeadersInit | undefined,
      request: MessageInitShape<I>,
      contextValues?: ContextValues,
    ): Promise<UnaryResponse<I, O>> {
      const init = { signal, timeoutMs, headers, request, contextValues };
      return opener.openUnaryCall(method, init, wholeResponse);
    },

    async stream<I extends DescMessage, O extends DescMessage>(
      method: DescMethodStreaming<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      headers: HeadersInit | undefined,
      requests: AsyncIterable<MessageInitShape<I>>,
      contextValues?: ContextValues,
    ): Promise<StreamResponse<I, O>> {
      const init = { signal, timeoutMs, headers, requests, contextValues };
      return wholeResponse(await opener.openCall(method, init));
    },

    stats() {
      const { started, succeeded, failed, ended } = calls.counter.stats;
      const { connections, waitingCalls, sessions } = addresses.stats;
      return {
        connections,
        calls: { open: started - ended, waiting: waitingCalls, started, succeeded, failed },
        sessions,
        unreadBytes: budget.usedBytes,
      };
    },

    close,
    [Symbol.asyncDispose]: close,
  };
  return withCallOpener(transport, opener);
}

/** Returns the budget of the bytes that all streams of a transport hold. */
function budgetOf(options: TransportOptions): ReceiveBudget {
  const bytes = totalBudgetBytes(limitsOf(options).readMaxBytes);
  const limit = `the ${bytes} B that the calls of a transport may hold`;
  return new ReceiveBudget({ bytes, of: "the transport", limit, factor: TOTAL_FACTOR }, realClock);
}

/** Makes the error of TLS options with a cleartext address. Such calls would otherwise be cleartext unnoticed. */
function tlsWithoutHttps(baseUrl: TransportOptions["baseUrl"]): ConnectError {
  const [first] = [baseUrl].flat();
  return failure(
    Code.InvalidArgument,
    `${HERE}: tls is for https://, and baseUrl ${JSON.stringify(first)} has no TLS: use https://, or leave tls out`,
  );
}
