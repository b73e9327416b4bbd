import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { connectionBudgetBytes, totalBudgetBytes } from "../src/connection/receive-budget.ts";
import { CONTROL_FRAMES } from "../src/session/control.ts";
import { type BudgetTestStream, budgetWorld, framed } from "./support/budget-world.ts";

const KB = 1024;
const MB = 1024 * KB;

/** Fills the window of a stream with messages of 1 KiB that its application does not take. */
function fill(stream: BudgetTestStream): BudgetTestStream {
  const message = framed(KB);
  while (stream.http2.capacity >= message.length && stream.error === undefined)
    stream.send(message);
  return stream;
}

const ended = (...streams: BudgetTestStream[]) => streams.map(({ error }) => error !== undefined);

test("the budgets of a connection and of a server grow with readMaxBytes", () => {
  expect([connectionBudgetBytes(4 * MB), connectionBudgetBytes(30 * MB)]).toEqual([
    8 * MB,
    60 * MB,
  ]);
  expect([totalBudgetBytes(4 * MB), totalBudgetBytes(100 * MB)]).toEqual([128 * MB, 200 * MB]);
});

describe("the credit of a stream", () => {
  test("comes back as the application takes messages", () => {
    const stream = fill(
      budgetWorld(8 * MB)
        .connect()
        .open(),
    );
    const { capacity } = stream.http2;
    stream.take();
    stream.take();
    expect(stream.http2.capacity).toBe(capacity + 2 * (KB + 5));
  });

  test("comes back for an incomplete message as it arrives, so that one larger than the window arrives", () => {
    const stream = budgetWorld(8 * MB)
      .connect()
      .open();
    expect(stream.send(framed(5 * MB))).toBe(5 * MB + 5);
    expect(stream.inbox).toEqual([5 * MB]);
    stream.take();
    expect(stream.http2.capacity).toBe(65_535);
  });

  test("does not come back for what follows a whole message that the application does not take", () => {
    const stream = budgetWorld(8 * MB)
      .connect()
      .open();
    stream.send(framed(MB));
    let sent = 0;
    for (let part = -1; part !== 0; sent += part) part = stream.send(framed(KB));
    expect(sent).toBeLessThanOrEqual(65_535);
  });

  test("comes back for the rest of a message that follows such a message when the application has taken that", () => {
    const stream = budgetWorld(8 * MB)
      .connect()
      .open();
    stream.send(framed(MB));
    const message = framed(3 * MB);
    const sent = stream.send(message);
    expect(sent).toBeLessThanOrEqual(65_535);
    stream.take();
    expect(stream.send(message.subarray(sent))).toBe(message.length - sent);
  });

  test("of a session comes back at once: its own window limits the peer", () => {
    const { open, budget } = budgetWorld(8 * MB).connect();
    const session = open(CONTROL_FRAMES);
    for (let sent = 0; sent < 200; sent++) session.send(framed(KB));
    expect([session.inbox.length, session.http2.unreturnedBytes]).toEqual([200, 0]);
    expect(budget.usedBytes).toBe(0);
  });
});

