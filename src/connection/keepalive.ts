import { runtime } from "../flow/runtime.ts";
import { startTimer } from "../flow/wait.ts";
import { type Checks, positiveOrInfinite } from "../options.ts";

/**
 * Keepalive by HTTP/2 PING (gRPC keepalive): a connection with open calls on
 * which nothing came for an interval is sent a ping, and given up where no
 * answer comes. A server that answers "too_many_pings" is sent half as many.
 *
 * node:http2 consumes what a socket reads, and says how many bytes that were,
 * not when. So the count is checked CHECKS times in an interval: a byte is
 * noted late by at most a CHECKS-th of it, and a dead peer is given up within
 * intervalMs + timeoutMs + intervalMs / CHECKS after its last byte.
 */

export interface KeepaliveOptions {
  /**
   * Silence on a connection with open calls before a ping, in milliseconds; it
   * counts from the last byte that came. Default: 30 000 between a client and
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

/** What the options of a keepalive may be. */
export const keepaliveChecks = {
  intervalMs: positiveOrInfinite,
  timeoutMs: positiveOrInfinite,
} satisfies Checks<KeepaliveOptions>;

/** Of a client: what a default grpc-go server permits. */
export const CLIENT_TIMES: Times = { intervalMs: 300_000, timeoutMs: 20_000 };

/** Of a server: clients do not count its pings. */
export const SERVER_TIMES: Times = { intervalMs: 60_000, timeoutMs: 20_000 };

/** Between a client and a server that are both Hawser's. */
const HAWSER_TIMES: Times = { intervalMs: 30_000, timeoutMs: 10_000 };

/** When TCP's own keepalive asks a silent peer that has no open calls, or speaks HTTP/1.1. */
export const TCP_KEEPALIVE_MS = 60_000;

const CHECKS = 20;

/** A connection as the keepalive sees it. */
export interface Watched {
  bytesRead(): number;
  /** Whether calls are open, or wait to be: servers count pings without any as abuse. */
  busy(): boolean;
  ping(answered: () => void): void;
  dead(afterMs: number): void;
}

/** The keepalive of one transport or server: what one connection learns counts for the next. */
export class Keepalive {
  readonly #options: KeepaliveOptions;
  readonly #defaults: Times;
  #slowness = 1;

  /** @param defaults of connections whose other side is not known to be Hawser's */
  constructor(options: KeepaliveOptions = {}, defaults: Times) {
    this.#options = options;
    this.#defaults = defaults;
  }

  /** The server answered "too_many_pings": doubles the interval (gRPC A8). */
  slowDown(): void {
    this.#slowness *= 2;
  }

  /** @param isHawser whether the other side is known to be Hawser's */
  times(isHawser: boolean): Times {
    const defaults = isHawser ? HAWSER_TIMES : this.#defaults;
    const { intervalMs = defaults.intervalMs, timeoutMs = defaults.timeoutMs } = this.#options;
    return { intervalMs: intervalMs * this.#slowness, timeoutMs };
  }

  watch(connection: Watched): Watch {
    return new Watch(this, connection);
  }
}

/** Watches over a connection, until disposed. Without open calls it has no timer. */
export class Watch implements Disposable {
  readonly #keepalive: Keepalive;
  readonly #connection: Watched;
  #isHawser = false;
  #timer: Disposable | undefined;
  /** Whether the last check before the connection is given up is under way. */
  #isChecking = false;
  #isDisposed = false;
  #bytesRead = 0;
  /** When the last byte came, or the silence began to count. */
  #heardAt = 0;
  /** When the ping was sent that waits for its answer. */
  #pingedAt: number | undefined;

  constructor(keepalive: Keepalive, connection: Watched) {
    this.#keepalive = keepalive;
    this.#connection = connection;
    this.#heard();
  }

  /** The other side is Hawser's, and permits more frequent pings. */
  useHawserKeepalive(): void {
    if (this.#isHawser) return;
    this.#isHawser = true;
    if (this.#timer !== undefined) this.#schedule();
  }

  /**
   * A call was opened where none was open: from now on silence counts. Silence since an earlier call that ended without
   * a byte of the other side counts too: calls with short deadlines must not hide a dead peer.
   */
  onBusy(): void {
    if (this.#connection.bytesRead() !== this.#bytesRead) this.#heard();
    if (this.#timer === undefined && !this.#isChecking) this.#schedule();
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#isDisposed = true;
  }

  #heard(): void {
    this.#bytesRead = this.#connection.bytesRead();
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
    if (!this.#connection.busy()) return;
    const { intervalMs, timeoutMs } = this.#keepalive.times(this.#isHawser);
    const now = performance.now();
    if (this.#connection.bytesRead() !== this.#bytesRead) this.#heard();
    else if (this.#pingedAt === undefined) {
      if (now - this.#heardAt >= intervalMs) {
        this.#pingedAt = now;
        this.#connection.ping(() => this.#heard());
      }
    } else if (now - this.#pingedAt >= timeoutMs) {
      // A process that was held up has not read what came meanwhile; it is read before a later turn begins.
      this.#isChecking = true;
      runtime.inLaterTurn(() => this.#lastCheck(timeoutMs));
      return;
    }
    this.#schedule();
  }

  #lastCheck(timeoutMs: number): void {
    this.#isChecking = false;
    if (this.#isDisposed) return;
    if (this.#connection.bytesRead() !== this.#bytesRead) this.#heard();
    if (this.#pingedAt === undefined) this.#schedule();
    else this.#connection.dead(timeoutMs);
  }
}
