import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Caller, Peer } from "../caller.ts";
import { connectionBudget } from "../connection/connection-budget.ts";
import type { ConnectionMemory } from "../connection/connection-memory.ts";
import type { ReceiveBudget } from "../connection/receive-budget.ts";
import type { ServerMemory } from "../connection/server-memory.ts";
import { realClock } from "../flow/clock.ts";
import { rawToHeaders } from "../grpc/metadata.ts";
import type { Callers } from "../server/callers.ts";
import type { Connected, Parties } from "../sharing/parties.ts";

/** The memory of a server, and who shares it. */
export interface Http1MemoryInit {
  readonly callers: Callers;
  readonly parties: Parties;
  readonly memory: ServerMemory;
  /** `connectionBudgetBytes` */
  readonly budgetBytes: number;
  /** Called with the name of a limit that refuses a request, or ends a call. */
  readonly onRefused: (limit: string, caller: Caller) => void;
}

interface Connection extends Connected {
  readonly budget: ReceiveBudget;
}

/** Which memory the requests over HTTP/1.1 count for: that of their clients, before they are authenticated. */
export class Http1Memory {
  readonly #init: Http1MemoryInit;
  readonly #connections = new WeakMap<Socket, Connection>();

  constructor(init: Http1MemoryInit) {
    this.#init = init;
  }

  onConnection(socket: Socket, peer: Peer): void {
    const { budgetBytes: bytes, parties, onRefused } = this.#init;
    const caller = { identity: undefined, peer };
    const budget = connectionBudget({
      ...{ bytes, clock: realClock },
      onRefused: (limit) => onRefused(limit, caller),
    });
    const connection = { caller, budget };
    this.#connections.set(socket, connection);
    socket.once("close", () => {
      this.#connections.delete(socket);
      parties.onClosed(connection);
    });
  }

  /** Returns the memory of the client that makes the request; `undefined` if its connection is closed. */
  of({ socket, rawHeaders }: IncomingMessage): ConnectionMemory | undefined {
    const connection = this.#connections.get(socket);
    if (connection === undefined) return undefined;
    const { callers, parties, memory } = this.#init;
    const client = callers.clientOf(connection.caller, rawToHeaders(rawHeaders));
    return memory.of(parties.of(connection, client), connection.budget);
  }
}
