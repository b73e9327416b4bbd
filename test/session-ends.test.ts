import { expect, test } from "vitest";
import { Code } from "../src/index.ts";
import { aborted, stillAt, until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { end, newId } from "./support/session-peer.ts";
import { puppet, sessionWorld } from "./support/session-world.ts";
import { Http2Code } from "./support/wire.ts";

// The end of a session that the client and the server do not see at the same time.

test("a send() that waits for the stream's window rejects when the server ends the call", async () => {
  const handler = puppet();
  await using world = await sessionWorld({ linked: true, greeter: { chat: handler.chat } });
  const chat = world.greeter.chat();
  handler.say("one");
  await next(chat);
  world.link.stall("up");
  let sent = 0;
  const sending = (async () => {
    for (;;) {
      await chat.send({ content: "x".repeat(1000) });
      sent++;
    }
  })();
  const failure = failureOf(sending);
  await until("it sends", () => sent > 0);
  // Less than the window of the session: it is the stream that takes no more.
  expect(await stillAt(() => sent)).toBeLessThan(1000);
  handler.leave();
  expect(await all(chat)).toEqual([]);
  expect(await failure).toMatchObject({ code: Code.FailedPrecondition });
  world.link.resume("up");
});

test.each(["NO_ERROR", "CANCEL", "INTERNAL_ERROR"] as const)(
  "a reset with %s does not confirm the end, which another attachment gets",
  async (code) => {
    await using world = await sessionWorld();
    const peer = await world.peer();
    const id = newId();
    const first = peer.attach(id);
    first.send("one", end(1));
    expect(await first.ended()).toMatchObject({ status: 0, sent: "1" });
    first.reset(Http2Code[code]);
    await peer.peer.ping();
    const second = peer.attach(id, { attach: 2 });
    expect(await second.answer()).toMatchObject({ "hawser-session": "resumed" });
    expect(await second.ended()).toMatchObject({ status: 0, sent: "1" });
    expect(second.messages).toEqual(["one"]);
    second.halfClose();
    expect(world.runs).toHaveLength(1);
  },
);

test.each(["fin", "rst"] as const)(
  "a connection that is lost (%s) does not confirm the end, which another attachment gets",
  async (kind) => {
    await using world = await sessionWorld();
    const [a, b] = [await world.peer(), await world.peer()];
    const id = newId();
    const first = a.attach(id);
    first.send("one", end(1));
    expect(await first.ended()).toMatchObject({ status: 0, sent: "1" });
    if (kind === "fin") a.peer.socket.end();
    else a.peer.socket.resetAndDestroy();
    await a.peer.closed;
    const second = b.attach(id, { attach: 2 });
    expect(await second.ended()).toMatchObject({ status: 0, sent: "1" });
    expect(second.messages).toEqual(["one"]);
    second.halfClose();
    expect(world.runs).toHaveLength(1);
  },
);

test("a client that drops its connection while the end is on its way gets the end on the next", async () => {
  const handler = puppet();
  await using world = await sessionWorld({
    linked: true,
    transport: { keepalive: { intervalMs: 100, timeoutMs: 100 } },
    greeter: { chat: handler.chat },
  });
  const chat = world.greeter.chat();
  handler.say("one");
  await next(chat);
  world.link.stall("down");
  handler.say("two");
  handler.leave();
  await until("the client has given it up", () => chat.state === "resuming");
  world.link.resume("down");
  expect((await all(chat)).map(({ reply }) => reply)).toEqual(["two"]);
});

test("a call whose deadline passes while its session has no connection is kept with its end for the grace", async () => {
  await using world = await sessionWorld({ sessions: { graceMs: 5_000 } });
  const [a, b] = [await world.peer(), await world.peer()];
  const id = newId();
  const first = a.attach(id, { headers: { "grpc-timeout": "300m" } });
  first.send("one");
  await first.hears(1);
  await a[Symbol.asyncDispose]();
  await aborted(world.runs[0]?.context.signal as AbortSignal);
  // The stream of an expired call is reset after a second; the session has no stream.
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  const second = b.attach(id, { attach: 2, received: 1 });
  expect(await second.ended()).toMatchObject({ status: Code.DeadlineExceeded, sent: "1" });
  second.halfClose();
});
