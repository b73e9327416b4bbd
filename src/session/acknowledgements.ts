/** The acknowledgements of the messages that the application took (session.proto, 6). */

import type { Clock } from "../flow/clock.ts";
import type { SessionStream } from "./attachment.ts";
import { CONTROL, receivedControl } from "./control.ts";
import type { SessionWindow } from "./session-window.ts";

/** A message that the application took is acknowledged within this time. */
const ACKNOWLEDGE_MS = 50;

/** One timer for the acknowledgements of all sessions of a process. */
export class Acknowledgements {
  readonly #clock: Clock;
  #scheduled: Acknowledger[] = [];
  #due: Acknowledger[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Has `acknowledger` acknowledge within 50 ms. */
  schedule(acknowledger: Acknowledger): void {
    if (this.#scheduled.length + this.#due.length === 0) this.#arm();
    this.#scheduled.push(acknowledger);
  }

  #arm(): void {
    this.#clock.startTimer(ACKNOWLEDGE_MS / 2, () => {
      for (const acknowledger of this.#due) acknowledger.flush();
      this.#due = this.#scheduled;
      this.#scheduled = [];
      for (const acknowledger of this.#due) acknowledger.onDue();
      if (this.#due.length > 0) this.#arm();
    });
  }
}

/**
 * Sends the acknowledgements of one side of a session: immediately if half a
 * window, or 64 KiB, was taken; else together with the next message that is sent in the
 * second half of the 50 ms, or by itself at their end. While the session has no
 * stream nothing is acknowledged.
 */
export class Acknowledger {
  readonly #window: SessionWindow;
  readonly #timer: Acknowledgements;
  #stream: SessionStream | undefined;
  /** Whether the timer will call flush(). */
  isScheduled = false;
  /** Whether the next message takes an acknowledgement along: the session then calls now(). */
  isDue = false;

  constructor(window: SessionWindow, timer: Acknowledgements) {
    this.#window = window;
    this.#timer = timer;
  }

  /**
   * Sends acknowledgements on this stream from now on. Sends one now: the previous one may have been lost with its
   * stream.
   */
  attach(stream: SessionStream): void {
    this.#stream = stream;
    if (this.#window.delivered > 0) this.#write(stream);
  }

  /** Sends no acknowledgement until the next attach(). */
  detach(): void {
    this.#stream = undefined;
  }

  /** Acknowledges now, or with attach() if there is no stream. */
  now(): void {
    this.isDue = false;
    if (this.#stream !== undefined && this.#window.ackPending) this.#write(this.#stream);
  }

  /** Acknowledges within 50 ms. Must not be called while `isScheduled`. */
  soon(): void {
    this.isScheduled = true;
    this.#timer.schedule(this);
  }

  /** Called after 25 ms: the next message that is sent takes the acknowledgement along. */
  onDue(): void {
    this.isDue = true;
  }

  /** Called after 50 ms: sends the acknowledgement if no message took it along. */
  flush(): void {
    if (this.isDue) this.now();
    this.isScheduled = false;
    if (this.#stream !== undefined && this.#window.ackPending) this.soon();
  }

  #write(stream: SessionStream): void {
    stream.write(CONTROL, receivedControl(this.#window.markAcknowledged()));
  }
}
