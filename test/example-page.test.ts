/** What the page of the example server counts and says, without a browser. */
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { checkRoom } from "../examples/pages/check-room.ts";
import { Conversation } from "../examples/pages/conversation.ts";
import { OwnMessages } from "../examples/pages/own-messages.ts";
import {
  PageConnection,
  type PageConnectionState,
  wordsOf,
} from "../examples/pages/page-connection.ts";
import { ChatTally, RoomTally, sumOf } from "../examples/pages/tally.ts";
import { type WatchResponse, WatchResponseSchema } from "../gen/chat/v1/room_pb.js";
import type { Greeter } from "../gen/example/greeter_pb.js";
import type { ServiceImpl } from "../src/index.ts";
import { start } from "./support/world.ts";

test("a chat whose replies have all numbers in order has lost and repeated nothing", () => {
  const tally = new ChatTally();
  for (let n = 1; n <= 3; n++) expect(tally.send()).toBe(n);
  for (let n = 1; n <= 3; n++) tally.receive(n);
  expect(tally).toMatchObject({ sent: 3, received: 3, lost: 0, repeated: 0 });
});

test("a number that is left out is lost, and one that comes again is repeated", () => {
  const tally = new ChatTally();
  for (const number of [1, 4, 4, 2, 5]) tally.receive(number);
  expect(tally).toMatchObject({ received: 5, lost: 2, repeated: 2 });
});

test("a page that is loaded again knows the newest messages that its tab has written in each room", () => {
  const texts = new Map<string, string>();
  const storage = {
    getItem: (key: string) => texts.get(key) ?? null,
    setItem: (key: string, value: string) => void texts.set(key, value),
  };
  const before = new OwnMessages("lobby", storage);
  for (let n = 1; n <= 301; n++) before.add(`cursor ${n}`);
  const again = new OwnMessages("lobby", storage);
  expect(again.has("cursor 301")).toBe(true);
  expect(again.has("cursor 2")).toBe(true);
  expect(again.has("cursor 1")).toBe(false);
  expect(new OwnMessages("harbour", storage).has("cursor 301")).toBe(false);
});

/** A room with these messages, and a gap before them. */
function roomOf(...cursors: string[]) {
  const asked: string[] = [];
  const event = (cursor: string, kind: "message" | "gap"): WatchResponse =>
    create(WatchResponseSchema, { cursor, event: { case: kind, value: {} } });
  async function* watch({ after = "" }: { after?: string }) {
    asked.push(after);
    yield event("", "gap");
    for (const cursor of cursors.slice(cursors.indexOf(after) + 1)) yield event(cursor, "message");
  }
  // The check only iterates over the responses.
  return { asked, client: { watch } as unknown as Parameters<typeof checkRoom>[0] };
}

test("a message of a room that has never come to the page is found by the second reading, once", async () => {
  const tally = new RoomTally();
  for (const cursor of ["a", "c", "d"]) expect(tally.receive(cursor)).toBe(true);
  expect(tally.lost).toBe(0);
  const { asked, client } = roomOf("a", "b", "c", "d", "e");
  await checkRoom(client, { room: "lobby", tally }, {});
  expect(tally).toMatchObject({ received: 3, lost: 1, repeated: 0, checked: "d" });
  await checkRoom(client, { room: "lobby", tally }, {});
  expect(asked).toEqual([""]);
  tally.receive("e");
  await checkRoom(client, { room: "lobby", tally }, {});
  expect(asked).toEqual(["", "d"]);
  expect(tally).toMatchObject({ lost: 1, checked: "e" });
});

test("a message of a room that comes again is counted, and is not shown again", () => {
  const tally = new RoomTally();
  expect([tally.receive("a"), tally.receive("b"), tally.receive("a")]).toEqual([true, true, false]);
  expect(tally).toMatchObject({ received: 3, repeated: 1 });
});

