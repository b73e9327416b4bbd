import type * as net from "node:net";
import { type Logger, log } from "../observe/logger.ts";
import { OnceAMinute } from "../observe/once-a-minute.ts";
import type { TrustedProxies } from "../server/callers.ts";
import { keyOfCaller } from "../sharing/caller-key.ts";
import { CallerAccount, SharedLimit } from "../sharing/shared-limit.ts";
import { peerOf } from "./socket-peer.ts";

/** How many connections a server may have. */
export interface ConnectionLimit {
  readonly maxConnections: number;
  /** The connections of these are of many clients: only the total limits them. */
  readonly proxies: TrustedProxies | undefined;
  readonly logger: Pick<Logger, "error">;
}

/**
 * Closes further connections when they are accepted: if `maxConnections` are open, and if the client's address has its share
 * of them. Logs the first one, and then their number at most once a minute.
 */
export function limitConnections(server: net.Server, init: ConnectionLimit): void {
  const { maxConnections, proxies, logger } = init;
  const limit = new SharedLimit("maxConnections", maxConnections);
  const clients = new Map<string, CallerAccount>();
  const closed = new OnceAMinute();
  const note = (why: string) =>
    closed.run((count) => {
      const what = count === 1 ? "a connection was" : `${count} connections were`;
      log(logger, "error", `${what} closed when accepted: ${why}`);
    });
  server.maxConnections = maxConnections;
  server.on("drop", () => {
    note(`maxConnections ${maxConnections} are open; raise it, or start more servers`);
  });
  // Before the listeners that read the socket.
  server.prependListener("connection", (socket: net.Socket) => {
    const peer = peerOf(socket);
    const isShared = proxies?.has(peer.address) === true;
    const key = isShared ? undefined : keyOfCaller({ identity: undefined, peer });
    const known = key === undefined ? undefined : clients.get(key);
    const client = known ?? new CallerAccount(limit);
    if (key !== undefined && client.free < 1) {
      socket.destroy();
      note(`${client.held} of maxConnections ${maxConnections} are of the client ${peer.address}`);
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
