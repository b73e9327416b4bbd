import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import {
  type CallState,
  Code,
  ConnectError,
  createClient,
  createTransport,
  readSessionLost,
  SessionLostReason,
} from "../src/index.ts";
import { run, runText } from "./support/child.ts";
import { aborted, gate, stillAt, until } from "./support/gate.ts";
import { failureOf, next } from "./support/read.ts";
import { newId } from "./support/session-peer.ts";
import { lossOf, type Run, type SessionWorld, sessionWorld } from "./support/session-world.ts";

// How sessions end that do not end well, and what each side gets to know.

/** A chat that has had `count` exchanges, all of them acknowledged by both sides. */
async function settledChat({ greeter, link }: SessionWorld, count: number) {
  const chat = greeter.chat();
  for (let n = 0; n < count; n++) {
    await chat.send({ content: `${n}` });
    await next(chat);
  }
  await stillAt(() => link.down.delivered + link.up.delivered, 100);
  return chat;
}

test("a session at another server process in the place of the first is lost with SERVER_RESTARTED, and the count that had arrived", async () => {
  await using world = await sessionWorld({ linked: true, sessions: { graceMs: 300 } });
  await using other = await sessionWorld();
  const chat = await settledChat(world, 3);
  const { port } = new URL(other.url);
  world.link.target = { host: "127.0.0.1", port: Number(port) };
  world.link.stall();
  world.link.cut();
  await chat.send({ content: "in between" });
  world.link.resume();
  const lost = await lossOf(chat);
  expect(lost).toMatchObject({ reason: SessionLostReason.SERVER_RESTARTED, arrived: 3n });
  expect(lost.error.code).toBe(Code.Aborted);
  // The process that has the session is alive: the error must not say that it has ended, but what to do.
  expect(lost.error.message).toMatch(/another server process answered.*restarted, or a balancer/);
  expect(lost.error.message).toContain("hash on the header hawser-session");
  expect(lost.error.message).toContain("(3 messages are known to have arrived)");
  expect(other.runs).toEqual([]);
  await expect(chat.send({ content: "more" })).rejects.toBe(lost.error);
  expect(chat.state).toBe("closed");
  // A new call is served there.
  const again = world.greeter.chat();
  await again.send({ content: "again" });
  expect(await next(again)).toMatchObject({ reply: "again" });
  again.cancel();
  await aborted(world.runs[0]?.context.signal as AbortSignal);
});

test("a client whose server is killed and started again knows of the loss with its first connection", {
  timeout: 30_000,
}, async () => {
  await using first = run("greeter-server", "0");
  const url = await first.line();
  await using transport = createTransport({ baseUrl: url });
  const chat = createClient(Greeter, transport).chat();
  await chat.send({ content: "one" });
  await next(chat);
  first.kill("SIGKILL");
  await first.exit;
  await using second = run("greeter-server", new URL(url).port);
  await second.line();
  const began = performance.now();
  expect(await lossOf(chat)).toMatchObject({ reason: SessionLostReason.SERVER_RESTARTED });
  // The pause between attempts to connect, which may have failed once or twice by now.
  expect(performance.now() - began).toBeLessThan(3_500);
});

test("a session whose server stays away is lost with UNREACHABLE after the grace", async () => {
  await using world = await sessionWorld({ linked: true, sessions: { graceMs: 400 } });
  const chat = await settledChat(world, 2);
  world.link.refuse();
  const began = performance.now();
  world.link.cut();
  const lost = await lossOf(chat);
  expect(lost).toMatchObject({ reason: SessionLostReason.UNREACHABLE, arrived: 2n });
  expect(lost.error.code).toBe(Code.Aborted);
  expect(performance.now() - began).toBeGreaterThan(390);
  expect(performance.now() - began).toBeLessThan(900);
  await until("the handler has ended too", () => world.runs[0]?.end !== "running");
  const expired = { reason: SessionLostReason.EXPIRED, arrived: 2n };
  expect(readSessionLost(world.runs[0]?.end)).toMatchObject(expired);
  expect(readSessionLost(world.runs[0]?.context.signal.reason)).toMatchObject(expired);
});

test("the grace counts anew with each loss", async () => {
  await using world = await sessionWorld({ linked: true, sessions: { graceMs: 1_000 } });
  const chat = await settledChat(world, 1);
  for (let n = 0; n < 4; n++) {
    world.link.stall();
    world.link.cut();
    // Four of these together are longer than the grace.
    await new Promise((resolve) => setTimeout(resolve, 350));
    world.link.resume();
    await chat.send({ content: "on" });
    expect(await next(chat)).toMatchObject({ reply: "on" });
  }
  chat.closeSend();
  expect(await next(chat)).toBeUndefined();
});

