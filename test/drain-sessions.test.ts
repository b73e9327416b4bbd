/** A server that closes still listens for its open sessions: one that is cut meanwhile resumes, and ends without an error. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { constants } from "node:http2";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient as createStockClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { greeter as example } from "../examples/greeter/handlers.ts";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, createClient, createTransport, SessionLostReason } from "../src/index.ts";
import { createServer } from "../src/server.ts";
import { openLink } from "../src/testing/link.ts";
import { until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { newId, SessionPeer } from "./support/session-peer.ts";
import { puppet, type SessionWorld, sessionWorld } from "./support/session-world.ts";
import { certs } from "./support/tls.ts";
import { dial } from "./support/wire.ts";
import { start } from "./support/world.ts";

/** A chat that has had one exchange. */
async function runningChat({ greeter }: Pick<SessionWorld, "greeter">) {
  const chat = greeter.chat();
  await chat.send({ content: "before" });
  await next(chat);
  return chat;
}

/** Whether a server accepts connections on the port. */
async function isTaken(at: { port: number } | { path: string }): Promise<boolean> {
  const socket = connect({ host: "127.0.0.1", ...at });
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

const portOf = ({ url }: { url: string }) => ({ port: Number(new URL(url).port) });

test("a session that is cancelled in the turn in which its server begins to close ends immediately", async () => {
  await using world = await sessionWorld({ linked: true });
  const chat = await runningChat(world);
  const closed = world.server.close({ graceMs: 60_000 });
  // The reset empties the connection, and the cancel crosses the first GOAWAY.
  chat.cancel();
  await closed;
  expect(world.runs).toMatchObject([{ end: { code: Code.Canceled } }]);
});

test.each(["cleartext", "TLS"])(
  "a client that closes its transport as soon as its call has ended does not delay a closing server, over %s",
  async (over) => {
    await using server = createServer({
      routes: (router) => router.service(Greeter, example),
      ...(over === "TLS" ? { tls: certs.server } : {}),
    });
    const { url } = await server.listen({ port: 0 });
    await using transport = createTransport({
      baseUrl: url,
      ...(over === "TLS" ? { tls: { ca: certs.ca } } : {}),
    });
    const chat = await runningChat({ greeter: createClient(Greeter, transport) });
    const closed = server.close({ graceMs: 60_000 });
    chat.closeSend();
    expect(await next(chat)).toBeUndefined();
    await transport.close();
    await closed;
  },
);

test("a connection without calls is closed when its server begins to close, while sessions are open", async () => {
  await using world = await sessionWorld({ linked: true });
  const chat = await runningChat(world);
  await using idle = await dial(portOf(world).port);
  await idle.ping();
  const closed = world.server.close({ graceMs: 60_000 });
  expect(await idle.goaway()).toBe(constants.NGHTTP2_NO_ERROR);
  await idle.closed;
  chat.closeSend();
  expect(await all(chat)).toEqual([]);
  await closed;
});

test("a session that is cut while its server drains resumes there, and ends well; then the server is closed", async () => {
  await using world = await sessionWorld({ linked: true });
  const chat = await runningChat(world);
  const closed = world.server.close({ graceMs: 60_000 });
  for (let cut = 0; cut < 3; cut++) {
    world.link.cut();
    await chat.send({ content: `${cut}` });
    expect(await next(chat)).toMatchObject({ reply: `${cut}` });
  }
  chat.closeSend();
  expect(await all(chat)).toEqual([]);
  await closed;
  expect(world.runs).toMatchObject([{ requests: ["before", "0", "1", "2"], end: "half-closed" }]);
  expect(await isTaken(portOf(world))).toBe(false);
});

test("many sessions resume together, on one new connection", async () => {
  await using world = await sessionWorld({ linked: true });
  const chats = await Promise.all(Array.from({ length: 50 }, () => runningChat(world)));
  const closed = world.server.close({ graceMs: 60_000 });
  const before = world.link.accepted;
  world.link.cut();
  for (const chat of chats) {
    await chat.send({ content: "after" });
    expect(await next(chat)).toMatchObject({ reply: "after" });
  }
  expect(world.link.accepted - before).toBe(1);
  for (const chat of chats) chat.closeSend();
  await Promise.all(chats.map((chat) => all(chat)));
  await closed;
});

test("new calls go to the next address, although a session resumed on a connection to the first", async () => {
  await using world = await sessionWorld({ linked: true });
  await using other = await start();
  await using transport = createTransport({ baseUrl: [world.link.url, other.url] });
  const greeter = createClient(Greeter, transport);
  const chat = await runningChat({ greeter });
  const closed = world.server.close({ graceMs: 60_000 });
  world.link.cut();
  await chat.send({ content: "back" });
  expect(await next(chat)).toMatchObject({ reply: "back" });
  // A unary call, one without a session and one with: none waits, and none fails.
  expect((await greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
  const plain = greeter.chat({ sessions: false });
  await plain.send({ content: "plain" });
  expect(await next(plain)).toMatchObject({ reply: "Received: plain" });
  const held = greeter.chat();
  await held.send({ content: "held" });
  expect(await next(held)).toMatchObject({ reply: "Received: held" });
  expect(held.resumable).toBe(true);
  expect(world.server.openCalls).toBe(1);
  // And the session is cut once more: it stays with its server.
  world.link.cut();
  await chat.send({ content: "again" });
  expect(await next(chat)).toMatchObject({ reply: "again" });
  for (const call of [chat, plain, held]) {
    call.closeSend();
    await all(call);
  }
  await closed;
});

test("new calls of every kind fail immediately with UNAVAILABLE if the transport has no other address", async () => {
  await using world = await sessionWorld({ linked: true });
  const chat = await runningChat(world);
  const closed = world.server.close({ graceMs: 60_000 });
  world.link.cut();
  await chat.send({ content: "back" });
  expect(await next(chat)).toMatchObject({ reply: "back" });
  const began = performance.now();
  for (const call of [
    () => world.greeter.sayHello({}),
    () => world.greeter.subscribe({}),
    () => world.greeter.subscribe({}, { sessions: false }),
  ]) {
    expect((await failureOf(call())).code).toBe(Code.Unavailable);
  }
  expect(performance.now() - began).toBeLessThan(2_000);
  expect(world.runs).toHaveLength(1);
  // The client's session continues.
  await chat.send({ content: "still" });
  expect(await next(chat)).toMatchObject({ reply: "still" });
  chat.closeSend();
  await all(chat);
  await closed;
});

test("close() with keepListening false frees the port immediately, and loses a session that is cut", async () => {
  await using world = await sessionWorld({ linked: true, sessions: { graceMs: 1_000 } });
  const chat = await runningChat(world);
  const closed = world.server.close({ graceMs: 60_000, keepListening: false });
  expect(await isTaken(portOf(world))).toBe(false);
  await chat.send({ content: "on the old connection" });
  await next(chat);
  world.link.cut();
  expect((await failureOf(chat)).message).toContain("could not be reached");
  await closed;
});

test("close({ keepListening: false }) after close() frees the port", async () => {
  await using world = await sessionWorld();
  const chat = await runningChat(world);
  const closed = world.server.close({ graceMs: 60_000 });
  expect(await isTaken(portOf(world))).toBe(true);
  const again = world.server.close({ graceMs: 60_000, keepListening: false });
  expect(await isTaken(portOf(world))).toBe(false);
  chat.closeSend();
  await all(chat);
  await Promise.all([closed, again]);
});

test("the port is free when the final session has ended, although another call still runs", async () => {
  await using world = await sessionWorld();
  const chat = await runningChat(world);
  const plain = world.greeter.chat({ sessions: false });
  await plain.send({ content: "x" });
  await next(plain);
  const closed = world.server.close({ graceMs: 60_000 });
  expect(await isTaken(portOf(world))).toBe(true);
  chat.closeSend();
  await all(chat);
  await until("the session has ended", () => world.server.openCalls === 1);
  expect(await isTaken(portOf(world))).toBe(false);
  await using successor = await start({ listen: portOf(world) });
  expect((await successor.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
  await plain.send({ content: "y" });
  expect(await next(plain)).toMatchObject({ reply: "y" });
  plain.closeSend();
  await all(plain);
  await closed;
});

test("a server without open sessions does not listen while its calls finish", async () => {
  await using world = await sessionWorld();
  const plain = world.greeter.chat({ sessions: false });
  await plain.send({ content: "x" });
  await next(plain);
  const closed = world.server.close({ graceMs: 60_000 });
  expect(await isTaken(portOf(world))).toBe(false);
  plain.closeSend();
  await all(plain);
  await closed;
});

test("the end of the grace frees the port, and ends attached and detached sessions with UNAVAILABLE", async () => {
  await using world = await sessionWorld({ linked: true, sessions: { graceMs: 1_000 } });
  const cut = await runningChat(world);
  world.link.refuse();
  world.link.cut();
  await until("it has noticed", () => cut.state === "resuming");
  await using direct = createTransport({ baseUrl: world.url });
  const attached = await runningChat({ greeter: createClient(Greeter, direct) });
  await world.server.close({ graceMs: 100 });
  expect(await isTaken(portOf(world))).toBe(false);
  expect(await failureOf(attached)).toMatchObject({
    code: Code.Unavailable,
    rawMessage: "the server is shutting down",
  });
  expect(world.runs.map(({ end }) => end)).toMatchObject([
    { code: Code.Unavailable },
    { code: Code.Unavailable },
  ]);
  await failureOf(cut);
});

test("a client whose connection is cut before the end of its session arrives fetches the end from the closing server", async () => {
  const handler = puppet();
  await using world = await sessionWorld({ linked: true, greeter: { chat: handler.chat } });
  const chat = world.greeter.chat();
  handler.say("one");
  await next(chat);
  const closed = world.server.close({ graceMs: 60_000 });
  world.link.stall("down");
  handler.say("two");
  handler.leave();
  world.link.refuse();
  world.link.cut();
  // The call has ended at the server, but the end has not reached the client.
  await until("the call has ended at the server", () => world.server.openCalls === 0);
  world.link.resume("down");
  world.link.accept();
  expect((await all(chat)).map(({ reply }) => reply)).toEqual(["two"]);
  await closed;
});

test("a detached session that its client cancels no longer delays a closing server", async () => {
  await using world = await sessionWorld({ linked: true });
  const chat = await runningChat(world);
  world.link.refuse();
  world.link.cut();
  await until("it has noticed", () => chat.state === "resuming");
  const closed = world.server.close({ graceMs: 60_000 });
  chat.cancel();
  await failureOf(chat);
  world.link.accept();
  await closed;
  expect(world.runs[0]?.end).toMatchObject({ code: Code.Canceled });
});

test("an attachment of an unknown session fails with UNKNOWN; one that would begin a session is refused", async () => {
  await using world = await sessionWorld();
  const chat = await runningChat(world);
  const { terms } = await world.peer();
  const closed = world.server.close({ graceMs: 60_000 });
  await using peer = new SessionPeer(await dial(portOf(world).port), terms);
  const unknown = await peer.attach(newId(), { attach: 2 }).ended();
  expect(unknown.lost?.reason).toBe(SessionLostReason.UNKNOWN);
  const refused = peer.attach(newId());
  await refused.ended();
  expect(peer.peer.stream(refused.stream).reset).toBe(constants.NGHTTP2_REFUSED_STREAM);
  expect(await peer.peer.goaway()).toBe(0);
  expect(world.runs).toHaveLength(1);
  chat.closeSend();
  await all(chat);
  await closed;
});

test("clients of other protocols are refused while the port is still open", async () => {
  await using world = await sessionWorld();
  const chat = await runningChat(world);
  const closed = world.server.close({ graceMs: 60_000 });
  for (const httpVersion of ["1.1", "2"] as const) {
    const transport = createConnectTransport({ baseUrl: world.url, httpVersion });
    const { code } = await failureOf(createStockClient(Greeter, transport).sayHello({}));
    expect(code).toBe(Code.Unavailable);
  }
  chat.closeSend();
  await all(chat);
  await closed;
});

test("a session on a Unix socket also resumes, and then the path is free", async () => {
  const folder = await mkdtemp(join(tmpdir(), "hawser-"));
  const path = join(folder, "greeter.sock");
  const server = createServer({ routes: (router) => router.service(Greeter, example) });
  await server.listen({ path });
  await using link = await openLink({ path });
  await using transport = createTransport({ baseUrl: link.url });
  try {
    const chat = await runningChat({ greeter: createClient(Greeter, transport) });
    const closed = server.close({ graceMs: 60_000 });
    link.cut("fin");
    await chat.send({ content: "back" });
    expect(await next(chat)).toMatchObject({ reply: "Received: back" });
    await using other = createServer({ routes: () => {} });
    expect((await failureOf(other.listen({ path }))).code).toBe(Code.FailedPrecondition);
    chat.closeSend();
    await all(chat);
    await closed;
    expect(await other.listen({ path })).toMatchObject({ path });
  } finally {
    await server.close({ graceMs: 0 });
    await rm(folder, { recursive: true, force: true });
  }
});

/** A world with one session open, and the first attachment of another on its way when the server begins to close. */
async function crossing(baseUrl: (world: SessionWorld) => string[]) {
  const world = await sessionWorld({ linked: true });
  const transport = createTransport({ baseUrl: baseUrl(world) });
  const greeter = createClient(Greeter, transport);
  const first = await runningChat({ greeter });
  world.link.stall("up");
  const crossing = greeter.chat();
  await crossing.send({ content: "one" });
  await crossing.send({ content: "two" });
  const closed = world.server.close({ graceMs: 60_000 });
  world.link.resume("up");
  return {
    world,
    crossing,
    async [Symbol.asyncDispose]() {
      first.closeSend();
      await all(first);
      await closed;
      await transport.close();
      await world[Symbol.asyncDispose]();
    },
  };
}

test("a session whose first attachment crosses the GOAWAY begins at the next address, with all that was sent", async () => {
  await using other = await sessionWorld();
  await using held = await crossing(({ link }) => [link.url, other.url]);
  const { crossing: chat, world } = held;
  expect(await next(chat)).toMatchObject({ reply: "one" });
  expect(await next(chat)).toMatchObject({ reply: "two" });
  expect(chat.resumable).toBe(true);
  chat.closeSend();
  expect(await all(chat)).toEqual([]);
  expect(other.runs).toMatchObject([{ requests: ["one", "two"], end: "half-closed" }]);
  expect(world.runs).toHaveLength(1);
});

test("a session whose first attachment crosses the GOAWAY fails with UNAVAILABLE soon, before its grace ends, if the transport has no other address", async () => {
  await using held = await crossing(({ link }) => [link.url]);
  const began = performance.now();
  expect((await failureOf(held.crossing)).code).toBe(Code.Unavailable);
  expect(performance.now() - began).toBeLessThan(3_000);
  expect(held.world.runs).toHaveLength(1);
});
