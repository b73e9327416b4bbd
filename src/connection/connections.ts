import { Code, ConnectError } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { A_FIFTH, Backoff, type BackoffOptions } from "../flow/backoff.ts";
import { runtime } from "../flow/runtime.ts";
import { sleep, startTimer } from "../flow/wait.ts";
import type { OpenSession } from "../session/attachment.ts";
import type { Target } from "./address.ts";
import type { Connect, Connection } from "./connection.ts";
import { CLIENT_TIMES, Keepalive, type KeepaliveOptions } from "./keepalive.ts";
import { SessionCancels } from "./session-cancels.ts";

export interface ConnectionsOptions {
  connect: Connect;
  connectTimeoutMs: number;
  keepalive?: KeepaliveOptions;
}

/** A call that waits for a connection. */
interface Waiter {
  readonly use: (connection: Connection) => void;
  readonly wanted: () => boolean;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
  /** Ends the wait where no connection can be made. */
  patience: Disposable | undefined;
}

/**
 * When this many calls wait, those that no longer need a connection are dropped; and again when twice as many wait as
 * were left.
 */
const SWEPT_FROM = 64;

/**
 * How many connections may be there on which the server takes no calls for now (SETTINGS_MAX_CONCURRENT_STREAMS is 0):
 * the one where that was seen, and another, for it may lead to a server that does (gRPC A105). No further one is
 * opened before one of the two takes calls, or is lost.
 */
const CLOSED_FOR_NOW_MAX = 2;

/** How often the calls that wait for capacity are checked for whether they still need it. */
const CHECK_MS = 1000;

/** The error of an acquire() whose call no longer needs a connection. */
export const NO_LONGER = failure(Code.Canceled, "the call was over before there was a connection");

/** The pause between attempts (gRPC connection-backoff). */
const BACKOFF: BackoffOptions = {
  initialMs: 1000,
  factor: 1.6,
  maxMs: 120_000,
  jitter: A_FIFTH,
};

/** The same where calls reconnect by themselves: a session must, before the server's grace is over. */
const FAST_BACKOFF: BackoffOptions = { ...BACKOFF, initialMs: 100, maxMs: 5000 };

/**
 * The connections of one transport to one address: made when a call needs one,
 * shared by as many calls as the server allows; another one is made for calls
 * beyond that. Attempts
 * that fail are spaced by an exponential backoff with jitter; calls wait for
 * the next attempt together. A connection whose server takes no calls for now
 * is kept, and calls wait until it does.
 */
export class Connections {
  readonly target: Target;
  /** The sessions at this address that have not ended: their server keeps each until its grace is over, unless told. */
  readonly openSessions = new Set<OpenSession>();
  readonly cancels = new SessionCancels(this);
  readonly #options: ConnectionsOptions;
  readonly #onDrain: () => void;
  readonly #keepalive: Keepalive;
  /** A connection is of no call: it is made in the context of its transport. */
  readonly #context = runtime.currentContext();
  readonly #closing = new AbortController();
  #connections: Connection[] = [];
  /** The calls that wait for a connection with capacity, in order. */
  readonly #waiting = new Set<Waiter>();
  #sweepAt = SWEPT_FROM;
  /** Whether the calls that wait do so for capacity on the connections that there are. */
  #awaitsCapacity = false;
  /** Keeps the process while calls wait for capacity: a socket without open calls does not. */
  #staying: Disposable | undefined;
  /** Whether the last connection was made to a server that took no calls. */
  #closedForNow = false;
  #attempt: Promise<void> | undefined;
  readonly #backoff = new Backoff(BACKOFF);
  #retryAt = 0;
  #lastError: ConnectError | undefined;

  /** @param onDrain called when the server asks for new calls to go elsewhere */
  constructor(target: Target, options: ConnectionsOptions, onDrain: () => void) {
    this.target = target;
    this.#options = options;
    this.#onDrain = onDrain;
    this.#keepalive = new Keepalive(options.keepalive, CLIENT_TIMES);
  }

  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Whether there is a connection on which calls can be opened, now or when others have ended. */
  get usable(): boolean {
    return this.#connections.some(({ usable }) => usable);
  }

  /** Whether calls can be opened on one of them, now or when others have ended, without the server changing its mind. */
  get takesCalls(): boolean {
    return this.#connections.some(({ usable, isClosedForNow }) => usable && !isClosedForNow);
  }

