/** Writes RESULTS.md. */
import {
  boundInWords,
  boundOf,
  checkAll,
  type Findings,
  isLimit,
  isMet,
  measuredOf,
  missedOf,
  type Quantity,
  type Ratio,
  ratiosOf,
  tlsRatiosOf,
} from "./limits.ts";
import { kib, NONE, ratio, short, table, whole } from "./markdown.ts";
import { cpuPerMillion, medianOf, perSecond, type Round } from "./measure.ts";
import {
  type Cell,
  cells,
  idleConnections,
  idleStreams,
  minimums,
  nameOf,
  type Peer,
  peersOverTls,
  type Role,
  roles,
  tlsCells,
  windowOf,
} from "./plan.ts";

export interface Method {
  /** The date of the run, as YYYY-MM-DD. */
  readonly date: string;
  /** The cores, the system and the version of Node. */
  readonly machine: string;
  /** Each peer with its version. */
  readonly versions: readonly string[];
  readonly peers: readonly Peer[];
  readonly loadName: string;
  readonly target: Peer;
  readonly rounds: number;
  /** The number of rounds from which the limits hold. */
  readonly roundsOfLimits: number;
  readonly warmMs: number;
  readonly measureMs: number;
}

export function report(method: Method, found: Findings): string {
  return `# Benchmark results

Written by \`npm run bench\` on ${method.date}; do not edit.

* Machine: ${method.machine}.
* ${method.versions.join(", ")}.
* Everything runs with default settings, on the loopback interface, **compression off**, and without TLS where the row does
  not say so. Each program under test is a process of its own; client and server share the cores. Hawser's client makes plain
  gRPC calls, as the others do: \`npm run bench -- --sessions\` measures what sessions cost, which are on by default.
* ${method.rounds === 1 ? "One round" : `${method.rounds} rounds`} after a warm-up round; in each the peers do a row one directly after the other, each time beginning with
  another, ${method.warmMs} ms to warm up and ${method.measureMs} ms measured. Figures are medians of the rounds, ratios the medians of the rounds' ratios.
* A row is "workload streams × content". The content is a string of this many bytes. Ping-pong sends, waits for the echo,
  sends again. Pipelined keeps messages in flight on each stream: ${windows()}. Push is one
  server-streaming call, as fast as it can be. Unary is this many calls at a time, and a message is a call.
* CPU is user and system time of all threads of the process under test.
* grpc-js reads its messages with @grpc/proto-loader, as its documentation has it; Connect and Hawser run the same handlers.
  tonic runs on a current-thread runtime, with TCP_NODELAY, and windows of 1 MiB a stream and 8 MiB a connection.
* "Socket" is a server in Node without gRPC: it echoes, or sends, on a TCP connection as many bytes as Hawser's response has
  on the wire, with as many messages in flight. Its load is a program in Node.

${verdict(method, found)}

${asServers(method, found)}
${asClients(method, found)}
${overTls(found)}
${idle(method, found)}
## Minimums

What \`npm run bench -- --quick\` checks, as a server and as a client, in messages a second: ${minimums
    .map(
      ({ cell, minimumOf }) =>
        `${nameOf(cell)}: ${Object.entries(minimumOf)
          .map(([peer, minimum]) => `${minimum}× ${peer}`)
          .join(", ")}`,
    )
    .join("; ")}; an idle stream takes no more memory than grpc-js's.
`;
}

function verdict({ rounds, roundsOfLimits }: Method, found: Findings): string {
  const checked = checkAll(found);
  const limits = checked.filter(({ bound, measured }) => isLimit(bound) && measured !== undefined);
  const missed = missedOf(limits);
  const lines = missed.map(
    ({ name, measured, bound }) =>
      `* ${name}: ${ratio(measured as number)}, ${boundInWords(bound)}`,
  );
  const few = rounds < roundsOfLimits ? ` This run had ${rounds}: too few to judge by.` : "";
  return `## Limits

The tables of ratios have the limit of a ratio in brackets; an aim is a number to reach that decides nothing. The limits hold
for medians of at least ${roundsOfLimits} rounds; \`npm run bench\` exits with 1 if one is missed.${few} ${
    missed.length === 0
      ? `All ${limits.length} limits are met.`
      : `${limits.length - missed.length} of ${limits.length} limits are met. Missed:\n\n${lines.join("\n")}`
  }`;
}

function asServers(method: Method, found: Findings): string {
  return `## As servers

The same load on each: ${method.loadName}, one connection.

![CPU per message of each peer as a server](servers.svg)

${section("server", method, found)}`;
}

function asClients(method: Method, found: Findings): string {
  return `## As clients

Each calls the same server: ${method.target}, one connection.

![CPU per message of each peer as a client](clients.svg)

${section("client", method, found)}`;
}

