interface Job {
  /** The work, or `undefined` after it was begun or dropped. */
  work: (() => Promise<unknown>) | undefined;
  readonly resolve: (result: Promise<unknown>) => void;
  readonly reject: (error: unknown) => void;
  /** When the job was added, by performance.now(). */
  readonly addedAtMs: number;
}

/** Work that a semaphore runs, or will run. */
export interface Work<T> {
  /** The result of the work. Rejects if the work fails, or with the error of drop(). */
  readonly done: Promise<T>;
  /** Drops the work if it still waits: it is then never begun, and `done` rejects with `error`. */
  drop(error: unknown): void;
}

/**
 * Lets a few pieces of work run at the same time; the others wait. Their owners take turns: whoever adds much work makes others
 * wait for no more than the pieces that run. Work of one owner, or of none, runs in the order of the calls.
 */
export class Semaphore {
  readonly #limit: number;
  /** The jobs that wait, of the owner whose turn is next first. */
  readonly #waiting = new Map<object | undefined, Job[]>();
  #running = 0;

  /** @param limit how many run at the same time */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Runs the work, without a wait if fewer than `limit` run. Resolves with its result. */
  run<T>(work: () => Promise<T>): Promise<T> {
    return this.start(work).done;
  }

  /** Does the same as run(), for work that has an owner, or may be dropped while it waits. */
  start<T>(work: () => Promise<T>, owner?: object): Work<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const job: Job = {
      work,
      resolve: resolve as (result: Promise<unknown>) => void,
      reject,
      addedAtMs: performance.now(),
    };
    const jobs = this.#waiting.get(owner);
    if (jobs === undefined) this.#waiting.set(owner, [job]);
    else jobs.push(job);
    this.#next();
    return { done: promise, drop: (error) => drop(job, error) };
  }

  /** Drops the work that has waited for `ms` or longer; it rejects with `error`. */
  dropWaiting(ms: number, error: unknown): void {
    const latestMs = performance.now() - ms;
    for (const jobs of this.#waiting.values()) {
      // Those of an owner are in the order of their waits, the longest first.
      for (const job of jobs) {
        if (job.addedAtMs > latestMs) break;
        drop(job, error);
      }
    }
  }

  #next(): void {
    while (this.#running < this.#limit) {
      const job = this.#takeNext();
      if (job?.work === undefined) return;
      const { work } = job;
      job.work = undefined;
      this.#running++;
      const result = begin(work);
      job.resolve(result);
      const onSettled = () => {
        this.#running--;
        this.#next();
      };
      result.then(onSettled, onSettled);
    }
  }

  /** Takes the next job that was not dropped, and makes its owner the last. */
  #takeNext(): Job | undefined {
    for (const [owner, jobs] of this.#waiting) {
      let job = jobs.shift();
      while (job !== undefined && job.work === undefined) job = jobs.shift();
      this.#waiting.delete(owner);
      if (jobs.length > 0) this.#waiting.set(owner, jobs);
      if (job !== undefined) return job;
    }
    return undefined;
  }
}

function drop(job: Job, error: unknown): void {
  if (job.work === undefined) return;
  job.work = undefined;
  job.reject(error);
}

/** Begins the work, and returns its promise. The promise rejects if the work throws before it has made one. */
function begin(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return work();
  } catch (error) {
    return Promise.reject(error);
  }
}
