import { Code, ConnectError } from "@connectrpc/connect";
import { pause } from "../../flow/wait.ts";

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;

/** How a log that cannot be reached is tried again: after 50 ms, then at up to twice the pause, at most 2 s. */
export class Persistence {
  readonly #forMs: number;
  readonly #signal: AbortSignal;
  #beganAt = 0;
  #failedAt: number | undefined;
  #pauseMs = FIRST_PAUSE_MS;

  /** @param forMs how long it may fail in a row */
  constructor(forMs: number, signal: AbortSignal) {
    this.#forMs = forMs;
    this.#signal = signal;
  }

  /** An attempt begins. Throws the signal's reason when that has aborted. */
  begin(): void {
    this.#signal.throwIfAborted();
    this.#beganAt = performance.now();
  }

  /** It went well. */
  reset(): void {
    this.#failedAt = undefined;
    this.#pauseMs = FIRST_PAUSE_MS;
  }

  /** Resolves when it is time to try again; throws `error` where that would be in vain. */
  async retry(error: unknown): Promise<void> {
    const now = performance.now();
    // One that lasted so long was well for a while, if only nothing came.
    if (now - this.#beganAt >= this.#forMs) this.reset();
    this.#failedAt ??= now;
    const passing = error instanceof ConnectError && error.code === Code.Unavailable;
    if (!passing || now - this.#failedAt >= this.#forMs) throw error;
    // Half of it is chance, so that many do not come at once.
    await pause(this.#pauseMs * (0.5 + Math.random() / 2), this.#signal);
    this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
  }
}
