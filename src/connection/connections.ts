import { Code, ConnectError } from "@connectrpc/connect";
import { asFailure, failure, ownCopy } from "../failure.ts";
import { Backoff, type BackoffOptions, GRPC_JITTER } from "../flow/backoff.ts";
import type { Pauses } from "../flow/pauses.ts";
import { runtime } from "../flow/runtime.ts";
import { type AbortSource, startTimer } from "../flow/wait.ts";
import type { ConnectionsStats } from "../observe/stats.ts";
import type { OpenSession } from "../session/attachment.ts";
import type { Target } from "./address.ts";
import { type Connect, type Connection, type ConnectionOwner, NO_LONGER } from "./connection.ts";
import { CLIENT_TIMES, Keepalive, type KeepaliveOptions } from "./keepalive.ts";
import { SessionCancels } from "./session-cancels.ts";
import { SessionQuestion } from "./session-question.ts";

export interface ConnectionsOptions {
  connect: Connect;
  connectTimeoutMs: number;
  keepalive?: KeepaliveOptions;
}

/** The transport that the connections belong to. */
export interface ConnectionsOwner {
  /** Aborts when the transport is closed, before close() is called. */
  readonly closing: AbortSource;
  /** The pauses before further attempts to connect. */
  readonly pauses: Pauses;
  /** Called when the server asks for new calls to go elsewhere. */
  onDrain(): void;
}

/** A call that waits for a connection. */
interface Waiter {
  readonly use: (connection: Connection) => void;
  readonly wanted: () => boolean;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
  /** Ends the wait if no connection can be made. */
  patience: Disposable | undefined;
}

/**
 * When this many calls wait, those that no longer need a connection are dropped; and again when twice as many wait as
 * were left.
 */
const SWEPT_FROM = 64;

/**
 * The most connections on which the server allows no streams for now (SETTINGS_MAX_CONCURRENT_STREAMS is 0). A second
 * one may reach a server that allows some (gRPC A105). A third is opened only after one of the two allows streams, or
 * is lost.
 */
const CLOSED_FOR_NOW_MAX = 2;

/** The interval in which calls that no longer need a connection are removed from those that wait. */
const CHECK_MS = 1000;

/** The pause between attempts (gRPC connection-backoff). */
const BACKOFF: BackoffOptions = {
  initialMs: 1000,
  factor: 1.6,
  maxMs: 120_000,
  jitter: GRPC_JITTER,
};

/** The pause if calls reconnect by themselves: a session must do so within the server's grace. */
const FAST_BACKOFF: BackoffOptions = { ...BACKOFF, initialMs: 100, maxMs: 5000 };

/**
 * The connections of one transport to one address. A connection is made when a
 * call needs it, and shared by as many calls as the server allows; further calls
 * get another one. After failed attempts there are pauses by exponential backoff
 * with jitter; all calls wait for the same next attempt. If the server allows no
 * streams for now, the connection is kept, and calls wait until it does.
 */
export class Connections implements ConnectionOwner {
  readonly target: Target;
  readonly keepalive: Keepalive;
  readonly #options: ConnectionsOptions;
  readonly #owner: ConnectionsOwner;
  /** The sessions at this address that have not ended; undefined until there is one. */
  #openSessions: Set<OpenSession> | undefined;
  #cancels: SessionCancels | undefined;
  #question: SessionQuestion | undefined;
  /** The context of the transport, in which connections are made: they belong to no call. */
  readonly #context = runtime.currentContext();
  #connections: Connection[] = [];
  /** The calls that wait for a connection with capacity, in order. */
  readonly #waiting = new Set<Waiter>();
  #sweepAt = SWEPT_FROM;
  /** Whether the waiting calls wait for a free stream on the existing connections. */
  #awaitsCapacity = false;
  /** Keeps the process alive while calls wait for a free stream: a socket without open calls does not. */
  #staying: Disposable | undefined;
  /** Whether the server of the newest connection allowed no streams. */
  #closedForNow = false;
  #attempt: Promise<void> | undefined;
  readonly #backoff = new Backoff(BACKOFF);
  #retryAt = 0;
  #lastError: ConnectError | undefined;

  constructor(target: Target, options: ConnectionsOptions, owner: ConnectionsOwner) {
    this.target = target;
    this.#options = options;
    this.#owner = owner;
    this.keepalive = new Keepalive(options.keepalive, CLIENT_TIMES);
  }

  get closing(): AbortSource {
    return this.#owner.closing;
  }

  get cancels(): SessionCancels {
    this.#cancels ??= new SessionCancels(this);
    return this.#cancels;
  }

  /** Whether the server keeps sessions. */
  get question(): SessionQuestion {
    this.#question ??= new SessionQuestion(this);
    return this.#question;
  }

  /** Adds a session that has begun. close() cancels it: else the server keeps it for its grace. */
  addSession(session: OpenSession): void {
    this.#openSessions ??= new Set();
    this.#openSessions.add(session);
  }

