import { unref } from "../flow/runtime.ts";
import type { ClientObserver } from "./events.ts";
import { type Logger, log } from "./logger.ts";
import type { Notifier } from "./notifier.ts";

/** The property of a Hawser transport that holds its StallWarnings, for the clients that make calls with it. */
export const stallWarnings: unique symbol = Symbol("hawser: stall warnings");

/** Returns the warnings of a transport, or `undefined` if it is not Hawser's. */
export function warningsOf(transport: object): StallWarnings | undefined {
  return (transport as { [stallWarnings]?: StallWarnings })[stallWarnings];
}

/** What a stalled call needs from its own program: closeSend(), or reading the responses before the trailers. */
export type Stall = "closeSend" | "trailers";

/** A call that may stall, as StallWarnings sees it. */
export interface Stalling {
  /** "example.Greeter.Chat" */
  readonly name: string;
  /** Whether watch() need not be called: the call is watched, or its warning was given. */
  isWatched: boolean;
  /** A number that grows each time the application uses the call. */
  readonly activity: number;
  /** The kind of stall that the call is in now, if any. */
  readonly stall: Stall | undefined;
  /** Whether the call may begin to wait without another call of watch(). */
  readonly mayStall: boolean;
  /** Returns the text of the warning, with how long the call has waited. */
  describe(stall: Stall, seconds: number): string;
}

/** How long a call must have waited before it is warned of. */
const WARN_AFTER_MS = 10_000;

/** How many times in WARN_AFTER_MS the watched calls are checked. */
const CHECKS = 5;

/** How many calls are watched at the same time. Further calls are not watched, so that the cost is bounded. */
const MAX_WATCHED = 64;

interface Observation {
  activity: number;
  stall: Stall | undefined;
  /** How many checks ago the call began to wait. */
  checks: number;
}

/**
 * Warns of calls that have waited WARN_AFTER_MS for something their own program must do first: once a transport for
 * each kind of stall. One timer for all calls runs while any call is watched.
 */
export class StallWarnings implements Disposable {
  /** The logger of the transport. */
  readonly logger: Pick<Logger, "warn">;
  readonly #notifier: Notifier<ClientObserver> | undefined;
  /** Undefined while no call is watched. */
  #watched: Map<Stalling, Observation> | undefined;
  /** The kinds of stall of which it has warned; undefined if there are none. */
  #warned: Set<Stall> | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #closed = false;

  constructor(logger: Pick<Logger, "warn">, notifier?: Notifier<ClientObserver>) {
    this.logger = logger;
    this.#notifier = notifier;
  }

  /** Watches a call, unless MAX_WATCHED calls are watched, or a warning of its kind was given. */
  watch(call: Stalling, stall: Stall): void {
    if (this.#closed || this.#warned?.has(stall)) {
      call.isWatched = true;
      return;
    }
    this.#watched ??= new Map();
    if (this.#watched.size >= MAX_WATCHED || this.#watched.has(call)) return;
    call.isWatched = true;
    this.#watched.set(call, { activity: -1, stall: undefined, checks: 0 });
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => this.#check(), WARN_AFTER_MS / CHECKS);
    unref(this.#timer);
  }

  /** Ends the watch of a call. */
  forget(call: Stalling): void {
    if (!this.#watched?.delete(call)) return;
    call.isWatched = false;
    if (this.#watched.size === 0) this.#stop();
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#stop();
  }

  #check(): void {
    const watched = this.#watched;
    if (watched === undefined) return;
    for (const [call, observed] of watched) {
      const { activity, stall } = call;
      if (stall === undefined && !call.mayStall) this.forget(call);
      else if (stall === undefined || activity !== observed.activity || stall !== observed.stall) {
        watched.set(call, { activity, stall, checks: 0 });
      } else if (++observed.checks >= CHECKS) this.#warn(call, stall);
    }
  }

  #warn(call: Stalling, stall: Stall): void {
    this.forget(call);
    if (this.#warned?.has(stall)) return;
    this.#warned ??= new Set();
    this.#warned.add(stall);
    log(this.logger, "warn", call.describe(stall, WARN_AFTER_MS / 1000));
    const event = { method: call.name, waitsFor: stall, forMs: WARN_AFTER_MS };
    this.#notifier?.tell("stalled", event);
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#watched = undefined;
  }
}
