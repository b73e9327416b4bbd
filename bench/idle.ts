/**
 * The memory of what is idle, on both sides: of a stream with and without a session, and of a connection. Counts only the
 * objects in use, in the heap and outside of it: the rest of the resident memory depends on how the garbage collector
 * sized its spaces while the streams were opened.
 */
import { clients, type Kind, startServer } from "./hawser.ts";
import { idleConnections, idleJob, idleStreams, jobOf } from "./plan.ts";

interface Sides {
  server: number;
  client: number;
}

/**
 * The limits of both sides, in bytes. On the client, a call has objects of the application too, and each connection a
 * transport of its own.
 */
const LIMITS: Record<"stream" | "session" | "connection", number> = {
  stream: 4096,
  /** The additional bytes of a stream with a session. */
  session: 2000,
  connection: 12_288,
};

/** The number of connections with one stream each whose memory is measured. */
const CONNECTIONS = 1000;

const sides = ["server", "client"] as const;

/** Bytes of idle things, by side. */
export type IdleBytes = Record<keyof typeof LIMITS, Sides>;

export interface IdleCosts {
  readonly bytes: IdleBytes;
  /** The results above their limits, in words. */
  readonly missed: readonly string[];
}

export async function measureIdle(): Promise<IdleCosts> {
  const plain = await used("plain", idleStreams, idleConnections);
  const withSession = await used("session", idleStreams, idleConnections);
  const connected = await used("plain", CONNECTIONS, CONNECTIONS);
  const bytes = { stream: zero(), session: zero(), connection: zero() };
  const missed: string[] = [];
  for (const side of sides) {
    const stream = plain[side] / idleStreams;
    bytes.stream[side] = Math.round(stream);
    bytes.session[side] = Math.round(withSession[side] / idleStreams - stream);
    bytes.connection[side] = Math.round(connected[side] / CONNECTIONS - stream);
    for (const what of Object.keys(LIMITS) as (keyof typeof LIMITS)[]) {
      const more = what === "session" ? " more" : "";
      if (bytes[what][side] <= LIMITS[what]) continue;
      missed.push(`an idle ${what}: ${bytes[what][side]} B${more} on the ${side}`);
    }
  }
  return { bytes, missed };
}

function zero(): Sides {
  return { server: 0, client: 0 };
}

/** Returns the bytes of idle streams on some connections, on both sides. */
async function used(kind: Kind, streams: number, connections: number): Promise<Sides> {
  await using server = await startServer();
  await using client = await clients[kind]();
  const working = jobOf({ workload: "pipelined", streams: 100, size: 15 }, server, {
    warmMs: 0,
    measureMs: 1000,
  });
  const now = async () => ({
    server: (await server.memory()).used,
    client: (await client.memory()).used,
  });
  await client.measure(working, server);
  // V8 compiles now what opens streams and connections.
  await client.idle(idleJob(server.address, 200, Math.min(connections, 200)), async () => {});
  const before = await now();
  const after = await client.idle(idleJob(server.address, streams, connections), now);
  return { server: after.server - before.server, client: after.client - before.client };
}
