/** The records that nodes exchange about their members: large rosters, lost parts, records of other programs. */
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { expect, test, vi } from "vitest";
import { Presence } from "../examples/rooms/presence.ts";
import { PresenceRecordSchema } from "../gen/chat/v1/presence_pb.js";
import { Code, ConnectError } from "../src/index.ts";
import { memoryLog, type NewRecord, type TopicLog } from "../src/topics.ts";
import { stillAt, until } from "./support/gate.ts";
import { logWith } from "./support/log-with.ts";
import { startRooms } from "./support/rooms-world.ts";

/** A lease lasts three beats: long enough for a busy machine. */
const BEAT_MS = 100;

/** A node on a log; `heard` lists the events of members at any node, as "joined ann". */
function node(log: TopicLog) {
  const heard: string[] = [];
  const warnings: string[] = [];
  const presence = new Presence(log, {
    beatMs: BEAT_MS,
    listeners: () => 1,
    onChange(_, { joined, left }) {
      heard.push(...joined.map((name) => `joined ${name}`), ...left.map((name) => `left ${name}`));
    },
    onTyping: (_, name) => heard.push(`typing ${name}`),
    logger: { warn: (message) => warnings.push(message) },
  });
  return {
    presence,
    heard,
    warnings,
    count: () => presence.members("lobby").length,
    [Symbol.asyncDispose]: () => presence[Symbol.asyncDispose](),
  };
}

const recordOf = (fields: MessageInitShape<typeof PresenceRecordSchema>): NewRecord => ({
  data: toBinary(PresenceRecordSchema, create(PresenceRecordSchema, fields)),
});

test("members stay at each beat of a node whose roster needs several records, and new nodes learn them all", async () => {
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
  await until("the other knows", () => two.count() === 1300);
  await until("it has written full rosters", () => beats > 4);
  expect(two.heard.filter((text) => text.startsWith("left"))).toEqual([]);
  await using three = node(log);
  await three.presence.ready();
  expect(three.count()).toBe(1300);
  for (const here of all.slice(0, 700)) here[Symbol.dispose]();
  await until("they left", () => two.count() === 600 && three.count() === 600);
});

test("no member leaves because of a roster that lost a record; the next complete roster is used", async () => {
  await using log = memoryLog();
  let lost = 0;
  let muted = false;
  const lossy = logWith(log, {
    async append(topic, records) {
      if (muted) throw new ConnectError("no connection", Code.Unavailable);
      if (records.length !== 3) return await log.append(topic, records);
      // Like a log that may store a part of an append.
      lost++;
      await log.append(topic, [records[0]!, records[2]!]);
      throw new ConnectError("2 of 3 records were stored", Code.Unavailable);
    },
  });
  await using one = node(lossy);
  await using two = node(log);
  await two.presence.ready();
  const all = Array.from({ length: 1300 }, (_, n) => one.presence.join("lobby", `${n}`));
  await until("the other knows", () => two.count() === 1300);
  await until("rosters lose a record", () => lost > 2);
  await stillAt(two.count, 50);
  expect(two.heard.filter((text) => text.startsWith("left"))).toEqual([]);
  // The members leave while the node cannot write; its next roster, of one record, shows that they
  // left.
  muted = true;
  for (const here of all.slice(0, 1299)) here[Symbol.dispose]();
  muted = false;
  await until("they left", () => two.count() === 1);
});

test("a member that left does not return because of a roster whose beginning was lost", async () => {
  await using log = memoryLog();
  await using one = node(log);
  await one.presence.ready();
  const [ann, bob, cat] = ["ann", "bob", "cat"].map((name) => ({ room: "lobby", name }));
  const written: MessageInitShape<typeof PresenceRecordSchema>["event"][] = [
    { case: "roster", value: { present: [ann!, bob!], first: true, last: true, members: 2 } },
    { case: "left", value: ann! },
    { case: "roster", value: { present: [bob!], first: false, last: true, members: 2 } },
    { case: "joined", value: cat! },
  ];
  const records = written.map((event) => recordOf({ node: "other", leaseMs: 60_000, event }));
  await log.append("presence", records);
  await until("it has read all", () => one.heard.includes("joined cat"));
  expect(one.presence.members("lobby")).toEqual(["bob", "cat"]);
});

test("members can join although the topic has records of another program, which are logged once", async () => {
  await using log = memoryLog();
  const nonsense = { data: Uint8Array.of(0xff, 0xff, 1) };
  await log.append("presence", [nonsense, nonsense]);
  await using two = node(log);
  await two.presence.ready();
  await using one = node(log);
  one.presence.join("lobby", "ann");
  await log.append("presence", [nonsense]);
  one.presence.join("lobby", "bob");
  await until("the other knows", () => two.count() === 2);
  expect(two.warnings).toHaveLength(1);
  expect(two.warnings[0]).toMatch("the topic presence has a record that is not one of presence");
});

test("a member with an invalid name in another node's record joins and leaves like others", async () => {
  await using log = memoryLog();
  await using one = node(log);
  await one.presence.ready();
  const odd = { room: "a\nb", name: "c" };
  await log.append("presence", [
    recordOf({ node: "odd", leaseMs: 30, event: { case: "joined", value: odd } }),
  ]);
  await until("the member has left", () => one.heard.length === 2);
  expect(one.heard).toEqual(["joined c", "left c"]);
});

test("a server opens its rooms although the topic of presence has a record of another program", async () => {
  await using log = memoryLog();
  await log.append("presence", [{ data: Uint8Array.of(0xff) }]);
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  await using world = await startRooms({ log });
  expect((await world.rooms.listMembers({ room: "lobby" })).members).toEqual([]);
  expect(warn).toHaveBeenCalledTimes(1);
  warn.mockRestore();
});
