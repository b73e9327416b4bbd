import type { BinaryReadOptions, BinaryWriteOptions } from "@bufbuild/protobuf";
import type { ConnectRouter, Interceptor } from "@connectrpc/connect";
import { type KeepaliveOptions, keepaliveChecks } from "../connection/keepalive.ts";
import { connectionBudgetBytes, totalBudgetBytes } from "../connection/receive-budget.ts";
import { binaryChecks, limitsOf } from "../grpc/limits.ts";
import type { ServerObserver } from "../observe/events.ts";
import {
  anObject,
  type Checks,
  callable,
  checkOptions,
  either,
  listOf,
  needed,
  notNegative,
  notNegativeOrInfinite,
  type OptionPlace,
  oneOf,
  optionsOf,
  positive,
  positiveOrInfinite,
  trueOrFalse,
  whole,
  withFunctions,
  wrong,
} from "../options.ts";
import type { Admit } from "../server/admission.ts";
import type { Authenticate } from "../server/authenticate.ts";
import { type CorsOptions, corsCheck } from "../server/cors.ts";
import type { ServerLogger } from "../server/reporter.ts";
import type { SessionOptions } from "../server/server-sessions.ts";
import { DEFAULT_WINDOW } from "../session/session-window.ts";
import { type Http1Options, http1Checks } from "./http1-deadlines.ts";
import { NodeFallback } from "./node-fallback.ts";
import { pemChecks } from "./tls.ts";
import { trustedProxiesCheck } from "./trusted-proxies.ts";
import { type WebSocketOptions, webSocketChecks } from "./web-socket/web-socket-options.ts";

/** The certificate of a server: PEM texts, as node:tls takes them. */
export interface ServerCertificate {
  /** The server's certificate, and its chain. */
  cert: string | Buffer;
  key: string | Buffer;
  /** With a CA, only clients with a certificate that it has signed are served (mTLS). */
  ca?: string | Buffer | (string | Buffer)[];
}

/** TLS for a server. */
export interface TlsOptions extends ServerCertificate {
  /** Whether clients are asked for a certificate. Default: only if `ca` is set. */
  requestClientCertificate?: boolean;
}

