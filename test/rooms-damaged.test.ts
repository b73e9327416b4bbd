/** A server of rooms whose file is damaged. */
import { readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { recordOf, topicOf } from "../examples/rooms/record.ts";
import { RoomService, Start } from "../gen/chat/v1/room_pb.js";
import { Code, ConnectError, createClient, createTransport } from "../src/index.ts";
import { sqliteLog } from "../src/topics/sqlite/sqlite.ts";
import "./support/compile-cache.ts";
import { startExampleServer } from "./support/program.ts";
import { drain } from "./support/rooms-world.ts";
import { temporary } from "./support/temporary.ts";

// Each test starts a program, which is slow on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

let folder: string;
beforeEach(async () => {
  folder = await temporary();
});
afterEach(() => rm(folder, { recursive: true }));

test("a watcher of a damaged file gets DATA_LOSS without a path; file and remedy are logged once", async () => {
  const file = `${folder}/rooms.sqlite`;
  {
    await using log = await sqliteLog(file);
    const message = { name: "ann", text: "to be damaged", producer: "p", sequence: 1n };
    await log.append(topicOf("lobby"), [recordOf(message)]);
  }
  const content = readFileSync(file);
  const at = content.indexOf("to be damaged");
  content[at] = (content[at] as number) ^ 1;
  writeFileSync(file, content);

  await using server = await startExampleServer("--data", folder);
  await using transport = createTransport({ baseUrl: server.url });
  const rooms = createClient(RoomService, transport);
  for (let n = 0; n < 3; n++) {
    const watching = drain(rooms.watch({ room: "lobby", start: Start.OLDEST }));
    const error = ConnectError.from(await watching.over);
    expect(error).toMatchObject({ code: Code.DataLoss });
    expect(error.rawMessage).toMatch(/^the server's log is damaged here: /);
    expect(error.rawMessage).not.toContain("/");
  }
  const line = await server.complains(/^server: (.*)\n/);
  expect(line[1]).toContain(`${file} is damaged: `);
  expect(line[1]).toContain("restore it, with its -wal, from a copy");
  expect(server.stderr).toBe(line[0]);
});
