import { subscribe } from "node:diagnostics_channel";
import type { Http2Session, Http2Stream } from "node:http2";
import type { Socket } from "node:net";

/**
 * The open streams and sockets of this process, as Node itself reports them. It counts both sides of a test that has its
 * client and its server in one process, and does not depend on the code of either.
 */
export interface Census {
  /** HTTP/2 streams now open on the client's side. */
  readonly clientStreams: number;
  /** HTTP/2 streams now open on the server's side. */
  readonly serverStreams: number;
  /** Sockets that clients of this process opened and that are not closed. */
  readonly clientSockets: number;
  /** Sockets that servers of this process accepted and that are not closed. */
  readonly serverSockets: number;
  /** How many sockets clients of this process ever opened. */
  readonly connections: number;
  /** The HTTP/2 sessions that had streams and are not destroyed. */
  readonly sessions: readonly Http2Session[];
}

const streams = { client: new Set<Http2Stream>(), server: new Set<Http2Stream>() };
const sockets = { client: new Set<Socket>(), server: new Set<Socket>() };
const sessions = new Set<Http2Session>();
let connections = 0;

for (const side of ["client", "server"] as const) {
  subscribe(`http2.${side}.stream.created`, (message) => {
    const { stream } = message as { stream: Http2Stream };
    streams[side].add(stream);
    if (stream.session) sessions.add(stream.session);
  });
  subscribe(`http2.${side}.stream.close`, (message) => {
    streams[side].delete((message as { stream: Http2Stream }).stream);
  });
  subscribe(`net.${side}.socket`, (message) => {
    const { socket } = message as { socket: Socket };
    sockets[side].add(socket);
    connections += side === "client" ? 1 : 0;
  });
}

function live(set: Set<Socket>): number {
  for (const socket of set) if (socket.destroyed) set.delete(socket);
  return set.size;
}

export const census: Census = {
  get clientStreams() {
    return streams.client.size;
  },
  get serverStreams() {
    return streams.server.size;
  },
  get clientSockets() {
    return live(sockets.client);
  },
  get serverSockets() {
    return live(sockets.server);
  },
  get connections() {
    return connections;
  },
  get sessions() {
    for (const session of sessions) if (session.destroyed) sessions.delete(session);
    return [...sessions];
  },
};
