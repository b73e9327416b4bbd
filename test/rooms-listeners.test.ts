/** What a crowded room costs: changes of its members that are told together, and the shares of those that listen. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { RoomEvents } from "../examples/rooms/room-event.ts";
import { type MembersChange, pauseMs, RoomMembers } from "../examples/rooms/room-members.ts";
import { RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { Code, ConnectError } from "../src/index.ts";
import { until } from "./support/gate.ts";
import { drain, type RoomsWorld, short, startRooms } from "./support/rooms-world.ts";

describe("the members of a room", () => {
  beforeEach(
    () => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }),
  );
  afterEach(() => void vi.useRealTimers());

  /** A room with some listeners; `events` are the changes that they were told. */
  function roomWith(listeners: () => number) {
    const events: MembersChange[] = [];
    const members = new RoomMembers({ listeners, onChange: (change) => events.push(change) });
    return {
      members,
      events,
      join(name: string) {
        members.add(name);
        members.settle();
      },
      leave(name: string) {
        members.remove(name);
        members.settle();
      },
    };
  }

  test("are told immediately to a few listeners", () => {
    const room = roomWith(() => 25);
    for (const name of ["cid", "ann", "bob"]) room.join(name);
    room.leave("ann");
    expect(room.events.map(({ joined, left, count }) => [...joined, ...left, count])).toEqual([
      ["cid", 1],
      ["ann", 2],
      ["bob", 3],
      ["ann", 2],
    ]);
    expect(room.members.names).toEqual(["bob", "cid"]);
  });

  test("are told to many listeners together, at most once in a millisecond for each of them", () => {
    const room = roomWith(() => 400);
    room.join("first");
    expect(room.events.length).toBe(1);
    for (let n = 0; n < 150; n++) room.join(`m${n}`);
    room.leave("first");
    vi.advanceTimersByTime(399);
    // Until then nobody knows: neither the list has them, nor the count.
    expect(room.events.length).toBe(1);
    expect(room.members.names).toEqual(["first"]);
    vi.advanceTimersByTime(1);
    expect(room.events.length).toBe(2);
    const { joined, left, ...numbers } = room.events[1] as MembersChange;
    expect(joined).toEqual(Array.from({ length: 100 }, (_, n) => `m${n}`));
    expect(left).toEqual([]);
    expect(numbers).toEqual({ moreJoined: 50, moreLeft: 1, count: 150 });
    expect(room.members.names).toHaveLength(150);
    vi.advanceTimersByTime(10_000);
    expect(room.events.length).toBe(2);
  });

  test("are told after 5 seconds at the latest", () => {
    const room = roomWith(() => 1_000_000);
    room.join("ann");
    room.join("bob");
    vi.advanceTimersByTime(4_999);
    expect(room.events.length).toBe(1);
    vi.advanceTimersByTime(1);
    expect(room.events[1]).toMatchObject({ joined: ["bob"], count: 2 });
  });

  test("that join and leave in between are not told", () => {
    const room = roomWith(() => 100);
    room.join("ann");
    room.join("bob");
    room.leave("ann");
    room.leave("bob");
    room.join("ann");
    vi.advanceTimersByTime(1000);
    expect(room.events).toHaveLength(1);
    expect(room.members.names).toEqual(["ann"]);
  });

  test("that join one after the other, 10,000 in ten seconds, are told in work that grows with their number alone", () => {
    let listeners = 0;
    let told = 0;
    const members = new RoomMembers({
      listeners: () => listeners,
      onChange: () => (told += listeners),
    });
    for (let n = 0; n < 10_000; n++) {
      listeners++;
      members.add(`m${n}`);
      members.settle();
      vi.advanceTimersByTime(1);
    }
    vi.advanceTimersByTime(10_000);
    expect(members.names).toHaveLength(10_000);
    // At once for the first 25, then one listener in a millisecond; each told one of them would be 50 million.
    expect(told).toBeLessThan(60_000);
    expect(pauseMs(10_000)).toBe(5000);
  });

  test("that type in a crowded room are reported one after the other", () => {
    const few = roomWith(() => 3).members;
    expect([few.mayReportTyping(), few.mayReportTyping()]).toEqual([true, true]);
    const many = roomWith(() => 1000).members;
    expect([many.mayReportTyping(), many.mayReportTyping()]).toEqual([true, false]);
    vi.advanceTimersByTime(1000);
    expect(many.mayReportTyping()).toBe(true);
  });
});

