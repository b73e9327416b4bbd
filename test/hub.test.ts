/** Many subscribers of one log: each gets every record once and in order, whatever the others do. */
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import type { HubEvent } from "../src/topics/hub/subscription.ts";
import type { TopicPosition } from "../src/topics/log.ts";
import { gate, settles, until } from "./support/gate.ts";
import { drain, numbers, short, TOPIC, world } from "./support/hub-world.ts";
import { pumped } from "./support/pumped.ts";
import { failureOf } from "./support/read.ts";

test("a subscriber gets the opening, then new records; make() is called once per record", async () => {
  await using it = world();
  await it.post(3);
  const all = [1, 2, 3].map(() => drain(it.subscribe({ shape: short })));
  await until("they are open", () => all.every(({ events }) => events.length === 1));
  await it.post(5);
  await until("they have it", () => all.every(({ events }) => events.length === 6));
  for (const { events } of all) expect(events).toEqual(["opening", ...numbers(4, 8)]);
  expect({ made: it.made, reads: it.log.reads }).toEqual({ made: 5, reads: 1 });
  expect(it.log.pages).toBe(0);
});

test.each([
  ["records", { records: 64 }, 0],
  ["bytes", { bytes: 64 * 1024 }, 4096],
])(
  "subscribers that keep up get a burst of more %s than the ring holds without reading pages",
  async (_, limit, bytes) => {
    await using it = world(limit);
    const received: string[] = [];
    const writer = {
      write: (event: string) => void received.push(event),
      end: () => received.push("end"),
    };
    const pumping = pumped(it.subscribe({ shape: short }), writer);
    await until("it is open", () => received.length === 1);
    await it.post(1000, bytes);
    await until("it has all", () => received.length === 1001);
    expect(received).toEqual(["opening", ...numbers(1, 1000)]);
    expect(it.log.pages).toBe(0);
    it.abort();
    await expect(pumping.done).rejects.toThrow("left");
  },
);

test("records that are appended in one turn of the event loop are written together", async () => {
  await using it = world();
  const turns: string[][] = [];
  let now: string[] | undefined;
  const write = (event: string) => {
    if (now === undefined) {
      now = [];
      turns.push(now);
      process.nextTick(() => {
        now = undefined;
      });
    }
    now.push(event);
    return undefined;
  };
  const pumping = pumped(it.subscribe({ shape: short }), { write, end() {} });
  await until("it is open", () => turns.length === 1);
  await Promise.all([it.post(3), it.post(2)]);
  await until("it has all", () => turns.flat().length === 6);
  expect(turns).toEqual([["opening"], numbers(1, 5)]);
  pumping.stop();
  await pumping.done;
});

test("a subscription begins with the oldest record, or after a cursor", async () => {
  await using it = world();
  const empty = drain(it.subscribe({ start: "oldest" }));
  await until("it is open", () => empty.events.length === 1);
  await it.post(600);
  const oldest = drain(it.subscribe({ start: "oldest" }));
  await until("both have all", () => empty.events.length === 601 && oldest.events.length === 601);
  expect(oldest.events.map(short)).toEqual(["opening", ...numbers(1, 600)]);
  expect(empty.events.map(short)).toEqual(["opening", ...numbers(1, 600)]);

  // A subscription may continue after each event that has a cursor, the opening too.
  for (const [at, from] of [
    [0, 1],
    [1, 2],
    [300, 301],
  ] as const) {
    const { cursor } = oldest.events[at] as TopicPosition;
    const later = drain(it.subscribe({ after: cursor }));
    await until("it has the rest", () => later.events.length === 602 - from);
    expect(later.events.map(short)).toEqual(["opening", ...numbers(from, 600)]);
    expect(later.events[0]).toMatchObject({ kind: "opening", cursor });
  }
});

