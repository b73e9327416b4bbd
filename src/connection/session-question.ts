import type { ConnectError } from "@connectrpc/connect";
import { asFailure, ownCopy } from "../failure.ts";
import { type Connection, type ConnectionSource, NO_LONGER } from "./connection.ts";
import { type NegotiateHeaders, negotiatedConnection } from "./negotiate.ts";

/** A call, or a session, that waits until it is known whether its server keeps sessions. */
export interface WaitingForAnswer {
  /** Whether the answer is still needed. */
  readonly isWanted: () => boolean;
  readonly onAnswer: (asked: Connection) => void;
  readonly onFailed: (error: ConnectError) => void;
}

/** When this many wait, those that no longer do are dropped; again when twice the remaining number wait. */
const SWEPT_FROM = 64;

/** Asks whether the servers of a source keep sessions, once for all that wait for the answer. */
export class SessionQuestion {
  readonly #source: ConnectionSource;
  #waiting: WaitingForAnswer[] = [];
  #sweepAt = SWEPT_FROM;
  #isUnderWay = false;

  constructor(source: ConnectionSource) {
    this.#source = source;
  }

  /** Asks, unless that is under way already. Calls back with the answer, unless that is no longer wanted by then. */
  ask(headers: NegotiateHeaders, waiter: WaitingForAnswer): void {
    if (this.#waiting.length === this.#sweepAt) {
      this.#waiting = this.#waiting.filter(({ isWanted }) => isWanted());
      this.#sweepAt = Math.max(2 * this.#waiting.length, SWEPT_FROM);
    }
    this.#waiting.push(waiter);
    if (this.#isUnderWay) return;
    this.#isUnderWay = true;
    const isAnyWanted = () => this.#waiting.some(({ isWanted }) => isWanted());
    negotiatedConnection(this.#source, headers, isAnyWanted).then(
      (connection) => this.#callBack(({ onAnswer }) => onAnswer(connection)),
      (error) => {
        // NO_LONGER: no answer was wanted; another call may have begun to wait since then.
        if (error === NO_LONGER) this.#callBack((waiter) => this.ask(headers, waiter));
        else this.#callBack(({ onFailed }) => onFailed(ownCopy(asFailure(error))));
      },
    );
  }

  #callBack(run: (waiter: WaitingForAnswer) => void): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#sweepAt = SWEPT_FROM;
    this.#isUnderWay = false;
    for (const waiter of waiting) if (waiter.isWanted()) run(waiter);
  }
}
