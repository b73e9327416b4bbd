/** Calls of hawser/web that outlive their WebSockets. */
import { expect, onTestFinished, test, vi } from "vitest";
import { RoomService, type WatchResponse } from "../gen/chat/v1/room_pb.js";
import { type CallState, Code, createClient } from "../src/web.ts";
import { until } from "./support/gate.ts";
import { failureOf, next } from "./support/read.ts";
import { textOf, texts, toyRoom } from "./support/toy-room.ts";
import { startWeb, type WebWorld } from "./support/web-world.ts";

/** A chat after its first reply, and the states that it has had since. */
async function openChat({ greeter }: WebWorld) {
  const chat = greeter.chat();
  const states: CallState[] = [];
  await chat.send({ content: "first" });
  await next(chat);
  chat.onState((state) => states.push(state));
  return { chat, states };
}

test("a chat continues over another WebSocket after a cut, and loses nothing in either direction", async () => {
  await using world = await startWeb();
  const { chat, states } = await openChat(world);
  expect(chat.resumable).toBe(true);
  const count = 5000;
  const sending = (async () => {
    for (let n = 0; n < count; n++) {
      await chat.send({ content: `${n}` });
      if (n % 1000 === 500) await world.link.cut();
    }
    chat.closeSend();
  })();
  let got = 0;
  for await (const { reply } of chat) expect(reply).toBe(`Received: ${got++}`);
  expect(got).toBe(count);
  await sending;
  expect(states.filter((state) => state === "resuming")).not.toEqual([]);
  expect(world.link.accepted).toBeGreaterThan(2);
});

test("a chat without a session fails with UNAVAILABLE when its WebSocket is cut", async () => {
  await using world = await startWeb({ transport: { sessions: false } });
  const { chat } = await openChat(world);
  await world.link.cut();
  const error = await failureOf(chat);
  expect(error.code).toBe(Code.Unavailable);
  expect(error.message).toMatch(/was lost \(WebSocket closed with code 1006\)/);
});

test("a silent link is found by keepalive, and the call continues over another WebSocket", async () => {
  await using world = await startWeb({
    transport: { keepalive: { intervalMs: 200, timeoutMs: 200 } },
  });
  const { chat, states } = await openChat(world);
  const stall = world.link.stall();
  await chat.send({ content: "into the silence" });
  const began = performance.now();
  await until("the loss was noticed", () => states.includes("resuming"));
  expect(performance.now() - began).toBeLessThan(900);
  stall[Symbol.dispose]();
  await world.link.cut();
  expect(await next(chat)).toMatchObject({ reply: "Received: into the silence" });
  chat.closeSend();
  expect(await next(chat)).toBeUndefined();
});

test("a push with a cursor continues after cuts and after a restart of the server", async () => {
  const room = toyRoom();
  await using world = await startWeb({
    routes: (router) => router.service(RoomService, room.service),
  });
  const watch = createClient(RoomService, world.transport).watch({ room: "lobby" });
  const read: (string | undefined)[] = [];
  const readTo = async (last: string) => {
    while (read.at(-1) !== last) {
      const text = textOf((await next(watch)) as WatchResponse);
      if (text !== undefined) read.push(text);
    }
  };
  await next(watch);
  for (let round = 1; round <= 4; round++) {
    room.post(100);
    await readTo(`${round * 100}`);
    if (round % 2 === 1) await world.link.cut();
    else {
      await world.server.kill();
      await world.server.restart();
    }
  }
  room.post(1);
  await readTo("401");
  expect(read).toEqual(texts(401));
  watch.cancel();
});

test("a call with a session does not wait for Negotiate if a call was made before it", async () => {
  await using world = await startWeb();
  const delay = world.link.delay(300);
  await world.greeter.sayHello({});
  // Negotiate was sent with that call, and is answered soon after it.
  await new Promise((resolve) => setTimeout(resolve, 200));
  const began = performance.now();
  const { chat } = await openChat(world);
  // One round trip is 600 ms.
  expect(performance.now() - began).toBeLessThan(1150);
  expect(chat.resumable).toBe(true);
  delay[Symbol.dispose]();
  chat.closeSend();
  expect(await next(chat)).toBeUndefined();
});

test("a call that waits for the next attempt to connect is made as soon as the machine is online again", async () => {
  const page = new EventTarget();
  vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
  vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
  onTestFinished(() => void vi.unstubAllGlobals());
  await using world = await startWeb();
  const refusal = world.link.refuse();
  expect(await failureOf(world.greeter.sayHello({}))).toMatchObject({ code: Code.Unavailable });
  refusal[Symbol.dispose]();
  const began = performance.now();
  const call = world.greeter.sayHello({});
  page.dispatchEvent(new Event("online"));
  expect(await call).toMatchObject({ reply: "Hello, " });
  // Without the event the pause is 800 ms at least.
  expect(performance.now() - began).toBeLessThan(400);
});
