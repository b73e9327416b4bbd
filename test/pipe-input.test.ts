/** What a connection has received is handled in turns with other work: what PipeDriver does, without sockets. */
import { expect, onTestFinished, test } from "vitest";
import { PipeDriver } from "../src/connection/pipe-driver.ts";
import { slices } from "../src/flow/slice.ts";
import type { Http2Connection } from "../src/http2/types.ts";
import { FakePipe } from "./support/fake-pipe.ts";
import { until } from "./support/gate.ts";

/** How many frames are handled before their microtasks. */
const AT_ONCE = 128;

/** The same in the first part of what a connection receives. */
const FIRST = 16;

/** A connection whose frames are a byte each. */
class FakeConnection {
  readonly log: string[] = [];
  #output = 0;
  driver!: PipeDriver;
  /** Called after each part of the input was handled. */
  onHandled: (frames: number) => void = () => {};

  get hasOutput(): boolean {
    return this.#output > 0;
  }

  take(): Uint8Array | undefined {
    if (this.#output === 0) return undefined;
    const bytes = new Uint8Array(this.#output);
    this.#output = 0;
    return bytes;
  }

  /** How many frames were handled. */
  frames = 0;

  receive({ length }: Uint8Array, start = 0, maxFrames = Number.POSITIVE_INFINITY): number {
    const end = Math.min(start + maxFrames, length);
    this.log.push(`${end - start} of ${length}`);
    this.frames += end - start;
    queueMicrotask(() => {
      this.log.push("microtask");
      this.#output++;
      this.driver.scheduleWrite();
    });
    this.onHandled(end - start);
    return end;
  }

  endOfInput(): void {
    this.log.push("end of input");
  }
}

function tied() {
  const pipe = new FakePipe();
  const connection = new FakeConnection();
  const owner: string[] = [];
  const buffers = { maxBytes: 1, take: () => new Uint8Array(1), giveBack: () => {} };
  const driver = new PipeDriver(pipe, buffers, {
    onPipeEnd: (error) => owner.push(`end: ${error}`),
    onPipeClosed: () => owner.push("closed"),
  });
  connection.driver = driver;
  driver.start(connection as Partial<Http2Connection> as Http2Connection);
  onTestFinished(() => driver.destroy());
  return { pipe, connection, driver, owner };
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

/** Runs in the callback of a new turn, as that of a socket, and resolves after its microtasks and ticks. */
async function inTurn(run: () => void): Promise<void> {
  await nextTurn();
  await nextTurn();
  setImmediate(run);
  await nextTurn();
}

/** Uses up the slice of this turn. */
function spendSlice(): void {
  while (!slices.hasLasted(8));
}

// On a busy machine the parts may be smaller: a part that was interrupted seems slow.

test("a chunk is handled a number of frames at a time, each with its microtasks, and what all of them send is one write", async () => {
  const { pipe, connection } = tied();
  await inTurn(() => pipe.listener.onReceived(new Uint8Array(600)));
  await until("all was handled", () => connection.frames === 600 && !connection.hasOutput);
  const parts = connection.log.filter((_, n) => n % 2 === 0);
  expect(parts[0]).toBe(`${FIRST} of 600`);
  expect(parts.every((part) => Number.parseInt(part, 10) <= AT_ONCE)).toBe(true);
  expect(connection.log.filter((_, n) => n % 2 === 1)).toEqual(parts.map(() => "microtask"));
  if (!pipe.log.includes("pause")) expect(pipe.log).toEqual([`write ${parts.length}`]);
});

test("a chunk of few frames is handled at once", async () => {
  const { pipe, connection } = tied();
  await inTurn(() => {
    pipe.listener.onReceived(new Uint8Array(5));
    expect(connection.log).toEqual(["5 of 5"]);
  });
  expect(pipe.log).toEqual(["write 1"]);
});

test("after the slice a connection's input waits for a later turn, and its pipe is not read meanwhile", async () => {
  const { pipe, connection } = tied();
  await inTurn(() => {
    spendSlice();
    pipe.listener.onReceived(new Uint8Array(600));
    pipe.listener.onReceived(new Uint8Array(3));
    expect(connection.log).toEqual([]);
    expect(pipe.log).toEqual(["pause"]);
  });
  await until("it is read again", () => pipe.log.at(-1) === "resume");
  expect(connection.frames).toBe(603);
  expect(connection.log.at(-2)).toBe("3 of 3");
  expect(pipe.log.filter((line) => !line.startsWith("write"))).toEqual(["pause", "resume"]);
});

test("a small chunk is handled after the slice too, unless earlier input of its connection waits", async () => {
  const calm = tied();
  const busy = tied();
  await inTurn(() => {
    spendSlice();
    busy.pipe.listener.onReceived(new Uint8Array(600));
    busy.pipe.listener.onReceived(new Uint8Array(30));
    calm.pipe.listener.onReceived(new Uint8Array(30));
    expect(busy.connection.log).toEqual([]);
    expect(calm.connection.log).toEqual(["30 of 30"]);
  });
  await until("all was handled", () => busy.connection.frames === 630);
  expect(busy.connection.log.at(-2)).toBe("30 of 30");
});

test("connections with much input take turns, a number of frames each", async () => {
  const order: string[] = [];
  const all = ["a", "b", "c"].map((name) => {
    const one = tied();
    one.connection.onHandled = () => order.push(name);
    return one;
  });
  await inTurn(() => {
    spendSlice();
    for (const { pipe } of all) pipe.listener.onReceived(new Uint8Array(4 * AT_ONCE + 8));
  });
  await until("all was handled", () => all.every(({ connection }) => connection.frames === 520));
  // None has had its third part before all had their first.
  for (const name of ["a", "b", "c"]) {
    const third = order.indexOf(name, order.indexOf(name, order.indexOf(name) + 1) + 1);
    expect(new Set(order.slice(0, third)).size, order.join("")).toBe(3);
  }
});

test("input that is slow to handle is handled in smaller parts, and timers get their turn between them", async () => {
  const { pipe, connection } = tied();
  const parts: number[] = [];
  connection.onHandled = (frames) => {
    parts.push(frames);
    const end = performance.now() + frames * 0.1;
    while (performance.now() < end);
  };
  let timerAfter = -1;
  await inTurn(() => {
    pipe.listener.onReceived(new Uint8Array(1000));
    setTimeout(() => {
      timerAfter = parts.length;
    }, 1);
  });
  await until("all was handled", () => connection.frames === 1000);
  expect(timerAfter).toBeLessThanOrEqual(8);
  // 32 frames take 3.2 ms, 20 take two; a part that was interrupted may have had fewer.
  expect(parts[0]).toBe(FIRST);
  expect(Math.max(...parts.slice(1))).toBeLessThanOrEqual(40);
});

test("the end of a pipe is reported after what was received before it, and so is that it is closed", async () => {
  const { pipe, connection, owner } = tied();
  await inTurn(() => {
    spendSlice();
    pipe.listener.onReceived(new Uint8Array(600));
    pipe.listener.onEnd("lost");
    pipe.listener.onClosed();
    expect(owner).toEqual([]);
  });
  await until("it is closed", () => owner.length === 2);
  expect(owner).toEqual(["end: lost", "closed"]);
  expect(connection.frames).toBe(600);
  expect(connection.log.slice(-2)).toEqual(["microtask", "end of input"]);
});

test("a connection that is destroyed handles nothing more", async () => {
  const { pipe, connection, driver, owner } = tied();
  await inTurn(() => {
    spendSlice();
    pipe.listener.onReceived(new Uint8Array(600));
    driver.destroy();
  });
  pipe.listener.onEnd(undefined);
  pipe.listener.onClosed();
  await nextTurn();
  await nextTurn();
  expect(connection.log).toEqual(["end of input"]);
  expect(pipe.log).toEqual(["pause", "resume", "destroy"]);
  expect(owner).toEqual(["end: undefined", "closed"]);
});

test("a connection that ends while it handles its input handles no more of it", async () => {
  const { pipe, connection, driver, owner } = tied();
  connection.onHandled = () => {
    driver.finish("failed");
    pipe.listener.onEnd(undefined);
  };
  await inTurn(() => pipe.listener.onReceived(new Uint8Array(600)));
  await nextTurn();
  expect(connection.log).toEqual([`${FIRST} of 600`, "microtask"]);
  expect(owner).toEqual(["end: undefined"]);
});

test("while the input of 1000 connections waits, that of another one is handled when it arrives", async () => {
  const waiting = Array.from({ length: 1000 }, () => tied());
  const next = tied();
  await inTurn(() => {
    spendSlice();
    for (const { pipe } of waiting) pipe.listener.onReceived(new Uint8Array(600));
    next.pipe.listener.onReceived(new Uint8Array(600));
    expect(next.connection.log).toEqual(["600 of 600"]);
    expect(waiting.every(({ connection }) => connection.frames === 0)).toBe(true);
    for (const { driver } of waiting) driver.destroy();
  });
});
