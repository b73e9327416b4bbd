import type { Caller } from "../caller.ts";

/**
 * A limit that the callers of a server share: of sessions, of their bytes, of open calls, of connections.
 *
 * Each caller may hold FACTOR times what is free, so something is always free for another one. This is the rule of dynamic
 * thresholds by which switches share their memory (Choudhury and Hahne, 1998). A caller alone may hold 8/9 of the total, two
 * callers 8/17 each; n callers about 1/n, and what remains is for the next one. Nothing counts callers, so a caller gains
 * nothing by appearing as many that hold little. The connections of a caller share what it may hold by the same rule: behind
 * one address, too, nobody takes everything. What ends with no connection, as sessions, could still use it up by many
 * connections, one after the other: so of what the caller leaves to others, a connection that holds nothing may take one,
 * until NEWCOMERS_PART of the total is left.
 */
export class SharedLimit {
  /** The name of the option, for errors. */
  readonly name: string;
  readonly total: number;
  watcher: LimitWatcher | undefined;
  #held = 0;
  /** Called when something is refused. */
  onRefused: ((limit: string, caller: Caller) => void) | undefined;

  constructor(name: string, total: number) {
    this.name = name;
    this.total = total;
  }

  /** Tells that something was refused to a caller. */
  refuse(caller: Caller): void {
    this.onRefused?.(this.name, caller);
  }

  /** What all callers hold. */
  get held(): number {
    return this.#held;
  }

  get free(): number {
    return this.total - this.#held;
  }

  /** Whether more than half is held. Until then nobody holds more than it may. */
  get isScarce(): boolean {
    return 2 * this.#held > this.total;
  }

  /** Whether one more may be taken that exceeds the share of its caller, on a connection that holds nothing. */
  get admitsNewcomer(): boolean {
    return this.free - 1 >= this.total * NEWCOMERS_PART;
  }

  /** Called by the accounts of the limit. */
  count(amount: number): void {
    this.#held += amount;
    if (amount < 0) this.watcher?.onFreed();
    else if (this.#held > this.total) this.watcher?.onExceeded();
  }
}

/** Watches a limit of what live work holds, which may become more without anybody asking before. */
export interface LimitWatcher {
  /** Called whenever something has become free. */
  onFreed(): void;
  /** Called whenever something was added, and more is held than the total. */
  onExceeded(): void;
}

/** How many times what is free a party may hold. */
const FACTOR = 8;

/** The part of a total that connections of callers with their full shares cannot take: half of what such a caller leaves. */
const NEWCOMERS_PART = 1 / 2 / (FACTOR + 1);

/** What a party may hold, if it holds `held` and so much is free; at least one, if that is free. */
export function shareOf(held: number, free: number): number {
  return Math.ceil(((held + free) * FACTOR) / (FACTOR + 1));
}

/** What one caller holds of a limit, on all its connections. */
export class CallerAccount {
  readonly limit: SharedLimit;
  #held = 0;

  constructor(limit: SharedLimit) {
    this.limit = limit;
  }

  get held(): number {
    return this.#held;
  }

  /** What the caller may still take. Negative if it holds more than it may, because others have come. */
  get free(): number {
    return shareOf(this.#held, this.limit.free) - this.#held;
  }

  /** Counts what the caller holds more, or less; never refuses. */
  count(amount: number): void {
    this.#held += amount;
    this.limit.count(amount);
  }
}

/** What one connection of a caller holds of a limit. */
export class Account {
  readonly #caller: CallerAccount;
  /** Whether something waits until the connection may hold more: what comes now waits behind it. */
  isAwaited = false;
  #held = 0;

  constructor(caller: CallerAccount) {
    this.#caller = caller;
  }

  get held(): number {
    return this.#held;
  }

  /** Whether the connection may hold so much more. */
  admits(amount: number): boolean {
    const { free, limit } = this.#caller;
    if (amount <= free && this.#held + amount <= shareOf(this.#held, free)) return true;
    return amount === 1 && this.#held === 0 && limit.admitsNewcomer;
  }

  /** Whether the connection, or its caller, holds more than it may, or something waits until that is no longer so. */
  get isOver(): boolean {
    return this.isAwaited || (this.#caller.limit.isScarce && !this.admits(0));
  }

  /** Counts what the connection holds more, or less; never refuses: ask admits() before. */
  count(amount: number): void {
    this.#held += amount;
    this.#caller.count(amount);
  }
}
