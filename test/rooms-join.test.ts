/** Members of rooms: their messages, their list, and how a member leaves whose client or node is lost. */
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test, vi } from "vitest";
import { Presence } from "../examples/rooms/presence.ts";
import { takePart } from "../examples/rooms/take-part.ts";
import { PresenceRecordSchema } from "../gen/chat/v1/presence_pb.js";
import { type JoinRequest_Open, JoinRequestSchema, Start } from "../gen/chat/v1/room_pb.js";
import { Code, ConnectError } from "../src/index.ts";
import { memoryLog, type TopicLog } from "../src/topics.ts";
import { gate, stillAt, until } from "./support/gate.ts";
import { logWith } from "./support/log-with.ts";
import { drain, type RoomsWorld, short, startRooms } from "./support/rooms-world.ts";

type Open = Partial<Omit<JoinRequest_Open, "$typeName" | "$unknown">>;

/** Joins a room. The member takes every event that arrives. */
async function join({ rooms }: RoomsWorld, name: string, open: Open = {}, session?: boolean) {
  const call = rooms.join(session === undefined ? {} : { sessions: session });
  const { came, over } = drain(call);
  const member = {
    call,
    came,
    over,
    short: () => came.map(short),
    say: (sequence: number, text = `${sequence}`) =>
      call.send({ event: { case: "say", value: { sequence: BigInt(sequence), text } } }),
    type: () => call.send({ event: { case: "typing", value: {} } }),
    has: (text: string) => until(`${name} has "${text}"`, () => came.map(short).includes(text)),
    async leave() {
      call.closeSend();
      expect(await over).toBe(undefined);
    },
  };
  const value = { room: "lobby", name, producer: `${name}'s`, ...open };
  await call.send({ event: { case: "open", value } });
  return member;
}

/** Joins a room, and waits for the opening. */
async function joined(...args: Parameters<typeof join>) {
  const member = await join(...args);
  await until("it is opened", () => member.came.length > 0);
  return member;
}

const membersOf = async ({ rooms }: RoomsWorld, room = "lobby") =>
  (await rooms.listMembers({ room })).members.map(({ name }) => name).join();

describe.each([
  ["with a session", true],
  ["without a session", false],
] as const)("%s", (_, session) => {
  test("two members get the messages of both in the same order, and an acknowledgement of each message that they sent", async () => {
    await using world = await startRooms();
    const ann = await joined(world, "ann", {}, session);
    const bob = await joined(world, "bob", {}, session);
    await ann.has("joined bob");
    for (let n = 1; n <= 50; n++) await Promise.all([ann.say(n), bob.say(n)]);
    const messages = (member: typeof ann) => member.short().filter((text) => text.includes(":"));
    await until("both have all", () => messages(ann).length + messages(bob).length === 200);
    await ann.has("said 50");
    expect(messages(bob)).toEqual(messages(ann));
    expect(messages(bob).filter((text) => text.startsWith("ann"))).toEqual(
      Array.from({ length: 50 }, (_, n) => `ann: ${n + 1}`),
    );
    expect(ann.came.map(short).filter((text) => text.startsWith("said"))).toEqual(
      Array.from({ length: 50 }, (_, n) => `said ${n + 1}`),
    );
    expect(ann.short()[0]).toBe("here ann");
    expect(bob.short()[0]).toBe("here ann, bob");
    await bob.leave();
    await ann.has("left bob");
    await ann.leave();
  });

  test("a member whose client is lost leaves when the grace of its session has ended", async () => {
    await using world = await startRooms({
      linked: true,
      server: { sessions: { graceMs: 150 } },
    });
    const watch = world.rooms.watch({ room: "lobby" });
    const watching = drain(watch);
    // A plain call may overtake the session of another call, which asks for the server's settings first.
    await until("the watch is opened", () => watching.came.length > 0);
    const ann = await joined(world, "ann", {}, session);
    await until("the watcher has the event", () => watching.came.map(short).includes("joined ann"));
    world.link.refuse();
    world.link.cut();
    await until("no call is open", () => world.server.openCalls === 0);
    world.link.accept();
    await until("the member has left", () => watching.came.map(short).at(-1) === "here");
    expect(await membersOf(world)).toBe("");
    ann.call.cancel();
    await ann.over;
    watch.cancel();
    await watching.over;
  });
});

