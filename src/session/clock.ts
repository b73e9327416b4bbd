import { after } from "../flow.ts";

/** Time and chance, as a session sees them: tests bring their own. */
export interface Clock {
  /** Milliseconds since some time; never goes back. */
  now(): number;
  /** Runs `run` after `ms`, unless disposed before. */
  after(ms: number, run: () => void): Disposable;
  /** At least 0, less than 1. */
  random(): number;
}

export const realClock: Clock = {
  now: () => performance.now(),
  after,
  random: Math.random,
};

/** After how long a message that the application took is acknowledged at the latest. */
const ACKNOWLEDGE_MS = 50;

/** Who has something to acknowledge. */
interface Debtor {
  acknowledge(): void;
}

/** One timer for the acknowledgements of all sessions of a process. */
export class Acknowledgements {
  readonly #clock: Clock;
  #debtors: Debtor[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Has `debtor` acknowledge within 50 ms. */
  owe(debtor: Debtor): void {
    this.#debtors.push(debtor);
    if (this.#debtors.length === 1) this.#clock.after(ACKNOWLEDGE_MS, () => this.#settle());
  }

  #settle(): void {
    const debtors = this.#debtors;
    this.#debtors = [];
    for (const debtor of debtors) debtor.acknowledge();
  }
}
