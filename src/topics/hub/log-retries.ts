import { Code, ConnectError } from "@connectrpc/connect";
import { Backoff } from "../../flow/backoff.ts";
import { sleep } from "../../flow/wait.ts";

/** Half of each pause is random, so that many topics do not ask the log at the same moment. */
const BACKOFF = { initialMs: 50, factor: 2, maxMs: 2000, jitter: [0.5, 1] } as const;

/** Decides when, and for how long, a log that cannot be reached is asked again. */
export class LogRetries {
  readonly #patienceMs: number;
  readonly #signal: AbortSignal;
  readonly #backoff: Backoff;
  /** When the first of the failures in a row happened, in the time of performance.now(). */
  #failedAtMs: number | undefined;

  /**
   * @param patienceMs how long attempts may fail in a row. A failure after an attempt this long
   * counts as the first one: the log was reachable meanwhile.
   */
  constructor(patienceMs: number, signal: AbortSignal) {
    this.#patienceMs = patienceMs;
    this.#signal = signal;
    this.#backoff = new Backoff(BACKOFF);
  }

  /** Marks the beginning of an attempt. Throws the signal's reason if the signal has aborted. */
  begin(): void {
    this.#signal.throwIfAborted();
    this.#backoff.begin();
  }

  /** Marks the attempt as successful. */
  succeeded(): void {
    this.#forgetFailures();
  }

  /**
   * Marks the attempt as failed, and resolves when the next one is due. Throws `error` if it is not
   * UNAVAILABLE, or if attempts have failed for patienceMs.
   */
  async failed(error: unknown): Promise<void> {
    if (this.#backoff.elapsedMs >= this.#patienceMs) this.#forgetFailures();
    const nowMs = performance.now();
    this.#failedAtMs ??= nowMs;
    const isUnavailable = error instanceof ConnectError && error.code === Code.Unavailable;
    if (!isUnavailable || nowMs - this.#failedAtMs >= this.#patienceMs) throw error;
    await sleep(this.#backoff.failed(), this.#signal);
  }

  #forgetFailures(): void {
    this.#failedAtMs = undefined;
    this.#backoff.succeeded();
  }
}
