/** The contract of proto/chat/v1/room.proto: posts, watchers, imports and lists, over real sockets. */
import { describe, expect, test } from "vitest";
import { RoomService, Start } from "../gen/chat/v1/room_pb.js";
import { Code, createClient, createTransport } from "../src/index.ts";
import { memoryLog } from "../src/topics.ts";
import { until } from "./support/gate.ts";
import { drain, type RoomsWorld, short, startRooms } from "./support/rooms-world.ts";

/** A watcher that takes every event until it is cancelled. */
async function watch(
  { rooms }: RoomsWorld,
  request: { room: string; after?: string; start?: Start },
) {
  const call = rooms.watch(request);
  const { came, over } = drain(call);
  await until("it is opened", () => came.length > 0);
  return {
    came,
    short: () => came.map(short),
    async leave() {
      call.cancel();
      await over;
    },
  };
}

const annSays = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => `ann: ${from + n}`);

describe("post", () => {
  test("a post that is repeated after a lost answer is stored once, and keeps its first cursor", async () => {
    await using world = await startRooms();
    const message = { room: "lobby", name: "ann", text: "hi", producer: "p", sequence: 1n };
    const first = await world.rooms.post(message);
    expect(first).toMatchObject({ repeated: false, cursor: expect.stringMatching(/./) });
    const again = await world.rooms.post(message);
    expect(again).toMatchObject({ repeated: true, cursor: first.cursor });
    const other = await world.rooms.post({ ...message, producer: "q" });
    expect(other).toMatchObject({ repeated: false });
    const watcher = await watch(world, { room: "lobby", start: Start.OLDEST });
    await until("it has all", () => watcher.came.length === 3);
    expect(watcher.short()).toEqual(["here", "ann: hi", "ann: hi"]);
    await watcher.leave();
  });

  test("a post is stored only in its room, with the time at which the server received it", async () => {
    await using world = await startRooms();
    const before = Date.now();
    await world.post("one", 1);
    await world.post("two", 2, 5);
    const watcher = await watch(world, { room: "two", start: Start.OLDEST });
    await until("it has all", () => watcher.came.length === 3);
    expect(watcher.short()).toEqual(["here", "ann: 5", "ann: 6"]);
    const { event } = watcher.came[1] as (typeof watcher.came)[0];
    const time = event.case === "message" ? Number(event.value.time?.seconds) : 0;
    expect(Math.abs(time - before / 1000)).toBeLessThan(10);
    await watcher.leave();
  });
});

