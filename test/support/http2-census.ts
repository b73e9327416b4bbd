/** The HTTP/2 connections of ours in this process, or in this page: how many there are, with which streams. */
import { createOutputBuffers } from "../../src/http2/buffers.ts";
import { createConnection } from "../../src/http2/connection.ts";
import type { Http2Connection } from "../../src/http2/types.ts";

export type Side = "client" | "server";

/** Those that have received something, and are not closed. */
const ours = new Set<Http2Connection & { readonly isServer: boolean }>();
const pings: Record<Side, number> = { client: 0, server: 0 };

/** Adds each connection when it receives something: there is no other place that all of them pass. */
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

/** How many streams the connections of one side have. */
export function openStreams(side: Side): number {
  let count = 0;
  for (const connection of ours) {
    if (connection.isClosed) ours.delete(connection);
    else if (connection.isServer === (side === "server")) count += connection.openStreams;
  }
  return count;
}

/** How many connections there are, of both sides together. */
export function openConnections(): number {
  for (const connection of ours) if (connection.isClosed) ours.delete(connection);
  return ours.size;
}

/** How many pings the connections of one side have sent to see whether the peer is there. */
export function pingsOf(side: Side): number {
  return pings[side];
}
