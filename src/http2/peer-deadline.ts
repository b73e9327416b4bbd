import type { EngineClock } from "./types.ts";

/** A deadline for the peer. It has a timer only between begin() and end(). */
export class PeerDeadline {
  readonly #clock: EngineClock;
  readonly #ms: number;
  readonly #onExpired: () => void;
  #timer: Disposable | undefined;

  constructor(clock: EngineClock, ms: number, onExpired: () => void) {
    this.#clock = clock;
    this.#ms = ms;
    this.#onExpired = onExpired;
  }

  /** Begins, unless it has begun. */
  begin(): void {
    this.#timer ??= this.#clock.startTimer(this.#ms, this.#onExpired);
  }

  end(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }
}
