/** Scenarios of clients that hold connections without a request. They run once for each server, from Node. */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { setTimeout } from "node:timers/promises";
import type { Peer, Scenario } from "./scenario.ts";

function open(url: string): Socket {
  const socket = url.startsWith("unix:")
    ? connect(url.slice("unix:".length))
    : connect(Number(new URL(url).port), "127.0.0.1");
  // A connection that the server closes may be reset.
  return socket.on("error", () => {}).resume();
}

function closed(socket: Socket): Promise<unknown> {
  return new Promise((resolve) => socket.once("close", resolve));
}

/** The servers of `unix` and `mutual` have a short prefaceTimeoutMs. */
async function silentClients({ unix, mutual }: Peer): Promise<void> {
  const starts = ["", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"];
  const sockets = starts.map((start) => {
    const socket = open(unix);
    socket.write(start);
    return socket;
  });
  // The beginning of a TLS handshake.
  const handshake = open(mutual);
  handshake.write(Buffer.from("160301020001", "hex"));
  await Promise.all([...sockets, handshake].map(closed));
}

async function tooManyConnections({ crowded }: Peer): Promise<void> {
  const sockets = Array.from({ length: 30 }, () => open(crowded));
  // One address may have 8/9 of the 20 connections.
  const tooMany = 12;
  let count = 0;
  const closed = Promise.withResolvers<void>();
  for (const socket of sockets) {
    socket.once("close", () => {
      if (++count === tooMany) closed.resolve();
    });
  }
  await closed.promise;
  // What else the server closes is closed by then.
  await setTimeout(50);
  for (const socket of sockets) socket.destroy();
  assert.equal(count, tooMany);
}

export const limitScenarios: readonly Scenario[] = [
  {
    name: "a client that sends nothing is disconnected",
    run: silentClients,
    on: "Node",
    waits: true,
  },
  { name: "connections over maxConnections are closed", run: tooManyConnections, on: "Node" },
];