test("calls that open a room with the same members at the same position get one opening, encoded once", () => {
  const events = new RoomEvents();
  const opening = (cursor: string) => ({ kind: "opening", position: 1, cursor }) as const;
  const members = ["ann", "bob"];
  const first = events.of(opening("a"), () => members);
  expect(short(first.join)).toBe("here ann, bob");
  expect(events.of(opening("a"), () => members)).toBe(first);
  expect(events.of(opening("a"), () => [...members])).not.toBe(first);
  expect(events.of(opening("b"), () => members)).toMatchObject({ cursor: "b" });
});

/** Joins or watches rooms as a caller; resolves when the call is opened, or with its error. */
async function listen(
  { rooms }: RoomsWorld,
  { room = "lobby", user, joins = false }: { room?: string; user: string; joins?: boolean },
) {
  const headers = { "x-user": user };
  const call = joins ? rooms.join({ headers }) : rooms.watch({ room }, { headers });
  const { came, over } = drain<Parameters<typeof short>[0]>(call);
  if ("send" in call) {
    const open = { room, name: `${user} ${came.length}`, producer: "p" };
    void call.send({ event: { case: "open", value: open } }).catch(() => {});
  }
  let error: unknown;
  void over.then((thrown) => {
    error = thrown;
  });
  await until("it is opened or refused", () => came.length > 0 || error !== undefined);
  return {
    came,
    error: error === undefined ? undefined : ConnectError.from(error),
    async leave() {
      call.cancel();
      await over;
    },
  };
}

const byHeader = {
  authenticate: ({ header }: { header: Headers }) => ({
    identity: header.get("x-user") ?? "nobody",
  }),
};

describe.each([
  ["watches", false],
  ["joins", true],
] as const)("a caller that %s without end", (_, joins) => {
  test("leaves places in the room to others, and is told when to come again", async () => {
    await using world = await startRooms({ server: byHeader, maxListenersInRoom: 18 });
    const greedy = [];
    for (let n = 0; n < 18; n++) greedy.push(await listen(world, { user: "greedy", joins }));
    const refused = greedy.filter(({ error }) => error !== undefined);
    expect(refused.length).toBeGreaterThanOrEqual(2);
    const error = refused[0]?.error as ConnectError;
    const held = 18 - refused.length;
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.rawMessage).toBe(
      `the room has ${held} members and watchers of 18 (maxListenersInRoom); ${held} of them are this caller's: no more of its own begin now`,
    );
    expect(error.findDetails(RetryInfoSchema)).toHaveLength(1);
    expect(error.metadata.get("grpc-retry-pushback-ms")).toMatch(/^[12]\d{3}$/);
    // Others find a place, and the greedy one too in another room, or when it has left.
    const honest = await listen(world, { user: "honest", joins });
    expect(honest.error).toBe(undefined);
    const elsewhere = await listen(world, { user: "greedy", room: "office", joins });
    expect(elsewhere.error).toBe(undefined);
    for (const call of [...greedy, honest, elsewhere]) await call.leave();
    await until("they have left", () => world.server.openCalls === 0);
    const again = await listen(world, { user: "greedy", joins });
    expect(again.error).toBe(undefined);
    await again.leave();
  });

  test("leaves places in all rooms together to others", async () => {
    await using world = await startRooms({ server: byHeader, maxListeners: 9 });
    const greedy = [];
    for (let n = 0; n < 12; n++) {
      greedy.push(await listen(world, { user: "greedy", room: `room ${n}`, joins }));
    }
    const refused = greedy.filter(({ error }) => error !== undefined);
    expect(refused[0]?.error?.rawMessage).toMatch(
      /^the server has \d members and watchers of 9 \(maxListeners\); /,
    );
    // A refused call holds no place in its room.
    const honest = await listen(world, { user: "honest", room: "room 11", joins });
    expect(honest.error).toBe(undefined);
    for (const call of [...greedy, honest]) await call.leave();
  });
});

test("a watch that is refused for its cursor holds no place", async () => {
  await using world = await startRooms({ server: byHeader, maxListenersInRoom: 1 });
  for (let n = 0; n < 3; n++) {
    await expect(
      drain(world.rooms.watch({ room: "lobby", after: "x" })).over,
    ).resolves.toMatchObject({
      code: Code.InvalidArgument,
    });
  }
  const watch = await listen(world, { user: "ann" });
  expect(watch.error).toBe(undefined);
  await watch.leave();
});