describe("above the budget", () => {
  test("only the oldest incomplete message gets more credit, until it is whole; then the next", () => {
    const { clock, connect } = budgetWorld(MB);
    const { open } = connect();
    const streams = [open(), open(), open()] as const;
    const message = framed(2 * MB);
    const sent = streams.map((stream) => {
      clock.pass(1);
      return stream.send(message.subarray(0, 400 * KB));
    });
    // The third one has taken the connection above its budget.
    const send = (at: 0 | 1 | 2) => {
      const more = streams[at].send(message.subarray(sent[at] as number));
      sent[at] = (sent[at] as number) + more;
      return sent[at] === message.length;
    };
    expect([send(1), send(2), send(0)]).toEqual([false, false, true]);
    expect([send(2), send(1)]).toEqual([false, true]);
    expect(send(2)).toBe(true);
    expect(ended(...streams)).toEqual([false, false, false]);
  });

  test("a message of more than the budget arrives", () => {
    const { open } = budgetWorld(MB).connect();
    const stream = open();
    expect(stream.send(framed(5 * MB))).toBe(5 * MB + 5);
  });

  test("a stream of which nothing was taken for 10 s is ended, the largest first, until the rest is below", () => {
    const { clock, connect } = budgetWorld(200 * KB);
    const { open, budget } = connect();
    const streams = Array.from({ length: 3 }, () => fill(open()));
    const small = open();
    small.send(framed(30 * KB));
    const read = open();
    expect(budget.usedBytes).toBeGreaterThan(200 * KB);
    for (let second = 0; second < 9; second++) {
      read.send(framed(10 * KB));
      read.take();
      clock.pass(1000);
    }
    expect(ended(...streams, small, read)).toEqual([false, false, false, false, false]);
    clock.pass(3000);
    expect(ended(...streams, small, read)).toEqual([true, false, false, false, false]);
    expect(budget.usedBytes).toBeLessThan(200 * KB);
    const { error } = streams[0] as BudgetTestStream;
    expect(error?.code).toBe(Code.ResourceExhausted);
    expect(error?.rawMessage).toMatch(
      /the client's connection holds 2\d{5} B of messages that are not taken, 7\d{4} B of them for this call: that is over connectionBudgetBytes 204800 B/,
    );
  });

  test("a stream whose application takes a message now and then stays", () => {
    const { clock, connect } = budgetWorld(100 * KB);
    const { open } = connect();
    const streams = [fill(open()), fill(open())];
    for (let round = 0; round < 20; round++) {
      clock.pass(5000);
      for (const stream of streams) {
        stream.take();
        fill(stream);
      }
    }
    expect(ended(...streams)).toEqual([false, false]);
  });

  test("a pause of any length below the budget ends nothing", () => {
    const { clock, connect } = budgetWorld(8 * MB);
    const stream = fill(connect().open());
    clock.pass(600_000);
    expect(ended(stream)).toEqual([false]);
  });

  test("an incomplete message that may be sent and of which nothing came for 10 s is ended; then the next may be sent", () => {
    const { clock, connect } = budgetWorld(4 * MB);
    const { open, budget } = connect();
    const streams = [open(), open(), open()] as const;
    for (const stream of streams) {
      clock.pass(1);
      stream.send(framed(6 * MB).subarray(0, 1.5 * MB));
    }
    // All but the first one use up the credit that they were given below the budget, and cannot continue.
    for (const stream of streams.slice(1)) {
      expect(stream.send(new Uint8Array(2 * MB))).toBeLessThanOrEqual(MB);
    }
    clock.pass(12_000);
    expect(ended(...streams)).toEqual([true, false, false]);
    expect(budget.usedBytes).toBeGreaterThan(4 * MB);
    expect(streams[1].send(new Uint8Array(2 * MB))).toBe(2 * MB);
  });

  test("a stream whose peer does not read what waits for it is ended by a reset", () => {
    const { clock, connect } = budgetWorld(100 * KB);
    const { open } = connect();
    const streams = [open(), open()] as const;
    for (const [n, stream] of streams.entries()) {
      stream.write(0, new Uint8Array((70 - 10 * n) * KB))?.catch(() => {});
    }
    clock.pass(5000);
    // The peer of the first one reads.
    streams[0].http2.waitingBytes -= KB;
    clock.pass(7000);
    expect(ended(...streams)).toEqual([false, true]);
    expect([streams[0].http2.resetCode, streams[1].http2.resetCode]).toEqual([undefined, 11]);
  });

  test("nothing is held for a stream that was closed", () => {
    const { open, budget } = budgetWorld(8 * MB).connect();
    const stream = fill(open());
    stream.write(0, new Uint8Array(KB))?.catch(() => {});
    expect(budget.usedBytes).toBeGreaterThan(65_000);
    stream.close();
    while (stream.inbox.length > 0) stream.take();
    expect(budget.usedBytes).toBe(0);
  });
});

