import { expect, test } from "vitest";
import { Roster, type RosterMember } from "../src/flow/roster.ts";
import { OpenStreams } from "../src/http2/open-streams.ts";
import type { Stream } from "../src/http2/stream.ts";
import { start } from "./support/world.ts";

test("calls that have ended are freed by minor garbage collections alone", async () => {
  await using world = await start();
  const { greeter } = world;
  const calls = async () => {
    for (let n = 0; n < 20; n++) {
      await Promise.all(Array.from({ length: 50 }, () => greeter.sayHello({ content: "a" })));
      gc?.({ type: "minor" });
    }
    return process.memoryUsage().heapUsed;
  };
  await calls();
  gc?.();
  const before = await calls();
  const after = await calls();
  // 1000 calls are over 10 MB at the two ends, if all of them stay.
  expect(after - before).toBeLessThan(2e6);
});

test("a roster has the members that were added and did not leave", () => {
  const roster = new Roster<RosterMember>();
  const members = Array.from({ length: 10 }, () => ({ rosterIndex: -1 }));
  for (const member of members) roster.add(member);
  const left = members.filter((_, at) => at % 3 === 0);
  expect(left.map((member) => roster.delete(member))).toEqual(left.map(() => true));
  expect(roster.delete(left[0] as RosterMember)).toBe(false);
  const rest = members.filter((member) => !left.includes(member));
  expect(new Set(roster)).toEqual(new Set(rest));
  expect(roster.size).toBe(rest.length);
});

test("members may leave a roster while it is iterated", () => {
  const roster = new Roster<RosterMember>();
  for (let n = 0; n < 5; n++) roster.add({ rosterIndex: -1 });
  let seen = 0;
  for (const member of roster) {
    seen++;
    roster.delete(member);
  }
  expect([seen, roster.size]).toEqual([5, 0]);
});

test("the open streams of a connection are found by id, in any order of their ends", () => {
  const open = new OpenStreams();
  const known = new Map<number, Stream>();
  let nextId = 1;
  let seed = 7;
  const random = (below: number) => {
    seed = (seed * 16_807) % 2_147_483_647;
    return seed % below;
  };
  for (let step = 0; step < 20_000; step++) {
    // Grows up to 60, and shrinks again.
    const mayGrow = Math.floor(step / 500) % 2 === 0;
    if (known.size === 0 || (mayGrow && known.size < 60 && random(3) > 0)) {
      // Ids may be left out.
      nextId += 2 * (1 + random(3));
      const stream = { id: nextId } as Stream;
      open.add(stream);
      known.set(nextId, stream);
    } else {
      const id = [...known.keys()][random(known.size)] as number;
      open.delete(id);
      known.delete(id);
      expect(open.get(id)).toBeUndefined();
      open.delete(id);
    }
    expect(open.size).toBe(known.size);
    const probed = [...known.keys()][random(known.size)];
    if (probed !== undefined) expect(open.get(probed)).toBe(known.get(probed));
  }
  expect(open.all()).toEqual([...known.values()]);
});
