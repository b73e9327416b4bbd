import { Code, type ConnectError } from "@connectrpc/connect";

/** A timer may fire this much earlier than the clock says. */
const TOLERANCE_MS = 1;

/** Whether a call has ended because its own deadline has passed, and not with such an error of another call. */
export function hasPassed(
  timeoutMs: number,
  durationMs: number,
  error: ConnectError | undefined,
): boolean {
  return error?.code === Code.DeadlineExceeded && durationMs >= timeoutMs - TOLERANCE_MS;
}
