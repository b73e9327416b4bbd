import { Code, ConnectError } from "@connectrpc/connect";
import { failure, handled } from "../failure.ts";
import { after, pause } from "../flow.ts";
import type { Leaver } from "../session/dial.ts";
import type { Target } from "./address.ts";
import { type ClientTls, type Connection, connect } from "./connection.ts";
import { Farewells } from "./farewells.ts";
import { Keepalive, type KeepaliveOptions } from "./keepalive.ts";

export interface ConnectionsOptions {
  tls?: ClientTls;
  connectTimeoutMs: number;
  keepalive?: KeepaliveOptions;
}

/** The pause between attempts (gRPC connection-backoff). */
const BACKOFF = { initialMs: 1000, factor: 1.6, jitter: 0.2, maxMs: 120_000 };

/** The same where the server keeps sessions: they have to be back before its grace is over. */
const SESSION_BACKOFF = { ...BACKOFF, initialMs: 100, maxMs: 5000 };

/**
 * The connections of one transport to one target: made when a call needs one,
 * shared by as many calls as the server allows, one more past that. Attempts
 * that fail are spaced by an exponential backoff with jitter; calls wait for
 * the next attempt together.
 */
export class Connections {
  readonly target: Target;
  /** Calls whose servers wait for them to come again, unless told. */
  readonly sessions = new Set<Leaver>();
  readonly farewells = new Farewells(this);
  /** Whether the server is known to keep sessions. */
  keepsSessions = false;
  readonly #options: ConnectionsOptions;
  readonly #keepalive: Keepalive;
  readonly #closing = new AbortController();
  #connections: Connection[] = [];
  #attempt: Promise<void> | undefined;
  #failures = 0;
  #retryAt = 0;
  #lastError: ConnectError | undefined;
  /** Resolves when a call may find room, or a connection went away. */
  #changed = Promise.withResolvers<void>();

  constructor(target: Target, options: ConnectionsOptions) {
    this.target = target;
    this.#options = options;
    this.#keepalive = new Keepalive(options.keepalive);
  }

  /** A connection with room for a call, if there is one now. */
  ready(): Connection | undefined {
    return this.#connections.find((connection) => connection.hasRoom);
  }

  /**
   * Calls `use` with a connection that has room at that moment, when there is
   * one. Rejects with UNAVAILABLE where there is no connection and the next
   * attempt fails, or does not come to an end within the connect timeout.
   */
  async acquire(use: (connection: Connection) => void): Promise<void> {
    const endsAt = performance.now() + this.#options.connectTimeoutMs;
    for (;;) {
      if (this.#closing.signal.aborted) throw closed(this.target);
      const connection = this.ready();
      if (connection !== undefined) return use(connection);
      const waitMs = this.#retryAt - performance.now();
      const full = this.#connections.some((connection) => connection.usable);
      if (waitMs > 0 && full) {
        // The last attempt at one more failed; the calls that are open may end before the next.
        await Promise.race([this.#changed.promise, pause(waitMs, this.#closing.signal)]);
        continue;
      }
      if (waitMs > endsAt - performance.now()) throw this.#tooLate(waitMs);
      this.#attempt ??= handled(
        this.#connect(waitMs).finally(() => {
          this.#attempt = undefined;
        }),
      );
      await this.#settled(this.#attempt, full, endsAt);
    }
  }

  /** Waits for an attempt; where connections are full for room on them too, else until `endsAt` at most. */
  async #settled(attempt: Promise<void>, full: boolean, endsAt: number): Promise<void> {
    if (full) {
      await Promise.race([attempt.catch(() => {}), this.#changed.promise]);
      return;
    }
    const late = Promise.withResolvers<never>();
    // A first attempt has a timeout of its own; it says more.
    using _timer = after(endsAt - performance.now() + 50, () => late.reject(this.#tooLate(0)));
    await Promise.race([attempt, handled(late.promise)]);
  }

  #tooLate(waitMs: number): ConnectError {
    const { name } = this.target;
    const reason = this.#lastError?.rawMessage ?? `cannot reach ${name}`;
    const next = waitMs > 0 ? `; the next attempt is in ${Math.ceil(waitMs)} ms` : "";
    return failure(Code.Unavailable, reason + next, this.#lastError);
  }

  /** Closes every connection; open calls, and new ones, fail with `reason`. */
  async close(reason = closed(this.target)): Promise<void> {
    this.#closing.abort(reason);
    const connections = this.#connections;
    this.#connections = [];
    const last = this.farewells.last(connections);
    for (const session of [...this.sessions]) session.leave(reason);
    await last;
    for (const connection of connections) connection.destroy(reason);
    await this.#attempt?.catch(() => {});
    await Promise.all(connections.map((connection) => connection.gone));
  }

  async #connect(waitMs: number): Promise<void> {
    if (waitMs > 0) await pause(waitMs, this.#closing.signal);
    const { signal } = this.#closing;
    if (signal.aborted) throw closed(this.target);
    const { tls, connectTimeoutMs } = this.#options;
    try {
      const connection = await connect(
        this.target,
        tls,
        connectTimeoutMs,
        this.#keepalive,
        signal,
        () => this.#onChange(),
      );
      if (!connection.hasRoom) {
        const refusal = failure(Code.Unavailable, `${this.target.name} lets no call be opened`);
        connection.destroy(refusal);
        throw refusal;
      }
      if (signal.aborted) {
        connection.destroy(signal.reason);
        throw signal.reason;
      }
      this.#failures = 0;
      this.#retryAt = 0;
      this.#connections.push(connection);
    } catch (error) {
      this.#lastError = error instanceof ConnectError ? error : undefined;
      const backoff = this.keepsSessions ? SESSION_BACKOFF : BACKOFF;
      this.#retryAt = performance.now() + backoffMs(backoff, this.#failures++);
      throw error;
    }
  }

  /** Lets go of connections on which no call can be opened any more; their open calls go on. */
  #onChange(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
    this.#connections = this.#connections.filter(
      (connection) => connection.usable || connection.active > 0,
    );
  }
}

function backoffMs(backoff: typeof BACKOFF, failures: number): number {
  const { initialMs, factor, jitter, maxMs } = backoff;
  const base = Math.min(initialMs * factor ** failures, maxMs);
  return base * (1 + jitter * (2 * Math.random() - 1));
}

function closed(target: Target): ConnectError {
  return failure(
    Code.Canceled,
    `the transport to ${target.name} was closed: create another to make calls`,
  );
}