test.each(["stalled", "refused once", "refused twice"])(
  "a cancel without a connection reaches the server on the next connection: %s",
  async (how) => {
    await using world = await sessionWorld({ linked: true });
    const { link } = world;
    const chat = await settledChat(world, 1);
    const refused = (times: number) => {
      const before = link.accepted;
      return until("it was refused", () => link.accepted >= before + times);
    };
    if (how === "stalled") link.stall();
    else link.refuse();
    link.cut();
    await until("it has noticed", () => chat.state === "resuming");
    if (how !== "stalled") await refused(1);
    chat.cancel();
    expect(await failureOf(chat)).toMatchObject({ code: Code.Canceled });
    const [{ context }] = world.runs as [Run];
    expect(context.signal.aborted).toBe(false);
    if (how === "refused twice") await refused(1);
    link.accept();
    link.resume();
    await until("the handler is told", () => context.signal.aborted);
    expect(context.signal.reason).toMatchObject({ code: Code.Canceled });
    await until("the handler has ended", () => world.runs[0]?.end !== "running");
    expect(world.runs[0]?.end).toMatchObject({ code: Code.Canceled });
  },
);

test("a cancel while connected reaches the server immediately", async () => {
  await using world = await sessionWorld({ linked: true });
  const chat = await settledChat(world, 1);
  const began = performance.now();
  chat.cancel();
  await until("the handler has ended", () => world.runs[0]?.end !== "running");
  expect(world.runs[0]?.end).toMatchObject({ code: Code.Canceled });
  expect(performance.now() - began).toBeLessThan(500);
  expect(world.asked.at(-1)).toMatchObject({ cancel: true, attach: 2 });
});

test("a cancel that overtakes the first attachment keeps it from starting a handler", async () => {
  await using world = await sessionWorld();
  const peer = await world.peer();
  const id = newId();
  const cancel = peer.attach(id, {
    attach: 2,
    opened: true,
    headers: { "hawser-cancel": "1" },
    halfClosed: true,
  });
  expect(await cancel.ended()).toMatchObject({ status: Code.Canceled });
  const { status, lost } = await peer.attach(id).ended();
  expect({ status, reason: lost?.reason }).toEqual({
    status: Code.Aborted,
    reason: SessionLostReason.UNKNOWN,
  });
  expect(world.runs).toEqual([]);
});

test("a late attachment of a session that ended starts no handler", async () => {
  await using world = await sessionWorld({
    greeter: {
      async *chat() {
        yield { reply: "only" };
      },
    },
  });
  const peer = await world.peer();
  const id = newId();
  // The second attachment came first, as no answer had come to the first.
  const second = peer.attach(id, { attach: 2, opened: true });
  expect(await second.ended()).toMatchObject({ status: 0, sent: "1" });
  second.halfClose();
  await peer.peer.ping();
  const { lost } = await peer.attach(id).ended();
  expect(lost).toMatchObject({ reason: SessionLostReason.UNKNOWN });
});

test.each(["resuming", "open"] as const)(
  "where a listener cancels the chat when its state is %s again, the other listeners hear that state and then closed",
  async (state) => {
    await using world = await sessionWorld({ linked: true });
    const chat = await settledChat(world, 1);
    const heard: CallState[] = [];
    chat.onState((now) => {
      if (now === state) chat.cancel();
    });
    chat.onState((now) => heard.push(now));
    await world.link.cut();
    expect(await failureOf(chat)).toMatchObject({ code: Code.Canceled });
    await aborted(world.runs[0]?.context.signal as AbortSignal);
    const path = ["resuming", "open"] as const;
    expect(heard).toEqual([...path.slice(0, path.indexOf(state) + 1), "closed"]);
  },
);

test("closing the transport ends a chat that resumes with CANCELED, at both ends", async () => {
  await using world = await sessionWorld({ linked: true, sessions: { graceMs: 500 } });
  const chat = await settledChat(world, 1);
  world.link.stall();
  world.link.cut();
  await until("it has noticed", () => chat.state === "resuming");
  const sending = chat.send({ content: "more" });
  await world.transport.close();
  expect(await failureOf(chat)).toMatchObject({ code: Code.Canceled });
  expect(chat.state).toBe("closed");
  await sending.catch(() => {});
  await expect(chat.send({ content: "late" })).rejects.toThrow(ConnectError);
  world.link.resume();
  await aborted(world.runs[0]?.context.signal as AbortSignal);
});

test("closing the transport ends the handler of an open chat within the grace", async () => {
  await using world = await sessionWorld({ linked: true, sessions: { graceMs: 300 } });
  const chat = await settledChat(world, 1);
  await world.transport.close();
  expect(await failureOf(chat)).toMatchObject({ code: Code.Canceled });
  await aborted(world.runs[0]?.context.signal as AbortSignal);
});

