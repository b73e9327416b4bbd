/** What a shell expects as the exit code of a program that a signal ended: 128 and its number. */
export const EXIT_CODE = { SIGINT: 130, SIGTERM: 143 } as const;

export type Interrupt = keyof typeof EXIT_CODE;

/** How the user stops a command that calls the server. */
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

  /** The exit code of an interrupted command; undefined until it is interrupted. */
  get exitCode(): number | undefined {
    return this.#exitCode;
  }

  interrupt(by: Interrupt): void {
    this.#exitCode ??= EXIT_CODE[by];
    this.#controller.abort();
  }
}
