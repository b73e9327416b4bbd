/** Deadlines of requests over HTTP/1.1, for clients that send slowly. */
import type * as http from "node:http";
import type { Socket } from "node:net";
import { startTimer } from "../flow/wait.ts";
import { type Checks, positiveOrInfinite } from "../options.ts";

/** How long clients of HTTP/1.1 may take to send a request. */
export interface Http1Options {
  /**
   * How long the headers of a request may take from its first byte, in milliseconds. Then it is answered with 408, and the
   * connection is closed. Default: 10 000. Infinity: no limit.
   */
  readonly headersTimeoutMs?: number;
  /**
   * How long no byte of a body may arrive while the server waits for one, in milliseconds. Then the request is answered
   * with 408, if its response has not begun, and the connection is closed. A body may take any time in all. Default:
   * 60 000. Infinity: no limit.
   */
  readonly bodyIdleMs?: number;
}

export const http1Checks = {
  headersTimeoutMs: positiveOrInfinite,
  bodyIdleMs: positiveOrInfinite,
} satisfies Checks<Http1Options>;

/** The headers of requests are checked this many times within their deadline, and a body within its own. */
const CHECKS = 20;

/** How long a connection may stay without a request; responses announce it. It is the default of node:http. */
export const KEEP_ALIVE_MS = 5_000;

/** A request may be on its way when the announced time ends. */
const KEEP_ALIVE_MARGIN_MS = 1_000;

const REQUEST_TIMEOUT = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n";

/**
 * The time in which this process has run, in milliseconds. While it does not run, because its event loop or the machine is
 * busy, it does not read what clients send: that is no fault of theirs. The code that checks a deadline reads the clock
 * once in each interval; if a read is late, two intervals count.
 */
class RunningClock {
  readonly #mostMs: number;
  #ms = 0;
  #readAt = performance.now();

  constructor(intervalMs: number) {
    this.#mostMs = 2 * intervalMs;
  }

  now(): number {
    const readAt = performance.now();
    this.#ms += Math.min(readAt - this.#readAt, this.#mostMs);
    this.#readAt = readAt;
    return this.#ms;
  }
}

/** A connection on which no request is open. */
interface IdleConnection {
  /** Whether bytes of the next request have arrived. */
  hasBegun: boolean;
  /** When they have arrived, by the RunningClock; before, when the previous request ended. */
  sinceMs: number;
  /** The value of `socket.bytesRead` at the end of the previous request. */
  readonly bytesRead: number;
}

/** Closes connections that have no request, or whose request has no complete headers, for too long. */
export class HeadersWatch {
  readonly #timeoutMs: number;
  readonly #intervalMs: number;
  readonly #clock: RunningClock;
  readonly #idle = new Map<Socket, IdleConnection>();
  /** The responses of the open requests of a connection, in order: with pipelining, more than one. */
  readonly #open = new WeakMap<Socket, Set<http.ServerResponse>>();
  #timer: Disposable | undefined;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
    this.#intervalMs = Math.max(Math.min(timeoutMs, KEEP_ALIVE_MS) / CHECKS, 1);
    this.#clock = new RunningClock(this.#intervalMs);
  }

  /** Called when the first bytes of a connection have arrived. */
  onConnection(socket: Socket): void {
    socket.once("close", () => this.#idle.delete(socket));
    this.#watch(socket, true);
  }

  onRequest(socket: Socket, response: http.ServerResponse): void {
    const open = this.#open.get(socket);
    if (open === undefined) this.#open.set(socket, new Set([response]));
    else open.add(response);
    this.#idle.delete(socket);
  }

  onResponded(socket: Socket, response: http.ServerResponse): void {
    const open = this.#open.get(socket);
    open?.delete(response);
    if (open?.size === 0 && !socket.destroyed) this.#watch(socket, false);
  }

  /**
   * Watches a connection no longer, which is to become a WebSocket. Returns whether it may: all its requests were answered.
   */
  onUpgrade(socket: Socket): boolean {
    this.#idle.delete(socket);
    return (this.#open.get(socket)?.size ?? 0) === 0;
  }

  /** Whether a response may be sent: those of all earlier requests of its connection are complete. */
  isNext(socket: Socket, response: http.ServerResponse): boolean {
    const [next] = this.#open.get(socket) ?? [];
    return next === response;
  }

  #watch(socket: Socket, hasBegun: boolean): void {
    const { bytesRead } = socket;
    this.#idle.set(socket, { hasBegun, sinceMs: this.#clock.now(), bytesRead });
    this.#timer ??= startTimer(this.#intervalMs, () => this.#check());
  }

  #check(): void {
    const now = this.#clock.now();
    for (const [socket, idle] of this.#idle) {
      const elapsedMs = now - idle.sinceMs;
      if (idle.hasBegun) {
        if (elapsedMs >= this.#timeoutMs) refuseSlow(socket);
      } else if (socket.bytesRead !== idle.bytesRead) {
        idle.hasBegun = true;
        idle.sinceMs = now;
      } else if (elapsedMs >= KEEP_ALIVE_MS + KEEP_ALIVE_MARGIN_MS) socket.destroy();
    }
    this.#timer =
      this.#idle.size === 0 ? undefined : startTimer(this.#intervalMs, () => this.#check());
  }
}

/** Answers a request that has no response yet, and closes the connection. */
function refuseSlow(socket: Socket): void {
  if (socket.writable) socket.end(REQUEST_TIMEOUT, () => socket.destroy());
  else socket.destroy();
}

/**
 * Ends a request whose body stops. Time counts while the adapter reads: what has arrived and was not read is no fault of
 * the client. Nor does time count while an earlier response of the connection is not complete, which 408 would cut off.
 * node:http consumes what a socket reads, and reports only the number of bytes, so that is checked.
 */
export function watchBody(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  { idleMs, isNext }: { readonly idleMs: number; isNext(): boolean },
): void {
  const { socket } = request;
  if (idleMs === Number.POSITIVE_INFINITY) return;
  const intervalMs = Math.max(idleMs / CHECKS, 1);
  const clock = new RunningClock(intervalMs);
  let bytesRead = socket.bytesRead;
  let lastByteAt = clock.now();
  let timer: Disposable | undefined;
  const check = () => {
    if (request.complete || request.closed || socket.destroyed) return;
    const now = clock.now();
    if (socket.bytesRead !== bytesRead || request.readableLength > 0 || !isNext()) {
      bytesRead = socket.bytesRead;
      lastByteAt = now;
    }
    const leftMs = lastByteAt + idleMs - now;
    if (leftMs <= 0) {
      if (response.headersSent) socket.destroy();
      else refuseSlow(socket);
    } else timer = startTimer(Math.max(Math.min(leftMs, intervalMs), 1), check);
  };
  request.once("close", () => timer?.[Symbol.dispose]());
  // Most bodies have arrived when this turn ends.
  setImmediate(check);
}
