import { startTimer } from "./wait.ts";

/** Time and chance, as a session sees them: tests bring their own. */
export interface Clock {
  /** Milliseconds since some time; never goes back. */
  now(): number;
  /** Runs `run` after `ms`, unless disposed before; the process stays for it where it `keepsAlive`. */
  startTimer(ms: number, run: () => void, keepsAlive?: boolean): Disposable;
  /** At least 0, less than 1. */
  random(): number;
}

export const realClock: Clock = {
  now: () => performance.now(),
  startTimer,
  random: Math.random,
};