test("a member whose connection is cut stays, and gets every event", async () => {
  await using world = await startRooms({ linked: true });
  const ann = await joined(world, "ann", {}, true);
  for (let n = 1; n <= 5; n++) {
    world.link.cut();
    await ann.say(n);
    await ann.has(`said ${n}`);
  }
  await ann.has("ann: 5");
  const events = ann.short().toSorted();
  const expected = [1, 2, 3, 4, 5].flatMap((n) => [`ann: ${n}`, `said ${n}`]);
  expect(events).toEqual(["here ann", ...expected].toSorted());
  await ann.leave();
});

test("only the opening, messages and gaps have a cursor", async () => {
  await using world = await startRooms();
  const ann = await joined(world, "ann");
  const bob = await joined(world, "bob");
  await bob.type();
  await bob.say(1);
  await bob.has("said 1");
  await bob.leave();
  await ann.has("left bob");
  const placed = ann.came.filter(({ cursor }) => cursor !== "").map(short);
  expect(placed).toEqual(["here ann", "bob: 1"]);
  expect(ann.short().toSorted()).toEqual(
    ["here ann", "joined bob", "typing bob", "bob: 1", "left bob"].toSorted(),
  );
  await ann.leave();
});

test("other members get a typing event, at most once per second; watchers get none", async () => {
  await using world = await startRooms();
  const watching = world.rooms.watch({ room: "lobby" });
  const watched = drain(watching);
  await until("the watcher has the opening", () => watched.came.length === 1);
  const ann = await joined(world, "ann");
  const bob = await joined(world, "bob");
  for (let n = 0; n < 10; n++) await ann.type();
  await ann.say(1);
  await bob.has("ann: 1");
  expect(bob.short().filter((text) => text.startsWith("typing"))).toEqual(["typing ann"]);
  expect(ann.short()).not.toContain("typing ann");
  await until("the watcher has it", () => watched.came.map(short).includes("ann: 1"));
  expect(watched.came.map(short)).toEqual(["here", "joined ann", "joined bob", "ann: 1"]);
  watching.cancel();
  await watched.over;
  await ann.leave();
  await bob.leave();
});

test("a name with two calls is one member, which leaves when both calls have ended", async () => {
  await using world = await startRooms();
  const ann = await joined(world, "ann");
  const phone = await joined(world, "bob", { producer: "phone" });
  const desk = await joined(world, "bob", { producer: "desk" });
  expect(await membersOf(world)).toBe("ann,bob");
  expect((await world.rooms.listRooms({})).rooms).toMatchObject([{ name: "lobby", members: 2 }]);
  await phone.leave();
  await desk.say(1);
  await ann.has("bob: 1");
  expect(ann.short()).not.toContain("left bob");
  await desk.leave();
  await ann.has("left bob");
  expect(ann.short()).toEqual(["here ann", "joined bob", "bob: 1", "left bob"]);
  await ann.leave();
  expect((await world.rooms.listRooms({})).rooms).toMatchObject([{ name: "lobby", members: 0 }]);
});

test("a member that half-closes leaves when all its messages are stored", async () => {
  await using world = await startRooms();
  const ann = await join(world, "ann");
  for (let n = 1; n <= 100; n++) void ann.say(n);
  await ann.leave();
  expect(ann.short().filter((text) => text.startsWith("said"))).toHaveLength(100);
  expect((await world.log.end("room/lobby")).position).toBe(100);
});

