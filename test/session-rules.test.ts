import { expect, test } from "vitest";
import { SessionLost_Reason as Reason } from "../gen/hawser/v1/session_pb.js";
import { Code } from "../src/index.ts";
import { stillAt, until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { end, newId, received } from "./support/session-peer.ts";
import { finish, lossOf, puppet, sessionWorld } from "./support/session-world.ts";

// The rules of session.proto, by their numbers.

test("rule 1: an old attachment is cut off before the count is taken, and its late messages are dropped", async () => {
  await using world = await sessionWorld();
  const [a, b] = [await world.peer(), await world.peer()];
  const id = newId();
  const old = a.attach(id);
  old.send("one");
  await old.hears(1);
  const next = b.attach(id, { attach: 2, received: 1 });
  expect(await next.answer()).toMatchObject({
    "hawser-session": "resumed",
    "hawser-received": "1",
  });
  old.send("late");
  const ending = await old.ended();
  expect(ending).toMatchObject({ status: Code.Aborted, lost: { reason: Reason.TAKEN_OVER } });
  expect(ending.lost?.arrived).toBe(1n);
  old.send("later", received(1), end(9));
  await a.peer.ping();
  next.send("two");
  expect(await next.hears(1)).toEqual(["two"]);
  await finish(next, 2);
  expect(old.messages).toEqual(["one"]);
  expect(world.runs).toMatchObject([{ requests: ["one", "two"], end: "half-closed" }]);
});

test("rule 1: the count is exact even if old messages and the new attachment arrive together", async () => {
  await using world = await sessionWorld();
  const [a, b] = [await world.peer(), await world.peer()];
  const contents = ["one", "two", "three"];
  for (let n = 0; n < 40; n++) {
    const id = newId();
    const old = a.attach(id);
    await old.answer();
    if (n % 2 === 0) old.send(...contents);
    const resumed = b.attach(id, { attach: 2 });
    if (n % 2 === 1) old.send(...contents);
    const count = Number((await resumed.answer())["hawser-received"]);
    resumed.send(...contents.slice(count));
    // All replies, from the first: none was acknowledged.
    expect(await resumed.hears(3)).toEqual(contents);
    await finish(resumed, 3);
  }
  expect(world.runs).toHaveLength(40);
  for (const run of world.runs) expect(run.requests).toEqual(contents);
});

test("rule 2: an attachment number not higher than the previous one is refused, and the session continues", async () => {
  await using world = await sessionWorld();
  const [a, b] = [await world.peer(), await world.peer()];
  const id = newId();
  const first = a.attach(id, { attach: 3, opened: true });
  await first.answer();
  for (const attach of [1, 2, 3, 3]) {
    for (const peer of [a, b]) {
      const { status, lost } = await peer.attach(id, { attach, opened: true }).ended();
      expect({ status, reason: lost?.reason }).toEqual({
        status: Code.Aborted,
        reason: Reason.TAKEN_OVER,
      });
    }
  }
  first.send("on");
  expect(await first.hears(1)).toEqual(["on"]);
  await finish(first, 1);
  expect(world.runs).toHaveLength(1);
});

test("rule 2: the loser of a take-over gets TAKEN_OVER, and does not attach again", async () => {
  await using world = await sessionWorld();
  const peer = await world.peer();
  const chat = world.greeter.chat();
  await chat.send({ content: "mine" });
  await next(chat);
  const id = world.asked[0]?.session as string;
  const thief = peer.attach(id, { attach: 2, received: 1 });
  await thief.answer();
  const lost = await lossOf(chat);
  expect(lost).toMatchObject({ reason: Reason.TAKEN_OVER, arrived: 1n });
  expect(lost.error.code).toBe(Code.Aborted);
  expect(await stillAt(() => world.asked.length)).toBe(2);
  thief.send("ours");
  expect(await thief.hears(1)).toEqual(["ours"]);
  await finish(thief, 2);
  expect(world.runs).toMatchObject([{ requests: ["mine", "ours"], end: "half-closed" }]);
});

test("rule 3: messages that are not acknowledged are kept, so that a resume whose answer was lost can be repeated", async () => {
  await using world = await sessionWorld();
  const peer = await world.peer();
  const id = newId();
  const first = peer.attach(id);
  first.send("one", "two", "three");
  await first.hears(3);
  for (const attach of [2, 3, 4, 5]) {
    // The attachment came and was answered, and the answer is not read.
    const again = peer.attach(id, { attach });
    expect(await again.hears(3)).toEqual(["one", "two", "three"]);
    again.reset(8);
  }
  const counts = peer.attach(id, { attach: 6, received: 2 });
  expect(await counts.hears(1)).toEqual(["three"]);
  // What was received is not acknowledged by that: the application has not taken it.
  const last = peer.attach(id, { attach: 7, received: 0 });
  expect(await last.hears(3)).toEqual(["one", "two", "three"]);
  await finish(last, 3);
  expect(world.runs).toMatchObject([{ requests: ["one", "two", "three"] }]);
});

test("rule 4: an acknowledgement above what was sent breaks the protocol, one below the previous one is ignored", async () => {
  await using world = await sessionWorld();
  const peer = await world.peer();
  const id = newId();
  const attached = peer.attach(id);
  attached.send("one", "two");
  await attached.hears(2);
  attached.send(received(2), received(0), received(1), received(2), "three");
  expect(await attached.hears(3)).toEqual(["one", "two", "three"]);
  attached.send(received(4));
  const { status, lost, message } = await attached.ended();
  expect(status).toBe(Code.InvalidArgument);
  expect(lost).toMatchObject({ reason: Reason.PROTOCOL_ERROR, arrived: 3n });
  expect(message).toContain("acknowledges 4 messages of 3");
  attached.halfClose();
  expect(world.runs[0]?.end).toMatchObject({ code: Code.InvalidArgument });
});

test("rule 5: an attachment that asks for acknowledged messages gets GAP, and the session continues", async () => {
  await using world = await sessionWorld();
  const [a, b] = [await world.peer(), await world.peer()];
  const id = newId();
  const attached = a.attach(id);
  attached.send("one", "two");
  await attached.hears(2);
  attached.send(received(2), "three");
  await attached.hears(3);
  for (const count of [0, 1]) {
    const { status, lost } = await b.attach(id, { attach: 2, received: count }).ended();
    expect(status).toBe(Code.Aborted);
    expect(lost).toMatchObject({ reason: Reason.GAP, arrived: 3n });
  }
  attached.send("four");
  expect(await attached.hears(4)).toEqual(["one", "two", "three", "four"]);
  await finish(attached, 4);
  expect(world.runs).toHaveLength(1);
});

test("rule 5: a session that no longer exists gets UNKNOWN or SERVER_RESTARTED, and no handler starts again", async () => {
  await using world = await sessionWorld();
  const peer = await world.peer();
  const ended = newId();
  const whole = peer.attach(ended);
  await whole.answer();
  await finish(whole, 0);
  await peer.peer.ping();
  const cases: [string, string, string, number][] = [
    ["one that never was", newId(), peer.terms.epoch, Reason.UNKNOWN],
    ["one that has ended", ended, peer.terms.epoch, Reason.UNKNOWN],
    ["one of another process", newId(), newId(), Reason.SERVER_RESTARTED],
    ["the same id at another process", ended, newId(), Reason.SERVER_RESTARTED],
  ];
  for (const [what, id, epoch, reason] of cases) {
    const headers = { "hawser-epoch": epoch };
    const { status, lost } = await peer.attach(id, { attach: 2, headers }).ended();
    expect({ status, reason: lost?.reason }, what).toEqual({ status: Code.Aborted, reason });
  }
  expect(world.runs).toHaveLength(1);
});

test("rule 5: a later attachment starts the session if no answer has come yet, and only within the grace", async () => {
  await using world = await sessionWorld({ sessions: { graceMs: 1_000 } });
  const peer = await world.peer();
  const second = peer.attach(newId(), { attach: 2, opened: true });
  expect(await second.answer()).toMatchObject({ "hawser-session": "new" });
  await finish(second, 0);
  // The server's clock may have begun with this file.
  await until("the server is older than its grace", () => peer.serverNowMs > 1_100);
  const tooOld = { "hawser-opened": `${peer.serverNowMs - 1_100}` };
  for (const attach of [1, 2]) {
    const { lost } = await peer.attach(newId(), { attach, headers: tooOld }).ended();
    expect(lost).toMatchObject({ reason: Reason.EXPIRED });
  }
  expect(world.runs).toHaveLength(1);
});

test("rule 6: new messages follow those that are sent again", async () => {
  const handler = puppet();
  await using world = await sessionWorld({ greeter: { chat: handler.chat } });
  const peer = await world.peer();
  const id = newId();
  let attached = peer.attach(id);
  let sent = 0;
  const say = (count: number) => {
    for (let n = 0; n < count; n++) handler.say(`${++sent}`);
  };
  say(3);
  await attached.hears(3);
  for (let attach = 2; attach < 20; attach++) {
    const before = sent;
    attached.reset(8);
    if (attach % 3 === 0) say(5);
    attached = peer.attach(id, { attach });
    if (attach % 3 === 1) say(5);
    await attached.answer();
    if (attach % 3 === 2) say(5);
    expect(await attached.hears(before + 5)).toEqual(
      Array.from({ length: sent }, (_, n) => `${n + 1}`),
    );
  }
  handler.leave();
  expect(await attached.ended()).toMatchObject({ status: 0, sent: `${sent}` });
  attached.halfClose();
});

test("rule 6: messages that the client sends before, while and after it resumes come in order, once", async () => {
  await using world = await sessionWorld({ linked: true });
  const chat = world.greeter.chat();
  const contents = Array.from({ length: 400 }, (_, n) => `${n}`);
  const replies = all(chat);
  for (const [n, content] of contents.entries()) {
    await chat.send({ content });
    if (n % 50 === 20) world.link.cut(n % 100 === 20 ? "rst" : "fin");
    if (n % 10 === 0) await new Promise((turn) => setImmediate(turn));
  }
  chat.closeSend();
  expect((await replies).map(({ reply }) => reply)).toEqual(contents);
  expect(world.runs).toMatchObject([{ requests: contents, end: "half-closed" }]);
});

test("rule 6: no message is sent again on the same attachment, however long it stays unacknowledged", async () => {
  const handler = puppet();
  await using world = await sessionWorld({ greeter: { chat: handler.chat } });
  const attached = (await world.peer()).attach(newId());
  handler.say("one", "two");
  await attached.hears(2);
  expect(await stillAt(() => attached.messages.length, 400)).toBe(2);
  handler.leave();
  await attached.ended();
  attached.halfClose();
});

test("rule 7: a request over the limit is refused before it is kept; the requests before that one arrive", async () => {
  await using world = await sessionWorld({ linked: true, transport: { writeMaxBytes: 100 } });
  const chat = world.greeter.chat();
  await chat.send({ content: "fits" });
  await next(chat);
  world.link.stall();
  const error = await failureOf(chat.send({ content: "x".repeat(200) }));
  expect(error).toMatchObject({ code: Code.ResourceExhausted });
  world.link.resume();
  await until("the handler has ended", () => world.runs[0]?.end !== "running");
  expect(world.runs).toMatchObject([{ requests: ["fits"], end: { code: Code.Canceled } }]);
});

test("rule 7: a response over the limit ends the call; the responses before that one arrive, even across a cut", async () => {
  const handler = puppet();
  await using world = await sessionWorld({
    linked: true,
    greeter: { chat: handler.chat },
    server: { writeMaxBytes: 100 },
  });
  const chat = world.greeter.chat();
  handler.say("one");
  await next(chat);
  world.link.stall();
  handler.say("two", "x".repeat(200));
  await until("the call has ended on the server", () => world.server.openCalls <= 1);
  world.link.cut();
  world.link.resume();
  expect(await next(chat)).toMatchObject({ reply: "two" });
  expect(await failureOf(chat)).toMatchObject({ code: Code.ResourceExhausted });
});
