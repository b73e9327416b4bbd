import { Backoff, GRPC_JITTER } from "../flow/backoff.ts";
import type { Clock } from "../flow/clock.ts";

/** After a stream that lasted `steadyMs`, the failures before it are forgotten. */
const BACKOFF = {
  ...{ initialMs: 100, factor: 1.6, maxMs: 5000, jitter: GRPC_JITTER },
  firstAtOnce: true,
  steadyMs: 10_000,
};

/** The session that a Redial calls when an attempt is due. */
export interface RedialListener {
  /** Called when the stream was lost, and again each time that the server asks to wait. */
  onResuming(): void;
  /** Called when the next attempt is due. */
  onDue(): void;
  /** Called when the grace has run out: the server no longer keeps the session. */
  onGivenUp(): void;
}

/**
 * Decides when a session that has lost its stream dials again: immediately, then
 * after pauses that grow with each failed attempt, or after the pause that the
 * server asks for; until the server's grace has run out, which counts from the
 * loss (session.proto, 8). A Redial has no streams.
 */
export class Redial {
  readonly #clock: Clock;
  readonly #graceMs: number;
  readonly #session: RedialListener;
  /** Counts the failed attempts in a row. */
  readonly #backoff: Backoff;
  /** Runs from the loss until a server answers. */
  #grace: Disposable | undefined;
  /** The pause before the next attempt; undefined while no attempt waits. */
  #pause: Disposable | undefined;
  /** Whether the server has asked for that pause. */
  #isPauseAsked = false;
  /** Whether stop() was called. */
  #isStopped = false;
  /** Whether a stream was lost, or could not be opened, since a message last arrived. */
  hasFailed = false;

  constructor(clock: Clock, graceMs: number, session: RedialListener) {
    this.#clock = clock;
    this.#graceMs = graceMs;
    this.#backoff = new Backoff(BACKOFF, clock);
    this.#session = session;
  }

  /** Notes that an attempt begins. */
  onDial(): void {
    this.#backoff.begin();
  }

  /**
   * Notes that the server answered: the pauses of a session that loses its
   * stream after each answer do not grow.
   *
   * @param madeProgress whether the server has more messages than was known
   */
  onAnswer(madeProgress: boolean): void {
    this.#grace?.[Symbol.dispose]();
    this.#grace = undefined;
    this.#backoff.succeeded(madeProgress ? 0 : 1);
  }

  /** Notes that a message arrived. */
  onArrival(): void {
    this.hasFailed = false;
    this.#backoff.succeeded();
  }

  /**
   * Has the session dial again: its stream was lost, or could not be opened.
   *
   * @param waitMs the pause that the server asks for
   */
  onLost(waitMs?: number): void {
    this.hasFailed = true;
    if (this.#grace === undefined || waitMs !== undefined) {
      this.#grace?.[Symbol.dispose]();
      // The timer keeps the process alive: there may be no socket that does.
      this.#grace = this.#clock.startTimer(
        this.#graceMs + (waitMs ?? 0),
        () => this.#session.onGivenUp(),
        true,
      );
      this.#session.onResuming();
      // The application hears of it, and may have ended the call.
      if (this.#isStopped) return;
    }
    const pauseMs = this.#backoff.failed(waitMs);
    if (pauseMs === 0) this.#session.onDue();
    else {
      this.#isPauseAsked = waitMs !== undefined;
      this.#pause = this.#clock.startTimer(pauseMs, () => this.#onPauseOver());
    }
  }

  /** Ends the pause before the next attempt, unless the server has asked for it. */
  endPause(): void {
    if (this.#pause === undefined || this.#isPauseAsked) return;
    this.#backoff.succeeded();
    this.#pause[Symbol.dispose]();
    this.#onPauseOver();
  }

  #onPauseOver(): void {
    this.#pause = undefined;
    this.#session.onDue();
  }

  /** Stops the timers: the session has ended. */
  stop(): void {
    this.#isStopped = true;
    this.#grace?.[Symbol.dispose]();
    this.#pause?.[Symbol.dispose]();
    this.#pause = undefined;
  }
}
