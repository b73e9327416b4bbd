/** What a MessageStream does with what it sends and receives, on an HTTP/2 stream without a connection. */
import { expect, test } from "vitest";
import { frameRuns } from "../src/codec/frame-runs.ts";
import { ConnectionMemory } from "../src/connection/connection-memory.ts";
import type { BytesPart } from "../src/http2/types.ts";
import { Spool } from "../src/session/spool.ts";
import { BudgetTestStream, framed, ManualClock } from "./support/budget-world.ts";

const KIB = 1024;

function streamOf(): BudgetTestStream {
  return new BudgetTestStream(new ConnectionMemory([], new ManualClock()), KIB * KIB);
}

test("the credit of small messages that wait is returned in steps of 2 KiB, and all of it with the last one", () => {
  const stream = streamOf();
  const unreturned = () => stream.http2.unreturnedBytes;
  // 100 messages of 45 B with their prefixes.
  for (let n = 0; n < 100; n++) stream.send(framed(40));
  expect(unreturned()).toBe(100 * 45);
  const steps = new Set<number>();
  for (let n = 0; n < 99; n++) {
    stream.take();
    steps.add(unreturned());
  }
  expect([...steps]).toEqual([4500, 4500 - 46 * 45, 4500 - 92 * 45]);
  stream.take();
  expect(unreturned()).toBe(0);
});

test("the credit of a message of 2 KiB is returned when it is taken", () => {
  const stream = streamOf();
  for (let n = 0; n < 3; n++) stream.send(framed(2 * KIB - 5));
  stream.take();
  expect(stream.http2.unreturnedBytes).toBe(4 * KIB);
});

/** A stream whose spool has messages, and what it writes to its HTTP/2 stream. */
function sending() {
  const stream = streamOf();
  const written: string[] = [];
  const http2 = Object.assign(stream.http2, {
    hasDataInOutput: false,
    write(bytes: Uint8Array, { start, end }: BytesPart) {
      written.push(Buffer.from(bytes.subarray(start, end)).toString("latin1").replaceAll("\0", ""));
      http2.hasDataInOutput = true;
      return true;
    },
    writeMessage(_flags: number, payload: Uint8Array) {
      written.push(Buffer.from(payload).toString("latin1"));
      http2.hasDataInOutput = true;
      return true;
    },
  });
  const spool = new Spool();
  const send = (text: string) => {
    spool.push(0, Buffer.from(text));
    return stream.pull(spool);
  };
  const write = (text: string) => stream.write(0, Buffer.from(text));
  const writeOfRun = (text: string) => {
    const payload = Buffer.from(text);
    return stream.write(0, payload, frameRuns.add(payload));
  };
  return { http2, written, send, write, writeOfRun };
}

const endOfTurn = () => new Promise((resolve) => setImmediate(resolve));

test("the first small message of a session in a turn is written immediately, and the others together at its end", async () => {
  const { written, send } = sending();
  for (const text of ["one", "two", "three"]) send(text);
  expect(written).toEqual(["\x03one"]);
  await endOfTurn();
  expect(written).toEqual(["\x03one", "\x03two\x05three"]);
});

test("a small message of a session is written immediately if the output was taken and no message waits", async () => {
  const { http2, written, send } = sending();
  send("one");
  http2.hasDataInOutput = false;
  send("two");
  send("three");
  http2.hasDataInOutput = false;
  send("four");
  expect(written).toEqual(["\x03one", "\x03two"]);
  await endOfTurn();
  expect(written).toEqual(["\x03one", "\x03two", "\x05three\x04four"]);
});

test("messages of a session after a control frame are written at the end of the turn too", async () => {
  const { written, send, write } = sending();
  send("one");
  send("two");
  write("control");
  send("three");
  expect(written).toEqual(["\x03one", "\x03two", "control"]);
  await endOfTurn();
  expect(written).toEqual(["\x03one", "\x03two", "control", "\x05three"]);
});

test("of the messages of a run, a call writes the first one in a turn immediately, and the others together at its end", async () => {
  const { written, writeOfRun } = sending();
  for (const text of ["one", "two", "three"]) writeOfRun(text);
  expect(written).toEqual(["one"]);
  await endOfTurn();
  expect(written).toEqual(["one", "\x03two\x05three"]);
  writeOfRun("four");
  await endOfTurn();
  expect(written.slice(2)).toEqual(["\x04four"]);
});

test("a call writes its messages in order, of whatever runs they are", async () => {
  const { http2, written, write, writeOfRun } = sending();
  writeOfRun("one");
  writeOfRun("two");
  // Other calls send what comes between.
  frameRuns.add(Buffer.from("other"));
  writeOfRun("three");
  write("four");
  writeOfRun("five");
  http2.hasDataInOutput = false;
  writeOfRun("six");
  await endOfTurn();
  expect(written).toEqual(["one", "\x03two", "\x05three", "four", "\x04five\x03six"]);
});
