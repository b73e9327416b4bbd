import assert from "node:assert/strict";
import test from "node:test";
import { RoomService, Start } from "hawser/gen/chat/v1/room_pb.js";
import { startWorld } from "hawser/testing";
import { memoryLog } from "hawser/topics";
import { rooms } from "../handlers.ts";

test("a watcher misses nothing while its server is away, and sees nothing twice", async () => {
  await using log = memoryLog();
  await using chat = rooms(log);
  await using world = await startWorld((router) => router.service(RoomService, chat.service));
  const client = world.client(RoomService);
  const watching = client.watch({ room: "lobby", start: Start.OLDEST });
  const events = watching[Symbol.asyncIterator]();
  const nextText = async () => {
    for (;;) {
      const { event } = (await events.next()).value ?? {};
      if (event?.case === "message") return event.value.text;
    }
  };

  // The producer numbers its messages, so that one that is posted again is stored once.
  const message = { room: "lobby", name: "ada", producer: "test" };
  await client.post({ ...message, sequence: 1n, text: "before" });
  assert.equal(await nextText(), "before");

  await world.server.kill();
  await world.server.restart();

  await client.post({ ...message, sequence: 2n, text: "after" });
  assert.equal(await nextText(), "after");
  watching.cancel();
});
