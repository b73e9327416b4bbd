/** Rooms with more members than one message can name. */
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { appearanceOn } from "../examples/rooms/client/appearance.ts";
import { lineOf } from "../examples/rooms/client/event-line.ts";
import { Roster } from "../examples/rooms/client/roster.ts";
import { PresenceRecordSchema } from "../gen/chat/v1/presence_pb.js";
import { MembersChangedSchema, type Opened, OpenedSchema } from "../gen/chat/v1/room_pb.js";
import { Code } from "../src/index.ts";
import { memoryLog, type TopicLog } from "../src/topics.ts";
import { until } from "./support/gate.ts";
import { drain, type RoomsWorld, startRooms } from "./support/rooms-world.ts";

/** Each name has 238 B: together they exceed the 4 MiB that a message may have. */
const CROWD = Array.from(
  { length: 20_000 },
  (_, n) => `${"\u{1f600}".repeat(58)}${`${n}`.padStart(6, "0")}`,
);

/** Makes members join a room at another node. */
async function gather(log: TopicLog, room: string, names: string[]): Promise<void> {
  for (let from = 0; from < names.length; from += 500) {
    const to = from + 500;
    const present = names.slice(from, to).map((name) => ({ room, name }));
    const value = { present, first: from === 0, last: to >= names.length };
    const event = { case: "roster" as const, value };
    const record = create(PresenceRecordSchema, { node: "crowded", leaseMs: 60_000, event });
    await log.append("presence", [{ data: toBinary(PresenceRecordSchema, record) }]);
  }
}

const namesOf = (members: readonly { name: string }[]) => members.map(({ name }) => name);

/** Lists all members, page by page. */
async function listMembers({ rooms }: RoomsWorld, pageSize: number): Promise<string[]> {
  const names: string[] = [];
  for (let more = true; more; ) {
    const after = names.at(-1) ?? "";
    const page = await rooms.listMembers({ room: "lobby", pageSize, after });
    names.push(...namesOf(page.members));
    more = page.more;
  }
  return names;
}

test("the opening of a crowded room has its first 100 members and the count of all; pages list every member", async () => {
  await using log = memoryLog();
  await gather(log, "lobby", CROWD);
  await using world = await startRooms({ log });
  const watching = world.rooms.watch({ room: "lobby" });
  const watched = drain(watching);
  await until("the watcher has the opening", () => watched.came.length === 1);
  const joining = world.rooms.join();
  const joined = drain(joining);
  const open = { room: "lobby", name: "ann", producer: "p" };
  await joining.send({ event: { case: "open", value: open } });
  await until("the member has the opening", () => joined.came.length === 1);

  const atWatch = watched.came[0]?.event.value as Opened;
  expect(namesOf(atWatch.members)).toEqual(CROWD.slice(0, 100));
  expect(atWatch.count).toBe(20_000);
  const atJoin = joined.came[0]?.event.value as Opened;
  expect(namesOf(atJoin.members)).toEqual(["ann", ...CROWD.slice(0, 99)]);
  expect(atJoin.count).toBe(20_001);
  await until("the watcher has the event", () => watched.came.length === 2);
  expect(watched.came[1]?.event).toMatchObject({
    case: "membersChanged",
    value: { joined: [{ name: "ann" }], left: [], count: 20_001 },
  });

  expect(await listMembers(world, 1000)).toEqual(["ann", ...CROWD]);
  const { rooms } = await world.rooms.listRooms({});
  expect(rooms).toMatchObject([{ name: "lobby", members: 20_001 }]);
  watching.cancel();
  await watched.over;
  joining.closeSend();
  expect(await joined.over).toBe(undefined);
});

test("members are listed by name, 100 a page by default, after a name that need not be a member's", async () => {
  await using log = memoryLog();
  const names = Array.from({ length: 250 }, (_, n) => `member ${`${n}`.padStart(3, "0")}`);
  await gather(log, "lobby", names);
  await using world = await startRooms({ log });
  const page = (pageSize: number, after: string) =>
    world.rooms.listMembers({ room: "lobby", pageSize, after });
  expect(namesOf((await page(0, "")).members)).toEqual(names.slice(0, 100));
  expect(await listMembers(world, 0)).toEqual(names);
  expect(await listMembers(world, 125)).toEqual(names);
  expect(await page(250, "")).toMatchObject({ more: false });
  expect(await page(249, "")).toMatchObject({ more: true });
  expect(namesOf((await page(2, "member 0999")).members)).toEqual(["member 100", "member 101"]);
  expect(await page(10, "zzz")).toMatchObject({ members: [], more: false });
  expect(await world.rooms.listMembers({ room: "empty" })).toMatchObject({ members: [] });
  await expect(page(1001, "")).rejects.toMatchObject({
    code: Code.InvalidArgument,
    rawMessage: "page_size is 1001: ask for 1000 at most",
  });
});

test("the command line counts the members that are not named, and shows an opening only if members changed", () => {
  const opened = (count: number, ...names: string[]) => {
    const value = create(OpenedSchema, { members: names.map((name) => ({ name })), count });
    return { case: "opened" as const, value };
  };
  const changed = (fields: MessageInitShape<typeof MembersChangedSchema>) =>
    ({ case: "membersChanged", value: create(MembersChangedSchema, fields) }) as const;
  const members = (...names: string[]) => names.map((name) => ({ name }));
  const plain = appearanceOn({ isTTY: false } as never);
  expect(lineOf(opened(5, "ann", "bob"), plain)).toBe("* here: ann, bob and 3 more");
  expect(lineOf(opened(2, "ann", "bob"), plain)).toBe("* here: ann, bob");

  const roster = new Roster();
  expect(roster.observe(opened(5, "ann", "bob"))).toBe(true);
  expect(roster.observe(opened(5, "ann", "bob"))).toBe(false);
  expect(roster.observe(changed({ joined: members("zoe"), left: members("yan"), count: 5 }))).toBe(
    true,
  );
  expect(roster.observe(opened(5, "ann", "bob"))).toBe(false);
  expect(roster.observe(opened(4, "ann", "bob"))).toBe(true);
  expect(roster.observe(opened(4, "ann", "cid"))).toBe(true);

  expect(lineOf(changed({ joined: members("zoe") }), plain)).toBe("* zoe joined");
  const many = members(...Array.from({ length: 12 }, (_, n) => `m${n}`));
  expect(lineOf(changed({ joined: many, moreJoined: 5, left: members("yan") }), plain)).toBe(
    "* m0, m1, m2, m3, m4, m5, m6, m7, m8, m9 and 7 more joined; yan left",
  );
  expect(lineOf(changed({ joined: members("zoe"), moreLeft: 5 }), plain)).toBe(
    "* zoe joined; 5 left",
  );
});
