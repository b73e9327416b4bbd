/** The minimums of `npm run bench:push` that only a full run checks. */
import { expect, test } from "vitest";
import type { Measured } from "../bench/child.ts";
import { type Peer, peers } from "../bench/push/job.ts";
import {
  type Findings,
  fanOutKey,
  missedOfCentrifugo,
  noFindings,
  WINDOWS,
} from "../bench/push/plan.ts";

/** Returns findings in which each delivery costs what `costOf` says. */
function findings(
  costOf: (peer: Peer, window: number) => number,
  present: readonly Peer[] = peers,
): Findings {
  const found = noFindings(present);
  for (const window of WINDOWS) {
    for (const peer of present) {
      const rounds: Measured[] = Array.from({ length: 5 }, () => ({
        messages: 1000,
        posts: 1,
        ms: 1000,
        cpuMs: costOf(peer, window),
        p50Us: 0,
        p99Us: 0,
      }));
      found.fanOut.set(fanOutKey(window, peer), rounds);
    }
  }
  return found;
}

test("deliveries are compared with Centrifugo's at saturation and one by one, plain and in sessions", () => {
  const fast = (peer: Peer) => (peer === "centrifugo" ? 50 : 10);
  expect(missedOfCentrifugo(findings(fast))).toEqual([]);
  const slow = (peer: Peer, window: number) =>
    peer === "centrifugo" ? 50 : window === 1 && peer === "hawser" ? 26 : 12;
  expect(missedOfCentrifugo(findings(slow))).toEqual([
    "hawser, at saturation: 4.17 × Centrifugo, its minimum is 4.4",
    "hawser, a message by itself: 1.92 × Centrifugo, its minimum is 2",
    "hawser sessions, at saturation: 4.17 × Centrifugo, its minimum is 4.4",
  ]);
});

test("a machine without Centrifugo misses nothing of it", () => {
  const present = peers.filter((peer) => peer !== "centrifugo");
  expect(missedOfCentrifugo(findings(() => 1000, present))).toEqual([]);
});
