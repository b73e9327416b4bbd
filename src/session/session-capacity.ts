import type { Clock } from "../flow/clock.ts";
import type { Account, LimitWatcher, SharedLimit } from "../sharing/shared-limit.ts";

/** Accounts whose sessions wait are looked at this long after something has become free, and until none may hold more. */
const PAUSE_MS = 1;

/** How many accounts are looked at at once. */
const LOOKS = 256;

/** How many sessions of an account continue at once, and for which part of the limit: each sends before it may wait again. */
const RESUMPTIONS = 32;
const RESUMED_PART = 1 / 256;

/** A session whose writers wait, because its account has no capacity. */
export interface WaitingSession {
  readonly account: Account;
  /** Lets the writers continue. Returns how many bytes they are expected to add. */
  resumeWrites(): number;
}

/** Has sessions wait while a limit of their bytes is used up, and ends some if it is exceeded nevertheless. */
export class SessionCapacity implements LimitWatcher {
  readonly #limit: SharedLimit;
  readonly #clock: Clock;
  readonly #relieve: () => void;
  /** The sessions that wait, in order. The account that was looked at the longest time ago is the first. */
  readonly #waiting = new Map<Account, Set<WaitingSession>>();
  /** How many accounts are still to be looked at. */
  #unseen = 0;
  /** Undefined if no look is scheduled. */
  #timer: Disposable | undefined;
  #isRelieving = false;

  /** @param relieve ends sessions until less is held than the limit allows */
  constructor(limit: SharedLimit, clock: Clock, relieve: () => void) {
    this.#limit = limit;
    this.#clock = clock;
    this.#relieve = relieve;
    limit.watcher = this;
  }

  /** Whether a session must wait, because its account has no capacity, or others wait for it already. It then does. */
  mustWait(session: WaitingSession): boolean {
    const { account } = session;
    if (!account.isOver) return false;
    const sessions = this.#waiting.get(account) ?? new Set();
    this.#setWaiting(account, sessions.add(session));
    return true;
  }

  #setWaiting(account: Account, sessions: Set<WaitingSession>): void {
    account.isAwaited = sessions.size > 0;
    if (account.isAwaited) this.#waiting.set(account, sessions);
    else this.#waiting.delete(account);
  }

  /** A session no longer waits: it has ended, or gets another account. */
  remove(session: WaitingSession): void {
    const { account } = session;
    const sessions = this.#waiting.get(account);
    if (sessions?.delete(session)) this.#setWaiting(account, sessions);
    if (this.#waiting.size > 0) return;
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }

  // LimitWatcher: called by the limit.

  onFreed(): void {
    if (this.#waiting.size === 0) return;
    this.#unseen = this.#waiting.size;
    this.#lookLater();
  }

  onExceeded(): void {
    if (this.#isRelieving) return;
    this.#isRelieving = true;
    // Not now: a session calls this while it reads or writes.
    this.#clock.startTimer(0, () => {
      this.#isRelieving = false;
      this.#relieve();
    });
  }

  #lookLater(): void {
    this.#timer ??= this.#clock.startTimer(PAUSE_MS, () => this.#look());
  }

  #look(): void {
    this.#timer = undefined;
    let unseen = this.#unseen;
    let looks = LOOKS;
    let hasResumed = false;
    for (const [account, sessions] of this.#waiting) {
      if (unseen === 0 || looks === 0) break;
      unseen--;
      looks--;
      // It becomes the last one.
      this.#waiting.delete(account);
      account.isAwaited = false;
      if (!account.isOver) {
        this.#resume(sessions);
        hasResumed = true;
      }
      this.#setWaiting(account, sessions);
    }
    // What these send is counted later. There may be capacity for more.
    this.#unseen = hasResumed ? this.#waiting.size : unseen;
    if (this.#unseen > 0) this.#lookLater();
  }

  #resume(sessions: Set<WaitingSession>): void {
    let left = RESUMPTIONS;
    let leftBytes = RESUMED_PART * this.#limit.total;
    for (const session of sessions) {
      if (left === 0 || leftBytes <= 0) break;
      left--;
      sessions.delete(session);
      leftBytes -= session.resumeWrites();
    }
  }
}
