import { Code, ConnectError, readSessionLost, SessionLostReason } from "hawser";

/** The reasons for which a lost session may be followed by another call. */
const REJOINABLE: ReadonlySet<SessionLostReason> = new Set([
  SessionLostReason.UNKNOWN,
  SessionLostReason.EXPIRED,
  SessionLostReason.GAP,
  SessionLostReason.SERVER_RESTARTED,
  SessionLostReason.UNREACHABLE,
]);

/** Its own: the package exports no backoff, and its transport makes a call of Join, which is bidirectional, only once. */
const BACKOFF = { initialMs: 100, factor: 2, maxMs: 5000 };

/** Whether another call can continue after this error: the server was restarted, or is unreachable. */
export function canRejoin(error: unknown): boolean {
  const lost = readSessionLost(error);
  if (lost !== undefined) return REJOINABLE.has(lost.reason);
  return error instanceof ConnectError && error.code === Code.Unavailable;
}

/** Returns the pause before another call. `attempt` counts from 0 since a call last worked. */
export function backoffMs(attempt: number): number {
  const { initialMs, factor, maxMs } = BACKOFF;
  return Math.min(initialMs * factor ** attempt, maxMs) * (0.5 + Math.random() / 2);
}

/** Returns a function that returns the rest of a deadline that several calls share, in whole milliseconds. */
export function countdown(timeoutMs: number | undefined): () => number | undefined {
  if (timeoutMs === undefined) return () => undefined;
  const endsAt = performance.now() + timeoutMs;
  return () => Math.max(1, Math.ceil(endsAt - performance.now()));
}
