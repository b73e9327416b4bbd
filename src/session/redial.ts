import { A_FIFTH, Backoff } from "../flow/backoff.ts";
import type { Clock } from "../flow/clock.ts";

/** A stream that lived for `steadyMs` was no failure. */
const BACKOFF = {
  ...{ initialMs: 100, factor: 1.6, maxMs: 5000, jitter: A_FIFTH },
  firstAtOnce: true,
  steadyMs: 10_000,
};

/** The session that dials: it does what a Redial tells it. */
export interface Redialled {
  /** It begins to look for a stream; also each time that the server says when it may come. */
  onResuming(): void;
  /** It is time for the next attempt. */
  onDue(): void;
  /** The server does not keep the session any longer. */
  onGivenUp(): void;
}

/**
 * When a session that has lost its stream dials again: at once, then behind
 * pauses that grow with each attempt that brings nothing, or when the server
 * says; until the server's grace has run out, which counts from the loss on
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
   * The server answered: it is there, and whoever is cut off again need not
   * wait longer each time.
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
    this.#backoff.reset();
  }

  /**
   * The stream is gone, or there was none: another one, soon.
   *
   * @param waitMs how much later the server wants it
   */
  lost(waitMs?: number): void {
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
