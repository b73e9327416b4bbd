import { LazyAbortController } from "./lazy-abort.ts";
import { unref } from "./runtime.ts";

/** What ends an operation early. */
export type AbortSource = AbortSignal | LazyAbortController;

/** The end of a wait that never began. */
const NOTHING: Disposable = { [Symbol.dispose]() {} };

/**
 * Calls `listener` once when `source` aborts, or now if it has aborted. To stop listening, dispose what this returns.
 */
export function onAbort(
  source: AbortSource | undefined,
  listener: (reason: unknown) => void,
): Disposable {
  if (source === undefined) return NOTHING;
  if (source.aborted) {
    listener(source.reason);
    return NOTHING;
  }
  if (!(source instanceof LazyAbortController)) return listenTo(source, listener);
  return source.listen(listener) ?? listenTo(source.signal, listener);
}

function listenTo(signal: AbortSignal, listener: (reason: unknown) => void): Disposable {
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
  return new Timer(ms, run, keepsAlive);
}

/** A class without closures: a connection has a timer as long as it is open. */
class Timer implements Disposable {
  readonly #run: () => void;
  readonly #endsAt: number;
  readonly #keepsAlive: boolean;
  #timeout: ReturnType<typeof setTimeout> | undefined;

  constructor(ms: number, run: () => void, keepsAlive: boolean) {
    this.#run = run;
    this.#endsAt = performance.now() + ms;
    this.#keepsAlive = keepsAlive;
    this.#arm(ms);
  }

  static onTimeout(timer: Timer): void {
    const left = timer.#endsAt - performance.now();
    if (left >= 1) timer.#arm(left);
    else timer.#run();
  }

  #arm(ms: number): void {
    const waitMs = Math.min(Math.max(ms, 0), LONGEST_TIMER_MS);
    this.#timeout = setTimeout(Timer.onTimeout, waitMs, this);
    if (!this.#keepsAlive) unref(this.#timeout);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timeout);
    this.#timeout = undefined;
  }
}

/** Waits for `ms`, or until one of the signals aborts. Unlike startTimer(), it keeps the process alive. */
export async function sleep(
  ms: number,
  ...signals: readonly (AbortSource | undefined)[]
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = startTimer(ms, resolve, true);
  const listening = signals.map((signal) => onAbort(signal, () => resolve()));
  await promise;
  for (const ending of [timer, ...listening]) ending[Symbol.dispose]();
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