export interface ServerOptions {
  /** Registers services, as with Connect: `(router) => router.service(Greeter, { … })`. Runs once. */
  routes: (router: ConnectRouter) => void;
  /**
   * They run around every call of every protocol; the first is the outermost. A route's own interceptors replace them,
   * as with Connect. A context that one of them sets (`als.run(store, () => next(request))`) holds for the handler to
   * its end, and for the interceptors inside.
   */
  interceptors?: Interceptor[];
  /**
   * Finds out who makes a call, once for each call and each attachment of a session, in every protocol; Negotiate and
   * grpc.health.v1.Health alone are served to all. Handlers and interceptors then get the identity by `caller()`. Default:
   * nobody is authenticated.
   */
  authenticate?: Authenticate;
  /**
   * Decides whether a call is served: for a limiter of your own. Called once for each call, of every protocol, after
   * `authenticate` and before the call's body is read; for a session at its first attachment only, and never for Negotiate
   * and grpc.health.v1.Health. It may be async. A ConnectError that it throws is the answer of the call. Default: all are
   * served.
   */
  admit?: Admit;
  /**
   * The proxies that are believed when they name their client in the header `forwarded` (RFC 7239) or `x-forwarded-for`: IP
   * addresses, networks ("10.0.0.0/8"), "loopback", and "unix" for those that connect to a Unix socket. The address of such
   * a client is in `caller(context).peer`; `undefined` if the two headers name different clients. Default: none.
   */
  trustedProxies?: string[];
  /**
   * `error`: each error that a handler throws and that is not a ConnectError. `warn`: lost sessions, and refusals of a limit,
   * each kind at most once a minute. `info`: the server listens, closes, is closed. An error of the logger itself is ignored.
   * Default: `console`, without `info`.
   */
  logger?: ServerLogger;
  /**
   * Is told of calls, connections, sessions and limits, never of a message: for traces and metrics. Its `callStarted` may have
   * the handler run inside of a function of its own. Default: nothing is told.
   */
  observe?: ServerObserver;
  /** Default: the server speaks cleartext. */
  tls?: TlsOptions;
  /** A longer request is refused with RESOURCE_EXHAUSTED before it is read. Default: 4 MiB. */
  readMaxBytes?: number;
  /** A longer response ends its call with RESOURCE_EXHAUSTED. Default: 4 MiB. */
  writeMaxBytes?: number;
  /**
   * How messages are read and written: protobuf-es' `readUnknownFields` and `writeUnknownFields` (default: both), and
   * `recursionLimit`: how many messages may stand within each other. The outermost message counts, and a map's entry
   * counts as one. Default: 101, as in upb; a request that is nested deeper ends its call with INTERNAL. Connect and
   * gRPC-Web have protobuf-es' defaults. A route's own options replace them.
   */
  binaryOptions?: Partial<BinaryReadOptions & BinaryWriteOptions>;
  /**
   * "gzip": responses are compressed for every client that accepts it; "identity": for none. Default: over gRPC for
   * clients that send gzip themselves, over Connect and gRPC-Web for all that accept it.
   */
  sendCompression?: "gzip" | "identity";
  /** Smaller responses are not compressed. Default: 1024. */
  compressMinBytes?: number;
  /** A call whose deadline is longer fails with INVALID_ARGUMENT. Default: no bound. */
  maxTimeoutMs?: number;
  /** How many calls may be open on one connection at the same time. Default: 1000. */
  maxConcurrentStreams?: number;
  /**
   * How many calls over HTTP/2 may be open at the same time, those with sessions aside: `sessions.maxSessions` limits them.
   * Further ones fail with RESOURCE_EXHAUSTED. A caller may have 8 times as many as are free, so 8/9 of all if it is
   * alone. Default: 100 000.
   */
  maxOpenCalls?: number;
  /**
   * Sessions, by which calls of Hawser clients outlive their connections. `false` turns them off. Default: on, with the
   * default of each option.
   */
  sessions?: false | SessionOptions;
  /**
   * HTTP/2 pings on connections with open calls. They find a client that vanished without FIN: its calls end with
   * CANCELED, or wait for it if they have sessions. Default: after 60 000 ms of silence, 20 000 ms for the answer;
   * 30 000 and 10 000 to clients that have sessions. Clients without open calls, and those of HTTP/1.1, are left to
   * TCP's keepalive.
   */
  keepalive?: KeepaliveOptions;
  /**
   * How long a connection may take to send its first bytes, in milliseconds; and one of HTTP/2 to send its first SETTINGS,
   * to acknowledge the server's, and to complete a block of headers. Then it is closed. Default: 10 000.
   */
  prefaceTimeoutMs?: number;
  /**
   * Takes WebSockets, in which browsers make calls of all four kinds (docs/browsers.md): `{}` at the path "/hawser". It needs
   * the package `ws`, version 8.21 or newer: without it listen() rejects with FAILED_PRECONDITION. Default: none is taken.
   */
  webSocket?: WebSocketOptions;
  /**
   * Lets pages of other hosts make calls over Connect and gRPC-Web (docs/browsers.md). What they may send and read is the same as
   * for pages of the server's own host. Default: they may not.
   */
  cors?: CorsOptions;
  /**
   * Serves what is no RPC, over HTTP/1.1 and HTTP/2: pages, files, a health check. `authenticate` is not asked. If it throws, the
   * client gets 500, and `logger` the error. nodeFallback() makes one of an app of Express. Default: that is answered with 404.
   */
  fallback?: ((request: Request) => Response | Promise<Response>) | NodeFallback;
  /**
   * Tells balancers and orchestrators by grpc.health.v1.Health (Check, Watch, List) which services take calls: those of `routes`
   * at first, none once close() was called; `server.health` changes that. It is served to everybody, and no interceptor runs
   * around it. Default: false.
   */
  health?: boolean;
  /**
   * Tells grpcurl, buf curl and others by grpc.reflection (v1 and v1alpha) what is served, with the .proto files. `authenticate`
   * and `admit` are asked, and the interceptors run. Default: false.
   */
  reflection?: boolean;
  /** The deadlines of requests over HTTP/1.1. */
  http1?: Http1Options;
  /**
   * How many connections may be open at the same time. Further ones are closed immediately, and their number is logged at
   * most once a minute. The connections of one address (IPv6: of its /64) may be 8 times as many as are free, so 8/9 of
   * all if it is alone; those of `trustedProxies` are not counted together. Default: 10 000.
   */
  maxConnections?: number;
  /**
   * How long an HTTP/2 connection may be without open calls, in milliseconds. Then it is closed (gRFC A9). Default: no
   * limit.
   */
  connectionIdleMs?: number;
  /**
   * The age at which an HTTP/2 connection takes no more calls, in milliseconds, ± 10 % so that not all of them end at the
   * same time (gRFC A9). Its client makes new calls on another connection, and continues its sessions there. Default: no
   * limit.
   */
  connectionAgeMs?: number;
  /**
   * How long the other calls of a connection that has reached its age may continue, in milliseconds. Then it is closed.
   * Default: Infinity.
   */
  connectionAgeGraceMs?: number;
  /**
   * The bytes that the calls of one HTTP/2 connection may hold: requests that handlers have not taken, and responses that
   * the client has not. Above it each call gets less, and those of which nothing is taken for 10 s end with
   * RESOURCE_EXHAUSTED, the largest first. Default: the larger of 8 MiB and 2 × readMaxBytes; here readMaxBytes is the
   * largest of the server's own and those of its routes.
   */
  connectionBudgetBytes?: number;
  /**
   * The same for all connections together. Each caller may hold 8 times what is free, so alone 8/9 of it. Default: the larger
   * of 128 MiB and 2 × readMaxBytes.
   */
  serverBudgetBytes?: number;
  /**
   * How many units of work without use an HTTP/2 client may cause: a reset before any answer, an empty or unknown frame, a
   * PING, and a SETTINGS are one unit each. 200 units a second, and each message and call that is served, give some back.
   * Beyond it the connection is closed (ENHANCE_YOUR_CALM). "strict": 500; "lenient": 10 000. Default: 1000.
   */
  abuse?: "strict" | "lenient" | { budget: number };
  /**
   * The least time between two pings of an HTTP/2 client to which the server sends nothing between them, in milliseconds
   * (gRFC A8). The connection of a client that pings earlier three times is closed (ENHANCE_YOUR_CALM, "too_many_pings").
   * The pings of Hawser's clients are exempt. gRPC's own value is 300 000. 0: no limit. Default: 5000.
   */
  minPingIntervalMs?: number;
}

