/** A server for h2spec, on the engine, the listener and the connections of createServer(). */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { setTimeout } from "node:timers/promises";
import { Keepalive, SERVER_TIMES } from "../../src/connection/keepalive.ts";
import { ServerConnections } from "../../src/connection/server-connections.ts";
import { ServerMemory } from "../../src/connection/server-memory.ts";
import type { ServerRequest } from "../../src/connection/server-request.ts";
import { realClock } from "../../src/flow/clock.ts";
import { createOutputBuffers } from "../../src/http2/buffers.ts";
import { createListener } from "../../src/node/listener.ts";
import "../../src/node/runtime.ts";
import { peerOf } from "../../src/node/socket-peer.ts";
import { SocketPipe } from "../../src/node/socket-pipe.ts";
import { Parties, sharedLimits } from "../../src/sharing/parties.ts";
import { SharedLimit } from "../../src/sharing/shared-limit.ts";

/** How long the answer to /hold waits after the end of the request. */
const HOLD_MS = 1000;

const BUDGET_BYTES = 8 * 2 ** 20;

export interface HoldServer extends AsyncDisposable {
  readonly port: number;
}

export async function startHoldServer(): Promise<HoldServer> {
  const memory = new ServerMemory(BUDGET_BYTES, { clock: realClock });
  const limits = sharedLimits({ maxOpenCalls: 1000, maxSessions: 0, maxBytes: 0 });
  const parties = new Parties(limits, (party) => memory.forget(party));
  const connections = new ServerConnections(
    {
      clock: realClock,
      buffers: createOutputBuffers(),
      keepalive: new Keepalive({}, SERVER_TIMES),
      maxConcurrentStreams: 100,
      peerTimeoutMs: 10_000,
      abuseBudget: 1000,
      minPingIntervalMs: 0,
      idleMs: Number.POSITIVE_INFINITY,
      ageMs: Number.POSITIVE_INFINITY,
      ageGraceMs: Number.POSITIVE_INFINITY,
      budgetBytes: BUDGET_BYTES,
      memory,
    },
    {
      partyOf: (connection) => parties.of(connection, connection.caller),
      onRequest: (request) => void serve(request),
      onAged() {},
      onClosed: (connection) => parties.onClosed(connection),
    },
  );
  const { server, destroyAll } = createListener(
    undefined,
    {
      ...{ prefaceTimeoutMs: 10_000, proxies: undefined, logger: console },
      connections: new SharedLimit("maxConnections", 1000),
    },
    {
      http2: (socket, received) => {
        const peer = peerOf(socket);
        connections.add(new SocketPipe(socket), { protocol: "h2", peer }, received);
      },
      http1: (socket) => socket.destroy(),
    },
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      destroyAll();
      await closed;
    },
  };
}

/** Answers with a body, which the cases about windows need. */
async function serve(request: ServerRequest): Promise<void> {
  const exchange = request.openExchange("message");
  try {
    for await (const _ of exchange.body);
    await setTimeout(HOLD_MS, undefined, { signal: exchange.signal });
    exchange.sendHeaders(200, new Headers({ "content-type": "text/plain" }));
    await exchange.write(Buffer.from("held for a second"));
    exchange.end(undefined);
  } catch {
    // The client has reset the stream, or the connection was ended.
  }
}
