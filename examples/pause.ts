import { setTimeout } from "node:timers/promises";

/** The longest delay of a Node timer: 31 bits of milliseconds, 24.8 days. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Resolves after `ms`, which may be longer than LONGEST_TIMER_MS. Throws the signal's reason if the signal aborts first. */
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