/** The largest value of a setting of HTTP/2 (RFC 9113, 6.5.1). */
const MAX_STREAMS = 2 ** 32 - 1;

/** Counts are whole numbers here and on the wire. */
const count = whole(1, Number.MAX_SAFE_INTEGER);

const sessionChecks = {
  graceMs: count,
  windowBytes: count,
  windowMessages: count,
  maxSessions: positive,
  maxBytes: positive,
  resumesPerSecond: positive,
} satisfies Checks<SessionOptions>;

const certificateChecks = {
  cert: needed(pemChecks.cert),
  key: needed(pemChecks.key),
  ca: pemChecks.ca,
} satisfies Checks<ServerCertificate>;

/** Throws INVALID_ARGUMENT if the argument of setTls() is not valid. */
export function checkServerCertificate(certificate: ServerCertificate): void {
  checkOptions("setTls", { tls: certificate }, { tls: needed(optionsOf(certificateChecks)) });
}

const checks = {
  routes: needed(callable),
  interceptors: listOf(callable),
  authenticate: callable,
  admit: callable,
  trustedProxies: trustedProxiesCheck,
  logger: withFunctions("error"),
  observe: anObject,
  tls: optionsOf<TlsOptions>({ ...certificateChecks, requestClientCertificate: trueOrFalse }),
  readMaxBytes: positive,
  writeMaxBytes: positive,
  binaryOptions: optionsOf(binaryChecks),
  sendCompression: oneOf("gzip", "identity"),
  compressMinBytes: notNegative,
  maxTimeoutMs: positive,
  maxConcurrentStreams: whole(1, MAX_STREAMS),
  maxOpenCalls: count,
  sessions: either((value) => value === false, optionsOf(sessionChecks)),
  keepalive: optionsOf(keepaliveChecks),
  prefaceTimeoutMs: positive,
  webSocket: optionsOf(webSocketChecks),
  cors: corsCheck,
  fallback: either((value) => value instanceof NodeFallback, callable),
  health: trueOrFalse,
  reflection: trueOrFalse,
  http1: optionsOf(http1Checks),
  maxConnections: count,
  connectionIdleMs: positiveOrInfinite,
  connectionAgeMs: positiveOrInfinite,
  connectionAgeGraceMs: notNegativeOrInfinite,
  connectionBudgetBytes: positive,
  serverBudgetBytes: positive,
  abuse: abuseLevel,
  minPingIntervalMs: notNegative,
} satisfies Checks<ServerOptions>;

