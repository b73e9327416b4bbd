import type { ConnectError } from "@connectrpc/connect";
import { asFailure, ownCopy } from "../failure.ts";
import type { Connection, ConnectionSource } from "./connection.ts";
import { NO_LONGER } from "./connections.ts";
import { type MethodHeaders, negotiatedConnection } from "./negotiate.ts";

/** A call that waits until it is known whether its server keeps sessions. */
export interface WaitingCall {
  readonly call: { readonly isOver: boolean };
  readonly onAnswer: (asked: Connection) => void;
  readonly onFailed: (error: ConnectError) => void;
}

/** When this many calls wait, those that have ended are dropped; again when twice the remaining number wait. */
const SWEPT_FROM = 64;

/** Asks whether the servers of a transport keep sessions, once for all calls that wait for the answer. */
export class SessionQuestion {
  readonly #source: ConnectionSource;
  #waiting: WaitingCall[] = [];
  #sweepAt = SWEPT_FROM;
  #isUnderWay = false;

  constructor(source: ConnectionSource) {
    this.#source = source;
  }

  /** Asks, unless that is under way already. Calls back with the answer, unless the call has ended by then. */
  ask(headers: MethodHeaders, waiter: WaitingCall): void {
    if (this.#waiting.length === this.#sweepAt) {
      this.#waiting = this.#waiting.filter(({ call }) => !call.isOver);
      this.#sweepAt = Math.max(2 * this.#waiting.length, SWEPT_FROM);
    }
    this.#waiting.push(waiter);
    if (this.#isUnderWay) return;
    this.#isUnderWay = true;
    const isWanted = () => this.#waiting.some(({ call }) => !call.isOver);
    negotiatedConnection(this.#source, headers, isWanted).then(
      (connection) => this.#callBack(({ onAnswer }) => onAnswer(connection)),
      (error) => {
        // NO_LONGER: all calls had ended; another call may have begun to wait since then.
        if (error === NO_LONGER) this.#callBack((waiter) => this.ask(headers, waiter));
        else this.#callBack(({ onFailed }) => onFailed(ownCopy(asFailure(error))));
      },
    );
  }

  #callBack(run: (waiter: WaitingCall) => void): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#sweepAt = SWEPT_FROM;
    this.#isUnderWay = false;
    for (const waiter of waiting) if (!waiter.call.isOver) run(waiter);
  }
}
