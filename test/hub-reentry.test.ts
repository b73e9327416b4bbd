/** Subscribers that end, announce a note or send a value while they get an event. */
import { expect, test, vi } from "vitest";
import type { SubscribeOptions, Subscription } from "../src/topics/hub/subscription.ts";
import { until } from "./support/gate.ts";
import { drain, type HubWorld, short, TOPIC, world } from "./support/hub-world.ts";
import { pumped } from "./support/pumped.ts";

type Shown = string | number;
type Options = SubscribeOptions<string, string, Shown>;

/** A subscriber whose pump takes events as fast as they arrive. */
function watch(it: HubWorld, write: (event: Shown) => void, options: Options = {}) {
  const writer = { write: (event: Shown) => void write(event), end() {} };
  return pumped(it.subscribe<Shown>({ shape: short, ...options }), writer);
}

/** A subscriber that calls a function while its record 1 is shaped. */
function shaping(it: HubWorld, meanwhile: (self: Subscription<Shown>) => void) {
  const self: Subscription<Shown> = it.subscribe<Shown>({
    shape(event) {
      const shown = short(event);
      if (shown === 1) meanwhile(self);
      return shown;
    },
  });
  return self;
}

test("subscribers that end at the same event and announce it do not disturb the others, which get each note and the next record", async () => {
  await using it = world({ records: 64 });
  const [before, after]: [Shown[], Shown[]] = [[], []];
  const staying = [watch(it, (event) => before.push(event))];
  // More than a quarter of the ring, and less than a half.
  const leaving = Array.from({ length: 20 }, (_, n) =>
    watch(
      it,
      (event) => {
        if (event === 1) throw new Error("it cannot be sent");
      },
      { onEnd: () => it.hub.announce(TOPIC, `left ${n}`) },
    ),
  );
  staying.push(watch(it, (event) => after.push(event)));
  await until("they are open", () => before.length === 1 && after.length === 1);
  await it.post(1);
  for (const { done } of leaving) await expect(done).rejects.toThrow("it cannot be sent");
  await until("they have all notes", () => before.length === 22 && after.length === 22);
  await it.post(1);
  await until("they have the next record", () => before.length === 23 && after.length === 23);
  const left = leaving.map((_, n) => `left ${n}`);
  expect([before, after]).toEqual([
    ["opening", 1, ...left, 2],
    ["opening", 1, ...left, 2],
  ]);
  for (const one of staying) one.stop();
});

test("a value that tell() sends while an event is shaped comes after that event", async () => {
  await using it = world();
  const events = shaping(it, (self) => void self.tell("direct"));
  const received = drain(events);
  await until("it is open", () => received.events.length === 1);
  await it.post(2);
  await until("it has all", () => received.events.length === 4);
  expect(received.events).toEqual(["opening", 1, "direct", 2]);
  events.close();
});

test("a subscription that is closed while it shapes an event gets no further event", async () => {
  await using it = world();
  const received = drain(shaping(it, (self) => self.close(new Error("enough"))));
  await until("it is open", () => received.events.length === 1);
  await it.post(2);
  expect(await received.over).toMatchObject({ message: "enough" });
  expect(received.events).toEqual(["opening", 1]);
});

test("a subscription that is closed and throws at the same event ends once", async () => {
  await using it = world({ lingerMs: 60_000 });
  let ends = 0;
  const events: Subscription<Shown> = it.subscribe<Shown>({
    shape(event) {
      if (event.kind !== "record") return short(event);
      events.close();
      throw new Error("no more");
    },
    onEnd: () => ends++,
  });
  const received = drain(events);
  await until("it is open", () => received.events.length === 1);
  await it.post(1);
  expect(await received.over).toMatchObject({ message: "no more" });
  expect(ends).toBe(1);
});

test("an onEnd that throws is reported, and the other subscribers get all events", async () => {
  // In a ring of 4 each record is a quarter: subscribers are woken while the tail reads.
  await using it = world({ records: 4 });
  const reports: (() => void)[] = [];
  const report = vi.spyOn(globalThis, "queueMicrotask").mockImplementation((run) => {
    reports.push(run);
  });
  const refuses = (event: Shown) => {
    if (event === 1) throw new Error("it cannot be sent");
  };
  const onEnd = () => {
    throw new Error("a bug");
  };
  const leaving = watch(it, refuses, { onEnd });
  const received: Shown[] = [];
  const staying = watch(it, (event) => received.push(event));
  await until("it is open", () => received.length === 1);
  await it.post(1);
  await expect(leaving.done).rejects.toThrow("it cannot be sent");
  await it.post(1);
  await until("it has both", () => received.length === 3);
  report.mockRestore();
  expect(reports).toHaveLength(1);
  expect(reports[0]).toThrow("a bug");
  staying.stop();
});
