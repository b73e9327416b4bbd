import fc from "fast-check";
import { expect, test } from "vitest";
import type { SimSetup } from "./support/session-sim.ts";
import { play, type Step, type Tally } from "./support/session-sim-steps.ts";

/*
 * The core of sessions under any sequence of events, without sockets and without real time (support/session-sim.ts),
 * against the rules of support/session-sim-rules.ts.
 *
 * A failure prints a seed, a path and the smallest steps that break a rule, with their trace. To play it again:
 *
 *     HAWSER_SEED=<seed> HAWSER_PATH=<path> npx vitest run test/session-model.test.ts
 *
 * HAWSER_SEED without a path plays all cases of a run again; HAWSER_RUNS=20000 plays 20,000 instead of some hundred.
 */
const { HAWSER_SEED, HAWSER_PATH, HAWSER_RUNS } = process.env;
const runs = Number(HAWSER_RUNS ?? 800);
const replay: fc.Parameters<unknown> = {
  numRuns: runs,
  ...(HAWSER_SEED === undefined ? {} : { seed: Number(HAWSER_SEED) }),
  ...(HAWSER_PATH === undefined ? {} : { path: HAWSER_PATH, endOnFailure: true }),
};

const who = fc.nat({ max: 1 });
const side = fc.constantFrom("client" as const, "server" as const);
const way = fc.constantFrom("up" as const, "down" as const);
/** Mostly the newest attachment. */
const which = fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.nat({ max: 3 }));
const units = fc.oneof(fc.nat({ max: 12 }), fc.nat({ max: 200 }), fc.constant(1_000_000));
const size = fc.oneof(
  { weight: 6, arbitrary: fc.nat({ max: 24 }) },
  { weight: 2, arbitrary: fc.nat({ max: 600 }) },
  { weight: 1, arbitrary: fc.integer({ min: 16_380, max: 16_400 }) },
);
const ms = fc.oneof(
  { weight: 5, arbitrary: fc.nat({ max: 60 }) },
  { weight: 3, arbitrary: fc.nat({ max: 700 }) },
  { weight: 1, arbitrary: fc.nat({ max: 12_000 }) },
);

const step = (weight: number, arbitrary: fc.Arbitrary<Step>) => ({ weight, arbitrary });

const ordinary = [
  step(
    32,
    fc.record({ do: fc.constant("send"), side, who, count: fc.integer({ min: 1, max: 6 }), size }),
  ),
  step(
    24,
    fc.record({ do: fc.constant("take"), side, who, count: fc.integer({ min: 1, max: 8 }) }),
  ),
  step(32, fc.record({ do: fc.constant("deliver"), way, which, units })),
  step(32, fc.record({ do: fc.constant("flow"), rounds: fc.integer({ min: 1, max: 4 }) })),
  step(20, fc.record({ do: fc.constant("time"), ms })),
  step(4, fc.record({ do: fc.constant("respond"), who })),
];

const faults = [
  step(
    12,
    fc.record({ do: fc.constant("cut"), which, side: fc.constantFrom("near", "far", "both") }),
  ),
  step(16, fc.record({ do: fc.constant("cut at"), which, up: units, down: units })),
  step(8, fc.record({ do: fc.constant("stall"), which, way, stalled: fc.boolean() })),
  step(8, fc.record({ do: fc.constant("delay"), which })),
  step(4, fc.record({ do: fc.constant("bad gateway"), which })),
  step(3, fc.record({ do: fc.constant("sleep"), who, ms })),
  step(
    4,
    fc.record({ do: fc.constant("connecting"), who, how: fc.constantFrom("immediately", "later") }),
  ),
  step(
    12,
    fc.record({
      do: fc.constant("connect"),
      who,
      how: fc.constantFrom("well", "well", "fails", "is lost"),
    }),
  ),
];

