import type {
  DescMessage,
  DescMethodStreaming,
  DescMethodUnary,
  MessageInitShape,
} from "@bufbuild/protobuf";
import {
  Code,
  type ContextValues,
  type StreamResponse,
  type UnaryResponse,
} from "@connectrpc/connect";
import { withCallOpener } from "../client/open-call.ts";
import type { Compression } from "../codec/compression.ts";
import type { Target } from "../connection/address.ts";
import { Addresses } from "../connection/addresses.ts";
import type { ClientConnectionOptions } from "../connection/client-connection.ts";
import type { Connect } from "../connection/connection.ts";
import { ReceiveBudget, TOTAL_FACTOR, totalBudgetBytes } from "../connection/receive-budget.ts";
import { failure } from "../failure.ts";
import { realClock } from "../flow/clock.ts";
import { limitsOf } from "../grpc/limits.ts";
import { log } from "../observe/logger.ts";
import { Notifier } from "../observe/notifier.ts";
import { StallWarnings, stallWarnings } from "../observe/stalls.ts";
import { wholeResponse } from "./call-response.ts";
import { Calls } from "./calls.ts";
import { ObservedCalls } from "./observed-calls.ts";
import type { ClosableTransport, CommonTransportOptions } from "./transport-options.ts";

/** The options for making connections. */
export interface ConnectOptions extends ClientConnectionOptions {
  /** The time in which a connection must be ready for calls. */
  readonly timeoutMs: number;
}

/** What a transport needs from the platform on which it runs. */
export interface Platform extends Pick<ClientConnectionOptions, "buffers"> {
  readonly targets: readonly [Target, ...Target[]];
  /** What stands before the path of every request. */
  readonly pathPrefix: string;
  readonly compression: Compression;
  readonly connectBy: (options: ConnectOptions) => Connect;
  /** Calls `run` when the network may have returned, until disposed. Default: the platform does not know. */
  readonly onNetwork?: (run: () => void) => Disposable;
  /** As CallsInit.asksEarly. Default: false. */
  readonly asksEarly?: boolean;
}

/** Makes a transport of options that were checked. */
export function makeTransport(
  options: CommonTransportOptions,
  platform: Platform,
): ClosableTransport {
  const { targets, pathPrefix, compression, buffers, connectBy, asksEarly = false } = platform;
  const { keepalive, connectTimeoutMs = 10_000, logger = console, observe } = options;
  const notifier =
    observe && new Notifier(observe, (message, error) => log(logger, "warn", message, error));
  const budget = budgetOf(options);
  const addresses = new Addresses(targets, {
    connect: connectBy({ timeoutMs: connectTimeoutMs, buffers, budget, notifier }),
    connectTimeoutMs,
    keepalive,
  });
  const target = { ...targets[0], pathPrefix };
  const calls = new Calls(options, { target, addresses, compression, asksEarly });
  const network = platform.onNetwork?.(() => addresses.expectNetwork());
  const { timeoutMs } = options;
  const opener =
    notifier === undefined
      ? calls
      : new ObservedCalls({ calls, notifier, target: addresses.name, timeoutMs });
  const stalls = new StallWarnings(logger, notifier);

  async function close(): Promise<void> {
    stalls[Symbol.dispose]();
    network?.[Symbol.dispose]();
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
function budgetOf(options: CommonTransportOptions): ReceiveBudget {
  const bytes = totalBudgetBytes(limitsOf(options).readMaxBytes);
  const limit = `the ${bytes} B that the calls of a transport may hold`;
  return new ReceiveBudget({ bytes, of: "the transport", limit, factor: TOTAL_FACTOR }, realClock);
}
