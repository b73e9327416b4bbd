/** When a side of a session acknowledges what its application took (session.proto, 6). */

import type { Clock } from "../flow/clock.ts";
import type { SessionStream } from "./attachment.ts";
import { CONTROL, receivedControl } from "./control.ts";
import type { SessionWindow } from "./session-window.ts";

/** After how long a message that the application took is acknowledged at the latest. */
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
 * The acknowledgements of one side of a session: at once where half a window
 * was taken; else with the next message that leaves in the second half of the
 * 50 ms, or alone at their end. While the session has no stream they wait.
 */
export class Acknowledger {
  readonly #window: SessionWindow;
  readonly #timer: Acknowledgements;
  #stream: SessionStream | undefined;
  /** Whether the timer will flush it: soon() has been called. */
  isScheduled = false;
  /** Whether an acknowledgement should leave with the next message: the session then calls now(). */
  isDue = false;

  constructor(window: SessionWindow, timer: Acknowledgements) {
    this.#window = window;
    this.#timer = timer;
  }

  /** From now on they leave on this stream; one leaves at once, since the last may have been lost with its stream. */
  attach(stream: SessionStream): void {
    this.#stream = stream;
    if (this.#window.delivered > 0) this.#write(stream);
  }

  /** There is no stream, or acknowledgements may no longer leave on it. */
  detach(): void {
    this.#stream = undefined;
  }

  /** Half a window was taken: as soon as there is a stream. */
  now(): void {
    this.isDue = false;
    if (this.#stream !== undefined && this.#window.ackPending) this.#write(this.#stream);
  }

  /** A message was taken: within 50 ms. Must not be called while it is scheduled. */
  soon(): void {
    this.isScheduled = true;
    this.#timer.schedule(this);
  }

  /** From now on the acknowledgement should go along with what is sent anyway. */
  onDue(): void {
    this.isDue = true;
  }

  /** The 50 ms are over: an acknowledgement that has not left yet leaves now. */
  flush(): void {
    if (this.isDue) this.now();
    this.isScheduled = false;
    if (this.#stream !== undefined && this.#window.ackPending) this.soon();
  }

  #write(stream: SessionStream): void {
    stream.write(CONTROL, receivedControl(this.#window.markAcknowledged()));
  }
}