describe("watch", () => {
  test("a watcher begins with the next message, with the oldest, or after a cursor; the opening and messages have cursors", async () => {
    await using world = await startRooms();
    const cursors = await world.post("lobby", 3);
    const now = await watch(world, { room: "lobby" });
    const oldest = await watch(world, { room: "lobby", start: Start.OLDEST });
    const later = await watch(world, { room: "lobby", after: cursors[0] as string });
    await world.post("lobby", 2, 4);
    await until("all have the newest message", () =>
      [now, oldest, later].every(({ came }) => short(came.at(-1) as never) === "ann: 5"),
    );
    expect(now.short()).toEqual(["here", ...annSays(4, 5)]);
    expect(oldest.short()).toEqual(["here", ...annSays(1, 5)]);
    expect(later.short()).toEqual(["here", ...annSays(2, 5)]);
    expect(now.came[0]?.cursor).toBe(cursors[2]);
    expect(later.came[0]?.cursor).toBe(cursors[0]);
    expect(oldest.came.slice(1, 4).map(({ cursor }) => cursor)).toEqual(cursors);

    // The cursor in the opening of `oldest` is before the first message.
    const again = await watch(world, { room: "lobby", after: oldest.came[0]?.cursor as string });
    await until("it has all", () => again.came.length === 6);
    for (const watcher of [now, oldest, later, again]) await watcher.leave();
  });

  test("200 watchers of a room without messages get an opening, then the same messages", async () => {
    await using world = await startRooms();
    const all = await Promise.all(
      Array.from({ length: 200 }, () => watch(world, { room: "new", start: Start.OLDEST })),
    );
    const cursors = await world.post("new", 5);
    await until("all have all", () => all.every(({ came }) => came.length === 6));
    for (const watcher of all) {
      expect(watcher.short()).toEqual(["here", ...annSays(1, 5)]);
      expect(watcher.came.slice(1).map(({ cursor }) => cursor)).toEqual(cursors);
    }
    await Promise.all(all.map((watcher) => watcher.leave()));
  });

  test("a watcher gets a gap for messages that retention dropped, and for a cursor of another log", async () => {
    await using log = memoryLog({ retention: { records: 5 } });
    await using world = await startRooms({ log });
    const cursors = await world.post("lobby", 20);
    const late = await watch(world, { room: "lobby", after: cursors[0] as string });
    await until("it has all", () => late.came.length === 7);
    expect(late.short()).toEqual(["here", "gap", ...annSays(16, 20)]);
    expect(late.came[1]?.cursor).not.toBe("");
    await late.leave();

    await using other = await startRooms();
    const foreign = await watch(other, { room: "lobby", after: cursors[0] as string });
    await until("it has the gap", () => foreign.came.length === 2);
    await other.post("lobby", 1);
    await until("it has the message", () => foreign.came.length === 3);
    expect(foreign.short()).toEqual(["here", "gap", "ann: 1"]);
    await foreign.leave();
  });

  test.each([
    ["malformed", async () => "nonsense", /malformed/],
    [
      "of another room",
      async ({ post }: RoomsWorld) => (await post("other", 1))[0] as string,
      /belongs to another topic/,
    ],
  ])("a watcher with a cursor that is %s gets INVALID_ARGUMENT", async (_, cursor, message) => {
    await using world = await startRooms();
    const { over } = drain(world.rooms.watch({ room: "lobby", after: await cursor(world) }));
    expect(await over).toMatchObject({
      code: Code.InvalidArgument,
      message: expect.stringMatching(message),
    });
  });

  test("a watcher that does not read delays no other watcher, and gets every message when it reads again", async () => {
    await using world = await startRooms();
    const stalled = world.rooms.watch({ room: "lobby" });
    const events = stalled[Symbol.asyncIterator]();
    expect(short((await events.next()).value as never)).toBe("here");
    const all = await Promise.all(Array.from({ length: 5 }, () => watch(world, { room: "lobby" })));
    // More than flow control, inboxes and the hub's ring can hold.
    const text = "x".repeat(4000);
    const call = world.rooms.import();
    await call.send({ room: "lobby", name: "ann", text: "1", producer: "p" });
    for (let n = 2; n <= 1500; n++) await call.send({ text: `${n} ${text}` });
    await call.finish();
    await until("the others have all", () => all.every(({ came }) => came.length === 1501));
    for (let n = 1; n <= 1500; n++) {
      const { event } = (await events.next()).value as (typeof all)[0]["came"][0];
      expect(event.case === "message" && Number.parseInt(event.value.text, 10)).toBe(n);
    }
    stalled.cancel();
    await Promise.all(all.map((watcher) => watcher.leave()));
  });

  test("a watcher continues at another server that shares the log when its server drains", async () => {
    await using log = memoryLog();
    await using other = await startRooms({ log });
    expect(await other.rooms.listRooms({})).toMatchObject({ rooms: [] });
    await using world = await startRooms({ log });
    const baseUrl = [world.url, other.url];
    await using transport = createTransport({ baseUrl });
    const rooms = createClient(RoomService, transport);
    const call = rooms.watch({ room: "lobby" });
    const { came, over } = drain(call);
    await until("it is opened", () => came.length === 1);
    await world.post("lobby", 10);
    // The grace is long, but no call needs it.
    await world.server.close({ graceMs: 60_000 });
    await other.post("lobby", 10, 11);
    const messages = () => came.map(short).filter((text) => !text.startsWith("here"));
    await until("it has all", () => messages().length >= 20);
    expect(messages()).toEqual(annSays(1, 20));
    call.cancel();
    await over;
  });

  test("a watcher whose connection is cut continues, and gets each message once", async () => {
    await using world = await startRooms({ linked: true });
    const watcher = await watch(world, { room: "lobby" });
    for (let n = 0; n < 5; n++) {
      await world.post("lobby", 10, n * 20 + 1);
      world.link.cut();
      await world.post("lobby", 10, n * 20 + 11);
    }
    const messages = () => watcher.short().filter((text) => !text.startsWith("here"));
    await until("it has all", () => messages().length >= 100);
    expect(messages()).toEqual(annSays(1, 100));
    await watcher.leave();
  });
});

