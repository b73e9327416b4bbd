import { unref } from "../flow/runtime.ts";
import { type Logger, log } from "./logger.ts";

/** Where a transport of Hawser's has its StallWarnings, for the clients that make calls with it. */
export const stallWarnings: unique symbol = Symbol("hawser: stall warnings");

/** The warnings of a transport; `undefined` where it is not Hawser's. */
export function warningsOf(transport: object): StallWarnings | undefined {
  return (transport as { [stallWarnings]?: StallWarnings })[stallWarnings];
}

/** What a call may wait for that does not come by itself. */
export type Stall = "closeSend" | "trailers";

/** A call that may stall, as its application uses it. */
export interface Stalling {
  /** Whether it need not ask to be watched: it is, or nobody would be warned. */
  isWatched: boolean;
  /** Grows with all that the application does with the call: while it stays the same, nothing was done. */
  readonly activity: number;
  /** What the call waits for at this moment, if it does. */
  readonly stall: Stall | undefined;
  /** Whether it may wait later without having been watched anew. */
  readonly mayStall: boolean;
  /** What the logger is told, with how long that has lasted. */
  describe(stall: Stall, seconds: number): string;
}

/** How long a call has to stand still before that is said. */
const AFTER_MS = 10_000;

/** How often it is looked. */
const LOOKS = 5;

/** How many calls are watched at a time; those beyond are not, so that many calls cost no more. */
const MOST_WATCHED = 64;

interface Seen {
  activity: number;
  stall: Stall | undefined;
  /** How many looks ago it came to stand still. */
  looks: number;
}

/**
 * Warns of calls that wait for what does not come by itself: once a transport
 * for each kind of stall. One timer for all calls runs while some are watched.
 */
export class StallWarnings implements Disposable {
  /** Where what concerns a call of the transport is told. */
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
    if (this.#watched.size >= MOST_WATCHED || this.#watched.has(call)) return;
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