test("1,000 subscriptions that begin anywhere while records are appended get each record once", async () => {
  await using it = world({ records: 64 });
  await it.post(100);
  const cursors = (await it.log.page(TOPIC, undefined)).map(({ cursor }) => cursor);
  const all: { events: (string | number)[]; oldest: boolean; from: number | undefined }[] = [];
  for (let n = 0; n < 1000; n++) {
    const way = n % 3;
    const place =
      way === 0
        ? { start: "now" as const }
        : way === 1
          ? { start: "oldest" as const }
          : { after: cursors[n % 100] as string };
    const { events } = drain(it.subscribe({ ...place, shape: short }));
    all.push({ events, oldest: way === 1, from: way === 2 ? (n % 100) + 2 : undefined });
    if (n % 2 === 0) await it.post(1 + (n % 3));
  }
  // A subscription with start "now" has its position when it is open.
  await until("all are open", () => all.every(({ events }) => events.length > 0));
  await it.post(1);
  const last = all[1]?.events as (string | number)[];
  const { position: end } = await it.log.end(TOPIC);
  await until(
    "all have the newest record",
    () => all.every(({ events }) => events.at(-1) === end),
    20_000,
  );
  expect(last).toEqual(["opening", ...numbers(1, end)]);
  for (const { events, oldest, from } of all) {
    const first = from ?? (oldest ? 1 : (events[1] as number));
    expect(events.length).toBe(end - first + 2);
    expect(events[1]).toBe(first);
    expect(events.every((event, at) => at === 0 || event === first + at - 1)).toBe(true);
  }
  expect(it.log.reads).toBe(1);
});

test("a stalled subscriber keeps nothing in memory, delays no other, and later gets every record", async () => {
  await using it = world({ records: 100, pageBytes: 300_000 });
  const quick = Array.from({ length: 99 }, () => drain(it.subscribe({ shape: short })));
  const stalled = it.subscribe({ shape: short })[Symbol.asyncIterator]();
  expect(await stalled.next()).toEqual({ done: false, value: "opening" });
  await until("they are open", () => quick.every(({ events }) => events.length === 1));
  for (let n = 0; n < 50; n++) {
    await it.post(100);
    await until("they have all", () =>
      quick.every(({ events }) => events.at(-1) === (n + 1) * 100),
    );
    // The ring has 100 records, although the stalled subscriber needs more.
    expect(it.hub.size.bytes).toBeLessThan(100 * 1024);
  }
  expect(it.log.pages).toBe(0);
  for (const number of numbers(1, 5000)) {
    expect(await stalled.next()).toEqual({ done: false, value: number });
    expect(it.hub.size.bytes).toBeLessThan(500_000);
  }
  // The subscriber is live again, so it reads no page.
  const { pages } = it.log;
  const next = stalled.next();
  await it.post(1);
  expect(await next).toEqual({ done: false, value: 5001 });
  expect(it.log.pages).toBe(pages);
  await stalled.return?.();
});

test("subscribers that do not keep up share pages, and at most four are read at the same time", async () => {
  await using it = world({ records: 10 });
  const all = Array.from({ length: 100 }, () => it.subscribe({ shape: short })).map((events) =>
    events[Symbol.asyncIterator](),
  );
  await Promise.all(all.map((events) => events.next()));
  await it.post(2560);
  await until("the tail is there", () => it.made === 2560);
  await Promise.all(
    all.map(async (events) => {
      const received = [];
      while (received.length < 2560) received.push((await events.next()).value);
      expect(received).toEqual(numbers(1, 2560));
    }),
  );
  expect(it.log.pages).toBeLessThan(40);
  expect(it.log.pagesAtOnce).toBeLessThanOrEqual(4);
  it.abort();
  await Promise.all(all.map((events) => expect(events.next()).rejects.toThrow("left")));
});

