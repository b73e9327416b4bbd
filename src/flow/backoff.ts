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
   * If an attempt lasted at least this long, in milliseconds, the failures before it are forgotten. Default: Infinity.
   */
  readonly steadyMs?: number;
}

/** The jitter of gRPC's connection-backoff: a fifth more or less. */
export const GRPC_JITTER = [0.8, 1.2] as const;

/** The pauses between attempts that fail: they grow exponentially, with jitter (gRPC connection-backoff). */
export class Backoff {
  /** May be replaced. The next pause then follows the new options. */
  options: BackoffOptions;
  readonly #clock: Pick<Clock, "now" | "random">;
  #failures = 0;
  /** When the attempt began, according to the clock. */
  #startedAtMs = 0;

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
    this.#startedAtMs = this.#clock.now();
  }

  /** How long ago the attempt began, in milliseconds. */
  get elapsedMs(): number {
    return this.#clock.now() - this.#startedAtMs;
  }

  /**
   * Counts a failed attempt. Returns how long to wait before the next one, in milliseconds.
   *
   * @param givenMs the pause that the server asks for, in place of the one that is due
   */
  failed(givenMs?: number): number {
    if (this.elapsedMs >= (this.options.steadyMs ?? Infinity)) this.#failures = 0;
    const pauseMs = givenMs ?? this.pauseMs(this.#failures);
    this.#failures++;
    return pauseMs;
  }

  /**
   * Counts an attempt that succeeded: lowers the number of failures to at most `keptFailures`.
   */
  succeeded(keptFailures = 0): void {
    this.#failures = Math.min(this.#failures, keptFailures);
  }

  /**
   * Returns the pause after a failure that followed `failures` others in a row, in milliseconds. It does not count a
   * failure.
   */
  pauseMs(failures: number): number {
    const { initialMs, factor, maxMs, jitter, firstAtOnce } = this.options;
    const [min, max] = jitter;
    const share = min + (max - min) * this.#clock.random();
    const steps = firstAtOnce === true ? failures - 1 : failures;
    return steps < 0 ? 0 : Math.min(initialMs * factor ** steps, maxMs) * share;
  }
}
