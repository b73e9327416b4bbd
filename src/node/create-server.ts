import * as http from "node:http";
import * as http2 from "node:http2";
import { Code } from "@connectrpc/connect";
import { Keepalive, SERVER_TIMES } from "../connection/keepalive.ts";
import { failure, HEADERS_MAX_FIELDS } from "../failure.ts";
import { realClock } from "../flow/clock.ts";
import { startTimer } from "../flow/wait.ts";
import { FirstRequestTimer } from "../grpc/first-request-timer.ts";
import { aroundHandler } from "../grpc/intercept.ts";
import { limitsOf, SESSION_MEMORY_MB, STREAM_WINDOW_BYTES } from "../grpc/limits.ts";
import { log } from "../observe/logger.ts";
import { serverClosing } from "../server/move-elsewhere.ts";
import { pathOf, type RegisteredRoutes, register } from "../server/routes.ts";
import { createConnectFallback, type NodeHandler } from "./connect-fallback.ts";
import { nodeGzip } from "./gzip.ts";
import { createGrpcHandler, type GrpcHandler, type Route } from "./http2/handler.ts";
import { catchUp } from "./http2/receive.ts";
import { answer } from "./http2/refuse.ts";
import { ServerSessions } from "./http2/server-sessions.ts";
import { listen } from "./listen.ts";
import { createListener, type Listener } from "./listener.ts";
import { ServerConnections } from "./server-connections.ts";
import {
  type CloseOptions,
  checkClose,
  checkListen,
  type ListenOptions,
  type ServerAddress,
  type ServerOptions,
  withDefaults,
} from "./server-options.ts";

/** How long clients may take to read the statuses of their calls after a closing server has ended these. */
const STATUS_READ_MS = 1000;

/**
 * node:http2 resets a call with more request headers than this. A call with fewer, but more than HEADERS_MAX_FIELDS, is
 * refused with a status.
 */
const RECEIVED_MAX_FIELDS = 2 * HEADERS_MAX_FIELDS;

/**
 * A server that is safe to expose: gRPC on Hawser's own data path; Connect,
 * gRPC-Web and HTTP/1.1 on Connect's, all on one port.
 *
 *     createListener   bytes: TLS, HTTP/2 or HTTP/1.1
 *       http2          streams ── gRPC ──> createGrpcHandler ──> ServerCall ──> handler
 *                              └─ else ──> createConnectFallback ─────────────> handler
 *       http           requests ─────────> createConnectFallback ─────────────> handler
 */
export interface Server extends AsyncDisposable {
  /**
   * Starts to serve. Rejects with FAILED_PRECONDITION if the address is in use, and with INVALID_ARGUMENT if the
   * address does not exist, or an option is not valid.
   */
  listen(options?: ListenOptions): Promise<ServerAddress>;
  /**
   * Drains and closes: refuses new calls; ends with UNAVAILABLE the calls that clients continue from a cursor at another
   * server (hawser/v1/resume.proto); lets the other open calls finish for at most `graceMs`, and ends the rest with
   * UNAVAILABLE. May be called again, with a shorter grace, or to stop listening. Rejects with INVALID_ARGUMENT, and
   * closes nothing, if an option is unknown or not valid.
   */
  close(options?: CloseOptions): Promise<void>;
  /** How many calls are open. */
  readonly openCalls: number;
}

/**
 * Makes a server; nothing happens before listen(). Throws INVALID_ARGUMENT, which names the option and its value, if an
 * option is unknown or not valid; if `routes` registers a method twice, or a handler that is not a function; and if the
 * key of `tls` does not belong to its certificate.
 */
export function createServer(options: ServerOptions): Server {
  return new HawserServer(options);
}

/** The server itself. Only hawser/testing uses kill(), which Server does not have. */
export class HawserServer implements Server {
  readonly #grpc: GrpcHandler;
  readonly #fallback: NodeHandler;
  readonly #listener: Listener;
  readonly #http1: http.Server;
  readonly #http2: http2.Http2Server;
  readonly #sessions: ServerSessions | undefined;
  readonly #connections: ServerConnections;
  readonly #draining = new AbortController();
  readonly #shutdown = new AbortController();
  #listening = false;
  #fallbackCalls = 0;
  #onIdle: (() => void) | undefined;
  #closing: Promise<void> | undefined;
  /** Resolves when the server no longer listens and all its connections are closed. */
  #listenerClosed: Promise<void> | undefined;
  #endGrace: (() => void) | undefined;

