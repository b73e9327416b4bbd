import type { Clock } from "../flow/clock.ts";

/** The response headers of a bidirectional call wait this long for its first request. */
const FIRST_REQUEST_MS = 50;

/** A call whose handler waits for its first request. */
export interface AwaitingCall {
  /** Called after FIRST_REQUEST_MS, even if the request has arrived or the call has ended. */
  onFirstRequestLate(): void;
}

/**
 * Calls waiting calls back after FIRST_REQUEST_MS, in the order of add(). All
 * wait equally long, so one timer is enough for all calls of a server; there is
 * none while no call waits.
 */
export class FirstRequestTimer {
  readonly #clock: Clock;
  readonly #afterReads: (run: () => void) => void;
  #calls: AwaitingCall[] = [];
  /** When each call must be called back. */
  #dueAt: number[] = [];

  /** @param afterReads runs a function after all that the sockets have received was delivered to the streams */
  constructor(clock: Clock, afterReads: (run: () => void) => void) {
    this.#clock = clock;
    this.#afterReads = afterReads;
  }

  add(call: AwaitingCall): void {
    this.#calls.push(call);
    this.#dueAt.push(this.#clock.now() + FIRST_REQUEST_MS);
    if (this.#calls.length === 1) this.#arm(FIRST_REQUEST_MS);
  }

  #arm(ms: number): void {
    this.#clock.startTimer(ms, () => this.#afterReads(this.#callBack));
  }

  readonly #callBack = (): void => {
    const now = this.#clock.now();
    let due = this.#dueAt.findIndex((at) => at > now);
    if (due === -1) due = this.#dueAt.length;
    const calls = this.#calls.slice(0, due);
    this.#calls = this.#calls.slice(due);
    this.#dueAt = this.#dueAt.slice(due);
    const [next] = this.#dueAt;
    if (next !== undefined) this.#arm(next - now);
    for (const call of calls) call.onFirstRequestLate();
  };
}
