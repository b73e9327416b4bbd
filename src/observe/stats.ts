/** How many calls a server or a transport has, and has had. */
export interface CallStats {
  readonly open: number;
  /** At a transport, each attempt of a call that continues from its cursor counts. */
  readonly started: number;
  /** Those that have ended with OK. */
  readonly succeeded: number;
  /** Those that have ended with each other code, by its name in gRPC: `{ UNAVAILABLE: 3 }`. */
  readonly failed: Readonly<Record<string, number>>;
}

/** How many sessions there are now. */
export interface SessionStats {
  readonly open: number;
  /** Those of `open` that have no connection. */
  readonly detached: number;
}

/** What there is now at one address, or at all addresses, of a transport. */
export interface ConnectionsStats {
  readonly connections: number;
  readonly waitingCalls: number;
  readonly sessions: SessionStats;
}

/** What a limit has done. */
export interface LimitStats {
  /** How much of the limit is used now. */
  readonly held: number;
  readonly total: number;
  /** How often it has refused something, or has ended a call. */
  readonly refused: number;
}
