/**
 * npm run bench                measures everything, writes RESULTS.md and the charts; ~35 minutes; exit code 1 if a
 *                              limit is missed
 *     --rounds N               the number of rounds; default: 5, the least for which the limits hold
 * npm run bench -- --quick     checks only the minimums, within a minute; exit code 1 if a row is below its minimum
 *     --tonic                  measures tonic too
 *     --against DIR            compares CPU seconds with Hawser of another checkout (with its node_modules);
 *                              5 to 15 minutes; exit code 1 if a row is over its bound
 * npm run bench -- --sessions  measures the cost of sessions, ~3 minutes; exit code 1 if a bound is exceeded
 * npm run bench -- --idle      measures the memory of idle streams and connections; exit code 1 if a bound is exceeded
 * npm run bench -- --link      measures messages of 64 KiB over a link with a delay of 50 ms, ~2 minutes; exit code 1 below
 *                              0.8 of a raw socket
 * npm run bench -- --codec     compares the codec with its fallback and with protobufjs, ~10 s; exit code 1 if a ratio
 *                              is below its minimum
 * npm run bench -- --profile   measures where the time goes, writes docs/where-the-time-goes.md and profile.svg; ~2 minutes
 *
 *     --no-go, --no-rust       run as on a machine without Go, without cargo
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { compareWith } from "./against.ts";
import { measureCodecs } from "./codec.ts";
import { full, ROUNDS } from "./full.ts";
import { measureIdle } from "./idle.ts";
import { measureLink } from "./link.ts";
import { profile } from "./profile.ts";
import { buildGo, buildRust } from "./programs.ts";
import { quick } from "./quick.ts";
import { measureSessions } from "./sessions.ts";
import { World } from "./world.ts";

/** After this time no further round begins: the start and the end of a run take the rest of the minute. */
const quickLimitMs = 52_000;

const { values } = parseArgs({
  options: {
    quick: { type: "boolean" },
    sessions: { type: "boolean" },
    idle: { type: "boolean" },
    link: { type: "boolean" },
    codec: { type: "boolean" },
    profile: { type: "boolean" },
    "no-go": { type: "boolean" },
    "no-rust": { type: "boolean" },
    tonic: { type: "boolean" },
    rounds: { type: "string", default: `${ROUNDS}` },
    against: { type: "string" },
  },
});
if (values.sessions) {
  const costs = await measureSessions();
  for (const missed of costs.missed) console.log(`missed: ${missed}`);
  console.log(JSON.stringify(costs));
  process.exit(costs.ok ? 0 : 1);
}
if (values.idle) {
  const { bytes, missed } = await measureIdle();
  for (const one of missed) console.log(`missed: ${one}`);
  console.log(JSON.stringify({ ok: missed.length === 0, bytes }));
  process.exit(missed.length === 0 ? 0 : 1);
}
if (values.link) {
  const verdict = await measureLink();
  for (const missed of verdict.missed) console.log(`below its minimum: ${missed}`);
  console.log(JSON.stringify(verdict));
  process.exit(verdict.ok ? 0 : 1);
}
if (values.codec) {
  const results = measureCodecs();
  for (const missed of results.missed) console.log(`below its minimum: ${missed}`);
  console.log(JSON.stringify(results));
  process.exit(results.ok ? 0 : 1);
}
const go = values["no-go"] ? undefined : buildGo();
if (values.profile) {
  await profile({ go });
  process.exit(0);
}
if (values.against !== undefined) {
  if (!values.quick) throw new Error("--against is an option of --quick");
  const checkout = resolve(values.against);
  const costs = await compareWith(() => World.start({ go, checkout }));
  for (const missed of costs.missed) console.log(`over its bound: ${missed}`);
  console.log(JSON.stringify(costs));
  process.exit(costs.ok ? 0 : 1);
}
const withTonic = values.quick ? values.tonic : !values["no-rust"];
const rust = withTonic ? buildRust() : undefined;
await using world = await World.start({ go, rust });
if (go === undefined) console.log("Go is not on the PATH: grpc-go is left out.");
if (withTonic && rust === undefined) console.log("cargo is not on the PATH: tonic is left out.");
console.log(
  `The load on servers is ${world.loadName}; clients call the ${world.target} server; compression is off.`,
);
if (values.quick) {
  const verdict = await quick(world, quickLimitMs);
  for (const missed of verdict.missed) console.log(`below its minimum: ${missed}`);
  console.log(JSON.stringify(verdict));
  process.exitCode = verdict.ok ? 0 : 1;
} else {
  const missed = await full(world, Number(values.rounds));
  process.exitCode = missed.length === 0 ? 0 : 1;
}
