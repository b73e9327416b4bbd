/** What sessions hold in all: their handlers wait for capacity, and as the last resort some sessions end. */
import { describe, expect, test } from "vitest";
import type { Received } from "../src/call-stream.ts";
import { failure } from "../src/failure.ts";
import { Code } from "../src/index.ts";
import { gate, settles, stillAt, until } from "./support/gate.ts";
import { frame, GRACE_MS, RegistryWorld } from "./support/registry-world.ts";
import { CONTROL, newId, received } from "./support/session-peer.ts";
import { sessionWorld } from "./support/session-world.ts";

const greedy = { caller: "greedy", connection: {} };
const honest = { caller: "honest", connection: {} };

/** The client's acknowledgement, without the prefix of its frame. */
function acknowledgement(count: number): Received {
  const bytes = received(count).subarray(5);
  return { flags: CONTROL, bytes, start: 0, end: bytes.length };
}

/** Sessions of one connection: they may hold 0.79 × maxBytes, each by itself 4 messages of 30 bytes, which cost 46. */
function world(sessions: number, maxBytes = 2000) {
  const world = new RegistryWorld({ maxSessions: 1000, maxBytes });
  const ids = Array.from({ length: sessions }, (_, n) => `greedy ${n}`);
  for (const id of ids) expect(world.ask(id, greedy)).toBe("in");
  expect(world.ask("mine", honest)).toBe("in");
  const apps = ids.map((id) => world.app(id));
  /** Lets promises settle, and the sessions that wait be looked at. */
  const settle = async () => {
    for (let turn = 0; turn < 20; turn++) {
      await undefined;
      world.time.pass(1);
    }
  };
  const acknowledgeAll = (id: string) => {
    const app = world.app(id);
    app.session.onMessage(acknowledgement(app.written.length), world.stream(id));
  };
  return { world, ids, apps, settle, acknowledgeAll };
}

describe("the handlers of a caller", () => {
  test("wait while its sessions hold more than it may, and those of others do not", async () => {
    const { world: all, apps, settle } = world(15);
    for (const app of apps) app.send(3, 30);
    await settle();
    expect(all.registry.bytes).toBeGreaterThan(1500);
    expect(all.registry.bytes).toBeLessThan(2000);
    expect(apps.filter(({ blocked }) => blocked).length).toBeGreaterThan(2);
    const mine = all.app("mine");
    mine.send(2, 30);
    expect([mine.blocked, mine.written.length]).toEqual([false, 2]);
    expect(apps.every(({ running }) => running)).toBe(true);
  });

  test("continue in turns when some of its sessions are acknowledged, and none is left behind", async () => {
    const { ids, apps, settle, acknowledgeAll } = world(11);
    for (const app of apps) app.send(20, 30);
    await settle();
    const count = () => apps.map(({ written }) => written.length);
    const before = count();
    // What the first four free is for those that wait, too.
    for (const id of ids.slice(0, 4)) acknowledgeAll(id);
    await settle();
    const grown = count().map((written, at) => written > (before[at] as number));
    expect(grown).toEqual([true, true, true, true, false, false, false, false, true, true, true]);
    for (let round = 0; round < 40; round++) {
      for (const id of ids) acknowledgeAll(id);
      await settle();
    }
    expect(count()).toEqual(Array(11).fill(20));
    expect(apps.some(({ blocked }) => blocked)).toBe(false);
  });

  test("continue when sessions without a connection have ended", async () => {
    const { world: all, ids, apps, settle } = world(15);
    for (const app of apps) app.send(20, 30);
    await settle();
    const before = apps.slice(8).map(({ written }) => written.length);
    for (const id of ids.slice(0, 8)) all.lose(id);
    await settle();
    expect(apps.slice(8).map(({ written }) => written.length)).toEqual(before);
    all.time.pass(GRACE_MS);
    await settle();
    expect(apps.slice(8).map(({ written }) => written.length)).toEqual(Array(7).fill(4));
  });

  test("continue when the session moves to a connection of a caller that holds less", async () => {
    const { world: all, ids, apps, settle } = world(15);
    for (const app of apps) app.send(20, 30);
    await settle();
    const [id, app] = [ids[14] as string, apps[14]];
    expect([app?.blocked, app?.written.length]).toEqual([true, 1]);
    expect(all.ask(id, { attach: 2, caller: "other", connection: {} })).toBe("in");
    await settle();
    expect(app?.written.length).toBeGreaterThan(1);
  });

  test("may have one message under way, whatever the others hold", async () => {
    const { world: all, ids, apps, settle, acknowledgeAll } = world(15);
    for (const app of apps) app.send(20, 30);
    await settle();
    const [id, app] = [ids[14] as string, apps[14]];
    const others = () => apps.slice(0, 14).map(({ written }) => written.length);
    const before = others();
    for (let sent = 1; sent < 20; sent++) {
      expect([app?.blocked, app?.written.length]).toEqual([true, sent]);
      acknowledgeAll(id);
      await settle();
    }
    expect(others()).toEqual(before);
    expect(all.registry.bytes).toBeLessThan(2000);
  });
});

