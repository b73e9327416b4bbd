import type { CallStats, LimitStats, SessionStats } from "../observe/stats.ts";

/** What a server has now, and has had. */
export interface ServerStats {
  /** The open connections of all protocols. */
  readonly connections: number;
  /** Those of all protocols; Negotiate, by which clients ask for the settings of sessions, is left out of all but `open`. */
  readonly calls: CallStats;
  readonly sessions: SessionStats;
  /** The bytes that sessions keep until clients have acknowledged them, or handlers have taken them. */
  readonly sessionBytes: number;
  /** The bytes of requests that handlers have not taken, and of responses that wait for their clients. */
  readonly unreadBytes: number;
  /** The callers that have connections or sessions: identities, and the addresses of the connections. */
  readonly callers: number;
  /**
   * The limits of the whole server, by the names of their options: "maxConnections", "maxOpenCalls", "serverBudgetBytes"; and
   * those of `sessions`: "maxSessions", "maxBytes", "resumesPerSecond".
   */
  readonly limits: Readonly<Record<string, LimitStats>>;
}
