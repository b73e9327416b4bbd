import type { ConnectError } from "@connectrpc/connect";
import { asFailure } from "../failure.ts";
import type { Connection, ConnectionSource } from "./connection.ts";
import { NO_LONGER } from "./connections.ts";
import { type MethodHeaders, negotiated } from "./negotiate.ts";

/** A call that waits until its server has said whether it keeps sessions. */
export interface Asker {
  readonly call: { readonly isOver: boolean };
  readonly onAnswer: (asked: Connection) => void;
  readonly onFailed: (error: ConnectError) => void;
}

/** When this many calls wait, those that have ended are dropped; and again when twice as many wait as were left. */
const SWEPT_FROM = 64;

/** Asks whether the servers of a transport keep sessions, once for all calls that wait for the answer. */
export class SessionQuestion {
  readonly #source: ConnectionSource;
  #askers: Asker[] = [];
  #sweepAt = SWEPT_FROM;
  #isUnderWay = false;

  constructor(source: ConnectionSource) {
    this.#source = source;
  }

  /** Asks, unless that is under way. `asker` hears the answer, unless its call has ended by then. */
  ask(headers: MethodHeaders, asker: Asker): void {
    if (this.#askers.length === this.#sweepAt) {
      this.#askers = this.#askers.filter(({ call }) => !call.isOver);
      this.#sweepAt = Math.max(2 * this.#askers.length, SWEPT_FROM);
    }
    this.#askers.push(asker);
    if (this.#isUnderWay) return;
    this.#isUnderWay = true;
    const isWanted = () => this.#askers.some(({ call }) => !call.isOver);
    negotiated(this.#source, headers, isWanted).then(
      (connection) => this.#tell(({ onAnswer }) => onAnswer(connection)),
      (error) => {
        // A call may have come when the wait for the others had just ended.
        if (error === NO_LONGER) this.#tell((asker) => this.ask(headers, asker));
        else this.#tell(({ onFailed }) => onFailed(asFailure(error)));
      },
    );
  }

  #tell(how: (asker: Asker) => void): void {
    const askers = this.#askers;
    this.#askers = [];
    this.#sweepAt = SWEPT_FROM;
    this.#isUnderWay = false;
    for (const asker of askers) if (!asker.call.isOver) how(asker);
  }
}
