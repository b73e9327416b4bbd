/**
 * npm run bench:push             measures everything, writes bench/PUSH.md and bench/push.svg; ~4 minutes; exit code 1 if
 *                                a result misses its minimum or maximum
 *     --rounds N                 the number of rounds; default: 5
 * npm run bench:push -- --quick  checks only the minimums and maximums, within a minute; exit code 1 if a result misses one
 *     --no-go                    runs as on a machine without Go
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { CENTRIFUGO, hasCentrifugo, installCentrifugo } from "./centrifugo.ts";
import { chart } from "./chart.ts";
import { type Peer, peers } from "./job.ts";
import {
  CROWDS,
  costOf,
  curveRound,
  type Findings,
  fanOutRound,
  growth,
  measureIdleWatchers,
  medianOf,
  missed,
  missedOfCentrifugo,
  NO_WATCHERS,
  noFindings,
  perSecond,
  postRound,
  ratioTo,
  SATURATED,
  WAYS,
  WINDOWS,
} from "./plan.ts";
import { report } from "./report.ts";
import { Stage } from "./stage.ts";

/** After this time no further round begins: a round takes up to ten seconds, and ending the run some more. */
const QUICK_LIMIT_MS = 42_000;

const { values } = parseArgs({
  options: {
    quick: { type: "boolean" },
    rounds: { type: "string", default: "5" },
    "no-go": { type: "boolean" },
  },
});
// Listeners of "exit" end the processes that would otherwise stay.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
const exclusion = reasonWithoutCentrifugo();
if (exclusion !== undefined) console.log(`Centrifugo is left out: ${exclusion}.`);
const participants = peers.filter((peer) => {
  if (peer === "centrifugo") return exclusion === undefined;
  return peer !== "hawser sessions" || !values.quick;
});
await using stage = await Stage.start(participants);
const found = noFindings(participants);
if (values.quick) await quick();
else await full();

function reasonWithoutCentrifugo(): string | undefined {
  if (values["no-go"]) return "--no-go";
  if (!values.quick) return installCentrifugo();
  return hasCentrifugo() ? undefined : "it is not built; npm run bench:push does that";
}

async function quick(): Promise<void> {
  const timing = { warmMs: 300, measureMs: 500 };
  await measureIdleWatchers(found);
  // A warm-up: during the first posts Node compiles the code.
  await fanOutRound(stage, noFindings(participants), { window: SATURATED, turn: 0, timing });
  for (let turn = 0; turn < 3; turn++) {
    if (turn > 0 && performance.now() > QUICK_LIMIT_MS) break;
    await fanOutRound(stage, found, { window: SATURATED, turn, timing });
    await postRound(stage, found, { warmMs: 200, measureMs: 500 });
    if (turn < 2) await curveRound(stage, found, { peers: ["hawser"], crowds: CROWDS, timing });
  }
  const failed = missed(found);
  for (const what of failed) console.log(`missed: ${what}`);
  console.log(JSON.stringify({ ok: failed.length === 0, ...summary(found), missed: failed }));
  process.exitCode = failed.length === 0 ? 0 : 1;
}

async function full(): Promise<void> {
  const rounds = Number(values.rounds);
  const timing = { warmMs: 250, measureMs: 500 };
  await measureIdleWatchers(found);
  await fanOutRound(stage, noFindings(participants), { window: SATURATED, turn: 0, timing });
  for (let turn = 0; turn < rounds; turn++) {
    console.log(`round ${turn + 1} of ${rounds}`);
    for (const window of WINDOWS) await fanOutRound(stage, found, { window, turn, timing });
    await postRound(stage, found, timing);
    await curveRound(stage, found, {
      peers: ["hawser", "socket.io"],
      crowds: [NO_WATCHERS, ...CROWDS],
      timing,
    });
  }
  const file = (name: string) => new URL(`../${name}`, import.meta.url);
  writeFileSync(file("PUSH.md"), report(found, { rounds, ...timing, centrifugo: CENTRIFUGO }));
  writeFileSync(file("push.svg"), chart(found));
  console.log("wrote bench/PUSH.md and bench/push.svg");
  const failed = [...missed(found), ...missedOfCentrifugo(found)];
  for (const what of failed) console.log(`missed: ${what}`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}

/** Returns the results that are printed as JSON. */
function summary(found: Findings) {
  const others = participants.filter((peer) => !peer.startsWith("hawser"));
  const ratios = (ours: Peer) =>
    Object.fromEntries(
      others.map((peer) => [peer, rounded(ratioTo(found, SATURATED, { ours, theirs: peer }))]),
    );
  const byWay = (of: (way: (typeof WAYS)[number]) => number) =>
    Object.fromEntries(WAYS.map((way) => [way, rounded(of(way))]));
  return {
    deliveriesPerCpuSecond: { hawser: ratios("hawser"), "hawser sqlite": ratios("hawser sqlite") },
    durablePostsPerSecond: byWay((way) => medianOf(found.fastest.get(way), perSecond)),
    steadyP50Ms: byWay((way) => medianOf(found.steady.get(way), (m) => m.p50Us / 1000)),
    idleKiB: rounded(found.idle.rss / 1024),
    cpuUsPerDelivery: Object.fromEntries(
      CROWDS.map((watchers) => [watchers, rounded(costOf(found, "hawser", watchers))]),
    ),
    growth: rounded(growth(found, "hawser")),
  };
}

function rounded(value: number): number {
  return Number(value.toFixed(2));
}
