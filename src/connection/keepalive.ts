import { runtime } from "../flow/runtime.ts";
import { startTimer } from "../flow/wait.ts";
import { type Checks, positiveOrInfinite } from "../options.ts";

/**
 * Keepalive by HTTP/2 PING (gRPC keepalive): if nothing was received for an
 * interval on a connection with open calls, a ping is sent. If nothing is
 * received after that either, the connection is closed. The answer
 * "too_many_pings" doubles the interval.
 *
 * A timer that each received chunk sets again would cost time for each of them.
 * So the number of received bytes is checked CHECKS times in an interval: a byte
 * is noticed at most intervalMs / CHECKS late, and the connection of a dead peer
 * is closed within intervalMs + timeoutMs + intervalMs / CHECKS after its last byte.
 */

export interface KeepaliveOptions {
  /**
   * Silence on a connection with open calls before a ping, in milliseconds; it
   * counts from the last received byte. Default: 30 000 between a client and
   * a server of Hawser that have sessions; else 300 000 at a client, the least
   * that a default grpc-go server permits, and 60 000 at a server. Infinity: no pings.
   */
  intervalMs?: number;
  /**
   * How long the answer may take, in milliseconds; any byte is one. Default:
   * 10 000 between a client and a server of Hawser that have sessions, else 20 000.
   */
  timeoutMs?: number;
}

type Times = Required<KeepaliveOptions>;

/** The checks of the options of a keepalive. */
export const keepaliveChecks = {
  intervalMs: positiveOrInfinite,
  timeoutMs: positiveOrInfinite,
} satisfies Checks<KeepaliveOptions>;

/** The default of a client: what a default grpc-go server permits. */
export const CLIENT_TIMES: Times = { intervalMs: 300_000, timeoutMs: 20_000 };

/** The default of a server: clients do not limit its pings. */
export const SERVER_TIMES: Times = { intervalMs: 60_000, timeoutMs: 20_000 };

/** Between a client and a server that are both Hawser's. */
const HAWSER_TIMES: Times = { intervalMs: 30_000, timeoutMs: 10_000 };

/** The interval of TCP's keepalive, for peers without open calls, and for HTTP/1.1. */
export const TCP_KEEPALIVE_MS = 60_000;

const CHECKS = 20;

/** Silence before a ping of ask(). A Hawser server counts pings that come sooner after each other (gRPC A8). */
const ASK_AFTER_MS = 5000;

/** What the keepalive needs from a connection. */
export interface WatchedConnection {
  readonly bytesRead: number;
  /** Whether received bytes wait to be handled: the peer's answer may be among them. */
  readonly hasUnread: boolean;
  /** Whether calls are open, or wait for the connection: for servers, pings without open calls are abuse. */
  readonly isBusy: boolean;
  ping(onAnswer: () => void): void;
  /** Called if the peer has not answered for `afterMs`. */
  onDead(afterMs: number): void;
}

/** The keepalive of one transport or server: slowDown() on one connection counts for all. */
export class Keepalive {
  readonly #options: KeepaliveOptions;
  readonly #defaults: Times;
  #slowness = 1;

  /** @param defaults for connections whose peer is not known to be Hawser's */
  constructor(options: KeepaliveOptions = {}, defaults: Times) {
    this.#options = options;
    this.#defaults = defaults;
  }

  /** Doubles the interval: the server answered "too_many_pings" (gRPC A8). */
  slowDown(): void {
    this.#slowness *= 2;
  }

  /** @param isHawser whether the peer is known to be Hawser's */
  times(isHawser: boolean): Times {
    const defaults = isHawser ? HAWSER_TIMES : this.#defaults;
    const { intervalMs = defaults.intervalMs, timeoutMs = defaults.timeoutMs } = this.#options;
    return { intervalMs: intervalMs * this.#slowness, timeoutMs };
  }

  watch(connection: WatchedConnection): Watch {
    return new Watch(this, connection);
  }
}

/** Watches a connection until disposed. Without open calls it has no timer. */
export class Watch implements Disposable {
  readonly #keepalive: Keepalive;
  readonly #connection: WatchedConnection;
  #isHawser = false;
  #timer: Disposable | undefined;
  /** Whether #lastCheck() is scheduled. */
  #isChecking = false;
  #isDisposed = false;
  #bytesRead = 0;
  /** The time of the last received byte, or when silence began to count. */
  #heardAt = 0;
  /** The time of the unanswered ping, if there is one. */
  #pingedAt: number | undefined;

  constructor(keepalive: Keepalive, connection: WatchedConnection) {
    this.#keepalive = keepalive;
    this.#connection = connection;
    this.#heard();
  }

  /** Uses the shorter interval for Hawser's peers. */
  useHawserKeepalive(): void {
    if (this.#isHawser) return;
    this.#isHawser = true;
    if (this.#timer !== undefined) this.#schedule();
  }

  /**
   * Counts silence from now on: a call was opened, and no other is open. Silence since an earlier call that ended
   * without a received byte counts too: calls with short deadlines must not hide a dead peer.
   */
  onBusy(): void {
    if (this.#connection.bytesRead !== this.#bytesRead) this.#heard();
    if (this.#timer === undefined && !this.#isChecking) this.#schedule();
  }

  /**
   * Pings a silent Hawser server now: the network was away, and the connection may be dead. Other servers permit no ping
   * before the interval has passed.
   */
  ask(): void {
    const isQuiet = this.#connection.bytesRead === this.#bytesRead;
    const silentMs = performance.now() - this.#heardAt;
    if (this.#timer === undefined || this.#pingedAt !== undefined || !this.#isHawser) return;
    if (!isQuiet || silentMs < ASK_AFTER_MS || !this.#connection.isBusy) return;
    this.#ping();
    this.#schedule();
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#isDisposed = true;
  }

  #ping(): void {
    this.#pingedAt = performance.now();
    this.#connection.ping(() => this.#heard());
  }

  #heard(): void {
    this.#bytesRead = this.#connection.bytesRead;
    this.#heardAt = performance.now();
    this.#pingedAt = undefined;
  }

  #schedule(): void {
    const { intervalMs, timeoutMs } = this.#keepalive.times(this.#isHawser);
    const dueAt =
      this.#pingedAt === undefined ? this.#heardAt + intervalMs : this.#pingedAt + timeoutMs;
    const waitMs = Math.min(intervalMs / CHECKS, dueAt - performance.now());
    this.#timer?.[Symbol.dispose]();
    this.#timer = startTimer(Math.max(Math.ceil(waitMs), 1), () => this.#check());
  }

  #check(): void {
    this.#timer = undefined;
    if (!this.#connection.isBusy) return;
    const { intervalMs, timeoutMs } = this.#keepalive.times(this.#isHawser);
    const now = performance.now();
    if (this.#connection.bytesRead !== this.#bytesRead) this.#heard();
    else if (this.#pingedAt === undefined) {
      if (now - this.#heardAt >= intervalMs) this.#ping();
    } else if (now - this.#pingedAt >= timeoutMs) {
      // A blocked process has not read what arrived meanwhile. It reads that before a later turn of the event loop.
      this.#isChecking = true;
      runtime.inLaterTurn(() => this.#lastCheck(timeoutMs));
      return;
    }
    this.#schedule();
  }

  #lastCheck(timeoutMs: number): void {
    this.#isChecking = false;
    if (this.#isDisposed) return;
    const { bytesRead, hasUnread } = this.#connection;
    if (bytesRead !== this.#bytesRead || hasUnread) this.#heard();
    if (this.#pingedAt === undefined) this.#schedule();
    else this.#connection.onDead(timeoutMs);
  }
}
