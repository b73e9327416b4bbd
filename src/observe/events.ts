/**
 * What an observer of a server or of a transport is told: the option `observe`.
 *
 *     a call          callStarted ── retrying*, sessionOpened?, (sessionDetached, sessionResumed)*, sessionLost? ── ended
 *     a connection    connectionOpened ── goawaySent?, goawayReceived* ── connectionClosed
 *     a server        drainBegan ── drainEnded
 *
 * All methods are optional; one that is missing costs nothing. They are called for calls, sessions and connections, never for
 * a message. They are called while the server or the transport works, so they should return soon, and must not close it. What
 * one of them throws, or rejects with, changes nothing, and is logged at most once a minute.
 */
import type { DescMethod } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import type { Caller, Peer } from "../caller.ts";

/** A call. It is the same object in all events of the call. */
export interface ObservedCall {
  readonly method: DescMethod;
  /** The time from its start to its deadline, in milliseconds; `undefined` if it has none. */
  readonly timeoutMs: number | undefined;
}

/** A call that a server serves. */
export interface ObservedServerCall extends ObservedCall {
  readonly protocol: "grpc" | "grpc-web" | "connect";
  /** The request headers, for example with the span of the client (`traceparent`). */
  readonly header: Headers;
  readonly caller: Caller;
}

/** A call that a client makes. */
export interface ObservedClientCall extends ObservedCall {
  /** The addresses of its transport: "127.0.0.1:50051, 127.0.0.1:50052". */
  readonly target: string;
}

/** The messages of one direction of a call. */
export interface MessageCount {
  readonly messages: number;
  /** Their bytes, compressed and without prefixes. `undefined` over Connect and gRPC-Web: Connect's handlers do not tell. */
  readonly bytes: number | undefined;
}

/** How a call has ended. */
export interface CallEnd {
  /** Its error; `undefined` if its status is OK. */
  readonly error: ConnectError | undefined;
  /** The time from its start until its status was known, in milliseconds. */
  readonly durationMs: number;
  /** What this side has sent. */
  readonly sent: MessageCount;
  /** What has arrived at this side. */
  readonly received: MessageCount;
  /** How often it has continued on another connection: by its session, or at a client from its cursor. */
  readonly resumes: number;
}

/** The end of a call at its server. */
export interface ServerCallEnd extends CallEnd {
  /**
   * The time from its start until the client had the status, or was lost, in milliseconds. Over Connect and gRPC-Web the same
   * as `durationMs`.
   */
  readonly closedMs: number;
}

/** The end of a call at its client. */
export interface ClientCallEnd extends CallEnd {
  /** How often it was made: 1, and one more for each retry; 0 if it has ended before that. */
  readonly attempts: number;
  /** The time from its start until it had a stream to a server, in milliseconds; `undefined` if it never had one. */
  readonly openedMs: number | undefined;
}

/** What an observer wants of one call of a server. */
export interface ServerCallObserver {
  /**
   * Called once, before the handler, with a function that it must call. What is active there (AsyncLocalStorage) is active in
   * the handler, in each step of its generator, in the listeners of its signal, and in the server's interceptors.
   */
  run?(inside: () => void): void;
  /** Called once, last: the client has the status of the call, or is lost. */
  ended?(end: ServerCallEnd): void;
}

/** What an observer wants of one call of a client. */
export interface ClientCallObserver {
  /** Request headers, for example the span of the call. All its attempts send them, in place of those of the same name. */
  readonly headers?: HeadersInit;
  /** Called once, last: the status has arrived, even if not all responses were read; or the call was given up. */
  ended?(end: ClientCallEnd): void;
}

/** A connection of a client to a server. It is the same object in all events of the connection. */
export interface ObservedServerConnection {
  /**
   * A connection of "http/1.1" that becomes a WebSocket is closed as such, and opened as "websocket"; there it carries HTTP/2
   * too.
   */
  readonly protocol: "h2" | "http/1.1" | "websocket";
  readonly peer: Peer;
}

/** A connection of a transport, which always has HTTP/2. */
export interface ObservedClientConnection {
  /** "127.0.0.1:50051" */
  readonly address: string;
}

/**
 * Why a connection was closed. "closed": this side has closed it, since it was idle, too old or drained, or the server or the
 * transport was closed. "goaway": the other side has closed it after a GOAWAY. "lost": without one, or the network has lost it.
 * "failed": the other side broke HTTP/2, or sent too many frames that bring nothing (`abuse`). "keepalive": it did not answer a
 * ping. Over HTTP/1.1 it is "lost" after an error of the socket, else "closed".
 */
export type CloseReason = "closed" | "goaway" | "lost" | "failed" | "keepalive";

