/** A server of rooms that is killed under load 20 times: no acknowledged post is lost, and watchers continue. */
import { rm } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { RoomService, Start } from "../gen/chat/v1/room_pb.js";
import { Code, ConnectError, createClient, createTransport } from "../src/index.ts";
import { openLink } from "../src/testing/link.ts";
import { type Child, run } from "./support/child.ts";
import "./support/compile-cache.ts";
import { until } from "./support/gate.ts";
import { drain } from "./support/rooms-world.ts";
import { temporary } from "./support/temporary.ts";

// Starts many processes, which are slow on a busy machine.
vi.setConfig({ testTimeout: 90_000 });

const KILLS = 20;
/** Enough posters that some posts are unanswered whenever the server is killed. */
const POSTERS = 16;
const WATCHERS = 12;

let folder: string;
beforeEach(async () => {
  folder = await temporary();
});
afterEach(() => rm(folder, { recursive: true }));

/** Starts a process that has loaded its modules, and opens the rooms when it gets SIGUSR2. */
async function standby(): Promise<Child> {
  const server = run("room-server", "--standby", "--log", `sqlite:${folder}/rooms.sqlite`);
  expect(await server.line()).toBe("loaded");
  return server;
}

async function activate(server: Child): Promise<number> {
  server.kill("SIGUSR2");
  return Number(new URL(await server.line()).port);
}

test("after 20 kills under load each acknowledged post is stored once, in order, and each watcher has all posts", async () => {
  // New connections wait until there is a server.
  await using link = await openLink(undefined);
  await using transport = createTransport({ baseUrl: link.url });
  const rooms = createClient(RoomService, transport);
  const watching = Array.from({ length: WATCHERS }, (_, n) => {
    // Half of the watchers have their own connection.
    const own = n % 2 === 0 ? createTransport({ baseUrl: link.url }) : undefined;
    const client = own === undefined ? rooms : createClient(RoomService, own);
    const call = client.watch({ room: "lobby", start: Start.OLDEST });
    return { call, own, ...drain(call) };
  });
  const messagesSeenBy = (n: number) =>
    watching[n]!.came.map(({ event }) => (event.case === "message" ? event.value : undefined))
      .filter((message) => message !== undefined)
      .map(({ name, text }) => `${name} ${text}`);

  let isPosting = true;
  let [acknowledged, retries] = [0, 0];
  const cursors = new Map<string, string>();
  const posting = Array.from({ length: POSTERS }, async (_, p) => {
    let n = 1;
    for (; isPosting; n++) {
      const message = { room: "lobby", name: `p${p}`, text: `${n}`, producer: `p${p}` };
      for (;;) {
        try {
          const answer = await rooms.post({ ...message, sequence: BigInt(n) });
          cursors.set(`p${p} ${n}`, answer.cursor);
          acknowledged++;
          break;
        } catch (error) {
          const { code } = ConnectError.from(error);
          if (code !== Code.Unavailable) throw error;
          retries++;
          await pause(5);
        }
      }
    }
    return n - 1;
  });

  let counts: number[] = [];
  let next = standby();
  for (let kill = 0; ; kill++) {
    await using server = await next;
    const before = acknowledged;
    const port = await activate(server);
    if (kill < KILLS) next = standby();
    link.target = { host: "127.0.0.1", port };
    await until("posts flow", () => acknowledged >= before + 40 + kill * 3, 20_000);
    if (kill === KILLS) {
      isPosting = false;
      counts = await Promise.all(posting);
      for (const n of watching.keys()) {
        await until("a watcher has all", () => messagesSeenBy(n).length >= acknowledged);
      }
      for (const { call } of watching) call.cancel();
      await Promise.all(watching.map(({ over }) => over));
      for (const { own } of watching) await own?.close();
      break;
    }
    link.target = undefined;
    server.kill("SIGKILL");
    expect((await server.exit).signal).toBe("SIGKILL");
  }

  const first = messagesSeenBy(0);
  for (const n of watching.keys()) expect(messagesSeenBy(n)).toEqual(first);
  for (const [p, count] of counts.entries()) {
    const own = first.filter((text) => text.startsWith(`p${p} `));
    expect(own).toEqual(Array.from({ length: count }, (_, n) => `p${p} ${n + 1}`));
  }
  expect(acknowledged).toBe(counts.reduce((sum, count) => sum + count, 0));
  expect(retries).toBeGreaterThan(0);
  // The cursor in the acknowledgement is the one that watchers got.
  for (const { cursor, event } of watching[0]!.came) {
    if (event.case !== "message") continue;
    expect(cursors.get(`${event.value.name} ${event.value.text}`)).toBe(cursor);
  }
});
