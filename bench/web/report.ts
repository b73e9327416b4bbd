/** Writes WEB.md. */
import { boundInWords, type Checked, isLimit, isMet, missedOf } from "../limits.ts";
import { NONE, ratio, short, table, whole } from "../markdown.ts";
import { machine, packageVersion, today } from "../method.ts";
import type { Peer } from "./job.ts";
import { checkAll } from "./limits.ts";
import {
  cpuUs,
  type Findings,
  longestTaskMs,
  medianOf,
  nameOf,
  peersOf,
  perSecond,
  type Quantity,
  ratioOf,
  rows,
  trip,
  tripUs,
} from "./plan.ts";
import type { ProfiledSide } from "./profile.ts";
import { KEEPALIVE, type Loss, type Row, type Timing, UNREAD } from "./stage.ts";

export interface Method extends Timing {
  /** The name of the browser, with its version. */
  readonly browser: string;
  readonly rounds: number;
  /** The load average of the machine before and after the run. */
  readonly load: readonly [before: number, after: number];
}

/** The number of functions that the page names for one side of a row. */
const FUNCTIONS = 8;

const version = (name: string) => packageVersion(`../node_modules/${name}/package.json`);

export function report(found: Findings, profiled: readonly ProfiledSide[], method: Method): string {
  const checked = checkAll(found);
  const { rounds, warmMs, measureMs, load, browser } = method;
  return `# Benchmark results: in a browser

Written by \`npm run bench:web\` on ${today()}; do not edit. [Browsers](../docs/browsers.md#how-fast) says what follows from it.

![Messages a second in a page](web.svg)

* Machine: ${machine()}; ${browser}, headless. Load average ${load[0].toFixed(1)} before the run, ${load[1].toFixed(1)} after it: the run alone is about 2.
* The page, its server and the rest of Chromium share the cores. All is on one machine: there is no delay, and no loss.
* hawser ${packageVersion("../package.json")}: \`hawser/web\` in the page, its server with the option \`webSocket\`, plain calls. "hawser sessions": with sessions,
  as by default. "hawser tcp": the same loop on Node, over TCP, to the same server.
* JSON messages: by hand, one in each text frame, with ws ${version("ws")} at the server. One at a time, that is a bare WebSocket.
* socket.io ${version("socket.io")}: WebSocket alone, an event a message.
* JSON arrays: by hand, 100 messages in each frame at 15 B, 50 at 1 KiB, by the same server.
* 64 KiB frames: binary frames, which the page counts and does not read; its messages a second are the bytes in units of 1 KiB.
* echo: one chat, whose messages the server sends back. Hawser's loop sends as fast as its windows allow; the others have 1,000 messages
  in flight, the arrays 2,000, which is about the best for each. push: the server sends as fast as the page reads. No server polls:
  each waits until its socket has taken what was sent.
* Nothing drives the browser: the page fetches its orders, and posts what it has measured. A driver that listens to the network
  would get every frame too, which makes them 2 to 4 times as expensive.
* ${rounds === 1 ? "One round" : `${rounds} rounds`} after a warm-up; in each the peers do the same row right after the other, in turn as the first, ${warmMs} ms
  to warm up and ${measureMs} ms measured. Figures are medians of the rounds, ratios the medians of the rounds' ratios.
* CPU is user and system time of all threads, from /proc: of the server; of the page's renderer process (of the client on Node); and of
  all processes of Chromium, among which the network has its own. The longest task is by the Long Tasks API, which knows none of up to 50 ms.

${rows.map((row) => section(found, row)).join("\n\n")}

## One message at a time

15 B, on one connection that does nothing else.

${table(
  ["", "µs a round trip", "divided by a bare WebSocket's", ...CPU_HEAD],
  peersOf(trip).map((peer) => [
    peer,
    short(medianOf(found, { row: trip, peer }, tripUs)),
    ratio(ratioOf(found, { row: trip, over: peer, under: "JSON messages" }, tripUs)),
    ...cpuColumns(found, trip, peer),
  ]),
)}

## A lost connection, a push that nobody reads

A chat in a session, which sends a message every 5 ms. Its connection is cut at both ends, or nothing passes on it any more, which
keepalive finds (${KEEPALIVE.intervalMs} ms and ${KEEPALIVE.timeoutMs} ms here).

${table(
  [
    "",
    "ms until it is open again: median",
    "worst",
    "messages",
    "lost",
    "repeated or in another order",
  ],
  [lossRow("cut", found.cuts), lossRow("silent link", found.silences)],
)}

A push of ${UNREAD.size / 1024} KiB that is not read, for ${UNREAD.ms / 1000} s: ${unreadInWords(found)}

## Limits

The exit code is 1 if one is missed. ${missedOf(checked).length === 0 ? "All are met." : `Missed: ${missedOf(checked).length} of ${checked.filter(({ bound }) => isLimit(bound)).length}.`}

${table(["", "limit", "measured", ""], checked.map(limitRow))}

## Where the time goes

An echo under profilers: the server by \`--cpu-prof\`, the page by Chromium's. The functions that take most themselves, in µs a message
(the share of the JavaScript thread, times the CPU of the process with the profiler). "(program)" is native code that no function
called: in a page, mostly the WebSocket itself.

${profiled.map(profileRow).join("\n")}
`;
}

