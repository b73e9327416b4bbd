/** What each row must keep. */

import type { Row } from "./row.ts";
import { GRACE_MS } from "./server.ts";

/** Which bounds are checked: all, or those that do not depend on how fast the machine is. */
export type Strictness = "all" | "quick";

const P90_MS = 25;
const P90_OF_QUIET = 5;
const LONGEST_MS = 1000;
/** Behind one address fairness is between connections, and these bounds are wider. */
const SHARED_FACTOR = 5;
const RESUME_P99_MS = 250;
const RSS_MIB = 512;
const RSS_MIB_IN_CI = 768;
const KEPT_MIB = 50;
/** Statuses are read for a second after the grace, and connections closed within another. */
const END_MS = GRACE_MS + 3000;
const FLOOD_ENDS_MS = 1000;
const HOLD_ENDS_MS = 12_000;

/** Returns in words what a row has missed. */
export function missesOf(row: Row, strictness: Strictness): string[] {
  const { before, during, after, resumed, report } = row;
  const factor = row.column === "shared" ? SHARED_FACTOR : 1;
  const misses: string[] = [];
  const check = (isWell: boolean, what: string) => void (isWell || misses.push(what));
  for (const [when, times] of Object.entries({ before, during, after })) {
    const { failed, calls, errors } = times;
    check(failed === 0, `${failed} of ${calls} honest calls failed ${when} (${errors.join("; ")})`);
  }
  check(row.opensSession, "a new honest client got no session during the attack");
  if (resumed !== undefined) {
    check(resumed.failed === 0, `an honest session was lost (${resumed.errors.join("; ")})`);
  }
  checkEnds(row, check);
  const rss = strictness === "quick" ? RSS_MIB_IN_CI : RSS_MIB;
  check(row.peakRssMib <= rss, `RSS ${row.peakRssMib.toFixed(0)} MiB, over ${rss}`);
  check(
    row.keptMib === undefined || row.keptMib <= KEPT_MIB,
    `${row.keptMib?.toFixed(0)} MiB are still in use, over ${KEPT_MIB}`,
  );
  check(row.endedMs <= END_MS, `SIGTERM ended it after ${row.endedMs.toFixed(0)} ms`);
  check(report.connections > 0, "the attack had no connection");
  if (strictness === "quick") return misses;
  const p90 = Math.max(P90_MS, P90_OF_QUIET * before.p90) * factor;
  for (const [when, times] of Object.entries({ during, after })) {
    check(times.p90 <= p90, `p90 ${times.p90.toFixed(1)} ms ${when}, over ${p90.toFixed(1)}`);
    const longest = LONGEST_MS * factor;
    check(times.longest <= longest, `a call of ${times.longest.toFixed(0)} ms ${when}`);
  }
  const p99 = RESUME_P99_MS * factor;
  if (resumed !== undefined) {
    check(resumed.p99 <= p99, `resumes have p99 ${resumed.p99.toFixed(0)} ms, over ${p99}`);
  }
  return misses;
}

/** A flood, and a hold that lasted long enough, must have ended each connection. */
function checkEnds({ attack, report }: Row, check: (isWell: boolean, what: string) => void): void {
  if (attack.ends === undefined) return;
  const { connections, cutOff, cutAfterMs } = report;
  const most = attack.ends === "flood" ? FLOOD_ENDS_MS : HOLD_ENDS_MS;
  check(cutOff > 0, `none of the ${connections} connections of the attack was closed`);
  check(cutAfterMs <= most, `connections were closed after ${cutAfterMs.toFixed(0)} ms`);
}
