/** The longest delay of a timer: 31 bits of milliseconds, 24.8 days. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Resolves after `ms`, which may be longer than LONGEST_TIMER_MS. Throws the signal's reason if the signal aborts first. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const endsAt = performance.now() + ms;
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = () => resolve();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const wait = () => {
    const left = endsAt - performance.now();
    if (left <= 0) end();
    else timer = setTimeout(wait, Math.min(left, LONGEST_TIMER_MS));
  };
  wait();
  signal.addEventListener("abort", end);
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", end);
  signal.throwIfAborted();
}
