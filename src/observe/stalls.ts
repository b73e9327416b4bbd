import { unref } from "../flow/runtime.ts";
import { type Logger, log } from "./logger.ts";

/** The property of a transport of Hawser's that has its StallWarnings, for the clients that make calls with it. */
export const stallWarnings: unique symbol = Symbol("hawser: stall warnings");

/** The warnings of a transport; `undefined` where it is not Hawser's. */
export function warningsOf(transport: object): StallWarnings | undefined {
  return (transport as { [stallWarnings]?: StallWarnings })[stallWarnings];
}

/** What a call may wait for that does not come by itself. */
export type Stall = "closeSend" | "trailers";

/** A call that may stall, as its application uses it. */
export interface Stalling {
  /** Whether the call need not ask to be watched: it is watched, or its warning was given before. */
  isWatched: boolean;
  /** Grows with all that the application does with the call: while it stays the same, nothing was done. */
  readonly activity: number;
  /** What the call waits for at this moment, if it does. */
  readonly stall: Stall | undefined;
  /** Whether the call may come to wait without asking again to be watched. */
  readonly mayStall: boolean;
  /** The text of the warning, with how long the call has waited. */
  describe(stall: Stall, seconds: number): string;
}

/** How long a call must have waited before the warning. */
const AFTER_MS = 10_000;

/** How many times in AFTER_MS the watched calls are looked at. */
const LOOKS = 5;

/** How many calls are watched at a time. Further calls are not watched, so that the cost is bounded. */
const MAX_WATCHED = 64;

interface Seen {
  activity: number;
  stall: Stall | undefined;
  /** How many looks ago the call began to wait. */
  looks: number;
}

/**
 * Warns of calls that wait for what does not come by itself: once a transport
 * for each kind of stall. One timer for all calls runs while some are watched.
 */
export class StallWarnings implements Disposable {
  /** The logger of the transport. */
  readonly logger: Pick<Logger, "warn">;
  readonly #watched = new Map<Stalling, Seen>();
  readonly #warned = new Set<Stall>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #closed = false;

  constructor(logger: Pick<Logger, "warn">) {
    this.logger = logger;
  }

  /** Watches a call, unless enough are watched, or it would be the second warning of its kind. */
  watch(call: Stalling, stall: Stall): void {
    if (this.#closed || this.#warned.has(stall)) {
      call.isWatched = true;
      return;
    }
    if (this.#watched.size >= MAX_WATCHED || this.#watched.has(call)) return;
    call.isWatched = true;
    this.#watched.set(call, { activity: -1, stall: undefined, looks: 0 });
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => this.#look(), AFTER_MS / LOOKS);
    unref(this.#timer);
  }

  /** The call is over. */
  forget(call: Stalling): void {
    if (!this.#watched.delete(call)) return;
    call.isWatched = false;
    if (this.#watched.size === 0) this.#stop();
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#watched.clear();
    this.#stop();
  }

  #look(): void {
    for (const [call, seen] of this.#watched) {
      const { activity, stall } = call;
      if (stall === undefined && !call.mayStall) this.forget(call);
      else if (stall === undefined || activity !== seen.activity || stall !== seen.stall) {
        this.#watched.set(call, { activity, stall, looks: 0 });
      } else if (++seen.looks >= LOOKS) this.#warn(call, stall);
    }
  }

  #warn(call: Stalling, stall: Stall): void {
    this.forget(call);
    if (this.#warned.has(stall)) return;
    this.#warned.add(stall);
    log(this.logger, "warn", call.describe(stall, AFTER_MS / 1000));
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
