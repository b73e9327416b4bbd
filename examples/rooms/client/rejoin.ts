import { Code, ConnectError, readSessionLost, SessionLostReason } from "hawser";

/** The sessions that are lost without anybody's fault. */
const GOES_ON: ReadonlySet<SessionLostReason> = new Set([
  SessionLostReason.UNKNOWN,
  SessionLostReason.EXPIRED,
  SessionLostReason.GAP,
  SessionLostReason.SERVER_RESTARTED,
  SessionLostReason.UNREACHABLE,
]);

const BACKOFF = { initialMs: 100, factor: 2, maxMs: 5000 };

/** Whether another call can go on where the one with this error stopped: the server was restarted, or is away. */
export function goesOn(error: unknown): boolean {
  const lost = readSessionLost(error);
  if (lost !== undefined) return GOES_ON.has(lost.reason);
  return error instanceof ConnectError && error.code === Code.Unavailable;
}

/** How long to wait before another call. @param attempt counts from 0 since a call last worked */
export function backoffMs(attempt: number): number {
  const { initialMs, factor, maxMs } = BACKOFF;
  return Math.min(initialMs * factor ** attempt, maxMs) * (0.5 + Math.random() / 2);
}

/** What is left of a deadline that several calls share, in whole milliseconds. */
export function countdown(timeoutMs: number | undefined): () => number | undefined {
  if (timeoutMs === undefined) return () => undefined;
  const endsAt = performance.now() + timeoutMs;
  return () => Math.max(1, Math.ceil(endsAt - performance.now()));
}
