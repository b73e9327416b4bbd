import { Code } from "@connectrpc/connect";
import type { BytePipe } from "../connection/byte-pipe.ts";
import type { ServedConnection } from "../connection/served-connection.ts";
import { ServerConnections } from "../connection/server-connections.ts";
import { ServerMemory } from "../connection/server-memory.ts";
import type { ServerRequest } from "../connection/server-request.ts";
import { failure } from "../failure.ts";
import { realClock } from "../flow/clock.ts";
import { runtime } from "../flow/runtime.ts";
import { settled, startTimer } from "../flow/wait.ts";
import { rawToHeaders } from "../grpc/metadata.ts";
import { CallCounter } from "../observe/call-counts.ts";
import type { ObservedServerConnection } from "../observe/events.ts";
import { log } from "../observe/logger.ts";
import { Notifier } from "../observe/notifier.ts";
import type { Callers } from "../server/callers.ts";
import {
  type ConnectHandlers,
  connectRoutes,
  createConnectHandlers,
} from "../server/connect-handlers.ts";
import { connectOptions } from "../server/connect-options.ts";
import { Cors } from "../server/cors.ts";
import { FallbackRequests } from "../server/fallback-requests.ts";
import { createGrpcHandler, type GrpcHandler } from "../server/handler.ts";
import { Health } from "../server/health.ts";
import { serverClosing } from "../server/move-elsewhere.ts";
import { registerReflection } from "../server/reflection.ts";
import { ServerReporter } from "../server/reporter.ts";
import { register } from "../server/routes.ts";
import { ServerSessions } from "../server/server-sessions.ts";
import { Parties, sharedLimits } from "../sharing/parties.ts";
import { SharedLimit } from "../sharing/shared-limit.ts";
import { grpcRoutes } from "./grpc-routes.ts";
import { connectGzip } from "./gzip.ts";
import { createHttp1Server, type Http1Server } from "./http1.ts";
import { Http1Memory } from "./http1-memory.ts";
import type { UpgradeRequest } from "./http1-upgrade.ts";
import { listen } from "./listen.ts";
import {
  type CloseOptions,
  checkClose,
  checkListen,
  type ListenOptions,
  type ServerAddress,
} from "./listen-options.ts";
import { createListener, type Listener } from "./listener.ts";
import type { Server } from "./server.ts";
import {
  budgetsOf,
  type ServerCertificate,
  type ServerOptions,
  withDefaults,
} from "./server-options.ts";
import { callersOf, connectionOptions, cryptography, sharedOptions } from "./server-parts.ts";
import { limitStats, type ServerStats } from "./server-stats.ts";
import { peerOf } from "./socket-peer.ts";
import { NOTHING, SocketPipe } from "./socket-pipe.ts";
import { trustedProxies as proxiesOf } from "./trusted-proxies.ts";
import { loadUpgrades } from "./web-socket/load-upgrades.ts";
import type { CountedPipe } from "./web-socket/unfinished-message.ts";
import type { UpgradeSettings } from "./web-socket/web-socket-options.ts";

/**
 * After a closing server has ended its calls, clients may take this long to read their statuses, and then as long again to
 * read what was written before their connections are closed.
 */
const STATUS_READ_MS = 1000;

/**
 * Makes a server; nothing happens before listen(). Throws INVALID_ARGUMENT, which names the option and its value, if an
 * option is unknown or not valid; if `routes` registers a method twice, or a handler that is not a function; and if the
 * key of `tls` does not belong to its certificate.
 */
export function createServer(options: ServerOptions): Server {
  return new HawserServer(options);
}

/**
 * The server itself. Only hawser/testing uses kill(), which Server does not have.
 *
 *     createListener        bytes: TLS, HTTP/2 or HTTP/1.1
 *       ServerConnections   requests ── gRPC ──> createGrpcHandler ──> ServerCall ──> handler
 *                                    └─ else ──> createConnectHandlers ─────────────> handler
 *       createHttp1Server   requests ──────────> Connect's handlers ───────────────> handler
 *                           WebSockets ────────> ServerConnections
 */
