import { currentContext } from "../flow/runtime.ts";
import { type Logger, log } from "../observe/logger.ts";
import { callable, checkArgument } from "../options.ts";

/** The listeners of onState of one call. They run in the context in which the call was made. */
export class StateListeners<State> {
  readonly #method: string;
  readonly #logger: Pick<Logger, "warn">;
  readonly #context = currentContext();
  #listeners: readonly ((state: State) => void)[] = [];

  /**
   * @param method the method that is called, as errors name it
   * @param logger told of what a listener throws. Default: `console`
   */
  constructor(method: string, logger: Pick<Logger, "warn"> = console) {
    this.#method = method;
    this.#logger = logger;
  }

  /** Calls `listener` at each change of the state, until disposed. Throws INVALID_ARGUMENT where it is not a function. */
  add(listener: (state: State) => void): Disposable {
    checkArgument("onState", "listener", listener, callable);
    const added = (state: State) => listener(state);
    this.#listeners = [...this.#listeners, added];
    return {
      [Symbol.dispose]: () => {
        this.#listeners = this.#listeners.filter((one) => one !== added);
      },
    };
  }

  /** Calls every listener. What one throws is reported; the call and the other listeners continue. */
  tell(state: State): void {
    for (const listener of this.#listeners) {
      try {
        this.run(() => listener(state));
      } catch (error) {
        this.#report(error);
      }
    }
  }

  /** Runs a function in the context in which the call was made. */
  run<T>(run: () => T): T {
    return this.#context.runInAsyncScope(run);
  }

  #report(error: unknown): void {
    const what = `an onState listener of a call of ${this.#method} threw; the call continues:`;
    log(this.#logger, "warn", what, error);
  }
}