test("at most four pages of different topics are read at the same time", async () => {
  await using it = world({ records: 1 });
  const leaving = new AbortController();
  const topics = numbers(1, 50).map((n) => `topic/${n}`);
  const all = topics.map((topic) => {
    const events = it.hub.subscribe(topic, { shape: short }, leaving.signal);
    return events[Symbol.asyncIterator]();
  });
  await Promise.all(all.map((events) => events.next()));
  const records = numbers(1, 5).map((n) => ({ data: Buffer.from(`${n}`) }));
  for (const topic of topics) await it.log.append(topic, records);
  await until("the tails are there", () => it.made === 250);
  const received = await Promise.all(all.map((events) => events.next()));
  expect(received.every(({ value }) => value === 1)).toBe(true);
  expect({ pages: it.log.pages, atOnce: it.log.pagesAtOnce }).toEqual({ pages: 50, atOnce: 4 });
  leaving.abort();
});

test("a subscriber gets a gap for records that retention dropped, and every other record", async () => {
  await using it = world({ records: 10, retention: { records: 100 } });
  const slow = it.subscribe()[Symbol.asyncIterator]();
  await slow.next();
  await it.post(30);
  expect(short((await slow.next()).value as HubEvent<string, string>)).toBe(1);
  for (let n = 1; n <= 10; n++) {
    await it.post(100);
    await until("the tail is there", () => it.made === 30 + n * 100);
  }
  const { kind, position, value } = await nextRecord(slow);
  expect(kind).toBe("gap");
  const first = await nextRecord(slow);
  expect(first.value).toBe(`${(position as number) + 1}`);
  expect(value).toBe(undefined);
  for (let n = Number(first.value) + 1; n <= 1030; n++) {
    expect((await nextRecord(slow)).value).toBe(`${n}`);
  }
  await slow.return?.();
});

async function nextRecord(events: AsyncIterator<HubEvent<string, string>>) {
  const { value } = await events.next();
  return value as { kind: string; position?: number; value?: string };
}

describe("notes", () => {
  test("a note arrives between the records between which it was announced", async () => {
    await using it = world();
    const { events } = drain(it.subscribe({ shape: short }));
    await until("it is open", () => events.length === 1);
    it.hub.announce(TOPIC, "a");
    await it.post(1);
    await until("it has both", () => events.length === 3);
    it.hub.announce(TOPIC, "b");
    await until("it has the second", () => events.length === 4);
    expect(events).toEqual(["opening", "a", 1, "b"]);
  });

  test("a note that is announced before the opening does not arrive after it", async () => {
    await using it = world();
    const { events } = drain(it.subscribe({ shape: short }));
    it.hub.announce(TOPIC, "a");
    await until("it is open", () => events.length === 1);
    await it.post(1);
    await until("it has the record", () => events.length === 2);
    expect(events).toEqual(["opening", 1]);
  });

  test("a missed note leads to another opening, unless it is fleeting", async () => {
    await using it = world({ records: 4 });
    const [late, later] = [1, 2].map(() => it.subscribe({ shape: short })[Symbol.asyncIterator]());
    const next = async (count: number, events = late) => {
      const received = [];
      for (let n = 0; n < count; n++) received.push((await events?.next())?.value);
      return received;
    };
    expect([await next(1), await next(1, later)]).toEqual([["opening"], ["opening"]]);
    it.hub.announce(TOPIC, "typing", { fleeting: true });
    await it.post(8);
    await until("the tail is there", () => it.made === 8);
    expect(await next(8)).toEqual(numbers(1, 8));
    const live = late?.next();
    it.hub.announce(TOPIC, "joined");
    expect(await live).toEqual({ done: false, value: "joined" });
    await it.post(8);
    await until("the tail is there", () => it.made >= 16);
    expect(await next(8)).toEqual(numbers(9, 16));
    expect(await next(17, later)).toEqual([...numbers(1, 16), "opening"]);
    it.abort();
  });

  test("notes that fill the ring do not make a subscriber read pages if it has every record", async () => {
    await using it = world({ records: 64 });
    const slow = it.subscribe({ shape: short })[Symbol.asyncIterator]();
    await slow.next();
    await it.post(1);
    expect(await slow.next()).toMatchObject({ value: 1 });
    for (let n = 0; n < 1000; n++) it.hub.announce(TOPIC, "typing", { fleeting: true });
    const { bytes } = it.hub.size;
    expect(bytes).toBeLessThan(64 * 1024);
    await it.post(1);
    await until("the tail is there", () => it.made === 2);
    expect(await slow.next()).toMatchObject({ value: 2 });
    expect(it.log.pages).toBe(0);
    await slow.return?.();
  });
});

