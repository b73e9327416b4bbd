/**
 * npm run bench                measures everything, writes RESULTS.md and chart.svg; ~20 minutes
 * npm run bench -- --quick     checks only the minimums, within a minute; exit code 1 if a row is below its minimum
 * npm run bench -- --sessions  measures the cost of sessions, ~3 minutes; exit code 1 if a bound is exceeded
 * npm run bench -- --idle      measures the memory of idle streams and connections; exit code 1 if a bound is exceeded
 * npm run bench -- --codec     compares the codec with its fallback and with protobufjs, ~10 s; exit code 1 if a ratio
 *                              is below its minimum
 *     --no-go                  runs as on a machine without Go
 *     --quick --against DIR    compares CPU seconds with Hawser of another checkout (with its node_modules);
 *                              5 to 15 minutes; exit code 1 if a row is over its bound
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { compareWith } from "./against.ts";
import { measureCodecs } from "./codec.ts";
import { full } from "./full.ts";
import { measureIdle } from "./idle.ts";
import { quick } from "./quick.ts";
import { measureSessions } from "./sessions.ts";
import { buildGo, World } from "./world.ts";

/** After this time no further round begins: the start and the end of a run take the rest of the minute. */
const quickLimitMs = 52_000;

const { values } = parseArgs({
  options: {
    quick: { type: "boolean" },
    sessions: { type: "boolean" },
    idle: { type: "boolean" },
    codec: { type: "boolean" },
    "no-go": { type: "boolean" },
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
if (values.codec) {
  const results = measureCodecs();
  for (const missed of results.missed) console.log(`below its minimum: ${missed}`);
  console.log(JSON.stringify(results));
  process.exit(results.ok ? 0 : 1);
}
const go = values["no-go"] ? undefined : buildGo();
if (values.against !== undefined) {
  if (!values.quick) throw new Error("--against is an option of --quick");
  const checkout = resolve(values.against);
  const costs = await compareWith(() => World.start(go, checkout));
  for (const missed of costs.missed) console.log(`over its bound: ${missed}`);
  console.log(JSON.stringify(costs));
  process.exit(costs.ok ? 0 : 1);
}
await using world = await World.start(go);
if (go === undefined) console.log("Go is not on the PATH: grpc-go is left out.");
console.log(
  `The load on servers is ${world.loadName}; clients call the ${world.target} server; compression is off.`,
);
if (values.quick) {
  const verdict = await quick(world, quickLimitMs);
  for (const missed of verdict.missed) console.log(`below its minimum: ${missed}`);
  console.log(JSON.stringify(verdict));
  process.exitCode = verdict.ok ? 0 : 1;
} else {
  await full(world);
}
