import { subscribe } from "node:diagnostics_channel";
import type { Http2Session, Http2Stream } from "node:http2";
import type { Socket } from "node:net";
import { createOutputBuffers } from "../../src/http2/buffers.ts";
import { createConnection } from "../../src/http2/connection.ts";
import type { Http2Connection } from "../../src/http2/types.ts";

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

type Side = "client" | "server";

const streams = { client: new Set<Http2Stream>(), server: new Set<Http2Stream>() };
const sockets = { client: new Set<Socket>(), server: new Set<Socket>() };
const sessions = new Set<Http2Session>();
const pings: Record<Side, number> = { client: 0, server: 0 };
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

/** Our HTTP/2 connections that have received something, and are not closed. */
const ours = new Set<Http2Connection & { readonly isServer: boolean }>();

/** Adds each connection of this process when it receives something: there is no other place that all of them pass. */
function watchOurConnections(): void {
  const buffers = createOutputBuffers();
  const nothing = () => {};
  const clock = { now: () => 0, startTimer: () => ({ [Symbol.dispose]: nothing }) };
  const listener = {
    ...{ onRequest: () => undefined, onOutput: nothing, onFull: nothing },
    ...{ onSettings: nothing, onGoaway: nothing, onClosed: nothing },
  };
  const one = createConnection({ role: "server", clock, buffers }, listener);
  const prototype = Object.getPrototypeOf(one);
  const { receive, ping } = prototype;
  prototype.receive = function (chunk: Uint8Array) {
    ours.add(this);
    receive.call(this, chunk);
  };
  prototype.ping = function (onAnswer: () => void) {
    pings[this.isServer ? "server" : "client"]++;
    ping.call(this, onAnswer);
  };
}

watchOurConnections();

function streamsOfOurs(isServer: boolean): number {
  let count = 0;
  for (const connection of ours) {
    if (connection.isClosed) ours.delete(connection);
    else if (connection.isServer === isServer) count += connection.openStreams;
  }
  return count;
}

function live(set: Set<Socket>): number {
  for (const socket of set) if (socket.destroyed) set.delete(socket);
  return set.size;
}

export const census: Census = {
  get clientStreams() {
    return streams.client.size + streamsOfOurs(false);
  },
  get serverStreams() {
    return streams.server.size + streamsOfOurs(true);
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
  get http2Connections() {
    for (const session of sessions) if (session.destroyed) sessions.delete(session);
    for (const connection of ours) if (connection.isClosed) ours.delete(connection);
    return sessions.size + ours.size;
  },
  pings,
  get listeners() {
    let listeners = 0;
    for (const emitter of [...sessions, ...sockets.client, ...sockets.server]) {
      if (emitter.destroyed) continue;
      for (const name of emitter.eventNames()) listeners += emitter.listenerCount(name);
    }
    return listeners;
  },
};