test("an abort ends a subscription with its reason; the topic is released with its final subscription", async () => {
  await using it = world();
  const waits = drain(it.subscribe());
  const reads = it.subscribe({ start: "oldest" })[Symbol.asyncIterator]();
  await until("it is open", () => waits.events.length === 1);
  it.abort();
  expect(await waits.over).toMatchObject({ message: "left" });
  await expect(reads.next()).rejects.toThrow("left");
  expect(await reads.next()).toEqual({ done: true, value: undefined });
  await until("nothing is followed", () => it.hub.size.topics === 0);

  const late = drain(it.subscribe());
  expect(await late.over).toMatchObject({ message: "left" });
});

test.each<[string, (events: AsyncIterable<unknown>) => Promise<unknown>]>([
  ["a loop", (events) => drain(events).over],
  ["pump()", (events) => failureOf(pumped(events, { write: () => undefined, end() {} }).done)],
])(
  "an event that cannot be shaped ends its subscription in %s, and releases the topic",
  async (_, consume) => {
    await using it = world();
    const damaged = new ConnectError("damaged", Code.DataLoss);
    const opened = gate();
    const shape = ({ kind }: HubEvent<string, string>) => {
      if (kind === "record") throw damaged;
      opened.open();
      return kind;
    };
    const ended = consume(it.subscribe({ shape }));
    await opened.opened;
    await it.post(1);
    expect(await ended).toBe(damaged);
    await until("nothing is followed", () => it.hub.size.topics === 0);
  },
);

test("leaving the loop ends a subscription; its topic is followed for lingerMs, so that the next one need not wait", async () => {
  await using it = world({ lingerMs: 60_000 });
  for (let n = 0; n < 3; n++) {
    for await (const event of it.subscribe()) {
      expect(event.kind).toBe("opening");
      break;
    }
  }
  expect([it.hub.size.topics, it.log.reads]).toEqual([1, 1]);
});

test("values of tell() arrive after the opening, in order", async () => {
  await using it = world();
  const events = it.subscribe<string | number>({ shape: short });
  const taken = gate();
  void events.tell("mine").then(() => taken.open());
  void events.tell("too");
  const received = drain(events);
  await taken.opened;
  await until("it has both", () => received.events.length === 3);
  expect(received.events).toEqual(["opening", "mine", "too"]);
  events.close();
  expect(await received.over).toBe(undefined);
  await events.tell("late");
});

test("the rings of all topics together stay within totalBytes; a late subscriber reads pages", async () => {
  await using it = world({ totalBytes: 20_000 });
  const leaving = new AbortController();
  const late = new Map<string, AsyncIterator<string | number>>();
  for (const n of numbers(1, 20)) {
    const topic = `topic/${n}`;
    const events = it.hub.subscribe(topic, { shape: short }, leaving.signal);
    late.set(topic, events[Symbol.asyncIterator]());
    expect(await late.get(topic)?.next()).toMatchObject({ value: "opening" });
    const before = it.made;
    await it.log.append(
      topic,
      numbers(1, 20).map((n) => ({ data: Buffer.from(`${n}`) })),
    );
    await until("the tail is there", () => it.made === before + 20);
    expect(it.hub.size.bytes).toBeLessThanOrEqual(20_000);
  }
  for (const events of late.values()) {
    for (const n of numbers(1, 20)) expect((await events.next()).value).toBe(n);
  }
  leaving.abort();
  expect(await settles(() => it.hub.size.topics === 0)).toBe(true);
});

test("a closed hub ends its subscriptions with UNAVAILABLE, and refuses new ones", async () => {
  const it = world();
  const live = drain(it.subscribe());
  await it[Symbol.asyncDispose]();
  expect(await live.over).toMatchObject({ code: Code.Unavailable });
  expect(() => it.subscribe()).toThrow(/closed/);
});