export class HawserServer implements Server {
  readonly #grpc: GrpcHandler;
  readonly #connect: ConnectHandlers;
  /** Serves what is no RPC over HTTP/2. Undefined if there is no fallback for that. */
  readonly #fallback: FallbackRequests | undefined;
  readonly #http1: Http1Server;
  readonly #listener: Listener;
  readonly #sessions: ServerSessions | undefined;
  readonly #connections: ServerConnections;
  readonly #parties: Parties;
  readonly #memory: ServerMemory;
  readonly #connectionLimit: SharedLimit;
  readonly #reporter: ServerReporter;
  readonly #callers: Callers;
  readonly health: Health;
  /** Undefined if the server takes no WebSockets. */
  readonly #upgradeSettings: UpgradeSettings | undefined;
  #upgrade: ((upgrade: UpgradeRequest) => void) | undefined;
  readonly #counter = new CallCounter();
  readonly #draining = new AbortController();
  readonly #shutdown = new AbortController();
  #listening = false;
  #onIdle: (() => void) | undefined;
  #closing: Promise<void> | undefined;
  /** Resolves when the server no longer listens and all its connections are closed. */
  #listenerClosed: Promise<void> | undefined;
  #endDelay: (() => void) | undefined;
  #endGrace: (() => void) | undefined;

