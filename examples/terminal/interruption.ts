/** The exit codes of a program that a signal ended, by the convention of shells: 128 + the signal's number. */
export const EXIT_CODE = { SIGINT: 130, SIGTERM: 143 } as const;

export type Interrupt = keyof typeof EXIT_CODE;

/** Lets the user stop a command that calls the server. */
export class Interruption {
  /** Aborts at the first Ctrl-C (SIGINT) or SIGTERM. The second one ends the process. */
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  #exitCode: number | undefined;

  constructor() {
    this.signal = this.#controller.signal;
    process.once("SIGINT", () => this.interrupt("SIGINT"));
    process.once("SIGTERM", () => this.interrupt("SIGTERM"));
  }

  /** The exit code of an interrupted command; `undefined` before the interruption. */
  get exitCode(): number | undefined {
    return this.#exitCode;
  }

  interrupt(by: Interrupt): void {
    this.#exitCode ??= EXIT_CODE[by];
    this.#controller.abort();
  }
}
