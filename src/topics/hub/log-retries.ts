import { Code, ConnectError } from "@connectrpc/connect";
import { Backoff } from "../../flow/backoff.ts";
import { sleep } from "../../flow/wait.ts";

/** Half of each pause is chance, so that many do not come at once. */
const BACKOFF = { initialMs: 50, factor: 2, maxMs: 2000, jitter: [0.5, 1] } as const;

/** How a log that cannot be reached is tried again, until that has failed for a while. */
export class LogRetries {
  readonly #forMs: number;
  readonly #signal: AbortSignal;
  readonly #backoff: Backoff;
  #failedAt: number | undefined;

  /** @param forMs how long it may fail in a row; an attempt that lasted as long was no failure, if only nothing came */
  constructor(forMs: number, signal: AbortSignal) {
    this.#forMs = forMs;
    this.#signal = signal;
    this.#backoff = new Backoff(BACKOFF);
  }

  /** An attempt begins. Throws the signal's reason when that has aborted. */
  begin(): void {
    this.#signal.throwIfAborted();
    this.#backoff.begin();
  }

  /** It succeeded. */
  succeeded(): void {
    this.#failedAt = undefined;
    this.#backoff.reset();
  }

  /** Resolves when it is time for the next attempt; throws `error` where that would not help, or has failed for too long. */
  async failed(error: unknown): Promise<void> {
    if (this.#backoff.lastedMs >= this.#forMs) this.succeeded();
    const now = performance.now();
    this.#failedAt ??= now;
    const passing = error instanceof ConnectError && error.code === Code.Unavailable;
    if (!passing || now - this.#failedAt >= this.#forMs) throw error;
    await sleep(this.#backoff.failed(), this.#signal);
  }
}
