/** Writes RESULTS.md. */
import { readFileSync } from "node:fs";
import { arch, availableParallelism, cpus, platform } from "node:os";
import type { Idle } from "./full.ts";
import {
  cpuPerMillion,
  medianOf,
  perSecond,
  type Results,
  type Round,
  ratioTo,
} from "./measure.ts";
import {
  type Cell,
  cells,
  idleConnections,
  idleStreams,
  minimums,
  nameOf,
  type Peer,
  type Role,
  windowOf,
} from "./plan.ts";
import type { World } from "./world.ts";

export interface Method {
  rounds: number;
  warmMs: number;
  measureMs: number;
}

export function report(
  world: World,
  { results, idle }: { results: Results; idle: Idle },
  method: Method,
): string {
  const others = world.peers.filter((peer) => peer !== "hawser");
  const section = (role: Role, title: string, intro: string) => {
    const rounds = (cell: Cell) => results.rounds(role, cell);
    return `## ${title}

${intro}

Messages a second (calls a second for unary), and in brackets how many times as fast Hawser is:

${table(
  ["", "hawser", ...others],
  cells.map((cell) => [
    nameOf(cell),
    whole(medianOf(rounds(cell), "hawser", perSecond)),
    ...others.map((peer) => {
      const rate = whole(medianOf(rounds(cell), peer, perSecond));
      return `${rate} (${ratio(ratioTo(rounds(cell), peer))}×)`;
    }),
  ]),
)}

CPU seconds of the ${role}'s process per million messages:

${table(
  ["", ...world.peers],
  cells.map((cell) => [
    nameOf(cell),
    ...world.peers.map((peer) => short(medianOf(rounds(cell), peer, cpuPerMillion))),
  ]),
)}

Latency of a round trip, p50 / p99, in µs:

${table(
  ["", ...world.peers],
  cells
    .filter(({ workload }) => workload === "ping-pong" || workload === "unary")
    .map((cell) => [nameOf(cell), ...world.peers.map((peer) => latency(rounds(cell), peer))]),
)}
`;
  };
  const server = section(
    "server",
    "As servers",
    `The same load on each: ${world.loadName}, one connection.`,
  );
  const client = section(
    "client",
    "As clients",
    `Each calls the same server: ${world.target}, one connection.`,
  );
  return `# Benchmark results

Written by \`npm run bench\` on ${new Date().toISOString().slice(0, 10)}; do not edit.

* Machine: ${availableParallelism()} cores (${cpus()[0]?.model ?? "unknown"}), ${platform()} ${arch()}, Node ${process.versions.node}.
* hawser ${versionOf("../package.json")}, connect-node ${dependency("@connectrpc/connect-node")}, @grpc/grpc-js ${dependency("@grpc/grpc-js")}${world.goVersion === undefined ? "" : `, grpc-go ${world.goVersion}`}.
* Everything runs with default settings, cleartext on the loopback interface, **compression off**. Each program under
  test is a process of its own; client and server share the cores.
* ${method.rounds} rounds after a warm-up round; in each the peers do a row one right after the other, in turn as the first,
  ${method.warmMs} ms to warm up and ${method.measureMs} ms measured. Figures are medians of the rounds, ratios the medians of the rounds' ratios.
* A row is "workload streams × content". The content is a string of this many bytes. Ping-pong sends, waits for the echo,
  sends again. Pipelined keeps messages in flight on each stream: ${windows()}. Push is one
  server-streaming call, as fast as it goes. Unary is this many calls at a time.
* grpc-js reads its messages with @grpc/proto-loader, as its documentation has it; Connect and Hawser run the same handlers.

${server}
${client}
## Idle streams

Resident memory per open stream, at ${whole(idleStreams)} streams over ${idleConnections} connections that have each exchanged one message, over
what the process took after a second of load; both after a garbage collection, in KiB:

${table(
  ["", ...world.peers],
  (["server", "client"] as const).map((role) => [
    `as ${role}`,
    ...world.peers.map((peer) => ((idle.get(`${role} ${peer}`) ?? Number.NaN) / 1024).toFixed(1)),
  ]),
)}

## Minimums

What \`npm run bench -- --quick\` holds, as a server and as a client: ${minimums
    .map(
      ({ cell, minimumOf }) =>
        `${nameOf(cell)}: ${Object.entries(minimumOf)
          .map(([peer, minimum]) => `${minimum}× ${peer}`)
          .join(", ")}`,
    )
    .join("; ")}; an idle stream costs no more than grpc-js's.
`;
}

function table(head: string[], rows: string[][]): string {
  const line = (columns: string[]) => `| ${columns.join(" | ")} |`;
  const rule = head.map((_, i) => (i === 0 ? "---" : "---:"));
  return [head, rule, ...rows].map(line).join("\n");
}

function windows(): string {
  const on = (streams: number, size: number) => windowOf({ workload: "pipelined", streams, size });
  return `${on(1, 15)} on a stream by itself, ${on(100, 15)} on each of 100, ${on(1, 65_536)} where they have 64 KiB`;
}

function latency(rounds: readonly Round[], peer: Peer): string {
  const p50 = medianOf(rounds, peer, ({ p50Us }) => p50Us);
  const p99 = medianOf(rounds, peer, ({ p99Us }) => p99Us);
  return `${whole(p50)} / ${whole(p99)}`;
}

const whole = (value: number) => Number(value.toPrecision(3)).toLocaleString("en-US");
const short = (value: number) => String(Number(value.toPrecision(3)));
const ratio = (value: number) => value.toFixed(value < 10 ? 2 : 1);

function dependency(name: string): string {
  return versionOf(`../node_modules/${name}/package.json`);
}

function versionOf(path: string): string {
  return JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8")).version;
}
