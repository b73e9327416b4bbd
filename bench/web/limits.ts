/** What Hawser must reach in a page, and what was measured of it. */
import { ENTRY_BYTES } from "../../src/connection/receive-budget.ts";
import { FIRST_WINDOW_BYTES } from "../../src/connection/receive-window.ts";
import type { Bound, Checked } from "../limits.ts";
import type { Peer } from "./job.ts";
import {
  cpuUs,
  echoMedium,
  echoSmall,
  type Findings,
  longestTaskMs,
  medianOf,
  nameOf,
  perSecond,
  pushMedium,
  type Quantity,
  ratioOf,
  rows,
  trip,
  tripUs,
} from "./plan.ts";
import { KEEPALIVE, type Row, UNREAD } from "./stage.ts";

/** The limit of each ratio of messages a second: Hawser's, divided by the peer's. */
const rates: readonly (readonly [Row, Peer, Bound])[] = [
  [echoSmall, "JSON messages", { atLeast: 20 }],
  [echoSmall, "socket.io", { atLeast: 20 }],
  [echoMedium, "JSON messages", { atLeast: 4 }],
  [pushMedium, "JSON messages", { atLeast: 6 }],
  [pushMedium, "64 KiB frames", { atLeast: 0.55 }],
  ...rows.map((row) => [row, "JSON arrays", { aim: 1 }] as const),
];

/** The limit of each ratio of the server's CPU: the peer's, divided by Hawser's. */
const cpus: readonly (readonly [Row, Peer, Bound])[] = [
  [echoSmall, "JSON messages", { atLeast: 6 }],
  [echoSmall, "socket.io", { atLeast: 8 }],
];

const SESSIONS: Bound = { atLeast: 0.75 };
const TRIP: Bound = { atMost: 1.6 };
const TASK: Bound = { atMost: 50 };
const LOST: Bound = { atMost: 0 };

/** A chat must be open again within this time, after its connection is known to be lost. */
const OPEN_AGAIN_MS = 500;

/** What a page has of a push that is not read: one window of messages, and what each of them counts beside its bytes. */
const UNREAD_BYTES = FIRST_WINDOW_BYTES + ENTRY_BYTES * Math.ceil(FIRST_WINDOW_BYTES / UNREAD.size);

/** The least number of calls beside it: each takes a few ms, and they follow each other by 20. */
const CALLS = UNREAD.ms / 60;

/** Returns all limits and aims, with what was measured. */
export function checkAll(found: Findings): readonly Checked[] {
  const ratio = (row: Row, [over, under]: readonly [Peer, Peer], of: Quantity) =>
    ratioOf(found, { row, over, under }, of);
  return [
    ...rates.map(([row, peer, bound]) => ({
      name: `${nameOf(row)}: messages a second divided by those of ${peer}`,
      bound,
      measured: ratio(row, ["hawser", peer], perSecond),
    })),
    ...cpus.map(([row, peer, bound]) => ({
      name: `${nameOf(row)}: the server's CPU of ${peer} divided by Hawser's`,
      bound,
      measured: ratio(row, [peer, "hawser"], cpuUs("server")),
    })),
    ...rows.map((row) => ({
      name: `${nameOf(row)}: messages a second in sessions divided by those without`,
      bound: SESSIONS,
      measured: ratio(row, ["hawser sessions", "hawser"], perSecond),
    })),
    {
      name: `${nameOf(trip)}: a round trip divided by that of a bare WebSocket`,
      bound: TRIP,
      measured: ratio(trip, ["hawser", "JSON messages"], tripUs),
    },
    ...[...rows, trip].map((row) => ({
      name: `${nameOf(row)}: the longest task of the page in the median round, in ms`,
      bound: TASK,
      measured: medianOf(found, { row, peer: "hawser" }, longestTaskMs),
    })),
    ...survival(found),
  ];
}

/** What holds in each round: the worst one counts. */
function survival({ cuts, silences, unread }: Findings): readonly Checked[] {
  const losses = [...cuts, ...silences];
  const worst = <T>(of: readonly T[], what: (one: T) => number) => Math.max(...of.map(what));
  const fewestCalls = Math.min(...unread.map(({ calls }) => calls));
  return [
    {
      name: "a cut: until the chat is open again, in ms",
      bound: { atMost: OPEN_AGAIN_MS },
      measured: worst(cuts, ({ openAfterMs }) => openAfterMs),
    },
    {
      name: "a silent link: until the chat is open again, in ms",
      bound: { atMost: KEEPALIVE.intervalMs + KEEPALIVE.timeoutMs + OPEN_AGAIN_MS },
      measured: worst(silences, ({ openAfterMs }) => openAfterMs),
    },
    {
      name: "a cut, a silent link: lost messages",
      bound: LOST,
      measured: worst(losses, ({ lost }) => lost),
    },
    {
      name: "a cut, a silent link: repeated messages, or in another order",
      bound: LOST,
      measured: worst(losses, ({ wrong }) => wrong),
    },
    {
      name: "a push that is not read: bytes that arrive in the second half of the time",
      bound: LOST,
      measured: worst(unread, ({ bytes, halfBytes }) => bytes - halfBytes),
    },
    {
      name: "a push that is not read: bytes in the page, one window",
      bound: { atMost: UNREAD_BYTES },
      measured: worst(unread, ({ bytes }) => bytes),
    },
    {
      name: "a push that is not read: other calls that were made meanwhile",
      bound: { atLeast: CALLS },
      measured: fewestCalls,
    },
  ];
}
