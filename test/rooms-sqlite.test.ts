/** Rooms on a log in SQLite: watchers that begin with stored messages, and retention that overtakes a watcher. */
import { rm } from "node:fs/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { RoomService, Start } from "../gen/chat/v1/room_pb.js";
import { type Client, createClient, createTransport } from "../src/index.ts";
import { sqliteLog } from "../src/topics/sqlite/sqlite.ts";
import "./support/compile-cache.ts";
import { until } from "./support/gate.ts";
import { next } from "./support/read.ts";
import { drain, short, startRooms } from "./support/rooms-world.ts";
import { temporary } from "./support/temporary.ts";

vi.setConfig({ testTimeout: 30_000 });

let folder: string;
beforeEach(async () => {
  folder = await temporary();
});
afterEach(() => rm(folder, { recursive: true }));

type Watcher = ReturnType<typeof watch>;

function watch(rooms: Client<typeof RoomService>, from: { start: Start; after: string }) {
  const call = rooms.watch({ room: "lobby", ...from });
  return { call, ...drain(call) };
}

test("a watcher from the oldest message gets all and no gap, even if records of other topics were stored first", async () => {
  await using log = await sqliteLog(`${folder}/rooms.sqlite`);
  await using world = await startRooms({ log });
  await world.post("another", 3);
  const call = world.rooms.join();
  await call.send({
    event: { case: "open", value: { room: "another", name: "bob", producer: "p" } },
  });
  await next(call);
  call.cancel();
  await until("the member has left", () => world.server.openCalls === 0);
  await log.append("presence", [{ data: new Uint8Array() }]);
  await world.post("lobby", 2);
  const watching = watch(world.rooms, { start: Start.OLDEST, after: "" });
  await until("both messages have arrived", () => watching.came.length === 3);
  expect(watching.came.map(short)).toEqual(["here", "ann: 1", "ann: 2"]);
  watching.call.cancel();
  await watching.over;
});

test("1,000 watchers that begin anywhere while messages are posted get each message once", async () => {
  await using log = await sqliteLog(`${folder}/rooms.sqlite`);
  await using world = await startRooms({ log });
  const transports = Array.from({ length: 10 }, () => createTransport({ baseUrl: world.url }));
  const clients = transports.map((transport) => createClient(RoomService, transport));
  const cursors: string[] = [];
  let isPosting = true;
  const posting = (async () => {
    while (isPosting) cursors.push(...(await world.post("lobby", 1, cursors.length + 1)));
  })();
  await until("posts flow", () => cursors.length > 10);
  // Watchers begin in batches, each when the previous one is open: with the oldest message, with
  // the next one, after a cursor.
  const watchers: (Watcher & { from: number | undefined })[] = [];
  for (let batch = 0; batch < 20; batch++) {
    const more = Array.from({ length: 50 }, (_, n) => {
      const at = cursors.length - 1 - (n % 5);
      const from = [0, undefined, at + 1][n % 3];
      const start = n % 3 === 0 ? Start.OLDEST : Start.NOW;
      const after = n % 3 === 2 ? (cursors[at] as string) : "";
      return { from, ...watch(clients[n % 10]!, { start, after }) };
    });
    await until("they are open", () => more.every(({ came }) => came.length > 0));
    watchers.push(...more);
  }
  isPosting = false;
  await posting;
  await world.post("lobby", 1, cursors.length + 1);
  const all = [...cursors.map((_, n) => `ann: ${n + 1}`), `ann: ${cursors.length + 1}`];
  for (const watcher of watchers) {
    await until("it has the newest message", () => short(watcher.came.at(-1)!) === all.at(-1));
    const [opening, ...messages] = watcher.came.map(short);
    expect(opening).toBe("here");
    // The opening of a watcher that begins now has the position at which it begins.
    const from = watcher.from ?? cursors.indexOf(watcher.came[0]?.cursor as string) + 1;
    expect(messages).toEqual(all.slice(from));
    watcher.call.cancel();
  }
  await Promise.all(watchers.map(({ over }) => over));
  for (const transport of transports) await transport.close();
});

test("a slow watcher that retention overtakes gets one gap, then every kept message", async () => {
  await using log = await sqliteLog({
    path: `${folder}/rooms.sqlite`,
    retention: { records: 500 },
  });
  await using world = await startRooms({ log });
  const slow = world.rooms.watch({ room: "lobby" });
  const events = slow[Symbol.asyncIterator]();
  expect(short((await events.next()).value as never)).toBe("here");
  const call = world.rooms.import();
  await call.send({ room: "lobby", name: "ann", text: "1", producer: "p" });
  for (let n = 2; n <= 4000; n++) await call.send({ text: `${n} ${"x".repeat(2000)}` });
  const { cursor } = await call.finish();

  const beforeGap: number[] = [];
  const afterGap: number[] = [];
  let gaps = 0;
  for (let at = ""; at !== cursor; ) {
    const { value } = await events.next();
    const { event, cursor: next } = value as NonNullable<typeof value>;
    at = next;
    if (event.case === "gap") gaps++;
    if (event.case !== "message") continue;
    (gaps === 0 ? beforeGap : afterGap).push(Number.parseInt(event.value.text, 10));
  }
  expect(gaps).toBe(1);
  expect(beforeGap).toEqual(beforeGap.map((_, n) => n + 1));
  expect(afterGap).toEqual(afterGap.map((_, n) => 4001 - afterGap.length + n));
  expect(afterGap.length).toBeGreaterThanOrEqual(500);
  expect(beforeGap.length + afterGap.length).toBeLessThan(4000);
  slow.cancel();
});
