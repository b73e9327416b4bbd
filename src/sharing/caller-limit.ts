import type { Caller, Peer } from "../caller.ts";
import { type Checks, checkOptions, needed, positive, someText, wrong } from "../options.ts";
import { keyOfCaller } from "./caller-key.ts";
import { refusalError } from "./refusal.ts";
import { Account, CallerAccount, SharedLimit } from "./shared-limit.ts";

export interface CallerLimitOptions {
  /** The name of the limit, for errors: "maxUploads". */
  readonly name: string;
  /** What all callers may hold together. */
  readonly total: number;
  /** What is counted, in the plural, for errors: "uploads". */
  readonly what: string;
  /** The owner of the limit, for errors: "the room". Default: "the server". */
  readonly of?: string;
}

/**
 * A limit of something that your handlers hold for callers. Its callers share it as they share the limits of the server: each
 * may hold 8 times what is free. One caller alone gets 8/9 of the total, two get 8/17 each, and the next one always finds
 * something. The connections of a caller share its part in the same way.
 */
export interface CallerLimit {
  readonly total: number;
  /** What all callers hold. */
  readonly held: number;

  /**
   * Counts what the caller of a call holds, until the disposal. Throws RESOURCE_EXHAUSTED if the total, or the caller's share
   * of it, is used up; the error says when to try again, as those of the server's own limits do.
   *
   * @param caller as `caller(context)` returns it
   * @param amount default: 1
   */
  take(caller: Caller, amount?: number): Disposable;
}

const checks = {
  name: needed(someText),
  total: needed(positive),
  what: needed(someText),
  of: someText,
} satisfies Checks<CallerLimitOptions>;

/**
 * Makes a limit that callers share. Throws INVALID_ARGUMENT for an unknown option or an invalid value.
 *
 * @example
 *     const uploads = createCallerLimit({ name: "maxUploads", total: 100, what: "uploads" });
 *
 *     async upload(requests, context) {
 *       using _ = uploads.take(caller(context));
 *       …
 *     }
 */
export function createCallerLimit(options: CallerLimitOptions): CallerLimit {
  checkOptions("createCallerLimit", options, checks);
  return new LimitOfCallers(options);
}

/** A caller that holds something, and its connections that do. */
interface Holder {
  readonly account: CallerAccount;
  readonly connections: Map<Peer, Account>;
}

class LimitOfCallers implements CallerLimit {
  readonly #limit: SharedLimit;
  readonly #what: string;
  readonly #of: string;
  readonly #holders = new Map<string | Peer, Holder>();

  constructor({ name, total, what, of = "the server" }: CallerLimitOptions) {
    this.#limit = new SharedLimit(name, total);
    this.#what = what;
    this.#of = of;
  }

  get total(): number {
    return this.#limit.total;
  }

  get held(): number {
    return this.#limit.held;
  }

  take(caller: Caller, amount = 1): Disposable {
    positive(amount, { of: "take", option: "amount" });
    if (caller?.peer === undefined) {
      throw wrong({ of: "take", option: "caller" }, caller, "what caller(context) returns");
    }
    // All calls of a connection have the same peer, or the same proxy.
    const connection = caller.peer.proxy ?? caller.peer;
    const key = keyOfCaller(caller) ?? connection;
    const holder = this.#holders.get(key) ?? {
      account: new CallerAccount(this.#limit),
      connections: new Map<Peer, Account>(),
    };
    const account = holder.connections.get(connection) ?? new Account(holder.account);
    if (!account.admits(amount)) {
      const { account } = holder;
      throw refusalError({ account, what: this.#what, of: this.#of, random: Math.random });
    }
    account.count(amount);
    holder.connections.set(connection, account);
    this.#holders.set(key, holder);
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        account.count(-amount);
        if (account.held === 0) holder.connections.delete(connection);
        if (holder.account.held === 0) this.#holders.delete(key);
      },
    };
  }
}