const ends = [
  step(1, fc.record({ do: fc.constant("half-close"), who })),
  step(
    1,
    fc.record({
      do: fc.constant("end"),
      who,
      how: fc.constantFrom("well", "throws", "passes on a loss"),
    }),
  ),
];

const fatal = [
  step(1, fc.record({ do: fc.constantFrom("cancel", "cancel", "leave"), who })),
  step(1, fc.record({ do: fc.constant("restart") })),
  step(1, fc.record({ do: fc.constant("end"), who, how: fc.constant("gives up") })),
];

const steps = (...of: { weight: number; arbitrary: fc.Arbitrary<Step> }[][]) =>
  fc.array(fc.oneof(...of.flat()), { maxLength: 100, size: "max" });

const window = fc.oneof(
  fc.record({ bytes: fc.integer({ min: 1, max: 64 }), messages: fc.integer({ min: 1, max: 5 }) }),
  fc.record({
    bytes: fc.integer({ min: 64, max: 4096 }),
    messages: fc.integer({ min: 1, max: 40 }),
  }),
  fc.constant({ bytes: 1_048_576, messages: 16_384 }),
);

const setup = {
  clientWindow: window,
  serverWindow: window,
  aheadMs: fc.constantFrom(1000, 100_000),
  negotiatedInMs: fc.constantFrom(0, 7),
  clients: fc.constantFrom(1, 1, 1, 2),
  connecting: fc.constantFrom(
    "immediately" as const,
    "immediately" as const,
    "immediately" as const,
    "later" as const,
  ),
};

/** Plays many cases; returns their counts together. */
async function playAll(setup: fc.Arbitrary<SimSetup>, steps: fc.Arbitrary<Step[]>): Promise<Tally> {
  const all: Tally = { cases: 0 };
  const property = fc.asyncProperty(setup, steps, async (setup, steps) => {
    const tally = { ...(await play(setup, steps)), cases: 1 };
    for (const [name, count] of Object.entries(tally)) all[name] = (all[name] ?? 0) + count;
  });
  await fc.assert(property, replay);
  if (HAWSER_RUNS !== undefined) console.log(JSON.stringify(all));
  return all;
}

/** Expects that each of these happened in at least its share of the cases: otherwise the rules were hardly tested. */
function expectOften(tally: Tally, shares: Record<string, number>): void {
  // If one case is played again, no other case runs.
  if (HAWSER_PATH !== undefined) return;
  for (const [name, share] of Object.entries(shares)) {
    expect(tally[name], name).toBeGreaterThan((tally.cases ?? 0) * share);
  }
}

test("whatever the network does, all messages arrive once and in order, and each call ends with its status", async () => {
  const patient = fc.record({ ...setup, graceMs: fc.constant(1_000_000_000) });
  const tally = await playAll(patient, steps(ordinary, faults));
  expectOften(tally, { status: 0.9, resumed: 0.6, requests: 4, responses: 2 });
  const { cases, status, unreached, resumed, resumes, requests, responses, ...others } = tally;
  expect(others).toEqual({});
}, 600_000);

test("whatever ends a call meanwhile, both sides know that the call ended, and neither counts a message that did not arrive", async () => {
  const hurried = fc.record({
    ...setup,
    graceMs: fc.constantFrom(10_000, 10_000, 400),
    laterWindow: window,
    limits: fc.constantFrom(
      undefined,
      undefined,
      undefined,
      { resumesPerSecond: 1 },
      { maxSessions: 1 },
      { maxBytes: 40 },
    ),
  });
  const tally = await playAll(hurried, steps(ordinary, faults, ends, fatal));
  expectOften(tally, { status: 0.1, cancelled: 0.05, resumed: 0.2, requests: 1, responses: 1 });
  expectOften(tally, { UNKNOWN: 0, EXPIRED: 0, SERVER_RESTARTED: 0, UNREACHABLE: 0 });
  expectOften(tally, { renegotiated: 0 });
}, 600_000);
