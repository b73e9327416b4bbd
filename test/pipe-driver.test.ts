import { expect, onTestFinished, test, vi } from "vitest";
import { PipeDriver } from "../src/connection/pipe-driver.ts";
import type { Http2Connection, OutputBuffers } from "../src/http2/types.ts";
import { FakePipe } from "./support/fake-pipe.ts";

/** The side of an HTTP/2 connection that a driver sees. */
class FakeConnection {
  readonly log: string[] = [];
  isClosed = false;
  #output = 0;
  driver!: PipeDriver;

  get hasOutput(): boolean {
    return this.#output > 0;
  }

  /** Adds output, as a stream does. */
  add(bytes: number): void {
    if (this.#output === 0) this.driver.scheduleWrite();
    this.#output += bytes;
  }

  take(): Uint8Array | undefined {
    if (this.#output === 0) return undefined;
    const bytes = new Uint8Array(this.#output);
    this.#output = 0;
    return bytes;
  }

  receive({ length }: Uint8Array): number {
    this.log.push(`receive ${length}`);
    return length;
  }

  block(): void {
    this.log.push("block");
  }

  unblock(): void {
    this.log.push("unblock");
    this.add(100);
  }

  endOfInput(): void {
    this.log.push("end of input");
    this.add(9);
    this.driver.finish("lost");
  }
}

function tied() {
  const pipe = new FakePipe();
  const connection = new FakeConnection();
  const owner: unknown[] = [];
  let given = 0;
  const buffers: OutputBuffers = {
    maxBytes: 1,
    take: () => new Uint8Array(1),
    giveBack: () => {
      given++;
    },
  };
  const driver = new PipeDriver(pipe, buffers, {
    onPipeEnd: (error) => owner.push({ end: error }),
    onPipeClosed: () => owner.push("closed"),
  });
  connection.driver = driver;
  driver.start(connection as Partial<Http2Connection> as Http2Connection);
  return { pipe, connection, driver, owner, buffersGiven: () => given };
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

test("what several steps of a turn of the event loop send is one write, after its microtasks", async () => {
  const { pipe, connection } = tied();
  // A callback of Node, as that of a socket, with microtasks and ticks after it.
  setImmediate(() => {
    connection.add(1);
    queueMicrotask(() => {
      connection.add(2);
      Promise.resolve().then(() => Promise.resolve().then(() => connection.add(4)));
    });
  });
  await nextTurn();
  await nextTurn();
  expect(pipe.log).toEqual(["write 7"]);
});

test("a full output buffer is written immediately", () => {
  const { pipe, connection, driver } = tied();
  connection.add(65_536);
  driver.writeNow();
  expect(pipe.log).toEqual(["write 65536"]);
});

test("output that a connection has from the start is written", async () => {
  const { pipe, connection } = tied();
  connection.add(24);
  await nextTurn();
  expect(pipe.log).toEqual(["write 24"]);
});

test("a pipe that holds the most that it may blocks the connection until all of it has left; then what waits is written", () => {
  const { pipe, connection, driver } = tied();
  pipe.holds = true;
  connection.add(100_000);
  driver.writeNow();
  expect(connection.log).toEqual([]);
  connection.add(40_000);
  driver.writeNow();
  driver.writeNow();
  expect(connection.log).toEqual(["block"]);
  pipe.letGo();
  expect(connection.log).toEqual(["block", "unblock"]);
  expect(pipe.log).toEqual(["write 100000", "write 40000", "write 100"]);
});

test("what a blocked connection sends waits in its output, where the engine limits it, and is written when the pipe is free", async () => {
  const { pipe, connection, driver } = tied();
  pipe.holds = true;
  connection.add(140_000);
  driver.writeNow();
  connection.add(17);
  driver.writeNow();
  connection.add(17);
  await nextTurn();
  expect(pipe.log).toEqual(["write 140000"]);
  pipe.letGo();
  expect(pipe.log).toEqual(["write 140000", "write 134"]);
});

test("a blocked connection that is closed writes what it sends last", () => {
  const { pipe, connection, driver } = tied();
  pipe.holds = true;
  connection.add(140_000);
  driver.writeNow();
  connection.add(17);
  driver.finish("closed");
  expect(pipe.log).toEqual(["write 140000", "write 17", "end"]);
});

test("what is sent while the pipe holds an earlier write is one write, as soon as the pipe holds nothing", async () => {
  const { pipe, connection } = tied();
  pipe.holds = true;
  connection.add(100);
  await nextTurn();
  for (let message = 0; message < 3; message++) {
    connection.add(10);
    await nextTurn();
  }
  pipe.take(99);
  await nextTurn();
  expect(pipe.log).toEqual(["write 100"]);
  pipe.letGo();
  await nextTurn();
  expect(pipe.log).toEqual(["write 100", "write 30"]);
});

test("a full output buffer is written although the pipe holds an earlier write", async () => {
  const { pipe, connection, driver } = tied();
  pipe.holds = true;
  connection.add(100);
  await nextTurn();
  connection.add(90_000);
  driver.writeNow();
  expect(pipe.log).toEqual(["write 100", "write 90000"]);
});

test("buffers are given back when the pipe holds none of their bytes", () => {
  const { pipe, connection, driver, buffersGiven } = tied();
  connection.add(10);
  driver.writeNow();
  expect(buffersGiven()).toBe(1);
  pipe.holds = true;
  for (let write = 0; write < 2; write++) {
    connection.add(10);
    driver.writeNow();
  }
  expect(buffersGiven()).toBe(1);
  pipe.letGo();
  expect(buffersGiven()).toBe(3);
});

test("a buffer is given back as soon as its bytes have left, while the pipe still holds later ones", () => {
  const { pipe, connection, driver, buffersGiven } = tied();
  pipe.holds = true;
  for (const bytes of [30, 20, 10]) {
    connection.add(bytes);
    driver.writeNow();
  }
  pipe.take(29);
  expect(buffersGiven()).toBe(0);
  pipe.take(1);
  expect(buffersGiven()).toBe(1);
  pipe.take(25);
  expect(buffersGiven()).toBe(2);
  connection.add(40);
  driver.writeNow();
  pipe.take(5);
  expect(buffersGiven()).toBe(3);
  pipe.letGo();
  expect(buffersGiven()).toBe(4);
});

test("what a blocked pipe takes in part does not unblock it", () => {
  const { pipe, connection, driver } = tied();
  pipe.holds = true;
  connection.add(140_000);
  driver.writeNow();
  pipe.take(139_999);
  expect(connection.log).toEqual(["block"]);
  pipe.take(1);
  expect(connection.log).toEqual(["block", "unblock"]);
});

test("buffers that a lost pipe held are given back when it is closed", () => {
  const { pipe, connection, driver, buffersGiven } = tied();
  pipe.holds = true;
  connection.add(10);
  driver.writeNow();
  pipe.isLost = true;
  pipe.listener.onEnd(new Error("lost"));
  // That of what the connection sent last, and the pipe did not take.
  expect(buffersGiven()).toBe(1);
  pipe.listener.onClosed();
  expect(buffersGiven()).toBe(2);
});

test("the end of the pipe reaches the owner, then the connection; what that sends last is written, and the pipe ends", () => {
  const { pipe, connection, owner } = tied();
  pipe.listener.onReceived(new Uint8Array(5));
  const error = new Error("lost");
  pipe.listener.onEnd(error);
  expect(owner).toEqual([{ end: error }]);
  expect(connection.log).toEqual(["receive 5", "end of input"]);
  expect(pipe.log).toEqual(["write 9", "end"]);
  pipe.listener.onClosed();
  expect(owner).toEqual([{ end: error }, "closed"]);
});

test("a connection that is closed receives nothing any more, and hears of no end", async () => {
  const { pipe, connection, driver } = tied();
  connection.add(17);
  driver.finish("closed");
  expect(pipe.log).toEqual(["write 17", "end"]);
  pipe.listener.onReceived(new Uint8Array(5));
  pipe.listener.onEnd(undefined);
  connection.add(1);
  await nextTurn();
  expect(connection.log).toEqual([]);
  expect(pipe.log).toEqual(["write 17", "end"]);
});

test("a pipe whose peer does not end its side is destroyed a second after this side has ended", () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const { pipe, driver } = tied();
  driver.finish("closed");
  vi.advanceTimersByTime(999);
  expect(pipe.log).toEqual(["end"]);
  vi.advanceTimersByTime(10);
  expect(pipe.log).toEqual(["end", "destroy"]);
});

test("a slow peer may take what a connection sent before it was closed in order: at most 10 s, and a second to end its side", () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const slow = tied();
  slow.pipe.holds = true;
  slow.connection.add(100_000);
  slow.driver.finish("closed");
  vi.advanceTimersByTime(9_000);
  slow.pipe.letGo();
  vi.advanceTimersByTime(999);
  expect(slow.pipe.log).toEqual(["write 100000", "end"]);
  vi.advanceTimersByTime(10);
  expect(slow.pipe.log).toEqual(["write 100000", "end", "destroy"]);
  for (const [by, ms] of [
    ["closed", 10_000],
    ["failed", 1000],
    ["lost", 1000],
  ] as const) {
    const { pipe, connection, driver } = tied();
    pipe.holds = true;
    connection.add(100_000);
    driver.finish(by);
    vi.advanceTimersByTime(ms - 1);
    expect(pipe.log).not.toContain("destroy");
    vi.advanceTimersByTime(1);
    expect(pipe.log).toContain("destroy");
  }
});

test("a pipe that is to be destroyed when all was written waits for that", () => {
  const { pipe, connection, driver } = tied();
  pipe.holds = true;
  connection.add(17);
  driver.finish("closed");
  driver.destroyWhenWritten();
  expect(pipe.log).toEqual(["write 17", "end"]);
  pipe.letGo();
  expect(pipe.log).toEqual(["write 17", "end", "destroy"]);
});

test("a pipe that is to be destroyed when all was written is destroyed a second later at the latest", () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const { pipe, connection, driver } = tied();
  pipe.holds = true;
  connection.add(17);
  driver.finish("closed");
  driver.destroyWhenWritten();
  vi.advanceTimersByTime(1000);
  expect(pipe.log).toEqual(["write 17", "end", "destroy"]);
});

test("a pipe that is closed while the streams of its connection are closed in turns is reported after them", () => {
  const { pipe, connection, driver, owner } = tied();
  connection.endOfInput = () => {
    connection.isClosed = true;
  };
  pipe.listener.onEnd("lost");
  pipe.listener.onClosed();
  expect(owner).toEqual([{ end: "lost" }]);
  driver.finish("lost");
  expect(owner).toEqual([{ end: "lost" }, "closed"]);
  driver.finish("lost");
  expect(owner).toHaveLength(2);
});
