import { MAX_STREAM_ID, NO_ERROR } from "./frames.ts";
import type { Output } from "./output.ts";
import type { PendingPings } from "./pings.ts";
import type { StreamTable } from "./stream-table.ts";
import type { EngineClock } from "./types.ts";

/** How long the last GOAWAY waits for the answer to a ping. */
const ROUND_TRIP_MS = 1000;

/** What a shutdown acts on: the connection. */
export interface ShutdownHost {
  readonly isServer: boolean;
  readonly clock: EngineClock;
  readonly output: Output;
  readonly pings: PendingPings;
  readonly streams: StreamTable;
  /** Called when no more requests are accepted: closes the connection if no stream is open. */
  afterStreamClosed(): void;
}

/**
 * The end of a connection that is announced (RFC 9113, 6.8). A server sends GOAWAY with the highest id that there is,
 * and the last one when the client must have read it: requests that were in flight meanwhile are served. A client, which
 * gets no requests, needs one GOAWAY.
 */
export class Shutdown {
  /** Whether the last GOAWAY was sent: no more requests are accepted. */
  isFinal = false;
  #isBegun = false;
  #timer: Disposable | undefined;
  readonly #host: ShutdownHost;

  constructor(host: ShutdownHost) {
    this.#host = host;
  }

  get isBegun(): boolean {
    return this.#isBegun;
  }

  begin(debugData: Uint8Array): void {
    if (this.#isBegun) return;
    this.#isBegun = true;
    const { isServer, clock, output, pings } = this.#host;
    const end = () => this.#end(debugData);
    if (!isServer) {
      end();
      return;
    }
    output.goaway(MAX_STREAM_ID, NO_ERROR, debugData);
    this.#timer = clock.startTimer(ROUND_TRIP_MS, end);
    pings.send(end);
  }

  /** The connection has ended otherwise. */
  stop(): void {
    this.#isBegun = true;
    this.isFinal = true;
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }

  #end(debugData: Uint8Array): void {
    if (this.isFinal) return;
    this.stop();
    this.#host.output.goaway(this.#host.streams.lastAcceptedId, NO_ERROR, debugData);
    this.#host.afterStreamClosed();
  }
}
