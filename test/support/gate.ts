/**
 * A promise that is resolved from outside. Tests put gates into handlers and loops, to decide which side continues
 * while a sleep could only guess.
 */
export interface Gate<T = void> {
  /** Resolves when the gate is opened; await it as often as needed. */
  readonly opened: Promise<T>;
  readonly isOpen: boolean;
  open(value: T): void;
}

export function gate<T = void>(): Gate<T> {
  const { promise, resolve } = Promise.withResolvers<T>();
  let isOpen = false;
  return {
    opened: promise,
    get isOpen() {
      return isOpen;
    },
    open(value) {
      isOpen = true;
      resolve(value);
    },
  };
}

/** Resolves when the signal aborts, or immediately if it has. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Yields to the event loop until the condition is true; returns false if it is not within the time. */
export async function settles(condition: () => boolean, withinMs = 2_000): Promise<boolean> {
  const giveUp = performance.now() + withinMs;
  while (!condition()) {
    if (performance.now() > giveUp) return false;
    await turn();
  }
  return true;
}

/** Yields to the event loop until the condition is true; throws an error that names the condition if it stays false. */
export async function until(
  what: string,
  condition: () => boolean,
  withinMs = 5_000,
): Promise<void> {
  if (!(await settles(condition, withinMs))) {
    throw new Error(`waited ${withinMs} ms until ${what}, and it did not happen`);
  }
}

/** Resolves when the count has stood still for a while: how to see that something does not happen. */
export async function stillAt(count: () => number, forMs = 200): Promise<number> {
  let last = count();
  let since = performance.now();
  while (performance.now() - since < forMs) {
    await turn();
    if (count() !== last) {
      last = count();
      since = performance.now();
    }
  }
  return last;
}

/** A turn of the event loop, sockets and timers included; the pause leaves the processor to the other side. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}
