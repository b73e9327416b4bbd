import type * as net from "node:net";
import type { Peer } from "../caller.ts";
import type { ServerObserver } from "../observe/events.ts";
import { type Logger, log } from "../observe/logger.ts";
import type { Notifier } from "../observe/notifier.ts";
import { OnceAMinute } from "../observe/once-a-minute.ts";
import type { TrustedProxies } from "../server/callers.ts";
import { keyOfCaller } from "../sharing/caller-key.ts";
import { CallerAccount, type SharedLimit } from "../sharing/shared-limit.ts";
import { peerOf, peerOfDropped } from "./socket-peer.ts";

/** How many connections a server may have. */
export interface ConnectionLimit {
  /** "maxConnections" */
  readonly connections: SharedLimit;
  /** The connections of these are of many clients: only the total limits them. */
  readonly proxies: TrustedProxies | undefined;
  /** Closes a connection of a client that nobody uses. Returns whether it had one. */
  readonly closeUnused?: ((peer: Peer) => boolean) | undefined;
  readonly logger: Pick<Logger, "error">;
  /** Undefined if the server has no observer. */
  readonly notifier?: Notifier<ServerObserver> | undefined;
}

/**
 * Closes further connections when they are accepted: if `maxConnections` are open, and if the client's address has its share
 * of them; then a new one may take the place of one that nobody uses. Logs the first one, and then their number at most once a minute.
 */
export function limitConnections(server: net.Server, init: ConnectionLimit): void {
  const { connections: limit, proxies, closeUnused, logger, notifier } = init;
  const maxConnections = limit.total;
  const clients = new Map<string, CallerAccount>();
  const closed = new OnceAMinute();
  const refuse = (peer: Peer, why: string) => {
    limit.refuse({ identity: undefined, peer });
    notifier?.tell("connectionRefused", { peer, why: "maxConnections" });
    closed.run((count) => {
      const what = count === 1 ? "a connection was" : `${count} connections were`;
      log(logger, "error", `${what} closed when accepted: ${why}`);
    });
  };
  server.maxConnections = maxConnections;
  server.on("drop", (dropped) => {
    const why = `maxConnections ${maxConnections} are open; raise it, or start more servers`;
    refuse(peerOfDropped(dropped), why);
  });
  // Before the listeners that read the socket.
  server.prependListener("connection", (socket: net.Socket) => {
    const peer = peerOf(socket);
    const isShared = proxies?.has(peer.address) === true;
    const key = isShared ? undefined : keyOfCaller({ identity: undefined, peer });
    const known = key === undefined ? undefined : clients.get(key);
    const client = known ?? new CallerAccount(limit);
    if (key !== undefined && client.free < 1 && closeUnused?.(peer) !== true) {
      socket.destroy();
      const why = `${client.held} of maxConnections ${maxConnections} are of the client ${peer.address}`;
      refuse(peer, why);
      return;
    }
    if (key !== undefined) clients.set(key, client);
    client.count(1);
    socket.once("close", () => {
      client.count(-1);
      if (key !== undefined && client.held === 0) clients.delete(key);
    });
  });
}
