/** A thousand watchers of a server in a separate process; one of them does not read. */
import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { RoomService, Start } from "../gen/chat/v1/room_pb.js";
import { type Client, createClient, createTransport } from "../src/index.ts";
import { run } from "./support/child.ts";
import "./support/compile-cache.ts";
import { until } from "./support/gate.ts";
import { temporary } from "./support/temporary.ts";

vi.setConfig({ testTimeout: 60_000 });

const MIB = 2 ** 20;
const WATCHERS = 999;
const CONNECTIONS = 20;
/** Rounds with the stalled watcher, and as many without it: more if the machine is busy. */
const ROUNDS = { least: 2, most: 6 };
/** The number of posts in a round, and the time between two posts. */
const POSTS = 15;
const EVERY_MS = 40;
/** The history that the stalled watcher has to read: 40 MB. */
const HISTORY = { messages: 10_000, characters: 4_000 };

let folder: string;
beforeEach(async () => {
  folder = await temporary();
});
afterEach(() => rm(folder, { recursive: true }));

/** Returns the resident memory of a process in bytes, or `undefined` if the system does not tell. */
function rssOf(pid: number): number | undefined {
  try {
    const [, kib] = readFileSync(`/proc/${pid}/status`, "utf8").match(/VmRSS:\s+(\d+) kB/) ?? [];
    return Number(kib) * 1024;
  } catch {
    return undefined;
  }
}

async function importHistory(rooms: Client<typeof RoomService>): Promise<void> {
  const call = rooms.import();
  await call.send({ room: "lobby", name: "ann", text: "1", producer: "history" });
  const text = "x".repeat(HISTORY.characters);
  for (let n = 2; n <= HISTORY.messages; n++) await call.send({ text: `${n} ${text}` });
  await call.finish();
}

test("a stalled watcher does not delay 999 others, does not keep its history in memory, and later gets every message", async () => {
  await using server = run("room-server", "--log", `sqlite:${folder}/rooms.sqlite`);
  const baseUrl = await server.line();
  const transports = Array.from({ length: CONNECTIONS }, () => createTransport({ baseUrl }));
  const clients = transports.map((transport) => createClient(RoomService, transport));
  await using posting = createTransport({ baseUrl });
  const poster = createClient(RoomService, posting);
  await importHistory(poster);

  // The time of each post, and the delays of its deliveries to the watchers that read.
  const sentAt: number[] = [];
  let lateMs: number[] = [];
  let opened = 0;
  const calls = Array.from({ length: WATCHERS }, (_, n) =>
    clients[n % CONNECTIONS]!.watch({ room: "lobby", start: Start.NOW }),
  );
  const reading = calls.map(async (call) => {
    let next = 0;
    for await (const { event } of call) {
      if (event.case === "opened") opened++;
      if (event.case !== "message") continue;
      expect(event.value.text).toBe(`${next}`);
      lateMs.push(performance.now() - sentAt[next++]!);
    }
  });
  const over = Promise.allSettled(reading);
  await until("all are opened", () => opened === WATCHERS, 20_000);

  /** Posts a round of messages. Returns the 99th percentile of the delays. */
  async function round(): Promise<number> {
    lateMs = [];
    const posts: Promise<unknown>[] = [];
    for (let n = 0; n < POSTS; n++) {
      const text = `${sentAt.length}`;
      sentAt.push(performance.now());
      const sequence = BigInt(sentAt.length);
      posts.push(poster.post({ room: "lobby", name: "bob", text, producer: "p", sequence }));
      await pause(EVERY_MS);
    }
    await Promise.all(posts);
    await until("all have all", () => lateMs.length === POSTS * WATCHERS, 20_000);
    return lateMs.sort((a, b) => a - b)[Math.floor(lateMs.length * 0.99)] as number;
  }

  await round();
  const withoutStalled: number[] = [];
  const withStalled: number[] = [];
  const rssBefore = rssOf(server.pid);
  let stalled: ReturnType<typeof poster.watch> | undefined;
  const isUnchanged = () => Math.min(...withStalled) < 2 * Math.min(...withoutStalled) + 20;
  for (let n = 0; n < ROUNDS.least || (n < ROUNDS.most && !isUnchanged()); n++) {
    stalled?.cancel();
    withoutStalled.push(await round());
    // The windows and the inbox of its call fill up: the rest of the 40 MB waits in the log.
    stalled = clients[0]!.watch({ room: "lobby", start: Start.OLDEST });
    withStalled.push(await round());
  }
  const rssMore = (rssOf(server.pid) ?? 0) - (rssBefore ?? 0);
  const figures = `p99 ${withStalled.map(Math.round)} ms, without ${withoutStalled.map(Math.round)} ms; RSS +${Math.round(rssMore / MIB)} MiB`;
  console.log(figures);
  expect(isUnchanged(), figures).toBe(true);
  expect(rssMore).toBeLessThan(40 * MIB);

  for (const call of calls) call.cancel();
  for (const end of await over)
    expect(end).toMatchObject({ reason: { rawMessage: expect.stringMatching(/cancel/) } });
  const numbers: number[] = [];
  for await (const { event } of stalled!) {
    if (event.case === "message") numbers.push(Number.parseInt(event.value.text, 10));
    if (numbers.length === HISTORY.messages + sentAt.length) break;
  }
  expect(numbers).toEqual([
    ...Array.from({ length: HISTORY.messages }, (_, n) => n + 1),
    ...sentAt.keys(),
  ]);
  for (const transport of transports) await transport.close();
});
