import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { SessionLost_Reason as Reason } from "../gen/hawser/v1/session_pb.js";
import { Code, ConnectError, createClient, createTransport } from "../src/index.ts";
import { openLink } from "../src/testing/link.ts";
import { aborted, stillAt, until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { type Attached, end, newId, received } from "./support/session-peer.ts";
import { finish, lossOf, sessionWorld } from "./support/session-world.ts";

// The rules of sessions from 8 on: time, callers, counts, bounds.

const later = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

test("rule 8: a resume at the end of the grace either continues the session or finds the session lost", async () => {
  // More than the event loop of a busy machine may stall: what arrives later has expired.
  const graceMs = 1_000;
  await using world = await sessionWorld({ sessions: { graceMs } });
  const [a, b] = [await world.peer(), await world.peer()];
  const outcomes = Array.from({ length: 120 }, async (_, n) => {
    await later(n * 2);
    const id = newId();
    const first = a.attach(id);
    first.send(`${n}`);
    await first.hears(1);
    const run = world.runs.find(({ requests }) => requests[0] === `${n}`);
    first.reset(8);
    // Around the end of the grace; the first ones are early enough on a busy machine too.
    await later(graceMs - 60 + (n % 24) * 3 + Math.random());
    const second = b.attach(id, { attach: 2 });
    const head = await second.answer();
    const resumed = head["hawser-session"] === "resumed";
    if (resumed) {
      expect(await second.hears(1)).toEqual([`${n}`]);
      second.send("more");
      expect(await second.hears(2)).toEqual([`${n}`, "more"]);
      await finish(second, 2);
      expect(run).toMatchObject({ requests: [`${n}`, "more"], end: "half-closed" });
    } else {
      const { status, lost } = await second.ended();
      expect(status).toBe(Code.Aborted);
      expect(lost?.reason).toBe(Reason.UNKNOWN);
      expect(run?.context.signal.aborted).toBe(true);
      await until("the handler has heard", () => run?.end !== "running");
      expect(run?.end).toMatchObject({ code: Code.Aborted });
    }
    return resumed;
  });
  const won = (await Promise.all(outcomes)).filter((resumed) => resumed).length;
  // Else this has tested nothing.
  expect(won).toBeGreaterThan(0);
  expect(won).toBeLessThan(120);
  expect(world.runs).toHaveLength(120);
});

test("rule 8: with our client too, the chat either continues, or both sides know that the session is lost", async () => {
  const graceMs = 500;
  await using world = await sessionWorld({ sessions: { graceMs } });
  const { port } = new URL(world.url);
  const outcomes = Array.from({ length: 16 }, async (_, n) => {
    await using link = await openLink({ host: "127.0.0.1", port: Number(port) });
    await using transport = createTransport({ baseUrl: link.url });
    const chat = createClient(Greeter, transport).chat();
    await chat.send({ content: `${n}` });
    await next(chat);
    const run = world.runs.find(({ requests }) => requests[0] === `${n}`);
    link.stall();
    link.cut();
    void chat.send({ content: "more" });
    chat.closeSend();
    // The first attachment is in time and the final one too late, however busy the machine.
    const resumeMs = n === 0 ? graceMs / 5 : n === 15 ? 2 * graceMs : graceMs - 80 + n * 10;
    void later(resumeMs).then(() => link.resume());
    const outcome = await all(chat).then(
      (replies) => replies.map(({ reply }) => reply),
      (error: unknown) => error,
    );
    if (outcome instanceof ConnectError) {
      const { reason } = await lossOf(Promise.reject(outcome));
      expect([Reason.UNKNOWN, Reason.EXPIRED, Reason.UNREACHABLE]).toContain(reason);
      await until("the handler has heard", () => run?.context.signal.aborted === true);
      expect(run?.end).not.toBe("half-closed");
    } else {
      expect(outcome).toEqual(["more"]);
      expect(run).toMatchObject({ requests: [`${n}`, "more"], end: "half-closed" });
    }
    return outcome instanceof ConnectError;
  });
  const lost = (await Promise.all(outcomes)).filter((lost) => lost).length;
  expect(lost).toBeGreaterThan(0);
  expect(lost).toBeLessThan(16);
});

test("rule 9: by default the authorization header identifies the caller, at each attachment", async () => {
  await using world = await sessionWorld({ identify: false });
  const [a, b] = [await world.peer(), await world.peer()];
  const id = newId();
  const headers = { authorization: "Bearer mine" };
  const mine = a.attach(id, { headers });
  mine.send("one");
  await mine.hears(1);
  for (const authorization of ["Bearer other", "", undefined]) {
    for (const cancel of [undefined, "1"]) {
      const theirs = b.attach(id, {
        attach: 2,
        headers: { authorization, "hawser-cancel": cancel },
      });
      const { status, lost } = await theirs.ended();
      expect(status).toBe(Code.Aborted);
      expect(lost).toMatchObject({ reason: Reason.NOT_YOURS, arrived: 0n });
    }
  }
  mine.send("two");
  expect(await mine.hears(2)).toEqual(["one", "two"]);
  const again = b.attach(id, { attach: 2, received: 2, headers });
  expect(await again.answer()).toMatchObject({ "hawser-session": "resumed" });
  await finish(again, 2);
  expect(world.runs).toMatchObject([{ requests: ["one", "two"], end: "half-closed" }]);
});

test("rule 9: the method is the one of the session", async () => {
  await using world = await sessionWorld();
  const peer = await world.peer();
  const id = newId();
  const chat = peer.attach(id);
  await chat.answer();
  const { status, lost } = await peer.attach(id, { attach: 2, path: "Collect" }).ended();
  expect(status).toBe(Code.InvalidArgument);
  expect(lost).toMatchObject({ reason: Reason.PROTOCOL_ERROR });
  await finish(chat, 0);
});

test.each([
  ["immediately", (name: string) => name],
  ["later", (name: string) => later(Math.random() * 5).then(() => name)],
])(
  "rule 9: authenticate returns the caller %s; messages that come before are not lost",
  async (_, say) => {
    const unknown = new ConnectError("who is that?", Code.Unauthenticated);
    await using world = await sessionWorld({
      identify: ({ header }) => {
        const user = header.get("x-user");
        if (user === null) throw unknown;
        if (user === "late no") return later(1).then(() => Promise.reject(unknown));
        return say(user);
      },
    });
    const [a, b] = [await world.peer(), await world.peer()];
    const id = newId();
    const headers = { "x-user": "me" };
    const mine = a.attach(id, { headers });
    const contents = Array.from({ length: 300 }, (_, n) => `${n} ${"x".repeat(n)}`);
    for (let n = 0; n < 300; n += 10) mine.send(...contents.slice(n, n + 10));
    expect(await mine.hears(300)).toEqual(contents);
    const theirs = b.attach(id, { attach: 2, headers: { "x-user": "them" } });
    expect((await theirs.ended()).lost).toMatchObject({ reason: Reason.NOT_YOURS });
    for (const user of ["late no", undefined]) {
      const anonymous = b.attach(id, { attach: 2, headers: { "x-user": user } });
      expect((await anonymous.ended()).status).toBe(Code.Unauthenticated);
    }
    const again = b.attach(id, { attach: 2, received: 300, headers });
    again.send(end(300));
    expect(await again.ended()).toMatchObject({ status: 0 });
    again.halfClose();
    expect(world.runs).toMatchObject([{ requests: contents, end: "half-closed" }]);
  },
);

test("rule 9: a client that now identifies as another caller gets NOT_YOURS, and the session expires", async () => {
  const users = new Map([["token", "alice"]]);
  await using world = await sessionWorld({
    linked: true,
    sessions: { graceMs: 300 },
    identify: ({ header }) => users.get(header.get("authorization") ?? "") ?? "nobody",
  });
  const chat = world.greeter.chat({ headers: { authorization: "token" } });
  await chat.send({ content: "one" });
  await next(chat);
  users.clear();
  world.link.cut();
  expect(await lossOf(chat)).toMatchObject({ reason: Reason.NOT_YOURS });
  expect(world.runs[0]?.context.signal.aborted).toBe(false);
  await aborted(world.runs[0]?.context.signal as AbortSignal);
});

test("rule 10: counts are exact up to 2^53 - 1, and higher ones are refused", async () => {
  await using world = await sessionWorld();
  const peer = await world.peer();
  const most = 2n ** 53n - 1n;
  const above = [most + 1n, 2n ** 63n, 2n ** 64n - 1n];
  const refusals: [received: bigint, lost: number | undefined][] = [
    [most, Reason.PROTOCOL_ERROR],
    ...above.map((count): [bigint, undefined] => [count, undefined]),
  ];
  const id = newId();
  const other = peer.attach(id);
  await other.answer();
  for (const [count, reason] of refusals) {
    const { status, lost } = await peer.attach(id, { attach: 2, received: `${count}` }).ended();
    expect({ status, reason: lost?.reason }).toEqual({ status: Code.InvalidArgument, reason });
  }
  for (const count of [most, ...above]) {
    for (const frame of [received(count), end(count)]) {
      const attached = peer.attach(newId(), { frames: [frame] });
      const { status, lost } = await attached.ended();
      expect(status).toBe(Code.InvalidArgument);
      expect(lost).toMatchObject({ reason: Reason.PROTOCOL_ERROR, arrived: 0n });
    }
  }
  // The highest attachment number is as good as any.
  const last = peer.attach(id, { attach: `${most}` });
  expect(await last.answer()).toMatchObject({ "hawser-session": "resumed" });
  await finish(last, 0);
});

test("rule 11: resumes past resumesPerSecond get a pushback", async () => {
  await using world = await sessionWorld({ sessions: { resumesPerSecond: 2 } });
  const peer = await world.peer();
  const ids = [newId(), newId(), newId()];
  for (const id of ids) await peer.attach(id).answer();
  const resumed = ids.map((id) => peer.attach(id, { attach: 2 }));
  const [one, two, three] = resumed as [Attached, Attached, Attached];
  await finish(one, 0);
  await finish(two, 0);
  const { status, lost, trailers } = await three.ended();
  expect({ status, lost }).toEqual({ status: Code.Unavailable, lost: undefined });
  const waitMs = Number(trailers["grpc-retry-pushback-ms"]);
  expect(waitMs).toBeGreaterThanOrEqual(1000);
  expect(waitMs).toBeLessThanOrEqual(2000);
  await later(waitMs);
  const again = peer.attach(ids[2] as string, { attach: 3 });
  await finish(again, 0);
});

test("rule 11: a client resumes after the pushback, and its session is not lost", async () => {
  await using world = await sessionWorld({
    linked: true,
    sessions: { resumesPerSecond: 1, graceMs: 1_000 },
  });
  const chats = Array.from({ length: 4 }, () => world.greeter.chat());
  for (const chat of chats) await chat.send({ content: "before" });
  for (const chat of chats) await next(chat);
  world.link.cut();
  for (const chat of chats) {
    await chat.send({ content: "after" });
    chat.closeSend();
  }
  const endings = chats.map((chat) =>
    all(chat).then(
      (replies) => replies.map(({ reply }) => reply),
      (error: ConnectError) => error.message,
    ),
  );
  expect(await Promise.all(endings)).toEqual(chats.map(() => ["after"]));
  for (const run of world.runs) expect(run.requests).toEqual(["before", "after"]);
});

test("rule 12: a handler whose client acknowledges nothing waits when the window is full", async () => {
  let yielded = 0;
  await using world = await sessionWorld({
    sessions: { windowMessages: 10 },
    greeter: {
      async *chat() {
        for (;;) yield { reply: `${++yielded}` };
      },
    },
  });
  const peer = await world.peer();
  const id = newId();
  let attached = peer.attach(id);
  expect(await attached.hears(10)).toHaveLength(10);
  // Another attachment is made, and waits.
  expect(await stillAt(() => yielded, 50)).toBeLessThanOrEqual(11);
  attached.reset(8);
  attached = peer.attach(id, { attach: 2 });
  await attached.hears(10);
  attached.send(received(4));
  await attached.hears(14);
  expect(await stillAt(() => attached.messages.length, 50)).toBe(14);
  peer.attach(id, { attach: 3, headers: { "hawser-cancel": "1" } });
  expect(await attached.ended()).toMatchObject({ status: Code.Canceled });
});

test("rule 12: a client that is cut off sends no more than the window holds", async () => {
  await using world = await sessionWorld({
    linked: true,
    transport: { sessions: { windowMessages: 10 } },
  });
  const chat = world.greeter.chat();
  await chat.send({ content: "first" });
  await next(chat);
  world.link.stall();
  world.link.cut();
  let taken = 0;
  const sends = Array.from({ length: 100 }, (_, n) =>
    chat.send({ content: `${n}` }).then(() => taken++),
  );
  // Those that wait for the window wait in the queue of the call: 16.
  expect(await stillAt(() => taken)).toBeLessThanOrEqual(10 + 16 + 1);
  world.link.resume();
  const replies = all(chat);
  await Promise.all(sends);
  chat.closeSend();
  expect(await replies).toHaveLength(100);
});

test.each(["connected", "cut off", "resumed"])(
  "rule 13: the deadline is the call's, not an attachment's: %s",
  async (how) => {
    await using world = await sessionWorld({ linked: true });
    const began = performance.now();
    const chat = world.greeter.chat({ timeoutMs: 500 });
    await chat.send({ content: "one" });
    await next(chat);
    await later(250);
    if (how === "cut off") world.link.stall();
    if (how !== "connected") world.link.cut();
    if (how === "resumed") {
      await chat.send({ content: "two" });
      await next(chat);
    }
    const { code } = await failureOf(chat);
    expect(code).toBe(Code.DeadlineExceeded);
    await aborted(world.runs[0]?.context.signal as AbortSignal);
    const took = performance.now() - began;
    expect(took).toBeGreaterThan(490);
    expect(took).toBeLessThan(740);
    // The deadline is the only thing that can have ended the handler.
    if (how === "cut off") {
      await until("the handler has ended", () => world.runs[0]?.end !== "running");
      expect(world.runs[0]?.end).toMatchObject({ code });
    }
    world.link.resume();
  },
);

test("rule 13: the server counts from the first attachment, whatever a later one says", async () => {
  await using world = await sessionWorld();
  const peer = await world.peer();
  const id = newId();
  const began = performance.now();
  await peer.attach(id, { headers: { "grpc-timeout": "300m" } }).answer();
  await later(200);
  const second = peer.attach(id, { attach: 2, headers: { "grpc-timeout": "9S" } });
  const { status } = await second.ended();
  expect(status).toBe(Code.DeadlineExceeded);
  expect(performance.now() - began).toBeGreaterThan(290);
  expect(performance.now() - began).toBeLessThan(480);
  second.halfClose();
});

test("rule 14: one-way traffic is acknowledged within 50 ms, and so continues past the window", async () => {
  await using world = await sessionWorld();
  const collect = (await world.peer()).attach(newId(), {
    path: "Collect",
    headers: { "hawser-window": "1000,8" },
  });
  let sent = 0;
  const send = async (count: number) => {
    const began = performance.now();
    collect.send(...Array.from({ length: count }, () => "x"));
    sent += count;
    await collect.isAcknowledged(sent);
    return performance.now() - began;
  };
  // Half a window and more is acknowledged immediately.
  for (const count of [7, 8]) await send(count);
  const tookMs: number[] = [];
  for (const count of [1, 2, 3, 1, 2, 3, 1, 2, 3]) tookMs.push(await send(count));
  // Most of them: a busy machine may stand still at any time.
  expect(tookMs.sort((one, other) => one - other)[4]).toBeLessThan(150);
  collect.send(end(sent));
  expect(await collect.ended()).toMatchObject({ status: 0, sent: "1" });
  collect.halfClose();
});

test("rule 14: the same with our client, in both directions, across cuts", async () => {
  await using world = await sessionWorld({
    linked: true,
    transport: { sessions: { windowMessages: 4 } },
  });
  const sink = world.greeter.collect();
  for (let n = 0; n < 200; n++) {
    await sink.send({ content: "x" });
    if (n % 60 === 30) world.link.cut();
  }
  expect(await sink.finish()).toMatchObject({ count: 200 });
  const push = world.greeter.subscribe({ count: 200 });
  const sequence: bigint[] = [];
  for await (const notification of push) {
    sequence.push(notification.sequence);
    if (sequence.length % 60 === 30) world.link.cut();
  }
  expect(sequence).toEqual(Array.from({ length: 200 }, (_, n) => BigInt(n + 1)));
  expect(world.runs).toHaveLength(2);
});
