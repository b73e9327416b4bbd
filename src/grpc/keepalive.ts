/**
 * Keepalive by HTTP/2 PING (gRPC keepalive): a connection with open calls on
 * which nothing came for an interval is asked for an answer, and given up
 * without one. A server that calls it too many pings gets half as many.
 */

export interface KeepaliveOptions {
  /** Pause without a sign of the server before a ping. Default: 300 000, which a default grpc-go server permits. */
  intervalMs?: number;
  /** How long the answer may take. Default: 20 000. */
  timeoutMs?: number;
}

/** A connection as the keepalive sees it. */
export interface Watched {
  bytesRead(): number;
  /** Whether calls are open: servers count pings without any as abuse. */
  busy(): boolean;
  ping(answered: () => void): void;
  dead(afterMs: number): void;
}

/** The keepalive of one transport: what one connection learns counts for the next. */
export class Keepalive {
  #intervalMs: number;
  readonly #timeoutMs: number;

  constructor(options: KeepaliveOptions = {}) {
    this.#intervalMs = options.intervalMs ?? 300_000;
    this.#timeoutMs = options.timeoutMs ?? 20_000;
  }

  /** The server answered "too_many_pings": doubles the interval (gRPC A8). */
  slowDown(): void {
    this.#intervalMs *= 2;
  }

  /** Watches over a connection until disposed. */
  watch(connection: Watched): Disposable {
    let timer: NodeJS.Timeout;
    let seen = connection.bytesRead();
    const later = (ms: number, run: () => void) => {
      timer = setTimeout(run, Math.min(ms, 2 ** 31 - 1));
      timer.unref();
    };
    const look = () => {
      const bytes = connection.bytesRead();
      const quiet = bytes === seen;
      seen = bytes;
      if (!quiet || !connection.busy()) {
        later(this.#intervalMs, look);
        return;
      }
      later(this.#timeoutMs, () => connection.dead(this.#timeoutMs));
      connection.ping(() => {
        clearTimeout(timer);
        seen = connection.bytesRead();
        later(this.#intervalMs, look);
      });
    };
    later(this.#intervalMs, look);
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  }
}