describe("import", () => {
  test("an import adds many messages in order, and counts those that were stored before", async () => {
    await using world = await startRooms();
    const run = async () => {
      const call = world.rooms.import();
      for (let n = 1; n <= 2000; n++) {
        await call.send(
          n === 1 ? { room: "bulk", name: "ann", text: "1", producer: "p" } : { text: `${n}` },
        );
      }
      return await call.finish();
    };
    const first = await run();
    expect(first).toMatchObject({ messages: 2000n, repeated: 0n });
    expect(first.cursor).toBe((await world.log.end("room/bulk")).cursor);
    expect(await run()).toMatchObject({ messages: 2000n, repeated: 2000n, cursor: first.cursor });
    const watcher = await watch(world, { room: "bulk", start: Start.OLDEST });
    await until("it has all", () => watcher.came.length === 2001);
    expect(watcher.short()).toEqual(["here", ...annSays(1, 2000)]);
    await watcher.leave();
  });

  test("an import can change the room, and counts from a sequence that a message sets", async () => {
    await using world = await startRooms();
    const call = world.rooms.import();
    await call.send({ room: "a", name: "ann", text: "1", producer: "p", sequence: 7n });
    await call.send({ text: "2" });
    await call.send({ room: "b", name: "bob", text: "3" });
    await call.send({ text: "4", sequence: 8n, room: "a" });
    expect(await call.finish()).toMatchObject({ messages: 4n, repeated: 1n });
    const watchers = [
      await watch(world, { room: "a", start: Start.OLDEST }),
      await watch(world, { room: "b", start: Start.OLDEST }),
    ];
    await until("they have all", () => watchers.map(({ came }) => came.length).join() === "3,2");
    expect(watchers.map((watcher) => watcher.short())).toEqual([
      ["here", "ann: 1", "ann: 2"],
      ["here", "bob: 3"],
    ]);
    for (const watcher of watchers) await watcher.leave();
  });

  test("an import can be empty; the messages before an invalid one are stored", async () => {
    await using world = await startRooms();
    expect(await world.rooms.import().finish()).toMatchObject({ messages: 0n, cursor: "" });
    const call = world.rooms.import();
    await call.send({ room: "a", name: "ann", text: "1", producer: "p" });
    await call.send({ text: "" });
    await expect(call.finish()).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: "message 2: text is empty: it must have 1 to 4096; message 1 is stored",
    });
    expect((await world.log.end("room/a")).position).toBe(1);
  });
});

describe("lists", () => {
  test("the list has the rooms by name, a page at a time, and no other topics", async () => {
    await using world = await startRooms();
    // The emoji is the last name by UTF-8; by UTF-16 it is before U+FFFD.
    const names = ["a", "b", "room/c", "\u00e9", "\ufffd", "\u{1f600}"];
    for (const room of names.toReversed()) await world.post(room, 1);
    await world.log.append("presence", [{ data: new Uint8Array() }]);
    await world.log.append("other", [{ data: new Uint8Array() }]);
    const all = await world.rooms.listRooms({});
    expect(all.rooms.map(({ name }) => name)).toEqual(names);
    expect(all.more).toBe(false);
    const paged: string[] = [];
    for (let after = "", more = true; more; after = paged.at(-1) as string) {
      const page = await world.rooms.listRooms({ pageSize: 4, after });
      paged.push(...page.rooms.map(({ name }) => name));
      more = page.more;
    }
    expect(paged).toEqual(names);
    await expect(world.rooms.listRooms({ pageSize: 1001 })).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: "page_size is 1001: ask for 1000 at most",
    });
    expect((await world.rooms.listRooms({ pageSize: 1000, after: "zzz" })).rooms).toHaveLength(3);
  });
});

