import { A_FIFTH, Backoff } from "../flow/backoff.ts";
import type { Clock } from "../flow/clock.ts";

/** A stream that lasted `steadyMs` was not a failure. */
const BACKOFF = {
  ...{ initialMs: 100, factor: 1.6, maxMs: 5000, jitter: A_FIFTH },
  firstAtOnce: true,
  steadyMs: 10_000,
};

/** The session that a Redial has dial. */
export interface Redialled {
  /** The session begins to look for a stream; called again each time that the server says when. */
  onResuming(): void;
  /** It is time to dial. */
  onDue(): void;
  /** The grace has run out: the server no longer keeps the session. */
  onGivenUp(): void;
}

/**
 * When a session that has lost its stream dials again: at once, then after
 * pauses that grow with each attempt that brings nothing, or when the server
 * says; until the server's grace has run out, which counts from the loss
 * (session.proto, 8). It knows time and chance, and no streams.
 */
export class Redial {
  readonly #clock: Clock;
  readonly #graceMs: number;
  readonly #session: Redialled;
  /** Counts the attempts in a row that brought nothing. */
  readonly #backoff: Backoff;
  /** Runs from the loss until a server answers. */
  #grace: Disposable | undefined;
  #pause: Disposable | undefined;
  /** Whether a stream was lost, or not found, since one last brought something. */
  hasFailed = false;

  constructor(clock: Clock, graceMs: number, session: Redialled) {
    this.#clock = clock;
    this.#graceMs = graceMs;
    this.#backoff = new Backoff(BACKOFF, clock);
    this.#session = session;
  }

  /** An attempt begins. */
  dialled(): void {
    this.#backoff.begin();
  }

  /**
   * The server answered: a session that is cut off again after each answer
   * need not wait longer each time.
   *
   * @param further whether more messages have arrived there than were known of
   */
  answered(further: boolean): void {
    this.#grace?.[Symbol.dispose]();
    this.#grace = undefined;
    this.#backoff.reset(further ? 0 : 1);
  }

  /** The stream brings something. */
  delivered(): void {
    this.hasFailed = false;
    this.#backoff.reset();
  }

  /**
   * The stream is gone, or no stream could be opened: has the session dial
   * again.
   *
   * @param waitMs how long the server asks to wait
   */
  lost(waitMs?: number): void {
    this.hasFailed = true;
    if (this.#grace === undefined || waitMs !== undefined) {
      this.#session.onResuming();
      this.#grace?.[Symbol.dispose]();
      // The process stays for it: there may be no socket that keeps it.
      this.#grace = this.#clock.startTimer(
        this.#graceMs + (waitMs ?? 0),
        () => this.#session.onGivenUp(),
        true,
      );
    }
    const pauseMs = this.#backoff.failed(waitMs);
    if (pauseMs === 0) this.#session.onDue();
    else this.#pause = this.#clock.startTimer(pauseMs, () => this.#session.onDue());
  }

  /** The session is over. */
  stop(): void {
    this.#grace?.[Symbol.dispose]();
    this.#pause?.[Symbol.dispose]();
  }
}
