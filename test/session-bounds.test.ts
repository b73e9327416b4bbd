import { expect, test } from "vitest";
import { RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { SessionLost_Reason as Reason } from "../gen/hawser/v1/session_pb.js";
import { Code } from "../src/index.ts";
import { aborted, gate, until } from "./support/gate.ts";
import { memoryInUse } from "./support/memory.ts";
import { all, failureOf, next } from "./support/read.ts";
import { type Attached, end, newId, received, type SessionPeer } from "./support/session-peer.ts";
import { sessionWorld } from "./support/session-world.ts";
import { message } from "./support/watched-server.ts";

// The limits of sessions, of one server and of one caller: at a limit no more begin, and open ones continue.

/** Opens a session and has one exchange on it. */
async function open(peer: SessionPeer, id = newId()): Promise<Attached> {
  const attached = peer.attach(id);
  attached.send("one");
  await attached.hears(1);
  return attached;
}

async function refused(peer: SessionPeer): Promise<string> {
  const { status, lost, message: text } = await peer.attach(newId()).ended();
  expect({ status, lost }).toEqual({ status: Code.ResourceExhausted, lost: undefined });
  return text;
}

/** Sends one more message, reads its reply, and ends the call. */
async function continues(attached: Attached): Promise<void> {
  attached.send("two", end(2));
  expect(await attached.hears(2)).toEqual(["one", "two"]);
  expect(await attached.ended()).toMatchObject({ status: 0 });
  attached.halfClose();
  await attached.peer.ping();
}

test("maxSessions: one session more is refused, open ones continue, and another can begin when one ends", async () => {
  await using world = await sessionWorld({ sessions: { maxSessions: 3 } });
  const [a, b] = [await world.peer(), await world.peer()];
  const live = [await open(a), await open(a), await open(b)];
  for (const peer of [a, b])
    expect(await refused(peer)).toMatch(/has 3 sessions of 3 \(maxSessions\)/);
  // Calls without a session are served.
  expect(await world.greeter.sayHello({ content: "hello" })).toMatchObject({ reply: "hello" });
  const plain = world.greeter.chat({ sessions: false });
  await plain.send({ content: "plain" });
  expect(await next(plain)).toMatchObject({ reply: "plain" });
  plain.closeSend();
  await all(plain);
  await continues(live[0] as Attached);
  const another = await open(b);
  await refused(a);
  for (const attached of [...live.slice(1), another]) await continues(attached);
  expect(world.runs).toHaveLength(5);
});

test("maxSessions: sessions that wait for a connection count, and resume although the server is full", async () => {
  await using world = await sessionWorld({ linked: true, sessions: { maxSessions: 2 } });
  const chats = [world.greeter.chat(), world.greeter.chat()];
  for (const chat of chats) await chat.send({ content: "one" });
  for (const chat of chats) await next(chat);
  world.link.stall();
  world.link.cut();
  await until("both have noticed", () => chats.every(({ state }) => state === "resuming"));
  await refused(await world.peer());
  world.link.resume();
  for (const chat of chats) {
    await chat.send({ content: "two" });
    expect(await next(chat)).toMatchObject({ reply: "two" });
  }
  const error = await failureOf(world.greeter.chat({ sessions: "required" }));
  expect(error.code).toBe(Code.ResourceExhausted);
  expect(error.message).toContain("maxSessions");
  for (const chat of chats) chat.closeSend();
  for (const chat of chats) await all(chat);
});

test("maxSessions: an ended session that waits for its confirmation is dropped for a new one, and does not begin anew", async () => {
  await using world = await sessionWorld({ sessions: { maxSessions: 3 } });
  const peer = await world.peer();
  const ids = [newId(), newId()];
  for (const id of ids) {
    const attached = await open(peer, id);
    attached.send(end(1));
    expect(await attached.ended()).toMatchObject({ status: 0, sent: "1" });
    // Not confirmed.
  }
  const live = [await open(peer), await open(peer)];
  // The first end is forgotten, the second is kept.
  const [first, second] = ids as [string, string];
  for (const opened of [false, true]) {
    const { lost } = await peer.attach(first, { attach: 2, opened }).ended();
    expect(lost).toMatchObject({ reason: Reason.UNKNOWN });
  }
  const again = peer.attach(second, { attach: 2 });
  expect(await again.hears(1)).toEqual(["one"]);
  expect(await again.ended()).toMatchObject({ status: 0, sent: "1" });
  for (const attached of live) await continues(attached);
  again.halfClose();
  expect(world.runs).toHaveLength(4);
});

test("maxBytes: messages count that are sent and not acknowledged, or received and not taken", async () => {
  const held = gate();
  await using world = await sessionWorld({
    sessions: { maxBytes: 115_000 },
    greeter: {
      async *chat(requests) {
        await held.opened;
        for await (const { content } of requests) yield { reply: content };
      },
    },
  });
  const [a, b] = [await world.peer(), await world.peer()];
  const large = a.attach(newId());
  const idle = a.attach(newId());
  await idle.answer();
  const contents = Array.from({ length: 11 }, (_, n) => `${n}`.padEnd(10_000, "x"));
  await a.peer.flow(large.stream, Buffer.concat(contents.map(message)));
  await a.peer.ping();
  // Received, not taken.
  expect(await refused(b)).toMatch(/has 1[01]\d{4} B of sessions of 115000 \(maxBytes\)/);
  held.open();
  for (let n = 1; n <= 11; n++) {
    // The handler sends the next one when this one is acknowledged: the session holds more than its share.
    await large.hears(n);
    if (n === 1) await refused(b);
    large.send(received(n));
  }
  expect(large.messages).toEqual(contents);
  await large.isAcknowledged(11);
  await a.peer.ping();
  const small = b.attach(newId());
  await small.answer();
  for (const [attached, sent] of [
    [large, 11],
    [idle, 0],
    [small, 0],
  ] as const) {
    attached.send(end(sent));
    expect(await attached.ended()).toMatchObject({ status: 0 });
    attached.halfClose();
  }
});

test("maxBytes: a session that has ended counts no bytes, however it ended", async () => {
  const held = gate();
  const ends: Promise<void>[] = [];
  await using world = await sessionWorld({
    // On a busy machine an attachment may take some 100 ms: past the grace it would be EXPIRED.
    sessions: { maxBytes: 115_000, graceMs: 1_000 },
    greeter: {
      async *chat(requests, { signal }) {
        ends.push(aborted(signal));
        if (held.isOpen) for await (const { content } of requests) yield { reply: content };
        for (let n = 0; n < 11; n++) yield { reply: "x".repeat(10_000) };
        await aborted(signal);
      },
    },
  });
  const [a, b] = [await world.peer(), await world.peer()];
  const endings: ((attached: Attached, id: string) => unknown)[] = [
    (attached) => attached.reset(8),
    (_, id) => b.attach(id, { attach: 2, headers: { "hawser-cancel": "1" } }),
    (attached) => attached.send(received(100)),
  ];
  for (const ending of endings) {
    const id = newId();
    const large = a.attach(id);
    // The others wait: the session holds more than its share.
    await large.hears(10);
    await refused(a);
    ending(large, id);
    await ends.at(-1);
    if (ending === endings[2]) {
      await large.ended();
      large.halfClose();
      await a.peer.ping();
    }
    const nextId = newId();
    expect((await b.attach(nextId).answer())["grpc-status"]).toBeUndefined();
    await b.attach(nextId, { attach: 2, headers: { "hawser-cancel": "1" } }).ended();
  }
  held.open();
});

test("maxSessions: a caller that takes all that it gets leaves something to others, on its own address too", async () => {
  await using world = await sessionWorld({ identify: false, sessions: { maxSessions: 27 } });
  const [greedy, honest] = [await world.peer(), await world.peer()];
  const live: Attached[] = [];
  let refusal: string | undefined;
  while (refusal === undefined) {
    const attached = greedy.attach(newId());
    const { "grpc-status": status } = await attached.answer();
    if (status === undefined) live.push(attached);
    else refusal = (await attached.ended()).message;
  }
  expect(live.length).toBeGreaterThan(15);
  expect(refusal).toMatch(/has \d+ sessions of 27 \(maxSessions\); \d+ of them are this caller's/);
  const mine = await open(honest);
  await continues(mine);
});

test("a refusal says when to come again, by RetryInfo and by a pushback", async () => {
  await using world = await sessionWorld({ sessions: { maxSessions: 1 } });
  const chat = world.greeter.chat();
  await chat.send({ content: "one" });
  await next(chat);
  const error = await failureOf(world.greeter.chat({ sessions: "required" }));
  expect(error.code).toBe(Code.ResourceExhausted);
  const pushbackMs = Number(error.metadata.get("grpc-retry-pushback-ms"));
  expect(pushbackMs).toBeGreaterThanOrEqual(1000);
  const [info] = error.findDetails(RetryInfoSchema);
  expect(Number(info?.retryDelay?.seconds) * 1000).toBeLessThanOrEqual(pushbackMs);
  chat.closeSend();
  await all(chat);
});

test("2,000 chats at the same time on connections that take 100 wait for their turn, and none is lost", {
  timeout: 30_000,
}, async () => {
  await using world = await sessionWorld({ server: { maxConcurrentStreams: 100 } });
  await world.greeter.sayHello({});
  const chats = Array.from({ length: 2_000 }, async (_, n) => {
    const chat = world.greeter.chat();
    await chat.send({ content: `${n}` });
    chat.closeSend();
    return (await all(chat)).map(({ reply }) => reply);
  });
  expect(await Promise.all(chats)).toEqual(chats.map((_, n) => [`${n}`]));
  expect(world.runs).toHaveLength(2_000);
});

test("1,000 sessions on five connections that are cut at the same time resume, and the memory stays bounded", {
  timeout: 30_000,
}, async () => {
  const count = 1_000;
  await using world = await sessionWorld({
    linked: true,
    server: { maxConcurrentStreams: 200 },
    sessions: { resumesPerSecond: 5_000 },
  });
  await world.greeter.sayHello({});
  const before = await memoryInUse();
  const chats = Array.from({ length: count }, () => world.greeter.chat());
  const exchange = (content: string) =>
    Promise.all(
      chats.map(async (chat) => {
        await chat.send({ content });
        return (await next(chat))?.reply;
      }),
    );
  expect(new Set(await exchange("before"))).toEqual(new Set(["before"]));
  expect(world.link.open).toBe(5);
  const attached = (await memoryInUse()) - before;
  for (const round of ["first", "second"]) {
    world.link.cut();
    expect(new Set(await exchange(round))).toEqual(new Set([round]));
  }
  // Both sides of each session are in this process. Memory that a cut leaves belongs to no session.
  const resumed = (await memoryInUse()) - before;
  expect(attached / count).toBeLessThan(50 * 1024);
  expect(resumed / count).toBeLessThan(60 * 1024);
  for (const chat of chats) chat.closeSend();
  for (const chat of chats) expect(await next(chat)).toBeUndefined();
  expect(world.runs).toHaveLength(count);
  for (const run of world.runs) expect(run.requests).toEqual(["before", "first", "second"]);
});
