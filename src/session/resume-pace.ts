import type { Clock } from "../flow/clock.ts";
import type { CallerParty, Party } from "../sharing/parties.ts";
import { CallerAccount, SharedLimit } from "../sharing/shared-limit.ts";

/** The resumes of one caller in this second. */
interface CallerPace {
  readonly account: CallerAccount;
  /** How many were postponed. */
  postponed: number;
}

/**
 * Limits how many sessions are resumed in a second, in all and by each caller: a caller that resumes many, or only says so,
 * waits for itself. Behind one address many clients may be one caller: a connection that has resumed nothing in this
 * second may resume a session also if its caller may not.
 */
export class ResumePace {
  /** What was resumed in the second that begins at `#sinceMs`. */
  readonly #limit: SharedLimit;
  readonly #clock: Clock;
  #sinceMs = 0;
  readonly #callers = new Map<CallerParty, CallerPace>();
  /** The callers on connections that have resumed a session in this second. */
  readonly #resumed = new Set<Party>();

  constructor(perSecond: number, clock: Clock) {
    this.#limit = new SharedLimit("resumesPerSecond", perSecond);
    this.#clock = clock;
  }

  /** Returns the limit, which counts what was resumed in this second. */
  limitNow(): SharedLimit {
    this.#beginSecond();
    return this.#limit;
  }

  /** Counts a resume, and returns its pause in milliseconds: 0, or a random time in one of the next seconds. */
  pauseMs(party: Party): number {
    const { caller } = party;
    this.#beginSecond();
    let pace = this.#callers.get(caller);
    if (pace === undefined) {
      pace = { account: new CallerAccount(this.#limit), postponed: 0 };
      this.#callers.set(caller, pace);
    }
    const { account } = pace;
    if (account.free >= 1 || (!this.#resumed.has(party) && this.#limit.admitsNewcomer)) {
      this.#resumed.add(party);
      account.count(1);
      return 0;
    }
    this.#limit.refuse(caller.who);
    const seconds = 1 + Math.floor(pace.postponed++ / Math.max(account.held, 1));
    return Math.ceil((seconds + this.#clock.random()) * 1000);
  }

  /** Forgets what was resumed in the previous second, if that has ended. */
  #beginSecond(): void {
    const nowMs = this.#clock.now();
    if (nowMs - this.#sinceMs < 1000) return;
    this.#sinceMs = nowMs;
    this.#limit.count(-this.#limit.held);
    this.#callers.clear();
    this.#resumed.clear();
  }
}