function section(role: Role, { peers }: Method, found: Findings): string {
  const columns: readonly Peer[] = role === "server" ? [...peers, "socket"] : peers;
  const rounds = (cell: Cell) => found.cleartext.rounds(role, cell);
  const row = (cell: Cell, of: (peer: Peer) => string) => [nameOf(cell), ...columns.map(of)];
  const latencies = cells.filter(
    ({ workload }) => workload === "ping-pong" || workload === "unary",
  );
  return `CPU seconds of the ${role}'s process per million messages, which are µs per message:

${table(
  ["", ...columns],
  cells.map((cell) => row(cell, (peer) => short(medianOf(rounds(cell), peer, cpuPerMillion)))),
)}

Hawser's CPU, divided by that of a peer:

${ratios(role, found, "cpu")}

Messages a second (calls a second for unary):

${table(
  ["", ...columns],
  cells.map((cell) => row(cell, (peer) => whole(medianOf(rounds(cell), peer, perSecond)))),
)}

Hawser's messages a second, divided by those of a peer:

${ratios(role, found, "rate")}

Latency of a round trip, p50 / p99, in µs:

${table(
  ["", ...columns],
  latencies.map((cell) => row(cell, (peer) => latency(rounds(cell), peer))),
)}
${latencies.map((cell) => medianLatency(found, role, cell)).join("")}`;
}

/** Returns the table of one quantity, divided by that of each peer that the report compares it with. */
function ratios(role: Role, found: Findings, quantity: Quantity): string {
  const of = (cell: Cell) => ratiosOf(role, cell).filter((one) => one.quantity === quantity);
  const head = of(cells[0] as Cell).map(({ theirs }) => theirs);
  return table(
    ["", ...head],
    cells.map((cell) => [nameOf(cell), ...of(cell).map((one) => withBound(found, one))]),
  );
}

/** Returns a ratio with its limit or aim; bold if the limit is missed. */
function withBound(found: Findings, one: Ratio): string {
  const measured = measuredOf(found, one);
  const bound = boundOf(one);
  if (measured === undefined) return NONE;
  const { atMost, atLeast, aim } = bound;
  const limit =
    atMost !== undefined ? `≤ ${atMost}` : atLeast !== undefined ? `≥ ${atLeast}` : undefined;
  const inBrackets = [limit, aim === undefined ? undefined : `aim ${aim}`].filter(
    (part) => part !== undefined,
  );
  const text =
    inBrackets.length === 0 ? ratio(measured) : `${ratio(measured)} (${inBrackets.join(", ")})`;
  return isMet(measured, bound) ? text : `**${text}**`;
}

function overTls(found: Findings): string {
  const tables = roles.map((role) => {
    const columns = [...new Set(tlsCells.flatMap((cell) => peersOverTls(role, cell)))];
    const figure = (cell: Cell, peer: Peer) => {
      const cost = short(medianOf(found.tls.rounds(role, cell), peer, cpuPerMillion));
      const one = tlsRatiosOf(role, cell).find(({ theirs }) => theirs === peer);
      return one === undefined || cost === NONE ? cost : `${cost}: ${withBound(found, one)}`;
    };
    return `As a ${role}:

${table(
  ["", ...columns],
  tlsCells.map((cell) => [nameOf(cell), ...columns.map((peer) => figure(cell, peer))]),
)}
`;
  });
  return `## Over TLS

CPU seconds of the process per million messages; after the colon, how many times as much Hawser takes over TLS. "Socket" is
a TLS socket in Node that sends the same bytes. Client and server agree on the cipher that their defaults prefer.

${tables.join("\n")}`;
}

function idle({ peers }: Method, found: Findings): string {
  const figure = (role: Role, peer: Peer) => {
    const memory = found.idle.get(`${role} ${peer}`);
    return `${kib(memory?.used ?? Number.NaN)} (${kib(memory?.rss ?? Number.NaN)})`;
  };
  return `## Idle streams

Memory of objects per open stream, in the heap and outside of it, and in brackets the resident memory, in KiB: at ${whole(idleStreams)}
streams over ${idleConnections} connections that have each exchanged one message, over what the process took after a second of load; both
after a garbage collection. Resident memory also depends on how the pages of that load are used again. In Go, memory of objects
includes stacks; tonic cannot say it. A client's must be below grpc-js's.

${table(
  ["", ...peers],
  roles.map((role) => [`as a ${role}`, ...peers.map((peer) => figure(role, peer))]),
)}
`;
}

/** Returns what the report says of the p50 of a row that has a limit. */
function medianLatency(found: Findings, role: Role, cell: Cell): string {
  return ratiosOf(role, cell)
    .filter((one) => one.quantity === "p50" && isLimit(boundOf(one)))
    .map(
      (one) =>
        `\nHawser's p50 of ${nameOf(cell)}, divided by ${one.theirs}'s: ${withBound(found, one)}.\n`,
    )
    .join("");
}

function windows(): string {
  const on = (streams: number, size: number) => windowOf({ workload: "pipelined", streams, size });
  return `${on(1, 15)} on a stream by itself, ${on(100, 15)} on each of 100, ${on(1, 65_536)} where they have 64 KiB`;
}

function latency(rounds: readonly Round[], peer: Peer): string {
  const p50 = medianOf(rounds, peer, ({ p50Us }) => p50Us);
  const p99 = medianOf(rounds, peer, ({ p99Us }) => p99Us);
  return p50 > 0 ? `${whole(p50)} / ${whole(p99)}` : NONE;
}
