/**
 * npm run bench                measures everything, writes RESULTS.md and chart.svg; ~20 minutes
 * npm run bench -- --quick     the floors alone, within a minute; exit 1 where one is missed
 * npm run bench -- --sessions  the cost of sessions where nothing is lost, ~3 minutes; exit 1 past a bound
 *     --no-go                  as on a machine without Go
 *     --quick --against DIR    CPU seconds, against Hawser of another checkout (with its node_modules);
 *                              5 to 15 minutes; exit 1 where a row costs more than it may
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { compareWith } from "./against.ts";
import { full } from "./full.ts";
import { quick } from "./quick.ts";
import { measureSessions } from "./sessions.ts";
import { buildGo, World } from "./world.ts";

/** From then on no further round begins: the end of the run, and its start, take some seconds. */
const quickLimitMs = 52_000;

const { values } = parseArgs({
  options: {
    quick: { type: "boolean" },
    sessions: { type: "boolean" },
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
  for (const missed of verdict.missed) console.log(`under its floor: ${missed}`);
  console.log(JSON.stringify(verdict));
  process.exitCode = verdict.ok ? 0 : 1;
} else {
  await full(world);
}
