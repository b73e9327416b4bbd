import { startTimer } from "./wait.ts";

/** The time, the timers and the random numbers of a session. Tests pass their own. */
export interface Clock {
  /** Milliseconds since some time; never decreases. */
  now(): number;
  /** Runs `run` after `ms`, unless disposed before. The timer keeps the process alive only if `keepsAlive` is true. */
  startTimer(ms: number, run: () => void, keepsAlive?: boolean): Disposable;
  /** Returns a number of at least 0 and less than 1. */
  random(): number;
}

export const realClock: Clock = {
  now: () => performance.now(),
  startTimer,
  random: Math.random,
};
