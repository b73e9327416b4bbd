/** A server of rooms whose disk is full. */

import { writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { RoomService, Start } from "../gen/chat/v1/room_pb.js";
import { Code, createClient, createTransport } from "../src/index.ts";
import "./support/compile-cache.ts";
import { until } from "./support/gate.ts";
import { canMount, exampleServerOnDisk } from "./support/program.ts";
import { drain, short } from "./support/rooms-world.ts";
import { temporary } from "./support/temporary.ts";

// Each test starts a program, which is slow on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const MIB = 2 ** 20;

let folder: string;
beforeEach(async () => {
  folder = await temporary();
});
afterEach(() => rm(folder, { recursive: true }));

test.skipIf(!canMount())(
  "posts fail with RESOURCE_EXHAUSTED and watchers stay, until there is space again (needs unshare -m)",
  async () => {
    await using server = exampleServerOnDisk(folder, 6 * MIB, "--port", "0", "--data", folder);
    const [, url] = await server.prints(/^listening on (\S+) /);
    const ballast = `/proc/${server.pid}/root${folder}/ballast`;
    writeFileSync(ballast, new Uint8Array(4 * MIB));
    await using transport = createTransport({ baseUrl: url as string });
    const rooms = createClient(RoomService, transport);
    const call = rooms.watch({ room: "lobby" });
    const watching = drain(call);
    await until("it is opened", () => watching.came.length === 1);
    const post = (n: number) => {
      const text = `${n} ${"x".repeat(4000)}`;
      const message = { room: "lobby", name: "ann", text, producer: "p", sequence: BigInt(n) };
      return rooms.post(message);
    };

    let stored = 0;
    const full = await (async () => {
      for (;;) {
        await post(stored + 1);
        stored++;
      }
    })().catch((error: unknown) => error);
    expect(full).toMatchObject({
      code: Code.ResourceExhausted,
      rawMessage:
        "the server's log has no room on its disk: nothing was stored; send it again later",
    });
    // The server logs the path and the remedy.
    const [logged] = await server.complains(
      /^server: no room on the disk for .*rooms\.sqlite: .*\n/,
    );
    expect(logged).toContain("make room");
    expect(stored).toBeGreaterThan(50);
    await expect(post(stored + 1)).rejects.toMatchObject({ code: Code.ResourceExhausted });
    // Stored messages are sent to watchers, even to new ones.
    const late = rooms.watch({ room: "lobby", start: Start.OLDEST });
    const newcomer = drain(late);
    const numbers = ({ came }: typeof watching) =>
      came.slice(1).map((event) => Number(short(event).split(" ")[1]));
    await until(
      "both have all",
      () => numbers(watching).length + numbers(newcomer).length === 2 * stored,
    );

    await rm(ballast);
    // The refused messages were not stored.
    for (let n = stored + 1; n <= stored + 20; n++) {
      expect(await post(n)).toMatchObject({ repeated: false });
    }
    const [, end] = await server.complains(/\n(.*) again\n$/);
    expect(end).toMatch(/^server: records are stored in .*rooms\.sqlite$/);
    // The server logs two lines in all, however many posts were refused.
    expect(server.stderr.split("\n")).toHaveLength(3);
    const all = Array.from({ length: stored + 20 }, (_, n) => n + 1);
    for (const watcher of [watching, newcomer]) {
      await until("it has all", () => watcher.came.length > stored + 20);
      expect(numbers(watcher)).toEqual(all);
    }
    call.cancel();
    late.cancel();
    await Promise.all([watching.over, newcomer.over]);
    server.kill("SIGTERM");
    expect(await server.ended).toBe(0);
  },
);