test("the counts of several rooms and of a chat are added", () => {
  const [chat, room] = [new ChatTally(), new RoomTally()];
  chat.send();
  chat.receive(2);
  room.send();
  room.receive("a");
  room.receive("a");
  expect(sumOf([chat, room])).toEqual({ sent: 2, received: 3, lost: 1, repeated: 1 });
});

test("the state of the connection says how long it was gone, and counts the losses", () => {
  const states: PageConnectionState[] = [];
  let now = 1000;
  const connection = new PageConnection(
    (state) => states.push(state),
    () => now,
  );
  const { connectionOpened, connectionClosed, connectionFailed } = connection.observer as Required<
    PageConnection["observer"]
  >;
  const event = { connection: { address: "127.0.0.1:50051" } };
  connectionOpened(event);
  // A second connection changes nothing, and so does an attempt at another that fails.
  connectionOpened(event);
  connectionFailed({ address: "127.0.0.1:50051", error: {} as never });
  connectionClosed({ ...event, why: "closed", detail: "" });
  connectionClosed({ ...event, why: "lost", detail: "" });
  now = 1250;
  connectionFailed({ address: "127.0.0.1:50051", error: {} as never });
  now = 4400;
  connectionOpened(event);
  expect(states.map((state) => wordsOf(state, false))).toEqual([
    "Connected",
    "Connection lost: resuming…",
    "The server does not answer: trying again…",
    "Connected again after 3.4 s",
  ]);
  expect(wordsOf({ name: "resuming" }, true)).toBe("Cut: what you write waits");
  expect(wordsOf({ name: "open", afterMs: 7.4 }, false)).toBe("Connected again after 7 ms");
  expect(connection.losses).toBe(1);
});

test("a conversation has one reply to each message, though its connection is cut and its server restarted", async () => {
  const heard: string[] = [];
  const greeter: Partial<ServiceImpl<typeof Greeter>> = {
    async *chat(requests) {
      for await (const { content } of requests) {
        // The first time it has no reply when the server is killed.
        if (content === "#3 three" && heard.push(content) === 1) continue;
        yield { reply: `Received: ${content}` };
      }
    },
  };
  await using world = await start({ linked: true, greeter });
  const told: string[] = [];
  let onTold = () => {};
  const tell = (what: string) => {
    told.push(what);
    onTold();
  };
  const until = async (what: string) => {
    while (!told.includes(what)) {
      await new Promise<void>((resolve) => {
        onTold = resolve;
      });
    }
  };
  const conversation = new Conversation(world.greeter, {
    onReply: (number, reply) => tell(`${number}: ${reply}`),
    onBegin: (isFirst) => tell(isFirst ? "begin" : "begin again"),
    onLost: (_, unanswered) => tell(`lost, ${unanswered} without a reply`),
    onFailed: ({ message }) => tell(message),
  });
  // Said before a call is open.
  expect(conversation.say("one")).toEqual({ number: 1, content: "#1 one" });
  const leaving = new AbortController();
  const running = conversation.run(leaving.signal);
  await until("1: Received: #1 one");
  await world.link.cut();
  conversation.say("two");
  await until("2: Received: #2 two");
  conversation.say("three");
  await expect.poll(() => heard).toHaveLength(1);
  await world.server.restart();
  await until("3: Received: #3 three");
  expect(told).toEqual([
    "begin",
    "1: Received: #1 one",
    "2: Received: #2 two",
    "lost, 1 without a reply",
    "begin again",
    "3: Received: #3 three",
  ]);
  expect(conversation.tally).toMatchObject({ sent: 3, received: 3, lost: 0, repeated: 0 });
  leaving.abort();
  await running;
});

test("a conversation ends when another call would end as well", async () => {
  await using world = await start({ greeter: {} });
  const { promise, resolve } = Promise.withResolvers<string>();
  const conversation = new Conversation(world.greeter, {
    onReply() {},
    onBegin() {},
    onLost() {},
    onFailed: ({ message }) => resolve(message),
  });
  await conversation.run(new AbortController().signal);
  expect(await promise).toMatch(/unimplemented/);
});
