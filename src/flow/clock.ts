import { startTimer } from "./wait.ts";

/** The time, the timers and the random numbers of a session; tests have their own. */
export interface Clock {
  /** Milliseconds since some time; never goes back. */
  now(): number;
  /** Runs `run` after `ms`, unless disposed before; the timer keeps the process alive where `keepsAlive` is true. */
  startTimer(ms: number, run: () => void, keepsAlive?: boolean): Disposable;
  /** At least 0, less than 1. */
  random(): number;
}

export const realClock: Clock = {
  now: () => performance.now(),
  startTimer,
  random: Math.random,
};