test("no message is stored after one that could not be stored, even if the member does not read", async () => {
  const full = new ConnectError("no room", Code.ResourceExhausted);
  const stored: bigint[] = [];
  const ends: unknown[] = [];
  const say = (sequence: bigint) =>
    create(JoinRequestSchema, { event: { case: "say", value: { text: "x", sequence } } });
  async function* requests() {
    yield say(1n);
    yield say(2n);
    await until("the call fails", () => ends.length > 0);
    yield say(3n);
  }
  const actions = {
    async say({ sequence }: { sequence: bigint }) {
      if (sequence === 2n) throw full;
      stored.push(sequence);
    },
    typing() {},
  };
  await takePart(requests(), actions, { close: (error) => ends.push(error) });
  expect(stored).toEqual([1n]);
  expect(ends[0]).toBe(full);
});

test("a member gets its own messages that it sent right after the open request", async () => {
  await using log = memoryLog();
  // The log is slow to return the position at which the member begins.
  const slow = gate();
  await using world = await startRooms({
    log: logWith(log, {
      async end(topic) {
        if (topic.startsWith("room/")) await slow.opened;
        return await log.end(topic);
      },
    }),
  });
  const ann = await join(world, "ann");
  await ann.say(1);
  await ann.say(2);
  await until("the call is open", () => world.server.openCalls === 1);
  await stillAt(() => ann.came.length, 50);
  slow.open();
  await ann.has("ann: 2");
  await ann.leave();
  const both = ["ann: 1", "ann: 2", "said 1", "said 2"];
  expect(ann.short().toSorted()).toEqual([...both, "here ann"].toSorted());
});

test("a member begins with the oldest message, or after a cursor; a repeated message is not stored again", async () => {
  await using world = await startRooms();
  const [, second] = await world.post("lobby", 3);
  const ann = await joined(world, "ann", { start: Start.OLDEST });
  await ann.has("ann: 3");
  await ann.say(3, "3");
  await ann.has("said 3");
  expect(ann.came.map(short).filter((text) => text.startsWith("ann"))).toHaveLength(3);
  await ann.leave();
  const later = await joined(world, "ann", { after: second as string });
  await later.has("ann: 3");
  expect(later.short()).toEqual(["here ann", "ann: 3"]);
  await later.leave();
});

describe("invalid requests", () => {
  type Request = MessageInitShape<typeof JoinRequestSchema>;
  const open: Request = {
    event: { case: "open", value: { room: "r", name: "n", producer: "p" } },
  };
  const say = (text: string, sequence: bigint): Request => ({
    event: { case: "say", value: { text, sequence } },
  });

  const none: Request[] = [];
  test.each([
    ["a call without a request", none, "the call has no request: its first one opens"],
    [
      "a message before the open request",
      [say("x", 1n)],
      "the first request is say: it must be open",
    ],
    ["an empty first request", [{}], "the first request is empty: it must be open"],
    ["a second open request", [open, open], /^open came again/],
    ["an empty second request", [open, {}], /^a request is empty/],
    ["an empty text", [open, say("", 1n)], /^say.text is empty/],
    ["a sequence of 0", [open, say("x", 0n)], /^say.sequence is 0/],
    [
      "an empty room",
      [{ event: { case: "open" as const, value: { name: "n", producer: "p" } } }],
      "open.room is empty: it must have 1 to 64",
    ],
    [
      "a malformed cursor",
      [
        {
          event: {
            case: "open" as const,
            value: { room: "r", name: "n", producer: "p", after: "x" },
          },
        },
      ],
      /^the cursor is malformed/,
    ],
  ])("a join fails with INVALID_ARGUMENT for %s", async (_, requests, message) => {
    await using world = await startRooms();
    const call = world.rooms.join();
    const { over } = drain(call);
    for (const request of requests) void call.send(request).catch(() => {});
    if (requests.length === 0) call.closeSend();
    expect(await over).toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringMatching(message),
    });
    await until("the call has ended", () => world.server.openCalls === 0);
    expect(await membersOf(world, "r")).toBe("");
  });
});

