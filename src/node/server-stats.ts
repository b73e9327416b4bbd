import type { CallStats, LimitStats, SessionStats } from "../observe/stats.ts";
import type { ServerReporter } from "../server/reporter.ts";
import type { SharedLimit } from "../sharing/shared-limit.ts";

/** What a server has now, and has had. */
export interface ServerStats {
  /** The open connections of all protocols. */
  readonly connections: number;
  /** Those of all protocols, but for Negotiate, by which clients ask for the settings of sessions, health and reflection. */
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
   * those of `sessions`: "maxSessions", "maxBytes", "resumesPerSecond"; and with `health` "maxHealthCalls", which is no option.
   */
  readonly limits: Readonly<Record<string, LimitStats>>;
}

/** Returns what limits have done. */
export function limitStats(
  limits: readonly Pick<SharedLimit, "name" | "held" | "total">[],
  reporter: ServerReporter,
): ServerStats["limits"] {
  const all = limits.map(({ name, held, total }) => {
    return [name, { held, total, refused: reporter.refusalsOf(name) }] as const;
  });
  return Object.fromEntries(all);
}
