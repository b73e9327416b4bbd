import { LazyAbortController } from "./lazy-abort.ts";
import { type AbortSource, sleep } from "./wait.ts";

/** The pause before an attempt. */
export interface Pause {
  readonly ms: number;
  /** Whether the server has asked for it. */
  readonly isAsked: boolean;
  readonly signal: AbortSource;
}

/** Pauses before further attempts, which can all be ended early. */
export class Pauses {
  /** Aborts the pauses that have begun; undefined if there are none. */
  #ending: LazyAbortController | undefined;

  /** Does what sleep() does, but no longer than until end() is called. */
  sleep(ms: number, ...signals: readonly (AbortSource | undefined)[]): Promise<void> {
    this.#ending ??= new LazyAbortController();
    return sleep(ms, ...signals, this.#ending);
  }

  /** Ends all pauses. */
  end(): void {
    const ending = this.#ending;
    this.#ending = undefined;
    ending?.abort(undefined);
  }
}
