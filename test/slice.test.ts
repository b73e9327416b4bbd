/** Tests that pumps leave turns of the event loop to timers, sockets and signals. */
import { expect, test } from "vitest";
import { PullIterator } from "../src/flow/pull.ts";
import { Queue } from "../src/flow/queue.ts";
import { inSlice, slices } from "../src/flow/slice.ts";
import { settles, until } from "./support/gate.ts";
import { pumped } from "./support/pumped.ts";

/** The messages end even if a pump never yields to the event loop, so that the test can fail. */
const ENOUGH_MS = 3000;

async function* endless() {
  const endsAt = performance.now() + ENOUGH_MS;
  for (let n = 0; performance.now() < endsAt; n++) yield n;
}

/** A writer that never makes its sender wait, and counts. */
class Sink {
  count = 0;
  ended = false;
  write(_: unknown): undefined {
    this.count++;
  }
  end(): void {
    this.ended = true;
  }
}

function pumpEndless(count: number) {
  const sinks = Array.from({ length: count }, () => new Sink());
  const pumps = sinks.map((sink) => pumped(endless(), sink));
  return {
    sinks,
    [Symbol.dispose]() {
      for (const one of pumps) one.stop();
    },
  };
}

/** How many turns the event loop takes until the condition holds. */
async function turnsUntil(condition: () => boolean): Promise<number> {
  let turns = 0;
  for (; !condition(); turns++) await new Promise((turn) => setImmediate(turn));
  return turns;
}

test.each([1, 300])(
  "timers and immediates have their turn beside %i pumps whose messages never end",
  async (count) => {
    using pumps = pumpEndless(count);
    const began = performance.now();
    for (let n = 0; n < 20; n++) {
      await new Promise((fired) => setTimeout(fired, 1));
      await new Promise((turn) => setImmediate(turn));
    }
    expect(performance.now() - began).toBeLessThan(ENOUGH_MS);
    expect(pumps.sinks.some(({ ended }) => ended)).toBe(false);
  },
);

test("a turn beside 300 pumps whose messages never end is short", async () => {
  using _pumps = pumpEndless(300);
  const turns = { count: 0 };
  const began = performance.now();
  const used = process.cpuUsage();
  while (performance.now() - began < 500) {
    await new Promise((turn) => setImmediate(turn));
    turns.count++;
  }
  const { user, system } = process.cpuUsage(used);
  // Of the processor's time, not of the clock's: others may be at work on this machine.
  expect((user + system) / 1000 / turns.count).toBeLessThan(10);
});

test("each of 300 pumps has its turn, again and again", async () => {
  using pumps = pumpEndless(300);
  const written = () => Math.min(...pumps.sinks.map(({ count }) => count));
  for (let more = 0; more < 3; more++) {
    const before = written();
    await until("each has written more", () => written() > before);
  }
  expect(pumps.sinks.some(({ ended }) => ended)).toBe(false);
});

test("a pump that writes now and then does not wait for pumps that never pause", async () => {
  using _pumps = pumpEndless(300);
  const sink = new Sink();
  const messages = new Queue<number>(16);
  const calm = pumped(messages, sink);
  // A round of the others takes a hundred turns and more.
  for (let n = 1; n <= 20; n++) {
    await messages.push(n);
    expect(await turnsUntil(() => sink.count === n)).toBeLessThan(10);
    await new Promise((turn) => setImmediate(turn));
  }
  messages.end();
  await calm.done;
});

test("a pump writes all messages in order, however often it waited", async () => {
  const came: number[] = [];
  const numbers = async function* () {
    for (let n = 0; n < 50_000; n++) yield n;
  };
  using _pumps = pumpEndless(3);
  await pumped(numbers(), { write: (n: number) => void came.push(n), end: () => came.push(-1) })
    .done;
  expect(came.length).toBe(50_001);
  expect(came.every((n, at) => n === at || at === 50_000)).toBe(true);
});

test("a pump that is stopped while it waits writes nothing more, and its iterable returns", async () => {
  using _pumps = pumpEndless(50);
  let returned = false;
  const messages = async function* () {
    try {
      yield* endless();
    } finally {
      returned = true;
    }
  };
  const sink = new Sink();
  const stopped = pumped(messages(), sink);
  await until("it has written", () => sink.count > 0);
  stopped.stop();
  const { count } = sink;
  expect(await settles(() => returned)).toBe(true);
  expect(sink).toMatchObject({ count, ended: false });
});

test("a loop that awaits each push leaves timers their turn even if the writer never waits", async () => {
  const queue = new Queue<number>(16);
  const sink = new Sink();
  pumped(queue, sink);
  let isDone = false;
  const pushing = (async () => {
    const endsAt = performance.now() + ENOUGH_MS;
    while (!isDone && performance.now() < endsAt) await queue.push(0);
  })();
  const began = performance.now();
  for (let n = 0; n < 20; n++) await new Promise((fired) => setTimeout(fired, 1));
  expect(performance.now() - began).toBeLessThan(ENOUGH_MS);
  isDone = true;
  await pushing;
  expect(sink.count).toBeGreaterThan(1000);
});

test("an iterator that always has a value leaves timers their turn", async () => {
  const endsAt = performance.now() + ENOUGH_MS;
  const take = () => (performance.now() < endsAt ? 1 : undefined);
  const values = new PullIterator<number>({ take, onDry() {}, onEnd() {} });
  const sink = new Sink();
  const pumping = pumped(values, sink);
  for (let n = 0; n < 20; n++) await new Promise((fired) => setTimeout(fired, 1));
  expect(performance.now()).toBeLessThan(endsAt);
  pumping.stop();
  expect(sink.count).toBeGreaterThan(1000);
});

/** Uses up the slice of this turn. */
function spendSlice(): void {
  while (!slices.hasLasted(4));
}

test("work waits after the slice, and its owners take turns at it, however much one of them has", async () => {
  const [busy, calm] = [{}, {}];
  const done: string[] = [];
  const work = (name: string) => () => {
    done.push(name);
    // Each is as long as the slice of a turn.
    spendSlice();
  };
  await new Promise((turn) => setImmediate(turn));
  spendSlice();
  for (let n = 0; n < 100; n++) inSlice(work(`busy ${n}`), busy);
  // Of each owner one is done at once.
  expect(done).toEqual(["busy 0"]);
  for (let n = 0; n < 5; n++) inSlice(work(`calm ${n}`), calm);
  expect(done).toEqual(["busy 0", "calm 0"]);
  await until("all of the second owner is done", () => done.includes("calm 4"));
  const before = done.slice(0, done.indexOf("calm 4"));
  expect(before.filter((name) => name.startsWith("busy")).length).toBeLessThanOrEqual(7);
  await until("all is done", () => done.length === 105);
  const ofBusy = done.filter((name) => name.startsWith("busy"));
  expect(ofBusy).toEqual(Array.from({ length: 100 }, (_, n) => `busy ${n}`));
});

test("work of many owners that each have a little of it waits too", async () => {
  let done = 0;
  await new Promise((turn) => setImmediate(turn));
  spendSlice();
  for (let n = 0; n < 100; n++) inSlice(() => done++, {});
  expect(done).toBe(16);
  await until("all is done", () => done === 100);
});
