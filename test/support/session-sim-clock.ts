import type { Clock } from "../../src/flow/clock.ts";

interface Timer {
  readonly atMs: number;
  readonly run: () => void;
}

/** Time that passes only when a test says so. Timers run in the order of their times. */
export class FakeTime {
  #nowMs = 0;
  readonly #timers = new Set<Timer>();

  get nowMs(): number {
    return this.#nowMs;
  }

  /** How many timers are armed. */
  get timers(): number {
    return this.#timers.size;
  }

  /** When the next timer is due; `undefined` if there is none. */
  get nextMs(): number | undefined {
    return this.#next()?.atMs;
  }

  /** Lets time pass, timer by timer. */
  pass(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const next = this.#next();
      if (next === undefined || next.atMs > untilMs) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
    }
    this.#nowMs = untilMs;
  }

  /**
   * A clock of one process.
   *
   * @param aheadMs how much it is ahead of others
   * @param random what chance says; the middle by default
   */
  clock(aheadMs = 0, random: () => number = () => 0.5): FakeClock {
    return new FakeClock(this, this.#timers, aheadMs, random);
  }

  #next(): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (next === undefined || timer.atMs < next.atMs) next = timer;
    }
    return next;
  }
}

/** The clock of one process, with that process's timers. */
export class FakeClock implements Clock {
  readonly #time: FakeTime;
  readonly #all: Set<Timer>;
  readonly #own = new Set<Timer>();
  #aheadMs: number;
  readonly random: () => number;

  constructor(time: FakeTime, all: Set<Timer>, aheadMs: number, random: () => number) {
    this.#time = time;
    this.#all = all;
    this.#aheadMs = aheadMs;
    this.random = random;
  }

  now(): number {
    return this.#time.nowMs + this.#aheadMs;
  }

  startTimer(ms: number, run: () => void): Disposable {
    const timer: Timer = {
      atMs: this.#time.nowMs + Math.max(ms, 0),
      run: () => {
        this.#own.delete(timer);
        run();
      },
    };
    this.#all.add(timer);
    this.#own.add(timer);
    return {
      [Symbol.dispose]: () => {
        this.#all.delete(timer);
        this.#own.delete(timer);
      },
    };
  }

  /** The time that the clock stood still, because the machine slept. */
  fallBehind(ms: number): void {
    this.#aheadMs -= ms;
  }

  /** How many timers of this process are armed. */
  get timers(): number {
    return this.#own.size;
  }

  /** Ends the process, and its timers with it. */
  die(): void {
    for (const timer of this.#own) this.#all.delete(timer);
    this.#own.clear();
  }
}