  constructor(options: ServerOptions) {
    const settings = withDefaults(options);
    const onHandlerError = (error: unknown, path: string) =>
      log(settings.logger, "error", `the handler of ${path} failed:`, error);
    const registered = register(options.routes);
    const methods = [...registered.methods];
    const keepalive = new Keepalive(settings.keepalive, SERVER_TIMES);
    this.#connections = new ServerConnections(keepalive, settings.prefaceTimeoutMs);
    if (settings.sessions !== undefined) {
      this.#sessions = new ServerSessions(settings.sessions, (connection) =>
        this.#connections.useHawserKeepalive(connection),
      );
      methods.push({ spec: this.#sessions.negotiation, options: { interceptors: [] } });
    }
    const routes = grpcRoutes(methods, settings, onHandlerError);
    this.#grpc = createGrpcHandler(routes, this.#sessions, {
      onClosed: () => this.#checkIdle(),
      onRefused: (connection) => this.#connections.drain(connection),
    });
    this.#fallback = createConnectFallback(registered.replay, settings, {
      draining: this.#draining.signal,
      shutdown: this.#shutdown.signal,
      onHandlerError,
    });
    this.#http2 = http2.createServer({
      settings: {
        initialWindowSize: STREAM_WINDOW_BYTES,
        maxConcurrentStreams: settings.maxConcurrentStreams,
        enablePush: false,
      },
      maxSessionMemory: SESSION_MEMORY_MB,
      maxHeaderListPairs: RECEIVED_MAX_FIELDS,
      // Clients of streams rightly cancel often; the attack "rapid reset" (CVE-2023-44487) is thousands a second.
      streamResetBurst: 10_000,
      streamResetRate: 1000,
    });
    this.#http2.on("session", (session) => this.#onConnection(session));
    this.#http2.on("stream", (stream, headers, _flags, rawHeaders) => {
      this.#connections.onStream(stream);
      if (this.#grpc.accept(stream, headers, rawHeaders)) return;
      this.#acceptFallback(stream, headers, rawHeaders);
    });
    // node:http2 has sent an error to the client that breaks the protocol, and has closed its connection.
    this.#http2.on("sessionError", () => {});
    this.#http1 = http.createServer((request, response) => this.#serveFallback(request, response));
    // This server has no port, so it does not emit the event at which node:http begins to watch for slow requests.
    this.#http1.emit("listening");
    this.#listener = createListener(options.tls, settings.prefaceTimeoutMs, {
      http2: (socket) => this.#http2.emit("connection", socket),
      http1: (socket) => {
        this.#http1.emit("connection", socket);
        socket.resume();
      },
    });
    // If a TLS handshake fails or never ends, node:tls leaves closing the socket to this listener.
    this.#listener.server.on("tlsClientError", (_error, socket) => socket.destroy());
  }

  get openCalls(): number {
    return this.#grpc.open + this.#fallbackCalls;
  }

  async listen(options: ListenOptions = {}): Promise<ServerAddress> {
    checkListen(options);
    if (this.#closing !== undefined) {
      throw failure(Code.FailedPrecondition, "this server was closed: create another");
    }
    if (this.#listening) {
      throw failure(Code.FailedPrecondition, "this server listens already: close it first");
    }
    this.#listening = true;
    try {
      return await listen(this.#listener.server, options);
    } catch (error) {
      this.#listening = false;
      throw error;
    }
  }

  async close(options: CloseOptions = {}): Promise<void> {
    checkClose(options);
    const { graceMs = 10_000, keepListening = true } = options;
    // This timer keeps the process alive: sessions without a connection have no socket that would.
    const grace = startTimer(graceMs, () => this.#endGrace?.(), true);
    this.#closing ??= this.#close();
    if (!keepListening) this.#stopListening();
    await this.#closing.finally(() => grace[Symbol.dispose]());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close({ graceMs: 0 });
  }

  /**
   * Ends the server like a crash of the process: connections are reset, sessions are forgotten, and no client gets a
   * reason. Unlike in a crash, the signals of its handlers abort, so that nothing of the server is left in this
   * process.
   */
  kill(): Promise<void> {
    // First, so that nothing more is sent.
    this.#listener.resetAll();
    this.#connections.destroy();
    return this.close({ graceMs: 0, keepListening: false });
  }

  async #close(): Promise<void> {
    this.#grpc.refuse();
    this.#sessions?.drain(() => {
      this.#stopListening();
      this.#checkIdle();
    });
    this.#connections.drainAll();
    // After GOAWAY, so that no client makes its next attempt on the same connection.
    this.#grpc.move();
    this.#draining.abort(serverClosing());
    this.#http1.closeIdleConnections();
    if (this.#sessionCount === 0) this.#stopListening();
    if (!this.#isIdle) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
        this.#endGrace = resolve;
      });
    }
    this.#stopListening();
    const error = failure(Code.Unavailable, "the server is shutting down");
    this.#shutdown.abort(error);
    this.#grpc.abort(error);
    if (!this.#isIdle) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onIdle = resolve;
      using _timer = startTimer(STATUS_READ_MS, resolve, true);
      await promise;
    }
    this.#sessions?.close();
    this.#connections.close();
    this.#http1.close();
    this.#http1.closeAllConnections();
    // Data that was written must reach the socket before the socket is closed.
    await new Promise((resolve) => setImmediate(resolve));
    this.#connections.destroy();
    this.#listener.destroyAll();
    await this.#listenerClosed;
  }

  /** Stops accepting connections, and tells the clients of the existing ones to open no more calls here (GOAWAY). */
  #stopListening(): void {
    this.#listenerClosed ??= new Promise((resolve) => {
      this.#listener.server.close(() => resolve());
      this.#connections.drainAll();
    });
  }

  get #sessionCount(): number {
    return this.#sessions?.size ?? 0;
  }

  /** Whether close() has nothing to wait for. It waits for the clients of sessions only during the grace. */
  get #isIdle(): boolean {
    return this.openCalls === 0 && (this.#sessionCount === 0 || this.#shutdown.signal.aborted);
  }

  #onConnection(connection: http2.ServerHttp2Session): void {
    this.#connections.add(connection);
    // While the server listens for sessions, a connection gets GOAWAY only when a new call arrives on it.
    if (this.#listenerClosed !== undefined) this.#connections.drain(connection);
  }

  #acceptFallback(
    stream: http2.ServerHttp2Stream,
    headers: http2.IncomingHttpHeaders,
    rawHeaders: string[],
  ): void {
    stream.on("error", () => {});
    if (rawHeaders.length > 2 * HEADERS_MAX_FIELDS) {
      answer(stream, { ":status": 431 });
      return;
    }
    const request = new http2.Http2ServerRequest(stream, headers, {}, rawHeaders);
    const response = new http2.Http2ServerResponse(stream);
    if (headers.expect === "100-continue") response.writeContinue();
    this.#serveFallback(request, response);
  }

  #serveFallback(...[request, response]: Parameters<NodeHandler>): void {
    this.#fallbackCalls++;
    request.once("error", () => {});
    (response as http.ServerResponse).once("close", () => {
      this.#fallbackCalls--;
      this.#checkIdle();
    });
    if (this.#closing === undefined) this.#fallback(request, response);
    else this.#refuseFallback(request, response as http.ServerResponse);
  }

  #refuseFallback(request: Parameters<NodeHandler>[0], response: http.ServerResponse): void {
    if (!("stream" in request)) response.setHeader("connection", "close");
    else if (request.stream.session) {
      this.#connections.drain(request.stream.session as http2.ServerHttp2Session);
    }
    response.writeHead(503).end();
  }

  #checkIdle(): void {
    if (this.#isIdle) this.#onIdle?.();
  }
}

/**
 * Runs `run` after sockets were read. If the process was busy, timers fire before that; a request that has arrived by
 * then is not late.
 */
function afterReads(run: () => void): void {
  setImmediate(() => {
    catchUp();
    run();
  });
}

function grpcRoutes(
  methods: RegisteredRoutes["methods"],
  settings: ReturnType<typeof withDefaults>,
  onHandlerError: (error: unknown, path: string) => void,
): Map<string, Route> {
  const firstRequests = new FirstRequestTimer(realClock, afterReads);
  return new Map(
    methods.map(({ spec, options }) => [
      pathOf(spec),
      {
        spec,
        options: {
          interceptors: aroundHandler(options?.interceptors ?? settings.interceptors),
          ...limitsOf(options ?? {}, settings),
          compression: nodeGzip,
          compressMinBytes: options?.compressMinBytes ?? settings.compressMinBytes,
          maxTimeoutMs: options?.maxTimeoutMs ?? settings.maxTimeoutMs,
          sendCompression: settings.sendCompression,
          firstRequests,
          onHandlerError,
        },
      },
    ]),
  );
}