  removeSession(session: OpenSession): void {
    this.#openSessions?.delete(session);
  }

  /** Whether there is a connection that is alive and not draining. */
  get isUsable(): boolean {
    return this.#connections.some(({ isUsable }) => isUsable);
  }

  /** Whether there is such a connection, and its server allows streams. */
  get takesCalls(): boolean {
    return this.#connections.some(({ isUsable, takesNoCalls }) => isUsable && !takesNoCalls);
  }

  /** The rest of the pause after failed attempts, in milliseconds. */
  get waitMs(): number {
    return this.isUsable ? 0 : Math.max(this.#retryAt - performance.now(), 0);
  }

  /** Tries to connect more often from now on: there are calls that reconnect by themselves. */
  useFastReconnect(): void {
    this.#backoff.options = FAST_BACKOFF;
  }

  /** Ends the pause after failed attempts. */
  resetBackoff(): void {
    this.#backoff.succeeded();
    this.#retryAt = 0;
  }

  /** Asks the connections whether they live, and lets what waits connect now: the network may have returned. */
  expectNetwork(): void {
    this.resetBackoff();
    for (const connection of this.#connections) connection.expectNetwork();
    for (const session of this.#openSessions ?? []) session.expectNetwork();
  }

  /** The error of the previous attempt, if it failed. */
  get lastError(): ConnectError | undefined {
    return this.#lastError;
  }

  get stats(): ConnectionsStats {
    const sessions = [...(this.#openSessions ?? [])];
    const detached = sessions.filter(({ state }) => state !== "attached").length;
    return {
      connections: this.#connections.length,
      waitingCalls: this.#waiting.size,
      sessions: { open: sessions.length, detached },
    };
  }

  /** Returns a connection with a free stream, if there is one. */
  ready(): Connection | undefined {
    return this.#connections.find((connection) => connection.hasFreeStream);
  }

  /** As Connection.invalidateSettings(), for all connections. */
  invalidateSettings(untilMs: number): void {
    for (const connection of this.#connections) connection.invalidateSettings(untilMs);
  }

  /**
   * Calls `use` with a connection that has a free stream, as soon as there is one;
   * calls get theirs in the order of acquire(). Rejects with UNAVAILABLE if there
   * is no connection and the next attempt fails, or does not end within the
   * connect timeout; and with what `use` throws. May reject with NO_LONGER if
   * `wanted` returns false.
   */
  acquire(use: (connection: Connection) => void, wanted = always): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { use, wanted, resolve, reject, patience: undefined };
    if (this.closing.aborted) reject(ownCopy(asFailure(this.closing.reason)));
    else if (this.#waiting.size === 0 && this.ready() !== undefined) this.#serve(waiter);
    else {
      if (this.#waiting.size >= this.#sweepAt) this.#sweep();
      this.#waiting.add(waiter);
      if (this.#waiting.size === 1) for (const open of this.#connections) open.onAwaited();
      if (!this.isUsable) this.#limit(waiter);
      this.#stay();
      this.#connectMore();
    }
    return promise;
  }

  /** Limits the wait of a call for the first connection to the connect timeout. */
  #limit(waiter: Waiter): void {
    const { connectTimeoutMs } = this.#options;
    const waitMs = this.#retryAt - performance.now();
    if (waitMs > connectTimeoutMs) this.#refuse(waiter, this.#tooLate(waitMs));
    else {
      // 50 ms later than the timeout of the attempt, whose error says more.
      const tooLate = () => this.#refuse(waiter, this.#tooLate(0));
      waiter.patience = startTimer(connectTimeoutMs + 50, tooLate);
    }
  }

  /**
   * Removes the limits once there is a connection: calls wait for a free stream without one. Sets them again when there
   * is no connection any more: calls then wait for the next attempt.
   */
  #limitAll(): void {
    const { isUsable } = this;
    if (isUsable === this.#awaitsCapacity) return;
    this.#awaitsCapacity = isUsable;
    for (const waiter of this.#waiting) {
      waiter.patience?.[Symbol.dispose]();
      waiter.patience = undefined;
      if (!isUsable) this.#limit(waiter);
    }
  }

  /** Drops the calls that no longer need a connection. */
  #sweep(): void {
    for (const waiter of this.#waiting) if (!waiter.wanted()) this.#refuse(waiter, NO_LONGER);
    this.#sweepAt = Math.max(SWEPT_FROM, 2 * this.#waiting.size);
  }

  #serve({ use, resolve, reject, patience }: Waiter): void {
    patience?.[Symbol.dispose]();
    try {
      use(this.ready() as Connection);
      resolve();
    } catch (error) {
      reject(error);
    }
  }

  #serveWaiting(): void {
    if (this.#waiting.size === 0) return;
    for (const waiter of this.#waiting) {
      if (this.ready() === undefined) return;
      this.#waiting.delete(waiter);
      this.#serve(waiter);
    }
  }

  #refuse(waiter: Waiter, reason: unknown): void {
    waiter.patience?.[Symbol.dispose]();
    this.#waiting.delete(waiter);
    waiter.reject(reason);
  }

  /** Gives connections to the waiting calls while there are free streams. */
  #admit(): void {
    if (this.#closedForNow && this.ready() !== undefined) {
      this.#closedForNow = false;
      this.resetBackoff();
    }
    this.#serveWaiting();
    this.#limitAll();
    this.#stay();
    this.#connectMore();
  }

  /** Keeps the process alive while a call waits that still needs a connection. */
  #stay(): void {
    if (this.#waiting.size === 0) {
      this.#staying?.[Symbol.dispose]();
      this.#staying = undefined;
      return;
    }
    this.#staying ??= startTimer(
      CHECK_MS,
      () => {
        this.#staying = undefined;
        this.#sweep();
        this.#stay();
      },
      true,
    );
  }

  /** Tries to make another connection if a call waits. */
  #connectMore(): void {
    if (this.#waiting.size === 0 || this.#attempt !== undefined) return;
    if (this.closing.aborted) return;
    const closed = this.#connections.filter(({ takesNoCalls }) => takesNoCalls).length;
    if (closed >= CLOSED_FOR_NOW_MAX) return;
    const pauseMs = closed > 0 ? this.#backoff.pauseMs(0) : 0;
    const waitMs = Math.max(this.#retryAt - performance.now(), pauseMs);
    this.#attempt = this.#context.runInAsyncScope(() => this.#tryToConnect(waitMs));
  }

  async #tryToConnect(waitMs: number): Promise<void> {
    try {
      await this.#connect(waitMs);
    } catch (error) {
      // If there are connections, a stream may become free there before the next attempt.
      if (!this.isUsable) {
        for (const waiter of this.#waiting) this.#refuse(waiter, ownCopy(asFailure(error)));
      }
    }
    this.#attempt = undefined;
    this.#admit();
  }

  #tooLate(waitMs: number): ConnectError {
    const { name } = this.target;
    const reason = this.#lastError?.rawMessage ?? `cannot reach ${name}`;
    const next = waitMs > 0 ? `; the next attempt is in ${Math.ceil(waitMs)} ms` : "";
    return failure(Code.Unavailable, reason + next, this.#lastError);
  }

  /** Closes every connection; open calls fail with `reason`, and new ones with that of `closing`. */
  async close(reason: ConnectError): Promise<void> {
    const connections = this.#connections;
    this.#connections = [];
    for (const waiter of this.#waiting) this.#refuse(waiter, ownCopy(reason));
    this.#stay();
    const flushed = this.cancels.flush(connections);
    for (const session of [...(this.#openSessions ?? [])]) session.leave(ownCopy(reason));
    await flushed;
    const closed = Promise.all(connections.map((connection) => connection.close(reason)));
    await this.#attempt;
    await closed;
  }

  async #connect(waitMs: number): Promise<void> {
    const { closing } = this;
    if (waitMs > 0) await this.#owner.pauses.sleep(waitMs, closing);
    if (closing.aborted) throw closing.reason;
    if (this.isUsable) {
      // During the pause the waiting calls may have got a free stream, or have ended.
      this.#sweep();
      if (this.#waiting.size === 0) return;
    }
    try {
      const connection = await this.#options.connect(this.target, this);
      if (closing.aborted) {
        await connection.close(asFailure(closing.reason));
        throw closing.reason;
      }
      this.#lastError = undefined;
      // push(), and a literal with a spread, would allocate seventeen places.
      this.#connections = this.#connections.concat(connection);
      if (this.#waiting.size > 0) connection.onAwaited();
      this.#closedForNow = connection.takesNoCalls;
      // If a server allows no streams, and then closes, there must be a pause before the next attempt.
      if (this.#closedForNow) this.#postpone();
      else this.resetBackoff();
    } catch (error) {
      this.#lastError = error instanceof ConnectError ? error : undefined;
      this.#postpone();
      throw error;
    }
  }

  /** Makes the next attempt wait; the pause grows each time. */
  #postpone(): void {
    this.#retryAt = performance.now() + this.#backoff.failed();
  }

  // ConnectionOwner: called by the connections.

  isAwaited(): boolean {
    for (const waiter of this.#waiting) if (waiter.wanted()) return true;
    return false;
  }

  onDrain(): void {
    this.#owner.onDrain();
  }

  /** Forgets connections on which no call can be opened any more and none is open. */
  onChange(): void {
    if (!this.#connections.every(isNeeded)) this.#connections = this.#connections.filter(isNeeded);
    this.#admit();
  }
}

function isNeeded({ isUsable, active }: Connection): boolean {
  return isUsable || active > 0;
}

function always(): boolean {
  return true;
}
