import { type Clock, realClock } from "./clock.ts";

/** The options of a Backoff. */
export interface BackoffOptions {
  /** The pause after the first failure, in milliseconds. */
  readonly initialMs: number;
  /** Each pause is longer than the one before it by this factor, up to `maxMs`. */
  readonly factor: number;
  readonly maxMs: number;
  /**
   * Each pause is multiplied by a random number between these two, so that clients do not all retry at the same time.
   */
  readonly jitter: readonly [number, number];
  /** Whether the first failure is followed by an attempt without a pause. Default: false. */
  readonly firstAtOnce?: boolean;
  /**
   * An attempt that lasted this long, in milliseconds, does not count as a failure: the pauses begin anew. Default:
   * Infinity.
   */
  readonly steadyMs?: number;
}

/** The jitter of gRPC's connection-backoff: a fifth more or less. */
export const A_FIFTH = [0.8, 1.2] as const;

/** The pauses between attempts that fail: they grow exponentially, with jitter (gRPC connection-backoff). */
export class Backoff {
  /** May be replaced. The next pause then follows the new options. */
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

  /** Marks the beginning of an attempt. */
  begin(): void {
    this.#begunMs = this.#clock.now();
  }

  /** How long ago the attempt began, in milliseconds. */
  get lastedMs(): number {
    return this.#clock.now() - this.#begunMs;
  }

  /**
   * Counts a failed attempt. Returns how long to wait before the next one, in milliseconds.
   *
   * @param givenMs the pause that the server asks for, in place of the usual one
   */
  failed(givenMs?: number): number {
    if (this.lastedMs >= (this.options.steadyMs ?? Infinity)) this.#failures = 0;
    const pauseMs = givenMs ?? this.pauseMs(this.#failures);
    this.#failures++;
    return pauseMs;
  }

  /**
   * Counts an attempt that succeeded.
   *
   * @param failures how many of the failures before it still count, at most
   */
  reset(failures = 0): void {
    this.#failures = Math.min(this.#failures, failures);
  }

  /**
   * Returns the pause after a failure that followed `failures` others in a row, in milliseconds. It does not count a
   * failure.
   */
  pauseMs(failures: number): number {
    const { initialMs, factor, maxMs, jitter, firstAtOnce } = this.options;
    const [least, most] = jitter;
    const share = least + (most - least) * this.#clock.random();
    const steps = firstAtOnce === true ? failures - 1 : failures;
    return steps < 0 ? 0 : Math.min(initialMs * factor ** steps, maxMs) * share;
  }
}
