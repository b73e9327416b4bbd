/**
 * Whether calls of the tests have sessions, unless a test says otherwise. `HAWSER_SESSIONS=off` says no: the behaviours
 * of calls are tested both ways, by two projects of vitest.config.ts.
 */
export const sessions = process.env.HAWSER_SESSIONS !== "off";
