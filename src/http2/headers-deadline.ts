import type { EngineClock } from "./types.ts";

/** The deadline of the end of a header block that has begun. */
export class HeadersDeadline {
  readonly #clock: EngineClock;
  readonly #ms: number;
  readonly #onLate: () => void;
  #timer: Disposable | undefined;
  /** How many header blocks were complete when #timer began. */
  #blockNumber = 0;

  constructor(clock: EngineClock, ms: number, onLate: () => void) {
    this.#clock = clock;
    this.#ms = ms;
    this.#onLate = onLate;
  }

  /**
   * To be called when bytes were received.
   *
   * @param isOpen whether a header block has begun and not ended
   * @param blocks how many were complete so far: another one than before has a deadline of its own
   */
  update(isOpen: boolean, blocks: number): void {
    if (!isOpen || blocks !== this.#blockNumber) this.end();
    this.#blockNumber = blocks;
    if (isOpen) this.#timer ??= this.#clock.startTimer(this.#ms, this.#onLate);
  }

  end(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }
}
