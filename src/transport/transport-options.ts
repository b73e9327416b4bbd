import type { BinaryReadOptions, BinaryWriteOptions } from "@bufbuild/protobuf";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { type SessionsOption, sessionsCheck } from "../client/session-option.ts";
import { type KeepaliveOptions, keepaliveChecks } from "../connection/keepalive.ts";
import type { CallHeaders } from "../grpc/call-headers.ts";
import { binaryChecks } from "../grpc/limits.ts";
import type { ClientObserver } from "../observe/events.ts";
import type { Logger } from "../observe/logger.ts";
import type { CallStats, SessionStats } from "../observe/stats.ts";
import {
  anObject,
  type Checks,
  callable,
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
  withFunctions,
} from "../options.ts";

/** The options that a transport has wherever it runs. */
export interface CommonTransportOptions {
  baseUrl: string | readonly string[];
  /** The deadline of calls that set none, in milliseconds. Values up to 0, and Infinity, mean none. Default: none. */
  timeoutMs?: number;
  /** How long TCP, TLS and the server's SETTINGS may take together at each address, in milliseconds. Default: 10 000. */
  connectTimeoutMs?: number;
  /**
   * HTTP/2 pings on connections with open calls. They find a server that vanished without FIN: its calls fail with
   * UNAVAILABLE, or continue over another connection if they have sessions. Default: after 300 000 ms of silence,
   * 20 000 ms for the answer; 30 000 and 10 000 to Hawser servers.
   */
  keepalive?: KeepaliveOptions;
  /**
   * Request headers of every call. Headers of the same name in the options of a call take precedence. They are also
   * sent with the question by which Hawser finds out whether a server keeps sessions
   * (`hawser.v1.SessionService/Negotiate`). A function returns them for each call, for each attempt, and for each
   * connection that a call continues over.
   */
  headers?: CallHeaders;
  /**
   * They run around every call; the first is the outermost. They see the headers of the first attempt. What one of them
   * throws is the call's error: a ConnectError as it is, anything else as UNKNOWN with the cause.
   */
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
   * `recursionLimit`: how many messages may stand within each other. The outermost message counts, and a map's entry
   * counts as one. Default: 101, as in upb; a response that is nested deeper ends its call with INTERNAL.
   */
  binaryOptions?: Partial<BinaryReadOptions & BinaryWriteOptions>;
  /**
   * Whether streaming calls outlive their connections, if the server keeps sessions; where it takes no more sessions, a call
   * is made without one. An object means yes, with this window. "required": a call fails instead, with RESOURCE_EXHAUSTED,
   * and with FAILED_PRECONDITION where the server keeps no sessions. For one call: its option of the same name. Default:
   * true.
   */
  sessions?: SessionsOption;
  /**
   * Logs a warning about a call that has waited 10 s for something its own program must do first (`closeSend()`, or
   * reading the responses): once a transport for each of the two. Also logs each error that an onState listener throws.
   * An error of the logger itself is ignored. Default: `console`.
   */
  logger?: Pick<Logger, "warn">;
  /**
   * Is told of calls, connections and sessions, never of a message: for traces and metrics. Its `callStarted` may add
   * request headers to a call. Default: nothing is told.
   */
  observe?: ClientObserver;
}

/** The checks of CommonTransportOptions. */
export const commonChecks = {
  baseUrl: needed(either(Array.isArray, text)),
  timeoutMs: timeout,
  connectTimeoutMs: positive,
  keepalive: optionsOf(keepaliveChecks),
  headers: either((value) => typeof value === "function" || Array.isArray(value), anObject),
  interceptors: listOf(callable),
  sendCompression: oneOf("gzip", "identity"),
  compressMinBytes: notNegative,
  acceptCompression: trueOrFalse,
  readMaxBytes: positive,
  writeMaxBytes: positive,
  binaryOptions: optionsOf(binaryChecks),
  sessions: sessionsCheck,
  logger: withFunctions("warn"),
  observe: anObject,
} satisfies Checks<CommonTransportOptions>;

/** A Connect Transport that can be closed. */
export interface ClosableTransport extends Transport, AsyncDisposable {
  /** The deadline of calls that set none, in milliseconds, if there is one. */
  readonly timeoutMs: number | undefined;
  /** What the transport has now, and has had. */
  stats(): TransportStats;
  /** Closes the connections. Open calls, and new ones, fail with CANCELED. */
  close(): Promise<void>;
}

/** What a transport has now, and has had. */
export interface TransportStats {
  /** The connections that can be used, or have open calls. */
  readonly connections: number;
  readonly calls: CallStats & {
    /** Those that wait for a connection, or for a free stream on one. */
    readonly waiting: number;
  };
  readonly sessions: SessionStats;
  /** The bytes of responses that were not taken, and of requests that wait to be sent. */
  readonly unreadBytes: number;
}
