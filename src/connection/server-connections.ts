import type { Peer } from "../caller.ts";
import type { ObservedServerConnection } from "../observe/events.ts";
import { keyOfCaller } from "../sharing/caller-key.ts";
import type { BytePipe } from "./byte-pipe.ts";
import {
  ServerConnection,
  type ServerConnectionListener,
  type ServerConnectionOptions,
} from "./server-connection.ts";
import { UnusedConnections } from "./unused-connections.ts";

/** The HTTP/2 connections of a server. Keepalive watches each of them while streams are open on it. */
export class ServerConnections {
  readonly #all = new Set<ServerConnection>();
  readonly #unused = new UnusedConnections<ServerConnection>();
  readonly #options: ServerConnectionOptions;
  readonly #listener: ServerConnectionListener;
  #onAllClosed: (() => void) | undefined;

  constructor(options: ServerConnectionOptions, listener: ServerConnectionListener) {
    this.#options = options;
    this.#listener = {
      partyOf: (connection) => listener.partyOf(connection),
      onRequest: (request) => listener.onRequest(request),
      onAged: (connection) => listener.onAged(connection),
      onClosed: (connection) => {
        this.#all.delete(connection);
        const client = clientOf(connection.caller.peer);
        if (client !== undefined) this.#unused.delete(client, connection);
        listener.onClosed(connection);
        if (this.#all.size === 0) this.#onAllClosed?.();
      },
    };
  }

  /**
   * Serves HTTP/2 on a pipe.
   *
   * @param of the connection, as observers see it
   * @param received the bytes that were read from the pipe already
   */
  add(pipe: BytePipe, of: ObservedServerConnection, received: Uint8Array): ServerConnection {
    const init = { options: this.#options, listener: this.#listener };
    const connection = new ServerConnection(pipe, of, init);
    this.#all.add(connection);
    const client = clientOf(of.peer);
    if (client !== undefined) this.#unused.add(client, connection);
    connection.start(received);
    return connection;
  }

  /** Closes a connection of a client that nobody uses, so that it may have another one. Returns whether it had one. */
  closeUnused(peer: Peer): boolean {
    const client = clientOf(peer);
    return client !== undefined && this.#unused.closeOne(client, this.#options.clock.now());
  }

  /** Tells every client to open no more calls here (GOAWAY). */
  drainAll(): void {
    for (const connection of this.#all) connection.drain();
  }

  /** Closes each connection when what was written to it has reached its socket. Resolves when all are closed. */
  async closeAll(): Promise<void> {
    for (const connection of this.#all) connection.close();
    if (this.#all.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#onAllClosed = resolve;
    });
  }

  destroyAll(): void {
    for (const connection of this.#all) connection.destroy();
  }
}

/** What the connections of one client have in common. */
function clientOf(peer: Peer): string | undefined {
  return keyOfCaller({ identity: undefined, peer });
}