test("a room without messages is listed while it has a member", async () => {
  await using world = await startRooms();
  const [cursor] = await world.post("lobby", 1);
  await world.post("office", 1);
  await world.log.trim("room/lobby", cursor as string);
  const listed = async () => (await world.rooms.listRooms({})).rooms.map(({ name }) => name);
  expect(await listed()).toEqual(["office"]);
  const call = world.rooms.join();
  const { came, over } = drain(call);
  const open = { room: "lobby", name: "ann", producer: "p" };
  await call.send({ event: { case: "open", value: open } });
  await until("the member has the opening", () => came.length === 1);
  expect(await listed()).toEqual(["lobby", "office"]);
  call.closeSend();
  expect(await over).toBe(undefined);
  expect(await listed()).toEqual(["office"]);
});

describe("limits in code points", () => {
  const emoji = "\u{1f680}";
  const good = { room: "r", name: "n", text: "t", producer: "p", sequence: 1n };

  test.each([
    ["a room of 64", { room: emoji.repeat(64) }],
    ["a name of 64", { name: emoji.repeat(64) }],
    ["a producer of 64", { producer: emoji.repeat(64) }],
    ["a text of 4096", { text: emoji.repeat(4096) }],
    ["a text of lines and tabs", { text: "two\nlines\r\n\tand a tab" }],
    ["the largest sequence", { sequence: 2n ** 63n - 1n }],
  ])("a post can have %s", async (_, fields) => {
    await using world = await startRooms();
    const message = { ...good, ...fields };
    expect(await world.rooms.post(message)).toMatchObject({ repeated: false });
    const watcher = await watch(world, { room: message.room, start: Start.OLDEST });
    await until("it is there", () => watcher.came.length === 2);
    expect(watcher.short()).toEqual(["here", `${message.name}: ${message.text}`]);
    await watcher.leave();
  });

  test.each([
    ["room is empty: it must have 1 to 64", { room: "" }],
    ["room has 65 characters: it must have 1 to 64", { room: emoji.repeat(65) }],
    ["name has 65 characters: it must have 1 to 64", { name: "x".repeat(65) }],
    ["producer is empty: it must have 1 to 64", { producer: "" }],
    ["text has 4097 characters: it must have 1 to 4096", { text: emoji.repeat(4097) }],
    ["name holds U+000A: leave out characters that are not seen", { name: "a\nb" }],
    ["room holds U+009B: leave out characters that are not seen", { room: "\u009b" }],
    ["name mixes scripts, so that it may look like another name: use one", { name: "p\u0430ul" }],
    ["name is not in Unicode's normal form NFKC: normalize it", { name: "\uff41da" }],
    ["producer holds U+200B: leave out characters that are not seen", { producer: "a\u200b" }],
    [
      "text holds U+0007: leave out control characters other than line breaks and tabs",
      { text: "bell \u0007" },
    ],
    [`sequence is 0: count messages from 1, at most to ${2n ** 63n - 1n}`, { sequence: 0n }],
  ])("a post is refused with INVALID_ARGUMENT: %s", async (message, fields) => {
    await using world = await startRooms();
    await expect(world.rooms.post({ ...good, ...fields })).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: message,
    });
    expect(await world.log.topics()).toEqual([]);
  });

  test("watch and listMembers have the same limits", async () => {
    await using world = await startRooms();
    const refused = { code: Code.InvalidArgument, rawMessage: expect.stringMatching(/^room /) };
    expect(await drain(world.rooms.watch({ room: "" })).over).toMatchObject(refused);
    await expect(world.rooms.listMembers({ room: "x".repeat(65) })).rejects.toMatchObject(refused);
    const start = 7 as Start;
    expect(await drain(world.rooms.watch({ room: "r", start })).over).toMatchObject({
      rawMessage: "start is 7: it must be START_NOW or START_OLDEST",
    });
  });
});