/** The units of the levels of `abuse`. */
const ABUSE_UNITS = { strict: 500, default: 1000, lenient: 10_000 };

function abuseLevel(value: unknown, place: OptionPlace): void {
  if (value === "strict" || value === "lenient") return;
  if (typeof value !== "object") throw wrong(place, value, '"strict", "lenient" or { budget }');
  optionsOf<{ budget: number }>({ budget: needed(count) })(value, place);
}

function abuseBudget(abuse: ServerOptions["abuse"]): number {
  return typeof abuse === "object" ? abuse.budget : ABUSE_UNITS[abuse ?? "default"];
}

/** The default logger: `console`, but for what is no problem. */
const LOGGER: ServerLogger = {
  error: (...words) => console.error(...words),
  warn: (...words) => console.warn(...words),
};

/** Adds the defaults. Throws INVALID_ARGUMENT, which names the option, if one is unknown or not valid. */
export function withDefaults(options: ServerOptions) {
  checkOptions("createServer", options, checks);
  const limits = limitsOf(options);
  return {
    maxTimeoutMs: options.maxTimeoutMs ?? Number.MAX_SAFE_INTEGER,
    maxConcurrentStreams: options.maxConcurrentStreams ?? 1000,
    maxOpenCalls: options.maxOpenCalls ?? 100_000,
    prefaceTimeoutMs: options.prefaceTimeoutMs ?? 10_000,
    ...limits,
    compressMinBytes: options.compressMinBytes ?? 1024,
    sendCompression: options.sendCompression,
    interceptors: options.interceptors ?? [],
    logger: options.logger ?? LOGGER,
    sessions: options.sessions === false ? undefined : sessionDefaults(options.sessions ?? {}),
    keepalive: options.keepalive,
    webSocket: options.webSocket && {
      path: options.webSocket.path ?? "/hawser",
      origins: options.webSocket.origins ?? [],
    },
    http1: {
      headersTimeoutMs: options.http1?.headersTimeoutMs ?? 10_000,
      bodyIdleMs: options.http1?.bodyIdleMs ?? 60_000,
    },
    maxConnections: options.maxConnections ?? 10_000,
    connectionIdleMs: options.connectionIdleMs ?? Number.POSITIVE_INFINITY,
    connectionAgeMs: options.connectionAgeMs ?? Number.POSITIVE_INFINITY,
    connectionAgeGraceMs: options.connectionAgeGraceMs ?? Number.POSITIVE_INFINITY,
    abuseBudget: abuseBudget(options.abuse),
    minPingIntervalMs: options.minPingIntervalMs ?? 5000,
  };
}

/** Returns the budgets that are set, else their defaults. `readMaxBytes` is the largest of the server and its routes. */
export function budgetsOf(options: ServerOptions, readMaxBytes: number) {
  return {
    connectionBudgetBytes: options.connectionBudgetBytes ?? connectionBudgetBytes(readMaxBytes),
    serverBudgetBytes: options.serverBudgetBytes ?? totalBudgetBytes(readMaxBytes),
  };
}

function sessionDefaults(options: SessionOptions): Required<SessionOptions> {
  const defaults = {
    graceMs: 30_000,
    windowBytes: DEFAULT_WINDOW.bytes,
    windowMessages: DEFAULT_WINDOW.messages,
    maxSessions: 25_000,
    maxBytes: 256 * 1024 * 1024,
    resumesPerSecond: 2000,
  };
  // A spread would leave out inherited options, which the checks have accepted.
  const chosen = Object.keys(defaults)
    .map((name) => [name, options[name as keyof SessionOptions]])
    .filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(chosen) };
}
