import type { BinaryReadOptions, BinaryWriteOptions } from "@bufbuild/protobuf";
import type { ConnectRouter, Interceptor } from "@connectrpc/connect";
import type { KeepaliveOptions } from "../grpc/keepalive.ts";
import { checkPositive, limitsOf } from "../grpc/limits.ts";
import { identifyByCredentials, type SessionOptions } from "../grpc/server-sessions.ts";
import { DEFAULT_WINDOW } from "../session/ledger.ts";

/** Where a server's own messages go. `console` is one. */
export interface Logger {
  error(message: string, ...details: unknown[]): void;
  warn(message: string, ...details: unknown[]): void;
  info(message: string, ...details: unknown[]): void;
}

/** TLS for a server: PEM texts, as node:tls takes them. */
export interface TlsOptions {
  /** The server's certificate, and the chain behind it. */
  cert: string | Buffer;
  key: string | Buffer;
  /** With a CA, only clients with a certificate of its are served (mTLS). */
  ca?: string | Buffer | (string | Buffer)[];
  /** Asks clients for a certificate. Default: where `ca` is given. */
  requestClientCertificate?: boolean;
}

export interface ServerOptions {
  /** Registers services, as with Connect: `(router) => router.service(Greeter, { … })`. Runs once. */
  routes: (router: ConnectRouter) => void;
  /** Around every call of every protocol; the first is the outermost. A route's own replace them, as with Connect. */
  interceptors?: Interceptor[];
  /** Default: `console`. */
  logger?: Logger;
  /** Without it the server speaks cleartext. */
  tls?: TlsOptions;
  /** A longer request is refused with RESOURCE_EXHAUSTED before it is read. Default: 4 MiB. */
  readMaxBytes?: number;
  /** A longer response ends its call with RESOURCE_EXHAUSTED. Default: 4 MiB. */
  writeMaxBytes?: number;
  /**
   * How messages are read and written: protobuf-es' `readUnknownFields` and `writeUnknownFields` (default: both), and
   * `recursionLimit`: how many messages may stand within each other, the outermost counted, and a map's entry as one.
   * Default: 101, which is upb's; a request that is nested deeper ends its call with INTERNAL.
   * Connect and gRPC-Web have protobuf-es' defaults. A route's own replace them.
   */
  binaryOptions?: Partial<BinaryReadOptions & BinaryWriteOptions>;
  /**
   * "gzip": responses are compressed for every client that accepts it;
   * "identity": for none. Default: over gRPC for clients that send gzip
   * themselves, over Connect and gRPC-Web for all that accept it.
   */
  sendCompression?: "gzip" | "identity";
  /** Smaller responses are not compressed. Default: 1024. */
  compressMinBytes?: number;
  /** A client that asks for a longer deadline gets INVALID_ARGUMENT. Default: no bound. */
  maxTimeoutMs?: number;
  /** How many calls one connection may have open at a time. Default: 1000. */
  maxConcurrentStreams?: number;
  /**
   * How calls of Hawser clients outlive their connections; `false`: they do
   * not. Default: they do, with the defaults of each option.
   */
  sessions?: false | Partial<SessionOptions>;
  /** HTTP/2 pings to clients that have sessions. Default: after 30 000 ms of silence, 10 000 ms for the answer. */
  keepalive?: KeepaliveOptions;
  /** A connection that has not begun to speak by then is closed. Default: 10 000. */
  prefaceTimeoutMs?: number;
}

/** Where a server listens. */
export type ListenOptions =
  | {
      /** Default: 127.0.0.1. */
      host?: string;
      /** Default: 50051; 0 picks a free one. */
      port?: number;
      path?: undefined;
    }
  | {
      /** The path of a Unix socket. */
      path: string;
      host?: undefined;
      port?: undefined;
    };

/** Where a server can be reached now. */
export interface Address {
  /** As `createTransport({ baseUrl })` takes it. */
  url: string;
  host?: string;
  port?: number;
  path?: string;
}

export const DEFAULT_PORT = 50051;

/** The options with their defaults; throws a RangeError that names the option where one is absurd. */
export function withDefaults(options: ServerOptions) {
  const checked = {
    maxTimeoutMs: options.maxTimeoutMs ?? Number.MAX_SAFE_INTEGER,
    maxConcurrentStreams: options.maxConcurrentStreams ?? 1000,
    prefaceTimeoutMs: options.prefaceTimeoutMs ?? 10_000,
  };
  checkPositive(checked);
  return {
    ...checked,
    ...limitsOf(options),
    compressMinBytes: options.compressMinBytes ?? 1024,
    sendCompression: options.sendCompression,
    interceptors: options.interceptors ?? [],
    logger: options.logger ?? (console as Logger),
    sessions: options.sessions === false ? undefined : sessionDefaults(options.sessions ?? {}),
    keepalive: options.keepalive,
  };
}

function sessionDefaults(options: Partial<SessionOptions>): SessionOptions {
  const { identify = identifyByCredentials, ...set } = options;
  const numbers = {
    graceMs: 30_000,
    windowBytes: DEFAULT_WINDOW.bytes,
    windowMessages: DEFAULT_WINDOW.messages,
    maxSessions: 100_000,
    maxBytes: 256 * 1024 * 1024,
    maxPerConnection: 5000,
    resumesPerSecond: 2000,
    ...set,
  };
  checkPositive(numbers);
  return { ...numbers, identify };
}
