import assert from "node:assert/strict";
import test from "node:test";
import { Greeter } from "hawser/gen/example/greeter_pb.js";
import { startWorld } from "hawser/testing";
import { greeter } from "../handlers.ts";

test("a chat continues after its connection was cut", async () => {
  await using world = await startWorld((router) => router.service(Greeter, greeter));
  const chat = world.client(Greeter).chat();
  const replies = chat[Symbol.asyncIterator]();
  await chat.send({ content: "before" });
  assert.equal((await replies.next()).value?.reply, "Received: before");

  await world.link.cut();

  await chat.send({ content: "after" });
  assert.equal((await replies.next()).value?.reply, "Received: after");
  chat.closeSend();
  assert.equal((await replies.next()).done, true);
});