describe("two nodes on one log", () => {
  test("members of both nodes get each other's messages and events", async () => {
    await using log = memoryLog();
    await using one = await startRooms({ log });
    const ann = await joined(one, "ann");
    await using two = await startRooms({ log });
    const bob = await joined(two, "bob");
    await ann.has("joined bob");
    expect(bob.short()).toEqual(["here ann, bob"]);
    expect([await membersOf(one), await membersOf(two)]).toEqual(["ann,bob", "ann,bob"]);
    await bob.type();
    await ann.has("typing bob");
    await bob.say(1);
    await ann.has("bob: 1");
    await bob.leave();
    await ann.has("left bob");
    // A node that starts later learns the members from earlier records.
    await using three = await startRooms({ log });
    expect(await membersOf(three)).toBe("ann");
    await ann.leave();
  });

  test("members of a silent node leave when its lease expires; those of a live node stay", async () => {
    await using log = memoryLog();
    // A node that cannot write looks like one that has died: its lease expires.
    const connection = { isDown: false };
    await using silent = await startRooms({ log: logOver(log, connection), beatMs: 60 });
    const zoe = await joined(silent, "zoe");
    await using live = await startRooms({ log, beatMs: 60 });
    const ann = await joined(live, "ann");
    expect(ann.short()[0]).toBe("here ann, zoe");
    connection.isDown = true;
    await ann.has("left zoe");
    await stillAt(() => ann.came.length, 300);
    expect(ann.short()).toEqual(["here ann, zoe", "left zoe"]);
    // The node was only silent: with its next beat its members are back.
    connection.isDown = false;
    await ann.has("joined zoe");
    await zoe.leave();
    await ann.has("left zoe");
    await ann.leave();
  });

  test("a clock that was set back does not lengthen a lease", async () => {
    await using log = memoryLog();
    const value = { room: "lobby", name: "zoe" };
    const event = { case: "joined" as const, value };
    const record = create(PresenceRecordSchema, { node: "silent", leaseMs: 300, event });
    const clock = vi.spyOn(Date, "now").mockReturnValue(Date.now() + 3_600_000);
    await log.append("presence", [{ data: toBinary(PresenceRecordSchema, record) }]);
    clock.mockRestore();
    await using world = await startRooms({ log });
    const ann = await joined(world, "ann");
    await ann.has("left zoe");
    await ann.leave();
  });

  test("a member whose node closes leaves once, and the node writes nothing more", async () => {
    await using log = memoryLog();
    const events: string[] = [];
    const presence = new Presence(log, {
      beatMs: 20,
      listeners: () => 1,
      onChange: (_, { joined, left }) => events.push(`${joined} joined, ${left} left`),
      onTyping: () => {},
    });
    await presence.ready();
    const ann = presence.join("lobby", "ann");
    await presence[Symbol.asyncDispose]();
    ann[Symbol.dispose]();
    expect(events).toEqual(["ann joined,  left", " joined, ann left"]);
    const { position } = await log.end("presence");
    await stillAt(() => events.length, 60);
    expect((await log.end("presence")).position).toBe(position);
    const late = new Presence(log, {
      listeners: () => 0,
      onChange: () => {},
      onTyping: () => {},
    });
    await late[Symbol.asyncDispose]();
    await expect(late.ready()).rejects.toMatchObject({ code: Code.Unavailable });
  });

  test("old records of presence are trimmed", async () => {
    await using log = memoryLog();
    await using world = await startRooms({ log, beatMs: 10 });
    const ann = await joined(world, "ann");
    await stillAt(() => ann.came.length, 300);
    const items = await log.page("presence", undefined);
    expect(items.length).toBeLessThan(8);
    expect((await log.end("presence")).position).toBeGreaterThan(10);
    expect((await world.rooms.listRooms({})).rooms.map(({ name }) => name)).toEqual(["lobby"]);
    await ann.leave();
  });
});

/** A log whose appends fail while the connection is down. */
function logOver(log: TopicLog, connection: { isDown: boolean }): TopicLog {
  return logWith(log, {
    async append(topic, records) {
      if (connection.isDown) throw new ConnectError("no connection", Code.Unavailable);
      return await log.append(topic, records);
    },
  });
}