describe("above twice the budget", () => {
  test("no stream is admitted, and the largest are ended at once", async () => {
    const { connect } = budgetWorld(120 * KB);
    const { open, memory, budget } = connect();
    const small = open();
    small.send(framed(30 * KB));
    const streams = [fill(open()), fill(open())];
    expect(memory.admits).toBe(true);
    streams.push(fill(open()));
    expect(memory.admits).toBe(false);
    await Promise.resolve();
    expect(ended(small, ...streams)).toEqual([false, true, false, false]);
    expect([memory.admits, budget.usedBytes < 240 * KB]).toEqual([true, true]);
  });

  test("responses that wait for a peer which may be reading stay, up to eight times the budget of a connection", async () => {
    const { connect } = budgetWorld(100 * KB);
    const { open, memory, budget } = connect();
    const respond = (stream: BudgetTestStream) => {
      stream.write(0, new Uint8Array(100 * KB))?.catch(() => {});
      return stream;
    };
    const streams = Array.from({ length: 7 }, () => respond(open()));
    await Promise.resolve();
    expect(ended(...streams)).toEqual(Array(7).fill(false));
    expect(memory.admits).toBe(true);
    streams.push(respond(open()));
    await Promise.resolve();
    expect(ended(...streams).filter(Boolean).length).toBeGreaterThan(0);
    expect([memory.admits, budget.usedBytes < 800 * KB]).toEqual([true, true]);
  });

  test("the oldest incomplete message is never ended while bytes of it come", async () => {
    const { clock, connect } = budgetWorld(100 * KB);
    const { open } = connect();
    const large = open();
    large.send(framed(4 * MB).subarray(0, MB));
    for (let round = 0; round < 30; round++) {
      clock.pass(1000);
      expect(large.send(new Uint8Array(10 * KB))).toBe(10 * KB);
      await Promise.resolve();
    }
    expect(ended(large)).toEqual([false]);
    clock.pass(12_000);
    expect(ended(large)).toEqual([true]);
  });
});

describe("the budget of a server", () => {
  test("counts all connections, and ends the largest streams of any of them", () => {
    const { clock, connect, total } = budgetWorld(8 * MB, 180 * KB);
    const connections = [connect(), connect(), connect()];
    const streams = connections.map(({ open }) => fill(open()));
    expect(total.usedBytes).toBeGreaterThan(180 * KB);
    clock.pass(12_000);
    expect(ended(...streams).filter(Boolean)).toHaveLength(1);
    expect(streams.find(({ error }) => error !== undefined)?.error?.rawMessage).toContain(
      "serverBudgetBytes 184320 B",
    );
    expect(total.usedBytes).toBeLessThan(180 * KB);
  });

  test("gives only one incomplete message of all connections more credit", () => {
    const { clock, connect } = budgetWorld(8 * MB, 2 * MB);
    const streams = [connect().open(), connect().open()] as const;
    const message = framed(6 * MB);
    const sent = streams.map((stream) => {
      clock.pass(1);
      return stream.send(message.subarray(0, 1.2 * MB));
    });
    // The credit that it was given below the budget.
    expect(streams[1].send(message.subarray(sent[1]))).toBeLessThanOrEqual(MB);
    expect(streams[0].send(message.subarray(sent[0]))).toBe(message.length - (sent[0] as number));
  });
});

test("the connection earns for messages that were received and sent, in steps, and for the rest when the stream closes", () => {
  const stream = budgetWorld(8 * MB)
    .connect()
    .open();
  stream.readsAtOnce = true;
  for (let sent = 0; sent < 15; sent++) stream.send(framed(10));
  expect(stream.http2.earned).toBe(0);
  stream.send(framed(10));
  expect(stream.http2.earned).toBe(64);
  stream.write(0, new Uint8Array(1))?.catch(() => {});
  stream.close();
  expect(stream.http2.earned).toBe(68);
});
