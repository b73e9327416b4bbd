import { unref } from "./runtime.ts";

/**
 * Calls `listener` once when `signal` aborts, or now if it has aborted. To stop listening, dispose what this returns.
 */
export function onAbort(
  signal: AbortSignal | undefined,
  listener: (reason: unknown) => void,
): Disposable {
  if (signal === undefined) return { [Symbol.dispose]() {} };
  if (signal.aborted) {
    listener(signal.reason);
    return { [Symbol.dispose]() {} };
  }
  const onAborted = () => listener(signal.reason);
  signal.addEventListener("abort", onAborted, { once: true });
  return { [Symbol.dispose]: () => signal.removeEventListener("abort", onAborted) };
}

/** The longest that one timer can wait: 31 bits of milliseconds, 24.8 days. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Does what setTimeout does, without its limit of 31 bits of milliseconds.
 *
 * @param keepsAlive whether the timer keeps the process alive. Default: false
 */
export function startTimer(ms: number, run: () => void, keepsAlive = false): Disposable {
  let timer: ReturnType<typeof setTimeout>;
  const endsAt = performance.now() + ms;
  const arm = (rest: number) => {
    timer = setTimeout(
      () => {
        const left = endsAt - performance.now();
        if (left >= 1) arm(left);
        else run();
      },
      Math.min(Math.max(rest, 0), LONGEST_TIMER_MS),
    );
    if (!keepsAlive) unref(timer);
  };
  arm(ms);
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

/** Waits for `ms`, or until one of the signals aborts. Unlike startTimer(), it keeps the process alive. */
export async function sleep(
  ms: number,
  signal: AbortSignal | undefined,
  closing?: AbortSignal,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  using _timer = startTimer(ms, resolve, true);
  using _signal = onAbort(signal, () => resolve());
  using _closing = onAbort(closing, () => resolve());
  await promise;
}

/** Resolves when the promise has settled, or after `ms`. */
export function settled(promise: Promise<unknown>, ms?: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = ms === undefined ? undefined : startTimer(ms, resolve, true);
    const onSettled = () => {
      timer?.[Symbol.dispose]();
      resolve();
    };
    promise.then(onSettled, onSettled);
  });
}
