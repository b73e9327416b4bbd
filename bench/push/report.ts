/** Writes PUSH.md. */
import type { Measured } from "../child.ts";
import { kib, short, table, whole } from "../markdown.ts";
import { machine, today } from "../method.ts";
import { PER_CONNECTION } from "./job.ts";
import {
  CROWDS,
  costOf,
  cpuPerPost,
  type Findings,
  fanOutKey,
  growth,
  IDLE,
  MAXIMUMS,
  MINIMUMS,
  medianOf,
  missed,
  missedOfCentrifugo,
  NO_WATCHERS,
  POSTERS,
  perCpuSecond,
  perSecond,
  ratioTo,
  SATURATED,
  STEADY,
  WATCHERS,
  WAYS,
  type Way,
} from "./plan.ts";
import type { Timing } from "./stage.ts";

export interface Method extends Timing {
  readonly rounds: number;
  readonly centrifugo: string;
}

const ways: Record<Way, string> = {
  append: "`TopicLog.append`, in process",
  Join: "`Join`, a call each, a room each",
  Post: "`Post`, a call a message, one room",
};

const SATURATION = { name: "at saturation", window: SATURATED };
const BY_ITSELF = { name: "each message by itself", window: 1 };

export function report(found: Findings, method: Method): string {
  const others = found.peers.filter((peer) => !peer.startsWith("hawser"));
  const hasCentrifugo = others.includes("centrifugo");
  const under = [...missed(found), ...missedOfCentrifugo(found)];
  return `# Benchmark results: push

Written by \`npm run bench:push\` on ${today()}; do not edit.

* Machine: ${machine()}.
* hawser: the rooms of the example server, with the log in memory and with SQLite on the disk (WAL, fsync before each answer).
* socket.io 4.8: WebSocket alone, one room, \`io.to(room).emit()\`; nothing is kept.${hasCentrifugo ? `\n* Centrifugo ${method.centrifugo}: its defaults, JSON over WebSocket, one channel without history; posts by its HTTP API in batches.` : ""}
* Watchers and posters are a process of their own, which counts messages and does not decode them: it is the server that is
  measured, by the CPU of its process, all threads. Client and server share the cores.
* The watchers and posters of Hawser use its HTTP/2 engine, without its call layer, and no longer an HTTP/2 of this benchmark's
  own. They announce the same windows, and it is still the server's CPU that counts: earlier figures can be compared. Both loads
  in turn against one server, 1,000 watchers, a busy machine, medians of 4: 1.8 µs a delivery with the earlier one, 1.3 µs with this one.
* The watchers of "hawser sessions" are calls in sessions, which acknowledge their messages every 50 ms.
* gRPC watchers are calls, ${PER_CONNECTION} on a connection. The others have a connection each: their protocols have one client on a connection.
* ${method.rounds === 1 ? "One round" : `${method.rounds} rounds`} after a warm-up; in each the peers do the same one right after the other, in turn as the first, ${method.warmMs} ms
  to warm up and ${method.measureMs} ms measured. Figures are medians of the rounds, ratios the medians of the rounds' ratios.
* After each measurement every watcher must have got every message that was posted, or the run fails.

## One room, ${WATCHERS.toLocaleString("en-US")} watchers, 30-byte texts

Deliveries a second of the server's CPU, and in brackets how many times as many Hawser's with the log in memory are. At saturation ${SATURATED} posts are on
their way at a time; "by itself" is one, the next when it has arrived: then nothing can be sent together.

${table(
  ["", ...found.peers],
  [
    fanOutRow(found, SATURATION, { of: perCpuSecond, withRatio: true }),
    fanOutRow(found, BY_ITSELF, { of: perCpuSecond, withRatio: true }),
  ],
)}

${ofSessions(found)}Deliveries a second on this machine, whose cores the watchers share:

${table(
  ["", ...found.peers],
  [
    fanOutRow(found, SATURATION, { of: perSecond, withRatio: false }),
    fanOutRow(found, BY_ITSELF, { of: perSecond, withRatio: false }),
  ],
)}

## The size of the crowd

CPU of the server a delivery in µs, at saturation, with the delivery's share of the post: in a small crowd that is most of it.
A post without watchers takes ${short(cpuPerPost(found, "hawser", NO_WATCHERS))} µs of Hawser, ${short(cpuPerPost(found, "socket.io", NO_WATCHERS))} µs of Socket.IO. The dearest delivery costs ${growth(found, "hawser").toFixed(2)} times as much as one in a smaller
crowd; Socket.IO's, ${growth(found, "socket.io").toFixed(2)} times.

![µs a delivery by the number of watchers](push.svg)

${table(
  ["watchers", "hawser", "socket.io"],
  CROWDS.map((watchers) => [
    watchers.toLocaleString("en-US"),
    short(costOf(found, "hawser", watchers)),
    short(costOf(found, "socket.io", watchers)),
  ]),
)}

## Durable posts

SQLite on this machine's disk. Each message is on the disk before it is acknowledged. ${POSTERS} posters, each waits for its answer before its next
post; then the same ${POSTERS} with ${STEADY} posts a second by the clock, where a post's time begins when it is due.

${table(
  ["", "a second", "p50 / p99, ms", "CPU, µs", `at ${STEADY} a second: p50 / p99, ms`],
  WAYS.map((way) => [
    ways[way],
    whole(medianOf(found.fastest.get(way), perSecond)),
    latency(found.fastest.get(way)),
    short(medianOf(found.fastest.get(way), (m) => (m.cpuMs * 1000) / m.messages)),
    latency(found.steady.get(way)),
  ]),
)}

\`Join\` answers each post twice, for the poster is a member of its room: the time is that of the second.

## Idle watchers

${IDLE.watchers.toLocaleString("en-US")} watchers over ${IDLE.connections} connections take ${kib(found.idle.rss)} KiB each of resident memory, over what the server took after a second of work;
of objects in use, ${kib(found.idle.used)} KiB. Both after a garbage collection.

## Minimums and maximums

What \`npm run bench:push -- --quick\` checks: ${MINIMUMS.overSocketIo} × Socket.IO's deliveries a CPU second with either log; ${MINIMUMS.posts.toLocaleString("en-US")} durable posts a second of ${POSTERS} posters, each way;
a p50 under ${MAXIMUMS.p50Ms} ms at ${STEADY} a second, each way; under ${MAXIMUMS.idleKiB} KiB an idle watcher; a delivery costs at most ${MAXIMUMS.growth} times as much in a crowd as in a smaller one. \`npm run bench:push\` also checks Centrifugo's deliveries a CPU second, with
plain calls and in sessions: ${MINIMUMS.overCentrifugo.get(SATURATED)} × at saturation, ${MINIMUMS.overCentrifugo.get(1)} × for each message by itself.

${under.length === 0 ? "All are met." : `Missed in this run: ${under.join("; ")}.`}
`;
}

