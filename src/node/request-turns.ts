import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { slices } from "../flow/slice.ts";

/** A connection on which more requests wait is closed. */
const MAX_WAITING = 100;

/** After how much of the slice a request waits for a later turn. */
const SLICE_MS = 2;

/** The request of a connection, and its response. */
export interface Turn {
  readonly socket: Socket;
  readonly response: ServerResponse;
  serve(): void;
}

/**
 * Has the requests of a connection of HTTP/1.1 served one after the other. A client may send requests before it has the
 * responses to earlier ones (pipelining; RFC 9112, 9.3.2), and node:http hands over each when it has arrived: all of them would
 * be open calls, which no limit counts. Those of several connections take turns with other work.
 */
export class RequestTurns {
  /** The requests that wait for the response to the one that is served. While none is served, there is no entry. */
  readonly #waiting = new WeakMap<Socket, Turn[]>();

  /** Serves the request now, or after those that have arrived before. */
  add(turn: Turn): void {
    const { socket } = turn;
    const waiting = this.#waiting.get(socket);
    if (waiting === undefined) {
      this.#waiting.set(socket, []);
      this.#begin(turn);
    } else if (waiting.length < MAX_WAITING) waiting.push(turn);
    else socket.destroy();
  }

  #begin({ socket, response, serve }: Turn): void {
    response.once("close", () => this.#onResponded(socket));
    // Requests of hundreds of connections may arrive in the same turn.
    const begin = () => {
      if (!socket.destroyed) serve();
    };
    if (slices.admitsInput && slices.hasLasted(SLICE_MS)) slices.waitWithInput(begin);
    else begin();
  }

  #onResponded(socket: Socket): void {
    const next = socket.destroyed ? undefined : this.#waiting.get(socket)?.shift();
    if (next === undefined) this.#waiting.delete(socket);
    else this.#begin(next);
  }
}