describe("above maxBytes", () => {
  /** A client sends what its handler does not take. */
  const send = (all: RegistryWorld, id: string, bytes: number) =>
    all.app(id).session.onMessage(frame("x".repeat(bytes)), all.stream(id));

  test("sessions of the caller that holds most end, those without a connection first, and then the largest", async () => {
    const { world: all, ids, apps } = world(12, 1000);
    for (const [at, id] of ids.entries()) send(all, id, 60 + at);
    send(all, "mine", 90);
    expect(all.registry.bytes).toBeGreaterThan(1000);
    all.lose(ids[0] as string);
    all.time.pass(1);
    expect(all.registry.bytes).toBeLessThanOrEqual(875);
    const ended = ids.filter((_, at) => !apps[at]?.running);
    expect(ended).toContain(ids[0]);
    expect(ended).toContain(ids[11]);
    expect(ended).not.toContain(ids[1]);
    expect(all.app("mine").running).toBe(true);
    expect(all.stream(ids[11] as string).refused).toBe(true);
    const outcome = apps[11]?.outcome;
    expect(outcome).toMatchObject({ is: "lost", error: { code: Code.ResourceExhausted } });
    expect(outcome?.is === "lost" && outcome.error.message).toMatch(
      /the sessions of the server hold \d+ B, \d+ B of them in this one: that is over maxBytes 1000 B/,
    );
  });

  test("each session that ends is told as a refusal of the limit", () => {
    const all = new RegistryWorld({ maxBytes: 40 });
    const refused: unknown[] = [];
    all.parties.limits.sessionBytes.onRefused = (...refusal) => void refused.push(refusal);
    expect(all.ask("a")).toBe("in");
    send(all, "a", 90);
    all.time.pass(1);
    expect(refused).toEqual([["maxBytes", expect.objectContaining({ identity: "me" })]]);
  });

  test("no session ends if its handlers have taken enough before it is looked at", () => {
    const all = new RegistryWorld({ maxBytes: 100 });
    for (const id of ["a", "b"]) expect(all.ask(id)).toBe("in");
    send(all, "a", 75);
    send(all, "b", 1);
    expect(all.registry.bytes).toBeGreaterThan(100);
    all.app("b").session.taken(1);
    expect(all.registry.bytes).toBeGreaterThan(88);
    all.time.pass(1);
    expect(["a", "b"].map((id) => all.app(id).running)).toEqual([true, true]);
  });

  test("a session that ended is not begun again by a client that the error did not reach", () => {
    const all = new RegistryWorld({ maxBytes: 40 });
    expect(all.ask("a")).toBe("in");
    send(all, "a", 90);
    all.time.pass(1);
    expect(all.app("a").running).toBe(false);
    expect(all.ask("a", { attach: 2 })).toBe("UNKNOWN");
    expect(all.runsOf("a")).toBe(1);
  });

  test("ends that wait for their confirmation are dropped before any session", async () => {
    const { world: all, ids, apps } = world(10, 1000);
    for (const id of ids.slice(0, 3)) {
      all.app(id).send(1, 300);
      all.app(id).fail(failure(Code.Internal, "the handler threw"));
    }
    for (const id of ids.slice(3)) send(all, id, 80);
    all.time.pass(1);
    expect(all.registry.bytes).toBeLessThanOrEqual(875);
    expect(apps.slice(3).every(({ running }) => running)).toBe(true);
  });
});

test("sessions whose clients are gone, and whose handlers send for ever, hold no more than maxBytes; others are served", async () => {
  let sent = 0;
  const reply = "x".repeat(10_000);
  await using world = await sessionWorld({
    sessions: { maxBytes: 2_000_000, graceMs: 3_000 },
    identify: ({ header }) => String(header.get("authorization")),
    greeter: {
      async *chat(requests, { signal, requestHeader }) {
        if (requestHeader.get("authorization") === "greedy") {
          for (; !signal.aborted; sent += reply.length) yield { reply };
        } else for await (const { content } of requests) yield { reply: content };
      },
    },
    transport: { headers: { authorization: "honest" }, sessions: "required" },
  });
  const peer = await world.peer();
  const headers = { authorization: "greedy" };
  const attached = Array.from({ length: 12 }, () => peer.attach(newId(), { headers }));
  for (const one of attached) await one.answer();
  await peer[Symbol.asyncDispose]();
  const held = await stillAt(() => sent);
  expect(held).toBeGreaterThan(1_000_000);
  expect(held).toBeLessThan(2_000_000);
  for (let n = 0; n < 3; n++) {
    const chat = world.greeter.chat();
    await chat.send({ content: "y".repeat(50_000) });
    for await (const { reply } of chat) {
      expect(reply).toHaveLength(50_000);
      chat.closeSend();
    }
  }
});

test("a session whose handler waits for capacity continues when another one of its caller is acknowledged", async () => {
  const written = new Map<string, number>();
  const reply = "x".repeat(10_000);
  const stop = gate();
  await using world = await sessionWorld({
    sessions: { maxBytes: 500_000 },
    identify: () => "ada",
    greeter: {
      async *chat(_, { requestHeader, signal }) {
        const name = String(requestHeader.get("x-name"));
        while (!signal.aborted && !stop.isOpen) {
          written.set(name, (written.get(name) ?? 0) + 1);
          yield { reply };
        }
      },
    },
  });
  const peer = await world.peer();
  const names = ["one", "two", "three"];
  const sessions = names.map((name) => peer.attach(newId(), { headers: { "x-name": name } }));
  for (const attached of sessions) await attached.hears(1);
  const held = () => names.reduce((sum, name) => sum + (written.get(name) ?? 0), 0) * reply.length;
  expect(await stillAt(held)).toBeLessThan(500_000);
  const counts = names.map((name) => written.get(name) as number);
  const [most] = [...sessions].sort((a, b) => b.messages.length - a.messages.length);
  most?.send(received(most.messages.length));
  expect(
    await settles(() =>
      names.every((name, at) => (written.get(name) ?? 0) > (counts[at] as number)),
    ),
  ).toBe(true);
  stop.open();
  await until("all have ended", () => {
    for (const attached of sessions) attached.send(received(attached.messages.length));
    return sessions.every(({ peer, stream }) => peer.stream(stream).ended);
  });
  for (const attached of sessions) attached.halfClose();
  await peer.peer.ping();
});
