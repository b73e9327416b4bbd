import { expect, test } from "vitest";
import { Code } from "../src/server.ts";
import { Incidents } from "../src/topics/incidents.ts";
import { logFailure } from "../src/topics/log-failure.ts";

/** What Incidents logs, on a clock that the test sets. */
function open() {
  const logged: string[] = [];
  const clock = { ms: 0 };
  const logger = {
    error: (text: string) => void logged.push(`error: ${text}`),
    warn: (text: string) => void logged.push(`warn: ${text}`),
  };
  return { logged, clock, incidents: new Incidents(logger, () => clock.ms) };
}

test("a failure that lasts is logged once, and again each minute with its count", () => {
  const { logged, clock, incidents } = open();
  for (let n = 0; n < 1_000; n++) incidents.failed("append", "full");
  expect(logged).toEqual(["error: full"]);
  clock.ms += 59_999;
  incidents.failed("append", "full");
  expect(logged).toHaveLength(1);
  clock.ms += 1;
  incidents.failed("append", "full");
  expect(logged).toEqual(["error: full", "error: full (1000 more times since the last time)"]);
});

test("the end of a failure is logged once, and only if the failure was logged", () => {
  const { logged, incidents } = open();
  incidents.ended("append", "stored again");
  incidents.failed("append", "full");
  incidents.ended("read", "read again");
  incidents.ended("append", "stored again");
  incidents.ended("append", "stored again");
  expect(logged).toEqual(["error: full", "warn: stored again"]);
});

test("the end of one kind of failure leaves the other kinds open", () => {
  const { logged, incidents } = open();
  incidents.failed("read", "damaged");
  incidents.failed("append", "full");
  incidents.ended("append", "stored again");
  incidents.failed("append", "read-only");
  incidents.ended("append", "stored again");
  incidents.ended("read", "read again");
  expect(logged.slice(2)).toEqual([
    "warn: stored again",
    "error: read-only",
    "warn: stored again",
    "warn: read again",
  ]);
});

test("a failure that comes and goes is logged once a minute", () => {
  const { logged, clock, incidents } = open();
  for (let second = 0; second < 60; second++) {
    incidents.failed("append", "full");
    incidents.ended("append", "stored again");
    clock.ms += 1_000;
  }
  expect(logged).toEqual(["error: full", "warn: stored again"]);
  incidents.failed("append", "full");
  expect(logged.at(-1)).toBe("error: full (59 more times since the last time)");
});

test("a logger gets at most 100 texts in a minute", () => {
  const { logged, clock, incidents } = open();
  for (let n = 0; n < 1_000; n++) incidents.failed("read", `record ${n}`);
  expect(logged).toHaveLength(100);
  clock.ms += 60_000;
  incidents.failed("read", "record 1000");
  expect(logged).toHaveLength(101);
});

test("the log has the text that clients do not get; an error that clients get whole is not logged", () => {
  const { logged, incidents } = open();
  const texts = { forClients: "damaged", forOperator: "/data/a.db is damaged" };
  const error = logFailure(Code.DataLoss, texts);
  expect(incidents.report("read", error)).toBe(error);
  expect(error).toMatchObject({ code: Code.DataLoss, rawMessage: "damaged" });
  incidents.report("read", new Error("the cursor is malformed"));
  expect(logged).toEqual(["error: /data/a.db is damaged"]);
});