test("a server that closes ends detached sessions with its grace", async () => {
  await using world = await sessionWorld({ linked: true, sessions: { graceMs: 700 } });
  const chat = await settledChat(world, 1);
  world.link.refuse();
  world.link.cut();
  await until("it has noticed", () => chat.state === "resuming");
  expect(world.server.openCalls).toBe(1);
  const began = performance.now();
  await world.server.close({ graceMs: 200 });
  expect(performance.now() - began).toBeGreaterThan(190);
  expect(performance.now() - began).toBeLessThan(1_000);
  expect(world.server.openCalls).toBe(0);
  expect(world.runs[0]?.context.signal.reason).toMatchObject({ code: Code.Unavailable });
  expect(world.runs[0]?.end).toMatchObject({ code: Code.Unavailable });
  expect(await lossOf(chat)).toMatchObject({ reason: SessionLostReason.UNREACHABLE });
});

test("a server that closes ends attached sessions with UNAVAILABLE, after the messages that were sent", async () => {
  await using world = await sessionWorld({ linked: true });
  const chat = await settledChat(world, 1);
  await chat.send({ content: "last" });
  expect(await next(chat)).toMatchObject({ reply: "last" });
  await world.server.close({ graceMs: 20 });
  expect(await failureOf(chat)).toMatchObject({
    code: Code.Unavailable,
    rawMessage: "the server is shutting down",
  });
});

test("a server that closes waits for a session that ends within its grace", async () => {
  await using world = await sessionWorld({ linked: true });
  const chat = await settledChat(world, 1);
  const closed = world.server.close({ graceMs: 5_000 });
  await chat.send({ content: "last" });
  expect(await next(chat)).toMatchObject({ reply: "last" });
  chat.closeSend();
  expect(await next(chat)).toBeUndefined();
  await closed;
  expect(world.runs[0]?.end).toBe("half-closed");
});

test("a SessionLost of a call that the handler made does not count as the loss of its caller's session", async () => {
  const held = gate();
  await using world = await sessionWorld({
    linked: true,
    greeter: {
      async *chat() {
        yield { reply: "one" };
        await held.opened;
        yield { reply: "two" };
        // As a proxy does that passes on what it got.
        const peer = await world.peer();
        const { lost } = await peer.attach(newId(), { attach: 2 }).ended();
        const error = new ConnectError("upstream is lost", Code.Aborted);
        const { SessionLostSchema } = await import("../gen/hawser/v1/session_pb.js");
        if (lost !== undefined) error.details.push({ desc: SessionLostSchema, value: lost });
        throw error;
      },
    },
  });
  const chat = world.greeter.chat();
  expect(await next(chat)).toMatchObject({ reply: "one" });
  // The replies are lost on their way, and the client has to come again for them.
  world.link.stall("down");
  held.open();
  await until("the call has ended on the server", () => world.asked.length > 1);
  world.link.cut();
  world.link.resume();
  expect(await next(chat)).toMatchObject({ reply: "two" });
  expect(await failureOf(chat)).toMatchObject({
    code: Code.Aborted,
    rawMessage: "upstream is lost",
  });
});

test("a program whose only work is a call that resumes stays until the call ends", async () => {
  await using world = await sessionWorld({ linked: true, sessions: { graceMs: 600 } });
  await using child = runText(`
    const transport = createTransport({ baseUrl: "${world.link.url}" });
    const chat = createClient(Greeter, transport).chat();
    await chat.send({ content: "one" });
    try {
      for await (const { reply } of chat) console.log(reply);
    } catch (error) {
      console.log(error.rawMessage);
    }
  `);
  expect(await child.line()).toBe("one");
  world.link.refuse();
  world.link.cut();
  expect(await child.line()).toMatch(/^the session was lost: .* could not be reached/);
  expect(await child.exit).toMatchObject({ code: 0 });
});

test("a program that cancels its only call in an onState listener, when the call resumes, ends without the grace", async () => {
  await using world = await sessionWorld({ linked: true });
  await using child = runText(`
    const transport = createTransport({ baseUrl: "${world.link.url}" });
    const chat = createClient(Greeter, transport).chat();
    chat.onState((state) => {
      if (state === "resuming") chat.cancel();
    });
    await chat.send({ content: "one" });
    try {
      for await (const { reply } of chat) console.log(reply);
    } catch (error) {
      console.log(error.rawMessage);
    }
  `);
  expect(await child.line()).toBe("one");
  world.link.cut();
  expect(await child.line()).toBe("the call was cancelled");
  // The grace of the server is 30 s.
  expect(await child.exit).toMatchObject({ code: 0 });
});
