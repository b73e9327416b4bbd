import { subscribe } from "node:diagnostics_channel";
import type { Http2Session, Http2Stream } from "node:http2";
import type { Socket } from "node:net";
import { openConnections, openStreams, pingsOf, type Side } from "./http2-census.ts";

/**
 * The open streams and sockets of this process: sockets as Node itself reports them, streams as Node reports them for its
 * own HTTP/2, and as the connections of ours count them. It counts both sides of a test that has its client and its server
 * in one process.
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
  /** HTTP/2 connections that had streams and are not closed, on both sides together. */
  readonly http2Connections: number;
  /** How many pings our HTTP/2 connections of one side have sent to see whether the peer is there. */
  readonly pings: Readonly<Record<Side, number>>;
  /** How many listeners the open sockets and the sessions of node:http2 have. */
  readonly listeners: number;
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

/** What the clients of a page have, and have had, where the calls of a test are made in one. */
export interface ClientCensus {
  readonly streams: number;
  readonly http2Connections: number;
  readonly pings: number;
  readonly openedWebSockets: number;
  readonly openWebSockets: number;
}

const noPage = (): ClientCensus => ({
  ...{ streams: 0, http2Connections: 0, pings: 0, openedWebSockets: 0, openWebSockets: 0 },
});
let inPage = noPage;

/** Counts what a page has as this process's own from now on. */
export function countPage(counts: () => ClientCensus): void {
  inPage = counts;
}

function live(set: Set<Socket>): number {
  for (const socket of set) if (socket.destroyed) set.delete(socket);
  return set.size;
}

export const census: Census = {
  get clientStreams() {
    return streams.client.size + openStreams("client") + inPage().streams;
  },
  get serverStreams() {
    return streams.server.size + openStreams("server");
  },
  get clientSockets() {
    return live(sockets.client) + inPage().openWebSockets;
  },
  get serverSockets() {
    return live(sockets.server);
  },
  get connections() {
    return connections + inPage().openedWebSockets;
  },
  get http2Connections() {
    for (const session of sessions) if (session.destroyed) sessions.delete(session);
    return sessions.size + openConnections() + inPage().http2Connections;
  },
  pings: {
    get client() {
      return pingsOf("client") + inPage().pings;
    },
    get server() {
      return pingsOf("server");
    },
  },
  get listeners() {
    let listeners = 0;
    for (const emitter of [...sessions, ...sockets.client, ...sockets.server]) {
      if (emitter.destroyed) continue;
      for (const name of emitter.eventNames()) listeners += emitter.listenerCount(name);
    }
    return listeners;
  },
};