const CPU_HEAD = ["server, µs", "renderer, µs", "Chromium, µs"] as const;

function cpuColumns(found: Findings, row: Row, peer: Peer): string[] {
  return (["server", "renderer", "chromium"] as const).map((of) =>
    short(medianOf(found, { row, peer }, cpuUs(of))),
  );
}

function section(found: Findings, row: Row): string {
  const times = (peer: Peer, of: Quantity, [over, under]: readonly [Peer, Peer]) =>
    peer === "hawser" ? "" : ratio(ratioOf(found, { row, over, under }, of));
  return `## ${nameOf(row)}

${table(
  [
    "",
    "messages a second",
    "hawser's, times these",
    ...CPU_HEAD,
    "server's CPU, times hawser's",
    "longest task, ms",
  ],
  peersOf(row).map((peer) => [
    peer,
    whole(medianOf(found, { row, peer }, perSecond)),
    times(peer, perSecond, ["hawser", peer]),
    ...cpuColumns(found, row, peer),
    times(peer, cpuUs("server"), [peer, "hawser"]),
    task(medianOf(found, { row, peer }, longestTaskMs)),
  ]),
)}`;
}

function task(ms: number): string {
  if (Number.isNaN(ms)) return NONE;
  return ms === 0 ? "≤ 50" : ms.toFixed(0);
}

function lossRow(name: string, losses: readonly Loss[]): string[] {
  const sorted = losses.map(({ openAfterMs }) => openAfterMs).sort((a, b) => a - b);
  const sum = (of: (loss: Loss) => number) => losses.reduce((all, loss) => all + of(loss), 0);
  return [
    name,
    (sorted[sorted.length >> 1] ?? Number.NaN).toFixed(0),
    (sorted.at(-1) ?? Number.NaN).toFixed(0),
    whole(sum(({ sent }) => sent)),
    String(sum(({ lost }) => lost)),
    String(sum(({ wrong }) => wrong)),
  ];
}

function unreadInWords({ unread }: Findings): string {
  const most = Math.max(...unread.map(({ bytes }) => bytes));
  const calls = Math.min(...unread.map((one) => one.calls));
  const slowest = Math.max(...unread.map(({ slowestMs }) => slowestMs));
  return `the page has ${whole(most)} bytes of it, one window with what it counts for each message, and no
more comes. ${calls} unary calls on the same connection were answered meanwhile, the slowest after ${slowest.toFixed(0)} ms.`;
}

function limitRow({ name, bound, measured }: Checked): string[] {
  const verdict = isMet(measured, bound) ? "met" : "**missed**";
  return [
    name,
    boundInWords(bound),
    short(measured ?? Number.NaN),
    isLimit(bound) ? verdict : "aim",
  ];
}

function profileRow({ row, peer, side, cpu, divided }: ProfiledSide): string {
  const most = divided.functions
    .slice(0, FUNCTIONS)
    .map(({ name, share }) => `\`${name}\` ${(share * cpu).toFixed(2)}`);
  return `- ${nameOf(row)}, ${peer}, ${side}, ${short(cpu)} µs: ${most.join(", ")}.`;
}
