import type { ClientObserver, ServerObserver } from "./events.ts";
import { OnceAMinute } from "./once-a-minute.ts";

/** The names of an observer's events. callStarted() is not an event, because it returns something. */
type EventName<Observer> = Exclude<keyof Observer, "callStarted">;

type EventOf<Observer, Name extends keyof Observer> =
  NonNullable<Observer[Name]> extends (event: infer Event) => void ? Event : never;

/**
 * Tells an observer of events. What the observer throws, or rejects with, is reported, at most once a minute, and changes
 * nothing else. Where there is no observer there is no Notifier: `notifier?.tell(…)` then does not even make the event.
 */
export class Notifier<Observer extends ServerObserver | ClientObserver> {
  readonly observer: Observer;
  readonly #report: (message: string, error: unknown) => void;
  readonly #failures = new OnceAMinute();

  /** @param report logs an error of the observer */
  constructor(observer: Observer, report: (message: string, error: unknown) => void) {
    this.observer = observer;
    this.#report = report;
  }

  tell<Name extends EventName<Observer>>(name: Name, event: EventOf<Observer, Name>): void {
    if (this.observer[name] === undefined) return;
    this.run(String(name), () => {
      // The type of the event belongs to the name, which TypeScript does not follow through a variable.
      return (this.observer as Record<Name, (event: unknown) => unknown>)[name](event);
    });
  }

  /** Runs code of the observer. Returns `undefined` if it throws. */
  run<T>(name: string, run: () => T): T | undefined {
    try {
      const result = run();
      if (result instanceof Promise) result.catch((error) => this.#onError(name, error));
      return result;
    } catch (error) {
      this.#onError(name, error);
      return undefined;
    }
  }

  #onError(name: string, error: unknown): void {
    this.#failures.run((count) => {
      const often = count === 1 ? "" : ` ${count} times since the last message`;
      this.#report(`${name} of observe failed${often}; nothing else changes:`, error);
    });
  }
}
