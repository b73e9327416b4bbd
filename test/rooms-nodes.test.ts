/** Servers of rooms in separate processes that share a log in NATS: clients move between them. */
import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, test, vi } from "vitest";
import { RoomService, Start } from "../gen/chat/v1/room_pb.js";
import { type Client, Code, ConnectError, createClient, createTransport } from "../src/index.ts";
import { run } from "./support/child.ts";
import "./support/compile-cache.ts";
import { settles, until } from "./support/gate.ts";
import { findNats, startNats } from "./support/nats.ts";
import { startExampleServer } from "./support/program.ts";
import { drain, short } from "./support/rooms-world.ts";

// Each test starts processes, which is slow on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const program = findNats();

type Rooms = Client<typeof RoomService>;

/** Makes clients of nodes. Disposing closes their transports. */
function clients() {
  const transports: ReturnType<typeof createTransport>[] = [];
  return {
    of(...baseUrl: string[]): Rooms {
      const transport = createTransport({ baseUrl });
      transports.push(transport);
      return createClient(RoomService, transport);
    },
    async [Symbol.asyncDispose]() {
      for (const transport of transports) await transport.close();
    },
  };
}

/** Watches a room from its oldest message on. */
async function watch(rooms: Rooms) {
  const call = rooms.watch({ room: "lobby", start: Start.OLDEST });
  const { came, over } = drain(call);
  await until("it is opened", () => came.length > 0);
  return {
    messages: () => came.map(short).filter((text) => text.startsWith("ann: ")),
    openings: () => came.filter(({ event }) => event.case === "opened").length,
    gaps: () => came.filter(({ event }) => event.case === "gap").length,
    async leave() {
      call.cancel();
      await over;
    },
  };
}

/** Posts "1", "2" … as one producer, and repeats each until it is acknowledged. */
function poster(rooms: Rooms) {
  let [posted, isPosting] = [0, true];
  const done = (async () => {
    while (isPosting) {
      await postUntilStored(rooms, posted + 1);
      posted++;
      await pause(2);
    }
  })();
  return {
    get posted() {
      return posted;
    },
    async stop() {
      isPosting = false;
      await done;
      return Array.from({ length: posted }, (_, n) => `ann: ${n + 1}`);
    },
  };
}

async function postUntilStored(rooms: Rooms, n: number): Promise<void> {
  for (;;) {
    try {
      await post(rooms, n);
      return;
    } catch (error) {
      if (ConnectError.from(error).code !== Code.Unavailable) throw error;
      await pause(10);
    }
  }
}

const post = (rooms: Rooms, n: number) =>
  rooms.post({ room: "lobby", name: "ann", text: `${n}`, producer: "p", sequence: BigInt(n) });

const skipped = program === undefined ? " (skipped: there is no nats-server)" : "";

describe.skipIf(program === undefined)(`two servers on one NATS${skipped}`, () => {
  test.each(["SIGTERM", "SIGKILL"] as const)(
    "watchers of both get every post once, even those whose server gets %s and who continue at the other",
    async (signal) => {
      await using nats = await startNats(program as string);
      await using a = await startExampleServer("--log", nats.url);
      await using b = await startExampleServer("--log", nats.url);
      await using all = clients();
      const moving = await Promise.all(
        Array.from({ length: 20 }, () => watch(all.of(a.url, b.url))),
      );
      const staying = await watch(all.of(b.url));
      const here = poster(all.of(b.url));
      await until("posts reach both", () =>
        [...moving, staying].every((watcher) => watcher.messages().length >= 20),
      );

      const startedAt = performance.now();
      a.kill(signal);
      await until("all are at the other server", () =>
        moving.every((watcher) => watcher.openings() > 1),
      );
      const movedMs = performance.now() - startedAt;
      expect(await a.ended).toBe(signal === "SIGTERM" ? 0 : signal);
      const reached = here.posted + 50;
      await until("more posts are stored", () => here.posted >= reached);
      const expected = await here.stop();
      for (const watcher of [...moving, staying]) {
        await until("it has all", () => watcher.messages().length >= expected.length);
        expect(watcher.messages()).toEqual(expected);
        expect(watcher.gaps()).toBe(0);
        await watcher.leave();
      }
      console.log(`20 watchers moved within ${movedMs.toFixed()} ms of ${signal}`);
      // It takes 100 ms on an idle machine; the grace of a drain is 10 s.
      expect(movedMs).toBeLessThan(4_000);
    },
  );

  test("posts fail with UNAVAILABLE while NATS is down, and watchers continue when it is up again", async () => {
    await using nats = await startNats(program as string);
    await using a = await startExampleServer("--log", nats.url);
    await using b = await startExampleServer("--log", nats.url);
    await using all = clients();
    const [atA, atB] = [all.of(a.url), all.of(b.url)];
    const watchers = [await watch(atA), await watch(atB)];
    const has = (count: number) => () =>
      watchers.every((watcher) => watcher.messages().length === count);
    await post(atA, 1);
    await post(atB, 2);
    await until("both have both", has(2));
    for (let round = 1; round <= 2; round++) {
      await nats.kill();
      for (const rooms of [atA, atB]) {
        await expect(post(rooms, 2 * round + 1)).rejects.toMatchObject({ code: Code.Unavailable });
      }
      await nats.start();
      await postUntilStored(atA, 2 * round + 1);
      await postUntilStored(atB, 2 * round + 2);
      await until("both have both", has(2 * round + 2));
    }
    for (const watcher of watchers) {
      expect(watcher.messages()).toEqual([1, 2, 3, 4, 5, 6].map((n) => `ann: ${n}`));
      expect(watcher.gaps()).toBe(0);
      await watcher.leave();
    }
    // Both servers log this, at most once a minute.
    for (const server of [a, b]) {
      expect(server.stderr).toMatch(
        /^(server: the connection to NATS at .* is lost; .*\nserver: connected to NATS at .* again\n)+$/,
      );
    }
  });

  test("members of one node are listed at the other; those of a killed node leave when its lease expires", async () => {
    await using nats = await startNats(program as string);
    await using a = run("room-server", "--log", nats.url, "--beat", "200");
    await using b = run("room-server", "--log", nats.url, "--beat", "200");
    await using all = clients();
    const [atA, atB] = [all.of(await a.line()), all.of(await b.line())];
    const join = async (rooms: Rooms, name: string) => {
      const call = rooms.join();
      const { came, over } = drain(call);
      const open = { room: "lobby", name, producer: name };
      await call.send({ event: { case: "open", value: open } });
      const has = (text: string) =>
        until(`${name} has "${text}"`, () => came.map(short).includes(text));
      return { call, came, over, has };
    };
    const ann = await join(atA, "ann");
    await ann.has("here ann");
    const bob = await join(atB, "bob");
    await Promise.all([bob.has("here ann, bob"), ann.has("joined bob")]);
    a.kill("SIGKILL");
    await bob.has("left ann");
    expect(await settles(() => bob.came.map(short).includes("left bob"), 300)).toBe(false);
    expect((await atB.listMembers({ room: "lobby" })).members.map(({ name }) => name)).toEqual([
      "bob",
    ]);
    bob.call.closeSend();
    expect(await bob.over).toBe(undefined);
    ann.call.cancel();
    await ann.over;
  });
});
