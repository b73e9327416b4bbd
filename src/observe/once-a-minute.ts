/** Messages of one kind are logged this often. */
const EVERY_MS = 60_000;

/**
 * Limits the messages of one kind to one a minute, so that a peer that causes them cannot fill the log. The first one is logged
 * immediately, and a later one with the number of those since.
 */
export class OnceAMinute {
  #count = 0;
  #mayRunAt = 0;

  /**
   * Counts an occurrence, and calls `log` if it was not called in the last minute.
   *
   * @param log is given the number of occurrences since it was last called, this one included
   */
  run(log: (count: number) => void): void {
    const count = ++this.#count;
    const now = performance.now();
    if (now < this.#mayRunAt) return;
    this.#mayRunAt = now + EVERY_MS;
    this.#count = 0;
    log(count);
  }
}
