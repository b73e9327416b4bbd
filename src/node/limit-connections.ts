import type * as net from "node:net";
import { type Logger, log } from "../observe/logger.ts";
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

/** While connections are closed, their number is logged this often. */
const LOG_EVERY_MS = 60_000;

/**
 * Closes further connections when they are accepted: if `maxConnections` are open, and if the client's address has its share
 * of them. Logs the first one, and then their number once in LOG_EVERY_MS.
 */
export function limitConnections(server: net.Server, init: ConnectionLimit): void {
  const { maxConnections, proxies, logger } = init;
  const limit = new SharedLimit("maxConnections", maxConnections);
  const clients = new Map<string, CallerAccount>();
  const note = noting(logger);
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

/** Logs that a connection was closed, and why, at most once in LOG_EVERY_MS, with the number of those since. */
function noting(logger: Pick<Logger, "error">): (why: string) => void {
  let closed = 0;
  let mayLogAt = 0;
  return (why) => {
    closed++;
    const now = performance.now();
    if (now < mayLogAt) return;
    mayLogAt = now + LOG_EVERY_MS;
    const how = closed === 1 ? "a connection was" : `${closed} connections were`;
    log(logger, "error", `${how} closed when accepted: ${why}`);
    closed = 0;
  };
}
