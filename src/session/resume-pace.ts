import type { Clock } from "../flow/clock.ts";
import { CallerAccount, SharedLimit } from "../sharing/shared-limit.ts";

/** The resumes of one caller in this second. */
interface CallerPace {
  readonly account: CallerAccount;
  /** How many were postponed. */
  postponed: number;
}

/**
 * Limits how many sessions are resumed in a second, in all and by each caller: a caller that resumes many, or only says so,
 * waits for itself.
 */
export class ResumePace {
  readonly #perSecond: number;
  readonly #clock: Clock;
  #limit: SharedLimit;
  #sinceMs = 0;
  #callers = new Map<object, CallerPace>();

  constructor(perSecond: number, clock: Clock) {
    this.#perSecond = perSecond;
    this.#clock = clock;
    this.#limit = new SharedLimit("resumesPerSecond", perSecond);
  }

  /** Counts a resume, and returns its pause in milliseconds: 0, or a random time in one of the next seconds. */
  pauseMs(caller: object): number {
    const nowMs = this.#clock.now();
    if (nowMs - this.#sinceMs >= 1000) {
      this.#sinceMs = nowMs;
      this.#limit = new SharedLimit("resumesPerSecond", this.#perSecond);
      this.#callers.clear();
    }
    let pace = this.#callers.get(caller);
    if (pace === undefined) {
      pace = { account: new CallerAccount(this.#limit), postponed: 0 };
      this.#callers.set(caller, pace);
    }
    const { account } = pace;
    if (account.free >= 1) {
      account.count(1);
      return 0;
    }
    const seconds = 1 + Math.floor(pace.postponed++ / Math.max(account.held, 1));
    return Math.ceil((seconds + this.#clock.random()) * 1000);
  }
}
