/** When a side of a session acknowledges what its application took (session.proto, 6). */

import type { Clock } from "../flow/clock.ts";
import type { SessionStream } from "./attachment.ts";
import { CONTROL, receivedControl } from "./control.ts";
import type { Ledger } from "./ledger.ts";

/** After how long a message that the application took is acknowledged at the latest. */
const ACKNOWLEDGE_MS = 50;

/** One timer for the acknowledgements of all sessions of a process. */
export class Acknowledgements {
  readonly #clock: Clock;
  #owing: Acknowledger[] = [];
  #reminded: Acknowledger[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Has `debtor` acknowledge within 50 ms. */
  owe(debtor: Acknowledger): void {
    if (this.#owing.length + this.#reminded.length === 0) this.#arm();
    this.#owing.push(debtor);
  }

  #arm(): void {
    this.#clock.startTimer(ACKNOWLEDGE_MS / 2, () => {
      for (const debtor of this.#reminded) debtor.settle();
      this.#reminded = this.#owing;
      this.#owing = [];
      for (const debtor of this.#reminded) debtor.remind();
      if (this.#reminded.length > 0) this.#arm();
    });
  }
}

/**
 * The acknowledgements of one side of a session: at once where half a window
 * was taken; else with the next message that leaves in the second half of the
 * 50 ms, or alone at their end. Where no stream carries the session they wait.
 */
export class Acknowledger {
  readonly #ledger: Ledger;
  readonly #timer: Acknowledgements;
  #stream: SessionStream | undefined;
  #owing = false;
  #reminded = false;

  constructor(ledger: Ledger, timer: Acknowledgements) {
    this.#ledger = ledger;
    this.#timer = timer;
  }

  /** From now on they go on this stream; at once, for the last one may be lost with the last stream. */
  attach(stream: SessionStream): void {
    this.#stream = stream;
    if (this.#ledger.taken > 0) this.#write(stream);
  }

  /** There is no stream, or it may carry no more of them. */
  detach(): void {
    this.#stream = undefined;
  }

  /** Half a window was taken: as soon as there is a stream. */
  now(): void {
    this.#reminded = false;
    if (this.#stream !== undefined && this.#ledger.owes) this.#write(this.#stream);
  }

  /** A message was taken: within 50 ms. */
  soon(): void {
    if (this.#owing) return;
    this.#owing = true;
    this.#timer.owe(this);
  }

  /** A message leaves: what is due can go with it. */
  onSent(): void {
    if (this.#reminded) this.now();
  }

  /** From now on the acknowledgement should go along with what is sent anyway. */
  remind(): void {
    this.#reminded = true;
  }

  /** It must leave, if it has not since. */
  settle(): void {
    if (this.#reminded) this.now();
    this.#owing = false;
    if (this.#stream !== undefined && this.#ledger.owes) this.soon();
  }

  #write(stream: SessionStream): void {
    stream.write(CONTROL, receivedControl(this.#ledger.tell()));
  }
}