function fanOutRow(
  found: Findings,
  { name, window }: { name: string; window: number },
  { of, withRatio }: { of: (measured: Measured) => number; withRatio: boolean },
): string[] {
  const cells = found.peers.map((peer) => {
    const figure = whole(medianOf(found.fanOut.get(fanOutKey(window, peer)), of));
    if (!withRatio || peer === "hawser") return figure;
    return `${figure} (${ratioTo(found, window, { ours: "hawser", theirs: peer }).toFixed(2)}×)`;
  });
  return [name, ...cells];
}

function latency(rounds: readonly Measured[] | undefined): string {
  const ms = (of: (measured: Measured) => number) => (medianOf(rounds, of) / 1000).toFixed(1);
  return `${ms((m) => m.p50Us)} / ${ms((m) => m.p99Us)}`;
}

/** Returns what the report says of watchers in sessions; nothing without Centrifugo. */
function ofSessions(found: Findings): string {
  if (!found.peers.includes("centrifugo")) return "";
  const by = (window: number) =>
    ratioTo(found, window, { ours: "hawser sessions", theirs: "centrifugo" }).toFixed(2);
  return `To watchers in sessions, Hawser makes ${by(SATURATED)} times as many deliveries a CPU second as Centrifugo at saturation, and
${by(BY_ITSELF.window)} times as many when each message is by itself.

`;
}
