import { setTimeout } from "node:timers/promises";

/** The longest that one timer of Node can wait: 31 bits of milliseconds, 24.8 days. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Resolves after `ms`, however long that is; throws the signal's reason when it aborts first. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const endsAt = performance.now() + ms;
  try {
    for (let left = ms; left > 0; left = endsAt - performance.now()) {
      await setTimeout(Math.min(left, LONGEST_TIMER_MS), undefined, { signal });
    }
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}