/** The events of connections, at both ends. */
interface ConnectionEvents<Connection> {
  /** At a server: its first bytes have arrived. At a client: it can be used. */
  connectionOpened?(event: { readonly connection: Connection }): void;
  connectionClosed?(event: {
    readonly connection: Connection;
    readonly why: CloseReason;
    /** What is known beside that, for a log; may be empty. */
    readonly detail: string;
  }): void;
  /** The other side asks for no more calls on this connection. */
  goawayReceived?(event: {
    readonly connection: Connection;
    /** The error code of HTTP/2 (RFC 9113, 7); 0: none. */
    readonly code: number;
    readonly debugData: string;
  }): void;
}

/** The events of sessions, at both ends. A call without a session has none of them. */
interface SessionEvents<Call> {
  /** The call has a session. */
  sessionOpened?(event: { readonly call: Call }): void;
  /** The session has lost its connection. */
  sessionDetached?(event: { readonly call: Call }): void;
  /** The session continues on another connection. It may have no `sessionDetached` before that, if the client left the first. */
  sessionResumed?(event: { readonly call: Call }): void;
  /** The call has ended because its session cannot continue. */
  sessionLost?(event: {
    readonly call: Call;
    /** The name of a SessionLostReason: "EXPIRED", "SERVER_RESTARTED". */
    readonly reason: string;
    readonly error: ConnectError;
  }): void;
}

/** The events of calls, at both ends. */
interface CallEvents<Call> {
  /** The deadline of the call has passed. `ended` follows. */
  deadlineExceeded?(event: { readonly call: Call; readonly timeoutMs: number }): void;
}

/** The option `observe` of createServer(). */
export interface ServerObserver
  extends CallEvents<ObservedServerCall>,
    SessionEvents<ObservedServerCall>,
    ConnectionEvents<ObservedServerConnection> {
  /**
   * A handler is about to run, in any protocol. A call that is refused before that, by `authenticate` or a limit, is not
   * reported, and neither are calls of health and reflection.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a method that returns nothing is of type void
  callStarted?(call: ObservedServerCall): ServerCallObserver | undefined | void;
  /** A handler, or an interceptor, has thrown what is no ConnectError. Its client gets INTERNAL. */
  handlerFailed?(event: { readonly method: DescMethod; readonly error: unknown }): void;
  /** The option `fallback` has thrown, or the body of its response has failed. Its client gets 500, if that is possible. */
  fallbackFailed?(event: {
    /** The method of HTTP: "GET". */
    readonly method: string;
    /** Without the query. */
    readonly path: string;
    readonly error: unknown;
  }): void;
  /**
   * A connection was closed when it came. "maxConnections": that many are open, or the client's address has its share of
   * them. "tls": its handshake has failed. "prefaceTimeoutMs": it sent nothing for that long.
   */
  connectionRefused?(event: {
    readonly peer: Pick<Peer, "address">;
    readonly why: "maxConnections" | "tls" | "prefaceTimeoutMs";
  }): void;
  /** The server has asked the client of a connection to make its further calls on another one. */
  goawaySent?(event: { readonly connection: ObservedServerConnection }): void;
  /**
   * A call, a session or a resume was refused, or a call was ended, because of a limit. `limit` is the name of its option:
   * "maxOpenCalls", "maxSessions", "maxBytes", "resumesPerSecond", "connectionBudgetBytes", "serverBudgetBytes".
   */
  limitRefused?(event: {
    readonly limit: string;
    /** `undefined` for "serverBudgetBytes". */
    readonly caller: Caller | undefined;
  }): void;
  /** close() was called. */
  drainBegan?(event: { readonly openCalls: number }): void;
  /** The server is closed. */
  drainEnded?(event: {
    readonly durationMs: number;
    /** The number of calls that were still open at the end of `graceMs`, and were ended. */
    readonly endedCalls: number;
  }): void;
}

/** The option `observe` of createTransport(). */
export interface ClientObserver
  extends CallEvents<ObservedClientCall>,
    SessionEvents<ObservedClientCall>,
    ConnectionEvents<ObservedClientConnection> {
  /** A call begins: called in its context (AsyncLocalStorage), before interceptors. */
  // biome-ignore lint/suspicious/noConfusingVoidType: a method that returns nothing is of type void
  callStarted?(call: ObservedClientCall): ClientCallObserver | undefined | void;
  /** A call has failed, and is made again after `waitMs`; or it continues from its cursor. */
  retrying?(event: {
    readonly call: ObservedClientCall;
    readonly error: ConnectError;
    readonly waitMs: number;
  }): void;
  /** A connection could not be made. */
  connectionFailed?(event: { readonly address: string; readonly error: ConnectError }): void;
  /** A call waits for something its own program must do first (docs/errors.md). Told once a transport for each of the two. */
  stalled?(event: {
    /** "example.Greeter.Chat" */
    readonly method: string;
    readonly waitsFor: "closeSend" | "trailers";
    readonly forMs: number;
  }): void;
}
