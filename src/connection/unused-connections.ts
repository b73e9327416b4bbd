/** A connection without calls that has had none for so long may give its place to a new one, in milliseconds. */
const UNUSED_MS = 1000;

/** How many connections are looked at for each new one that has no place. */
const LOOKS = 8;

/** A connection, as it is looked at. ServerConnection implements it. */
export interface UsableConnection {
  /** Since when it has had no open call, in milliseconds of the clock; `undefined` while calls are open. */
  readonly unusedSinceMs: number | undefined;
  /** Closes the connection. */
  close(): void;
}

/**
 * The connections of each client address. Where it has all that it may have, behind a NAT too, a new connection takes the
 * place of one that nobody uses: its client dials again for its next call.
 */
export class UnusedConnections<Connection extends UsableConnection> {
  /** Those that were looked at and were in use are the last. */
  readonly #ofClients = new Map<string, Set<Connection>>();

  add(client: string, connection: Connection): void {
    const connections = this.#ofClients.get(client) ?? new Set<Connection>();
    this.#ofClients.set(client, connections);
    connections.add(connection);
  }

  delete(client: string, connection: Connection): void {
    const connections = this.#ofClients.get(client);
    connections?.delete(connection);
    if (connections?.size === 0) this.#ofClients.delete(client);
  }

  /** Closes a connection of the client that nobody has used for a second at `nowMs`. Returns whether it had one. */
  closeOne(client: string, nowMs: number): boolean {
    const connections = this.#ofClients.get(client);
    if (connections === undefined) return false;
    let looks = 0;
    for (const connection of connections) {
      if (looks++ >= LOOKS) return false;
      const { unusedSinceMs = Infinity } = connection;
      connections.delete(connection);
      if (nowMs - unusedSinceMs >= UNUSED_MS) {
        connection.close();
        return true;
      }
      connections.add(connection);
    }
    return false;
  }
}
