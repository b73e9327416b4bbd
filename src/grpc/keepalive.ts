import { type Checks, positiveOrInfinite } from "../options.ts";

/**
 * Keepalive by HTTP/2 PING (gRPC keepalive): a connection with open calls on
 * which nothing came for an interval is asked for an answer, and given up
 * without one. A server that calls it too many pings gets half as many.
 */

export interface KeepaliveOptions {
  /** Pause without a sign of the other side before a ping, in milliseconds; Infinity: no pings. */
  intervalMs?: number;
  /** How long the answer may take, in milliseconds. */
  timeoutMs?: number;
}

/** What the options of a keepalive may be. */
export const keepaliveChecks = {
  intervalMs: positiveOrInfinite,
  timeoutMs: positiveOrInfinite,
} satisfies Checks<KeepaliveOptions>;

/** What a default grpc-go server permits. */
const FOREIGN = { intervalMs: 300_000, timeoutMs: 20_000 };

/** What Hawser's own peers do among themselves. */
const HAWSER = { intervalMs: 30_000, timeoutMs: 10_000 };

/** A connection as the keepalive sees it. */
export interface Watched {
  bytesRead(): number;
  /** Whether calls are open: servers count pings without any as abuse. */
  busy(): boolean;
  ping(answered: () => void): void;
  dead(afterMs: number): void;
}

/** A connection that is watched over, until disposed. */
export interface Watch extends Disposable {
  /** The other side is Hawser's, and can be asked more often. */
  knowHawser(): void;
}

/** The keepalive of one transport or server: what one connection learns counts for the next. */
export class Keepalive {
  readonly #options: KeepaliveOptions;
  #slowness = 1;

  constructor(options: KeepaliveOptions = {}) {
    this.#options = options;
  }

  /** The server answered "too_many_pings": doubles the interval (gRPC A8). */
  slowDown(): void {
    this.#slowness *= 2;
  }

  watch(connection: Watched): Watch {
    let defaults = FOREIGN;
    let timer: NodeJS.Timeout;
    let seen = connection.bytesRead();
    const later = (ms: number, run: () => void) => {
      timer = setTimeout(run, Math.min(ms, 2 ** 31 - 1));
      timer.unref();
    };
    const wait = () => {
      later((this.#options.intervalMs ?? defaults.intervalMs) * this.#slowness, look);
    };
    const look = () => {
      const bytes = connection.bytesRead();
      const quiet = bytes === seen;
      seen = bytes;
      if (!quiet || !connection.busy()) {
        wait();
        return;
      }
      const timeoutMs = this.#options.timeoutMs ?? defaults.timeoutMs;
      later(timeoutMs, () => connection.dead(timeoutMs));
      connection.ping(() => {
        clearTimeout(timer);
        seen = connection.bytesRead();
        wait();
      });
    };
    wait();
    return {
      knowHawser: () => {
        if (defaults === HAWSER) return;
        defaults = HAWSER;
        clearTimeout(timer);
        wait();
      },
      [Symbol.dispose]: () => clearTimeout(timer),
    };
  }
}
