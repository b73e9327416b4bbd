/** What nodes tell each other of their members: rosters of many, parts that are lost, records of other programs. */
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { expect, test, vi } from "vitest";
import { Presence } from "../examples/rooms/presence.ts";
import { PresenceRecordSchema } from "../gen/chat/v1/presence_pb.js";
import { Code, ConnectError } from "../src/index.ts";
import { memoryLog, type NewRecord, type TopicLog } from "../src/topics.ts";
import { stillAt, until } from "./support/gate.ts";
import { logWith } from "./support/log-with.ts";
import { startRooms } from "./support/rooms-world.ts";

/** A lease is three of these: long enough for a busy machine. */
const BEAT_MS = 100;

/** A node on a log, and what it tells of members of the others: "joined ann". */
function node(log: TopicLog) {
  const heard: string[] = [];
  const warned: string[] = [];
  const presence = new Presence(log, {
    beatMs: BEAT_MS,
    onEvent: (event, _, name) => heard.push(`${event} ${name}`),
    logger: { warn: (message) => warned.push(message) },
  });
  return {
    presence,
    heard,
    warned,
    here: () => presence.members("lobby").length,
    [Symbol.asyncDispose]: () => presence[Symbol.asyncDispose](),
  };
}

const recordOf = (fields: MessageInitShape<typeof PresenceRecordSchema>): NewRecord => ({
  data: toBinary(PresenceRecordSchema, create(PresenceRecordSchema, fields)),
});

test("a node with more members than a record holds: all stay, beat after beat, and late nodes see all", async () => {
  await using log = memoryLog();
  let beats = 0;
  const counting = logWith(log, {
    append(topic, records) {
      if (records.length === 3) beats++;
      return log.append(topic, records);
    },
  });
  await using one = node(counting);
  await using two = node(log);
  await two.presence.ready();
  const all = Array.from({ length: 1300 }, (_, n) => one.presence.join("lobby", `${n}`));
  await until("the other knows", () => two.here() === 1300);
  await until("it has told of all", () => beats > 4);
  expect(two.heard.filter((text) => text.startsWith("left"))).toEqual([]);
  await using three = node(log);
  await three.presence.ready();
  expect(three.here()).toBe(1300);
  for (const here of all.slice(0, 700)) here[Symbol.dispose]();
  await until("they left", () => two.here() === 600 && three.here() === 600);
});

test("a roster that lost a record makes no member leave; the next complete one counts", async () => {
  await using log = memoryLog();
  let lost = 0;
  let muted = false;
  const lossy = logWith(log, {
    async append(topic, records) {
      if (muted) throw new ConnectError("no connection", Code.Unavailable);
      if (records.length !== 3) return await log.append(topic, records);
      // Where a log does not store all or nothing.
      lost++;
      await log.append(topic, [records[0]!, records[2]!]);
      throw new ConnectError("2 of 3 records were stored", Code.Unavailable);
    },
  });
  await using one = node(lossy);
  await using two = node(log);
  await two.presence.ready();
  const all = Array.from({ length: 1300 }, (_, n) => one.presence.join("lobby", `${n}`));
  await until("the other knows", () => two.here() === 1300);
  await until("rosters lose a record", () => lost > 2);
  await stillAt(two.here, 50);
  expect(two.heard.filter((text) => text.startsWith("left"))).toEqual([]);
  // They leave while nothing can be told; a roster of one record tells.
  muted = true;
  for (const here of all.slice(0, 1299)) here[Symbol.dispose]();
  muted = false;
  await until("they left", () => two.here() === 1);
});

test("a roster whose beginning was lost brings no member back", async () => {
  await using log = memoryLog();
  await using one = node(log);
  await one.presence.ready();
  const [ann, bob, cat] = ["ann", "bob", "cat"].map((name) => ({ room: "lobby", name }));
  const told: MessageInitShape<typeof PresenceRecordSchema>["event"][] = [
    { case: "roster", value: { present: [ann!, bob!], first: true, last: true, members: 2 } },
    { case: "left", value: ann! },
    { case: "roster", value: { present: [bob!], first: false, last: true, members: 2 } },
    { case: "joined", value: cat! },
  ];
  const records = told.map((event) => recordOf({ node: "other", leaseMs: 60_000, event }));
  await log.append("presence", records);
  await until("it has read all", () => one.heard.includes("joined cat"));
  expect(one.presence.members("lobby")).toEqual(["bob", "cat"]);
});

test("a record that is not of presence keeps no member out, and is warned of once", async () => {
  await using log = memoryLog();
  const nonsense = { data: Uint8Array.of(0xff, 0xff, 1) };
  await log.append("presence", [nonsense, nonsense]);
  await using two = node(log);
  await two.presence.ready();
  await using one = node(log);
  one.presence.join("lobby", "ann");
  await log.append("presence", [nonsense]);
  one.presence.join("lobby", "bob");
  await until("the other knows", () => two.here() === 2);
  expect(two.warned).toHaveLength(1);
  expect(two.warned[0]).toMatch("the topic presence has a record that is not one of presence");
});

test("names that no member can have come and go as others do", async () => {
  await using log = memoryLog();
  await using one = node(log);
  await one.presence.ready();
  const odd = { room: "a\nb", name: "c" };
  await log.append("presence", [
    recordOf({ node: "odd", leaseMs: 30, event: { case: "joined", value: odd } }),
  ]);
  await until("it left", () => one.heard.length === 2);
  expect(one.heard).toEqual(["joined c", "left c"]);
});

test("rooms are open though the topic of presence has a record of another program", async () => {
  await using log = memoryLog();
  await log.append("presence", [{ data: Uint8Array.of(0xff) }]);
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  await using world = await startRooms({ log });
  expect((await world.rooms.listMembers({ room: "lobby" })).members).toEqual([]);
  expect(warn).toHaveBeenCalledTimes(1);
  warn.mockRestore();
});
