import { type Logger, log } from "./logger.ts";

const EVERY_MS = 60_000;

/** Logs one message a minute of a kind that a hostile client, or a failure of another system, may cause any number of times. */
export class OnceAMinute {
  readonly #logger: Pick<Logger, "error">;
  #mayLogAtMs = 0;
  #count = 0;

  constructor(logger: Pick<Logger, "error">) {
    this.#logger = logger;
  }

  /** @param message made only if it is logged; `count` is how many came since the one before, this one included */
  error(message: (count: number) => string, ...details: unknown[]): void {
    this.#count++;
    const nowMs = performance.now();
    if (nowMs < this.#mayLogAtMs) return;
    this.#mayLogAtMs = nowMs + EVERY_MS;
    const count = this.#count;
    this.#count = 0;
    log(this.#logger, "error", message(count), ...details);
  }
}
