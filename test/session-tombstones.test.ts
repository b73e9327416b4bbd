/** Which ended sessions a server remembers, and for how long. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { TOMBSTONES_PER_CONNECTION, Tombstones } from "../src/session/tombstones.ts";

const FAR = Number.MAX_SAFE_INTEGER;

test("past the limit for all connections the oldest tombstone is dropped, of whichever connection", () => {
  const tombstones = new Tombstones(3);
  for (const id of ["a", "b", "c", "d"]) tombstones.add(id, FAR, {});
  expect(["a", "b", "c", "d"].filter((id) => tombstones.has(id))).toEqual(["b", "c", "d"]);
  tombstones.add("e", FAR, {});
  expect(["b", "c", "d", "e"].filter((id) => tombstones.has(id))).toEqual(["c", "d", "e"]);
});

test("a hundred thousand tombstones of a hundred connections are dropped one by one without a search for the oldest", () => {
  const limit = 100_000;
  const tombstones = new Tombstones(limit);
  const connections = Array.from({ length: 300 }, () => ({}));
  const add = (from: number, to: number) => {
    const began = performance.now();
    for (let n = from; n < to; n++) {
      tombstones.add(`${n}`, FAR, connections[n % connections.length] as object);
    }
    return performance.now() - began;
  };
  const first = add(0, limit);
  const later = add(limit, 2 * limit);
  expect(tombstones.size).toBe(limit);
  expect(tombstones.has(`${limit - 1}`)).toBe(false);
  expect(tombstones.has(`${limit}`)).toBe(true);
  // A search of the map's holes takes a hundred times as long.
  expect(later).toBeLessThan(20 * first + 1000);
});

test("tombstones are kept as in a plain list with the same bounds", () => {
  const step = fc.record({
    id: fc.integer({ min: 0, max: 1200 }),
    connection: fc.constantFrom(0, 0, 0, 1),
    forMs: fc.integer({ min: 0, max: 30 }),
    times: fc.constantFrom(1, 1, 700),
    passMs: fc.constantFrom(0, 1, 10),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const connections = [{}, {}];
      const limit = 1300;
      const tombstones = new Tombstones(limit);
      let model: { id: string; untilMs: number; connection: number }[] = [];
      let nowMs = 0;
      for (const { id, connection, forMs, times, passMs } of steps) {
        nowMs += passMs;
        tombstones.expire(nowMs);
        while (model[0] !== undefined && model[0].untilMs < nowMs) model.shift();
        for (let n = 0; n < times; n++) {
          const one = { id: `${(id + n) % 1400}`, untilMs: nowMs + forMs, connection };
          tombstones.add(one.id, one.untilMs, connections[connection] as object);
          model = model.filter((other) => other.id !== one.id);
          const own = model.filter((other) => other.connection === connection);
          if (own.length >= TOMBSTONES_PER_CONNECTION) model.splice(model.indexOf(own[0]!), 1);
          if (model.length >= limit) model.shift();
          model.push(one);
        }
      }
      expect(tombstones.size).toBe(model.length);
      expect(model.filter(({ id }) => !tombstones.has(id))).toEqual([]);
    }),
    { numRuns: 12 },
  );
});
