import { type Clock, realClock } from "./clock.ts";

/** How the pauses between attempts grow. */
export interface BackoffOptions {
  /** The pause after the first failure, in milliseconds. */
  readonly initialMs: number;
  /** Each pause is longer than the one before it by this factor, up to `maxMs`. */
  readonly factor: number;
  readonly maxMs: number;
  /** Each pause is multiplied by a random number between these two, so that clients do not all come at the same time. */
  readonly jitter: readonly [number, number];
  /** Whether the attempt after the first failure comes without a pause. Default: it does not. */
  readonly firstAtOnce?: boolean;
  /** An attempt that lasted this long, in milliseconds, was no failure: the pauses begin anew. Default: Infinity. */
  readonly steadyMs?: number;
}

/** The jitter of gRPC's connection-backoff: a fifth more or less. */
export const A_FIFTH = [0.8, 1.2] as const;

/** The pauses between attempts that fail: they grow exponentially, with jitter (gRPC connection-backoff). */
export class Backoff {
  /** May be replaced: the next pause is by the new ones. */
  options: BackoffOptions;
  readonly #clock: Pick<Clock, "now" | "random">;
  #failures = 0;
  #begunMs = 0;

  constructor(options: BackoffOptions, clock: Pick<Clock, "now" | "random"> = realClock) {
    this.options = options;
    this.#clock = clock;
  }

  /** How many attempts have failed in a row. */
  get failures(): number {
    return this.#failures;
  }

  /** An attempt begins: what `steadyMs` is counted from. */
  begin(): void {
    this.#begunMs = this.#clock.now();
  }

  /** How long the attempt has lasted, in milliseconds. */
  get lastedMs(): number {
    return this.#clock.now() - this.#begunMs;
  }

  /**
   * An attempt failed: returns how long to wait before the next, in milliseconds.
   *
   * @param givenMs the pause that the server asks for, instead of the one that is due
   */
  failed(givenMs?: number): number {
    if (this.lastedMs >= (this.options.steadyMs ?? Infinity)) this.#failures = 0;
    const pauseMs = givenMs ?? this.pauseMs(this.#failures);
    this.#failures++;
    return pauseMs;
  }

  /**
   * An attempt succeeded.
   *
   * @param failures how many of the failures before it still count, at most
   */
  reset(failures = 0): void {
    this.#failures = Math.min(this.#failures, failures);
  }

  /** The pause after a failure that followed `failures` others in a row, in milliseconds; this one is not counted. */
  pauseMs(failures: number): number {
    const { initialMs, factor, maxMs, jitter, firstAtOnce } = this.options;
    const [least, most] = jitter;
    const share = least + (most - least) * this.#clock.random();
    const steps = firstAtOnce === true ? failures - 1 : failures;
    return steps < 0 ? 0 : Math.min(initialMs * factor ** steps, maxMs) * share;
  }
}
