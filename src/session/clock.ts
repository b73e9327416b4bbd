import { after } from "../flow.ts";

/** Time and chance, as a session sees them: tests bring their own. */
export interface Clock {
  /** Milliseconds since some time; never goes back. */
  now(): number;
  /** Runs `run` after `ms`, unless disposed before; the process stays for it where it `keepsAlive`. */
  after(ms: number, run: () => void, keepsAlive?: boolean): Disposable;
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
export interface Debtor {
  /** From now on the acknowledgement should go along with what is sent anyway. */
  remind(): void;
  /** It must leave, if it has not since. */
  settle(): void;
}

/** One timer for the acknowledgements of all sessions of a process. */
export class Acknowledgements {
  readonly #clock: Clock;
  #owing: Debtor[] = [];
  #reminded: Debtor[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Has `debtor` acknowledge within 50 ms. */
  owe(debtor: Debtor): void {
    if (this.#owing.length + this.#reminded.length === 0) this.#arm();
    this.#owing.push(debtor);
  }

  #arm(): void {
    this.#clock.after(ACKNOWLEDGE_MS / 2, () => {
      for (const debtor of this.#reminded) debtor.settle();
      this.#reminded = this.#owing;
      this.#owing = [];
      for (const debtor of this.#reminded) debtor.remind();
      if (this.#reminded.length > 0) this.#arm();
    });
  }
}
