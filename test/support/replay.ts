import type fc from "fast-check";

/*
 * A failure prints a seed and a path. To play it again, or to play more:
 *
 *     HAWSER_SEED=<seed> HAWSER_PATH=<path> npx vitest run test/http2/fuzz.test.ts
 *     HAWSER_RUNS=100 npx vitest run --testTimeout 600000 test/http2/fuzz.test.ts     a hundred times as many cases
 */
const { HAWSER_SEED, HAWSER_PATH, HAWSER_RUNS } = process.env;

/** Returns the parameters of a test of arbitrary cases. */
export function replay(runs: number): fc.Parameters<unknown> {
  return {
    numRuns: runs * Number(HAWSER_RUNS ?? 1),
    ...(HAWSER_SEED !== undefined && { seed: Number(HAWSER_SEED) }),
    ...(HAWSER_PATH !== undefined && { path: HAWSER_PATH, endOnFailure: true }),
  };
}