  /** How long until the next attempt may be made, where the last ones failed. */
  get waitMs(): number {
    return this.usable ? 0 : Math.max(this.#retryAt - performance.now(), 0);
  }

  /** Connections are tried more often from now on: there are calls that reconnect by themselves. */
  useFastReconnect(): void {
    this.#backoff.options = FAST_BACKOFF;
  }

  /** The next attempt may come at once, whatever the last ones did. */
  resetBackoff(): void {
    this.#backoff.reset();
    this.#retryAt = 0;
  }

  /** Why the last attempt failed, where none has succeeded since. */
  get lastError(): ConnectError | undefined {
    return this.#lastError;
  }

  /** A connection that takes another call now, if there is one. */
  ready(): Connection | undefined {
    return this.#connections.find((connection) => connection.hasCapacity);
  }

  /** What the server said of its clock until `untilMs`, on any connection, is no longer true. */
  doubtSessionSettings(untilMs: number): void {
    for (const connection of this.#connections) connection.doubtSessionSettings(untilMs);
  }

  /**
   * Calls `use` with a connection that takes another call at that moment, when
   * there is one, in the order of the calls. Rejects with UNAVAILABLE where there
   * is no connection and the next attempt fails, or does not end within the
   * connect timeout; and with what `use` throws. A call that is no longer
   * `wanted` may be dropped: NO_LONGER.
   */
  acquire(use: (connection: Connection) => void, wanted = always): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { use, wanted, resolve, reject, patience: undefined };
    if (this.#closing.signal.aborted) reject(this.#closing.signal.reason);
    else if (this.#waiting.size === 0 && this.ready() !== undefined) this.#serve(waiter);
    else {
      if (this.#waiting.size >= this.#sweepAt) this.#sweep();
      this.#waiting.add(waiter);
      if (this.#waiting.size === 1) for (const open of this.#connections) open.onAwaited();
      if (!this.usable) this.#limit(waiter);
      this.#stay();
      this.#connectMore();
    }
    return promise;
  }

  /** Where no connection is there, a call waits for one no longer than it takes to connect. */
  #limit(waiter: Waiter): void {
    const { connectTimeoutMs } = this.#options;
    const waitMs = this.#retryAt - performance.now();
    if (waitMs > connectTimeoutMs) this.#refuse(waiter, this.#tooLate(waitMs));
    else {
      // An attempt has a timeout of its own, whose error says more: it comes first.
      const tooLate = () => this.#refuse(waiter, this.#tooLate(0));
      waiter.patience = startTimer(connectTimeoutMs + 50, tooLate);
    }
  }

  /**
   * Calls that wait when a connection comes wait for capacity there, without a limit. When the last connection is lost,
   * all of them wait for the next attempt, within the limit.
   */
  #limitAll(): void {
    const { usable } = this;
    if (usable === this.#awaitsCapacity) return;
    this.#awaitsCapacity = usable;
    for (const waiter of this.#waiting) {
      waiter.patience?.[Symbol.dispose]();
      waiter.patience = undefined;
      if (!usable) this.#limit(waiter);
    }
  }

  /** Drops the calls that need no connection any more. */
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

  #refuse(waiter: Waiter, reason: unknown): void {
    waiter.patience?.[Symbol.dispose]();
    this.#waiting.delete(waiter);
    waiter.reject(reason);
  }

  /** Gives connections to the calls that wait, as far as there is capacity. */
  #admit(): void {
    if (this.#closedForNow && this.ready() !== undefined) {
      this.#closedForNow = false;
      this.resetBackoff();
    }
    for (const waiter of this.#waiting) {
      if (this.ready() === undefined) break;
      this.#waiting.delete(waiter);
      this.#serve(waiter);
    }
    this.#limitAll();
    this.#stay();
    this.#connectMore();
  }

  /** Keeps the process for as long as a call waits that still needs a connection. */
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

  /** Tries to make another connection where a call waits. */
  #connectMore(): void {
    if (this.#waiting.size === 0 || this.#attempt !== undefined) return;
    if (this.#closing.signal.aborted) return;
    const closed = this.#connections.filter(({ isClosedForNow }) => isClosedForNow).length;
    if (closed >= CLOSED_FOR_NOW_MAX) return;
    const pauseMs = closed > 0 ? this.#backoff.pauseMs(0) : 0;
    const waitMs = Math.max(this.#retryAt - performance.now(), pauseMs);
    this.#attempt = this.#context.runInAsyncScope(() => this.#tryToConnect(waitMs));
  }

  async #tryToConnect(waitMs: number): Promise<void> {
    try {
      await this.#connect(waitMs);
    } catch (error) {
      // Where there are connections, if full ones, their calls may end before the next attempt.
      if (!this.usable) {
        for (const waiter of this.#waiting) this.#refuse(waiter, error);
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

  /** Closes every connection; open calls, and new ones, fail with `reason`. */
  async close(reason: ConnectError): Promise<void> {
    this.#closing.abort(reason);
    const connections = this.#connections;
    this.#connections = [];
    for (const waiter of this.#waiting) this.#refuse(waiter, reason);
    this.#stay();
    const flushed = this.cancels.flush(connections);
    for (const session of [...this.openSessions]) session.leave(reason);
    await flushed;
    const closed = Promise.all(connections.map((connection) => connection.close(reason)));
    await this.#attempt;
    await closed;
  }

  async #connect(waitMs: number): Promise<void> {
    if (waitMs > 0) await sleep(waitMs, this.#closing.signal);
    const { signal } = this.#closing;
    if (signal.aborted) throw signal.reason;
    if (this.usable) {
      // The calls that waited may have got capacity, or have ended, during the pause.
      this.#sweep();
      if (this.#waiting.size === 0) return;
    }
    try {
      const connection = await this.#options.connect(this.target, {
        keepalive: this.#keepalive,
        signal,
        onChange: () => this.#onChange(),
        onDrain: this.#onDrain,
        isAwaited: () => this.#isAwaited(),
      });
      if (signal.aborted) {
        await connection.close(signal.reason);
        throw signal.reason;
      }
      this.#lastError = undefined;
      this.#connections.push(connection);
      if (this.#waiting.size > 0) connection.onAwaited();
      this.#closedForNow = connection.isClosedForNow;
      // A server that takes no calls, and then closes, must not be dialled without a pause.
      if (this.#closedForNow) this.#postpone();
      else this.resetBackoff();
    } catch (error) {
      this.#lastError = error instanceof ConnectError ? error : undefined;
      this.#postpone();
      throw error;
    }
  }

  /** The next attempt is made after a pause, longer each time. */
  #postpone(): void {
    this.#retryAt = performance.now() + this.#backoff.failed();
  }

  #isAwaited(): boolean {
    for (const waiter of this.#waiting) if (waiter.wanted()) return true;
    return false;
  }

  /** Forgets connections on which no call can be opened any more and none is open. */
  #onChange(): void {
    this.#connections = this.#connections.filter(
      (connection) => connection.usable || connection.active > 0,
    );
    this.#admit();
  }
}

function always(): boolean {
  return true;
}