  constructor(options: ServerOptions) {
    const settings = withDefaults(options);
    const { logger } = settings;
    const { observe } = options;
    const notifier =
      observe && new Notifier(observe, (message, error) => log(logger, "error", message, error));
    const reporter = new ServerReporter(logger, notifier);
    this.#reporter = reporter;
    const counter = this.#counter;
    const onError = reporter.onHandlerError.bind(reporter);
    const onClosed = () => this.#checkIdle();
    const draining = this.#draining.signal;
    this.health = new Health(options.health === true, draining);
    const registered = register(options.routes, (router, services) => {
      this.health.register(router, services());
      if (options.reflection) registerReflection(router, services(), draining);
    });
    const readMaxBytes = Math.max(settings.readMaxBytes, registered.readMaxBytes);
    const budgets = budgetsOf(options, readMaxBytes);
    const proxies = options.trustedProxies && proxiesOf(options.trustedProxies);
    const callers = callersOf(options, proxies, logger);
    const memory = new ServerMemory(budgets.serverBudgetBytes, {
      clock: realClock,
      onRefused: (caller) => reporter.onRefused("serverBudgetBytes", caller),
    });
    this.#memory = memory;
    const parties = new Parties(sharedLimits(sharedOptions(settings)), (party) =>
      memory.forget(party),
    );
    this.#parties = parties;
    this.#connectionLimit = new SharedLimit("maxConnections", settings.maxConnections);
    const methods = [...registered.methods];
    if (settings.sessions !== undefined) {
      this.#sessions = new ServerSessions(settings.sessions, {
        ...{ callers, parties, cryptography, reporter, notifier },
      });
      methods.push({ spec: this.#sessions.negotiation, options: { interceptors: [] } });
    }
    this.#grpc = createGrpcHandler(grpcRoutes(methods, settings, onError), {
      ...{ callers, parties, sessions: this.#sessions, counter, notifier, onClosed },
    });
    const onRefused = reporter.onRefused.bind(reporter);
    for (const limit of this.#limits()) limit.onRefused = onRefused;
    // Each refusal of a connection has a message, and an event, of its own.
    this.#connectionLimit.onRefused = (name) => reporter.countRefusal(name);
    const connect = connectOptions(registered.replay, settings, {
      draining,
      shutdown: this.#shutdown.signal,
      onHandlerError: onError,
      compression: connectGzip,
      ...{ callers, counter, notifier },
    });
    const routes = connectRoutes(connect, options.cors && new Cors(options.cors));
    const onFallbackError = reporter.onFallbackError.bind(reporter);
    const { fallback } = options;
    if (typeof fallback === "function") {
      const server = { callers, parties, onError: onFallbackError, onClosed };
      this.#fallback = new FallbackRequests(fallback, server);
    }
    this.#connect = createConnectHandlers(routes, {
      ...{ callers, parties, onError, onClosed },
      serveOther:
        fallback &&
        ((request) => {
          // An app for node:http cannot serve a request of HTTP/2.
          if (this.#fallback === undefined) request.requireHttp1();
          else this.#fallback.serve(request);
        }),
    });
    const { connectionBudgetBytes } = budgets;
    const { webSocket } = settings;
    this.#http1 = createHttp1Server(routes, {
      ...{ times: settings.http1, notifier, fallback, onClosed, onError, onFallbackError },
      memory: new Http1Memory({
        ...{ callers, parties, memory, budgetBytes: connectionBudgetBytes, onRefused },
      }),
      onUpgrade: webSocket && ((upgrade) => this.#upgrade?.(upgrade)),
    });
    this.#upgradeSettings = webSocket && { ...webSocket, abuseBudget: settings.abuseBudget };
    this.#callers = callers;
    this.#connections = new ServerConnections(
      {
        ...connectionOptions(settings),
        ...{ budgetBytes: connectionBudgetBytes, memory, onRefused, notifier },
      },
      {
        partyOf: (connection) => parties.of(connection, connection.caller),
        onRequest: (request) => this.#onRequest(request),
        onAged: (connection) => this.#sessions?.moveFrom(connection),
        onClosed: (connection) => parties.onClosed(connection),
      },
    );
    this.#listener = createListener(
      options.tls,
      {
        ...{ ...settings, proxies, connections: this.#connectionLimit, notifier },
        closeUnused: (peer) => this.#connections.closeUnused(peer),
      },
      {
        http2: (socket, received) => {
          const of = { protocol: "h2", peer: peerOf(socket) } as const;
          this.#onHttp2(new SocketPipe(socket), of, received);
        },
        http1: (socket) => this.#http1.accept(socket),
      },
    );
  }

  get openCalls(): number {
    const { open = 0 } = this.#fallback ?? {};
    return this.#grpc.open + this.#connect.open + this.#http1.open + open;
  }

  stats(): ServerStats {
    const { started, succeeded, failed } = this.#counter.stats;
    const { usedBytes, bytes } = this.#memory;
    const budget = { name: "serverBudgetBytes", held: usedBytes, total: bytes };
    return {
      connections: this.#connectionLimit.held,
      calls: { open: this.openCalls, started, succeeded, failed },
      sessions: { open: this.#sessionCount, detached: this.#sessions?.detached ?? 0 },
      sessionBytes: this.#parties.limits.sessionBytes.held,
      unreadBytes: usedBytes,
      callers: this.#parties.callers,
      limits: limitStats([...this.#limits(), budget], this.#reporter),
    };
  }

  setTls(tls: ServerCertificate): void {
    this.#listener.setTls(tls);
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
      await this.#loadUpgrades();
      const address = await listen(this.#listener.server, options);
      this.#reporter.onStarted(address.url);
      return address;
    } catch (error) {
      this.#listening = false;
      throw error;
    }
  }

  /** Loads what opens WebSockets, if the server takes them: a package that only its users install. */
  async #loadUpgrades(): Promise<void> {
    const settings = this.#upgradeSettings;
    if (settings === undefined) return;
    const { createUpgrade } = await loadUpgrades();
    this.#upgrade = createUpgrade(settings, (pipe, upgrade) => this.#onWebSocket(pipe, upgrade));
  }

  async close(options: CloseOptions = {}): Promise<void> {
    checkClose(options);
    const { drainDelayMs = 0, graceMs = 10_000, keepListening = true } = options;
    this.health.shutDown();
    // With health at least a turn: those who watch are told before the GOAWAY.
    const waits = drainDelayMs > 0 || this.health.isOn;
    this.#closing ??= this.#close(waits);
    // These timers keep the process alive: sessions without a connection have no socket that would.
    let timer: Disposable;
    const drain = () => {
      timer = startTimer(graceMs, () => this.#endGrace?.(), true);
      this.#endDelay?.();
      if (!keepListening) this.#stopListening();
    };
    if (waits) timer = startTimer(drainDelayMs, drain, true);
    else drain();
    await this.#closing.finally(() => timer[Symbol.dispose]());
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
    this.#connections.destroyAll();
    this.#stopListening();
    return this.close({ graceMs: 0, keepListening: false });
  }

  /** @param waits until `#endDelay` is called, and for the ends of calls of health */
  async #close(waits: boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#endDelay = resolve;
    if (waits) await promise;
    const wasListening = this.#listening;
    if (wasListening) this.#reporter.onDraining(this.openCalls);
    this.#grpc.refuse();
    this.#sessions?.drain(() => {
      this.#stopListening();
      this.#checkIdle();
    });
    this.#connections.drainAll();
    // After GOAWAY, so that no client makes its next attempt on the same connection.
    this.#grpc.move();
    this.#draining.abort(serverClosing());
    this.#http1.refuse();
    if (this.#sessionCount === 0) this.#stopListening();
    if (!this.#isIdle) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
        this.#endGrace = resolve;
      });
    }
    this.#stopListening();
    const error = failure(Code.Unavailable, "the server is shutting down");
    const endedCalls = this.openCalls;
    this.#shutdown.abort(error);
    this.#grpc.abort(error);
    if (!this.#isIdle) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onIdle = resolve;
      using _timer = startTimer(STATUS_READ_MS, resolve, true);
      await promise;
    }
    // Calls of health have ended by themselves: their clients are told.
    if (waits) await new Promise<void>((resolve) => runtime.inLaterTurn(resolve));
    this.#sessions?.close();
    this.#http1.close();
    await settled(this.#connections.closeAll(), STATUS_READ_MS);
    this.#connections.destroyAll();
    this.#listener.destroyAll();
    await this.#listenerClosed;
    if (wasListening) this.#reporter.onClosed(endedCalls);
  }

  /** Stops accepting connections, and tells the clients of the existing ones to open no more calls here (GOAWAY). */
  #stopListening(): void {
    this.#listenerClosed ??= new Promise((resolve) => {
      this.#listener.server.close(() => resolve());
      this.#connections.drainAll();
    });
  }

  /** The limits that callers share. */
  #limits(): SharedLimit[] {
    const { calls, healthCalls, sessions, sessionBytes } = this.#parties.limits;
    const all = [this.#connectionLimit, calls, ...(this.health.isOn ? [healthCalls] : [])];
    if (this.#sessions === undefined) return all;
    return [...all, sessions, sessionBytes, this.#sessions.resumeLimit()];
  }

  get #sessionCount(): number {
    return this.#sessions?.size ?? 0;
  }

  /** Whether close() has nothing to wait for. It waits for the clients of sessions only during the grace. */
  get #isIdle(): boolean {
    return this.openCalls === 0 && (this.#sessionCount === 0 || this.#shutdown.signal.aborted);
  }

  #onHttp2(pipe: BytePipe, of: ObservedServerConnection, received: Uint8Array): ServedConnection {
    const connection = this.#connections.add(pipe, of, received);
    // While the server listens for sessions, a connection gets GOAWAY only when a new call arrives on it.
    if (this.#listenerClosed !== undefined) connection.drain();
    return connection;
  }

  #onWebSocket(pipe: CountedPipe, { request, peer }: UpgradeRequest): void {
    const client = this.#callers.onWebSocket(peer, rawToHeaders(request.rawHeaders));
    pipe.countIn(this.#onHttp2(pipe, { protocol: "websocket", peer: client }, NOTHING));
  }

  #onRequest(request: ServerRequest): void {
    if (this.#grpc.accept(request)) return;
    if (this.#draining.signal.aborted) this.#connect.refuse(request);
    else this.#connect.serve(request);
  }

  #checkIdle(): void {
    if (this.#isIdle) this.#onIdle?.();
  }
}
