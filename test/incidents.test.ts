import { expect, test } from "vitest";
import { Code } from "../src/server.ts";
import { Incidents } from "../src/topics/incidents.ts";
import { logFailure } from "../src/topics/log-failure.ts";

/** Incidents on a clock of their own, and what the operator was told. */
function open() {
  const told: string[] = [];
  const clock = { ms: 0 };
  const logger = {
    error: (text: string) => void told.push(`error: ${text}`),
    warn: (text: string) => void told.push(`warn: ${text}`),
  };
  return { told, clock, incidents: new Incidents(logger, () => clock.ms) };
}

test("a failure that lasts is told once, and again each minute with how many there were", () => {
  const { told, clock, incidents } = open();
  for (let n = 0; n < 1_000; n++) incidents.failed("append", "full");
  expect(told).toEqual(["error: full"]);
  clock.ms += 59_999;
  incidents.failed("append", "full");
  expect(told).toHaveLength(1);
  clock.ms += 1;
  incidents.failed("append", "full");
  expect(told).toEqual(["error: full", "error: full (1000 more times since the last time)"]);
});

test("the end is told once, and only of what was told", () => {
  const { told, incidents } = open();
  incidents.ended("append", "stored again");
  incidents.failed("append", "full");
  incidents.ended("read", "read again");
  incidents.ended("append", "stored again");
  incidents.ended("append", "stored again");
  expect(told).toEqual(["error: full", "warn: stored again"]);
});

test("one kind's end leaves the others open", () => {
  const { told, incidents } = open();
  incidents.failed("read", "damaged");
  incidents.failed("append", "full");
  incidents.ended("append", "stored again");
  incidents.failed("append", "read-only");
  incidents.ended("append", "stored again");
  incidents.ended("read", "read again");
  expect(told.slice(2)).toEqual([
    "warn: stored again",
    "error: read-only",
    "warn: stored again",
    "warn: read again",
  ]);
});

test("what comes and goes all the time is told once a minute", () => {
  const { told, clock, incidents } = open();
  for (let second = 0; second < 60; second++) {
    incidents.failed("append", "full");
    incidents.ended("append", "stored again");
    clock.ms += 1_000;
  }
  expect(told).toEqual(["error: full", "warn: stored again"]);
  incidents.failed("append", "full");
  expect(told.at(-1)).toBe("error: full (59 more times since the last time)");
});

test("at most 100 texts are told in a minute", () => {
  const { told, clock, incidents } = open();
  for (let n = 0; n < 1_000; n++) incidents.failed("read", `record ${n}`);
  expect(told).toHaveLength(100);
  clock.ms += 60_000;
  incidents.failed("read", "record 1000");
  expect(told).toHaveLength(101);
});

test("the operator is told what clients are not; what they are told whole is not told twice", () => {
  const { told, incidents } = open();
  const texts = { forClients: "damaged", forOperator: "/data/a.db is damaged" };
  const error = logFailure(Code.DataLoss, texts);
  expect(incidents.report("read", error)).toBe(error);
  expect(error).toMatchObject({ code: Code.DataLoss, rawMessage: "damaged" });
  incidents.report("read", new Error("the cursor is malformed"));
  expect(told).toEqual(["error: /data/a.db is damaged"]);
});
