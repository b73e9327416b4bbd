import type { Caller } from "../caller.ts";
import { keyOfCaller } from "./caller-key.ts";
import { Account, CallerAccount, SharedLimit } from "./shared-limit.ts";

/**
 * The most open calls of grpc.health.v1.Health over HTTP/2. They are served to everybody, so strangers cannot hold more; and
 * they do not count as calls, so that a server whose calls are used up still answers its probes.
 */
const MAX_HEALTH_CALLS = 1000;

/** The limits that the callers of a server share. */
export interface SharedLimits {
  /** Of calls without a session. */
  readonly calls: SharedLimit;
  readonly healthCalls: SharedLimit;
  readonly sessions: SharedLimit;
  readonly sessionBytes: SharedLimit;
}

/** Makes the limits, from the options of a server that have their names. */
export function sharedLimits(options: {
  readonly maxOpenCalls: number;
  readonly maxSessions: number;
  readonly maxBytes: number;
}): SharedLimits {
  return {
    calls: new SharedLimit("maxOpenCalls", options.maxOpenCalls),
    healthCalls: new SharedLimit("maxHealthCalls", MAX_HEALTH_CALLS),
    sessions: new SharedLimit("maxSessions", options.maxSessions),
    sessionBytes: new SharedLimit("maxBytes", options.maxBytes),
  };
}

/** The limits of open calls: each call counts for one of them. */
export type CallLimit = "calls" | "healthCalls";

/** A caller that has connections or sessions. */
export class CallerParty {
  /** The caller itself, as the first of its connections shows it. */
  readonly who: Caller;
  readonly calls: CallerAccount;
  readonly healthCalls: CallerAccount;
  readonly sessions: CallerAccount;
  readonly sessionBytes: CallerAccount;
  /** Its sessions that have ended, and wait only for their client's confirmation: they end when the caller needs more. */
  readonly finishedSessions = new Set<string>();
  readonly #onGone: () => void;
  #users = 0;

  constructor(who: Caller, limits: SharedLimits, onGone: () => void) {
    this.who = who;
    this.calls = new CallerAccount(limits.calls);
    this.healthCalls = new CallerAccount(limits.healthCalls);
    this.sessions = new CallerAccount(limits.sessions);
    this.sessionBytes = new CallerAccount(limits.sessionBytes);
    this.#onGone = onGone;
  }

  retain(): void {
    this.#users++;
  }

  release(): void {
    if (--this.#users === 0) this.#onGone();
  }
}

/**
 * A caller on one connection: what the limits count together. Its connection retains it, and so do its calls and sessions.
 * As long as anything does, the caller has the same accounts on all its connections.
 */
export class Party {
  readonly caller: CallerParty;
  readonly calls: Account;
  readonly healthCalls: Account;
  readonly sessions: Account;
  readonly sessionBytes: Account;
  /** The first is the connection. */
  #users = 1;

  constructor(caller: CallerParty) {
    this.caller = caller;
    this.calls = new Account(caller.calls);
    this.healthCalls = new Account(caller.healthCalls);
    this.sessions = new Account(caller.sessions);
    this.sessionBytes = new Account(caller.sessionBytes);
    caller.retain();
  }

  /** Whether something beside its connection retains it. */
  get isUsed(): boolean {
    return this.#users > 1;
  }

  retain(): void {
    this.#users++;
  }

  release(): void {
    if (--this.#users === 0) this.caller.release();
  }

  /** Counts a call. Returns `false`, and counts nothing, if the caller has as many as it may. */
  beginCall(limit: CallLimit = "calls"): boolean {
    if (!this[limit].admits(1)) return false;
    this[limit].count(1);
    this.retain();
    return true;
  }

  endCall(limit: CallLimit = "calls"): void {
    this[limit].count(-1);
    this.release();
  }
}

/** The parties of a connection with more callers than this are looked through for those that are not used. */
const CALLERS_OF_CONNECTION = 64;

/** A connection, as the limits see it. */
export interface Connected {
  /** Its caller, as long as nobody has authenticated. */
  readonly caller: Caller;
}

/** The parties of a server. */
export class Parties {
  readonly limits: SharedLimits;
  readonly #callers = new Map<string, CallerParty>();
  readonly #ofConnections = new Map<Connected, Map<Caller | string | undefined, Party>>();
  readonly #onDropped: (party: Party) => void;

  /** @param onDropped called when a party gets no more calls: its connection is closed, or it has had none for long */
  constructor(limits: SharedLimits, onDropped: (party: Party) => void = () => {}) {
    this.limits = limits;
    this.#onDropped = onDropped;
  }

  /** The number of callers that have connections or sessions. */
  get callers(): number {
    return this.#callers.size;
  }

  /** Returns the party of a call: of the same caller on the same connection it is the same. */
  of(connection: Connected, caller: Caller): Party {
    let parties = this.#ofConnections.get(connection);
    if (parties === undefined) {
      parties = new Map();
      this.#ofConnections.set(connection, parties);
    }
    // Most calls have the caller of their connection, for which no key is made.
    const known = parties.get(caller);
    if (known !== undefined) return known;
    const key = keyOfCaller(caller);
    let party = parties.get(key);
    if (party === undefined) {
      this.#dropUnused(parties, connection);
      party = new Party(this.#partyOf(key, caller));
      parties.set(key, party);
    }
    if (caller === connection.caller) parties.set(caller, party);
    return party;
  }

  /** A proxy's connection may have any number of callers, one after the other. */
  #dropUnused(parties: Map<Caller | string | undefined, Party>, connection: Connected): void {
    // At powers of two: the cost for each new caller stays constant.
    if (parties.size < CALLERS_OF_CONNECTION || (parties.size & (parties.size - 1)) !== 0) return;
    const own = parties.get(connection.caller);
    for (const [key, party] of parties) {
      if (party.isUsed || party === own) continue;
      parties.delete(key);
      this.#drop(party);
    }
  }

  /** Called when a connection is closed. Its parties continue while they have sessions. */
  onClosed(connection: Connected): void {
    const parties = this.#ofConnections.get(connection);
    this.#ofConnections.delete(connection);
    // One party has two keys.
    for (const party of new Set(parties?.values())) this.#drop(party);
  }

  #drop(party: Party): void {
    party.release();
    this.#onDropped(party);
  }

  /** @param key `undefined`: the connection is the caller */
  #partyOf(key: string | undefined, who: Caller): CallerParty {
    if (key === undefined) return new CallerParty(who, this.limits, () => {});
    let caller = this.#callers.get(key);
    if (caller === undefined) {
      caller = new CallerParty(who, this.limits, () => this.#callers.delete(key));
      this.#callers.set(key, caller);
    }
    return caller;
  }
}
