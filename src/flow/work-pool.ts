interface Job {
  /** `undefined`: it was dropped. */
  work: (() => Promise<unknown>) | undefined;
  readonly resolve: (result: Promise<unknown>) => void;
}

/** Work that was handed to a pool. */
export interface Work<T> {
  /** What the work gives; rejects where it fails, or with the error of drop(). */
  readonly done: Promise<T>;
  /** Nobody needs the result any more: work that still waits is never begun, and `done` rejects with `error`. */
  drop(error: unknown): void;
}

/** Runs a few pieces of work at a time; the others wait, in the order in which they came. */
export class WorkPool {
  readonly #limit: number;
  #waiting: Job[] = [];
  #first = 0;
  #running = 0;

  /** @param limit how many run at a time */
  constructor(limit: number) {
    this.#limit = limit;
  }

  run<T>(work: () => Promise<T>): Work<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const job: Job = { work, resolve: resolve as (result: Promise<unknown>) => void };
    this.#waiting.push(job);
    this.#next();
    return {
      done: promise,
      drop(error) {
        if (job.work === undefined) return;
        job.work = undefined;
        reject(error);
      },
    };
  }

  #next(): void {
    while (this.#running < this.#limit && this.#first < this.#waiting.length) {
      const job = this.#waiting[this.#first] as Job;
      if (++this.#first * 2 >= this.#waiting.length) {
        this.#waiting.splice(0, this.#first);
        this.#first = 0;
      }
      const { work } = job;
      job.work = undefined;
      if (work === undefined) continue;
      this.#running++;
      const result = work();
      job.resolve(result);
      const over = () => {
        this.#running--;
        this.#next();
      };
      result.then(over, over);
    }
  }
}
