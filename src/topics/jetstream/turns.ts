interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  readonly sinceMs: number;
}

/**
 * So many at once, the others in their turn. Where one fails, those fail with
 * it that have waited for half of `patienceMs` or longer: where nothing is
 * answered they would wait again as long for the same.
 */
export class Turns {
  readonly #patienceMs: number;
  readonly #waiting: Waiting[] = [];
  #free: number;

  constructor(atOnce: number, patienceMs: number) {
    this.#free = atOnce;
    this.#patienceMs = patienceMs;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await this.#turn();
    try {
      return await work();
    } catch (error) {
      this.#fail(error);
      throw error;
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next.resolve();
    }
  }

  #turn(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ resolve, reject, sinceMs: performance.now() });
    return promise;
  }

  #fail(error: unknown): void {
    const since = performance.now() - this.#patienceMs / 2;
    // Who waits longest is the first.
    while (this.#waiting[0] !== undefined && this.#waiting[0].sinceMs <= since) {
      this.#waiting.shift()?.reject(error);
    }
  }
}
