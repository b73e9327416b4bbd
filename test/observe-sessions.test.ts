/** What observers are told of sessions, of calls that are made again or continue, and of calls that wait for their own program. */
import { constants, createServer as createHttp2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test, vi } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, ConnectError, createClient, createTransport } from "../src/index.ts";
import { until } from "./support/gate.ts";
import { idempotent } from "./support/idempotent.ts";
import { failureOf, next } from "./support/read.ts";
import { clientRecorder, recorders } from "./support/recorder.ts";
import { roomWorld } from "./support/toy-room.ts";
import { start } from "./support/world.ts";

afterEach(() => void vi.useRealTimers());

const sessionNames = (names: readonly string[]) =>
  names.filter((name) => name.startsWith("session") || name === "ended");

describe("a session", () => {
  test("is opened, detached and resumed at both ends, each with the call that it belongs to", async () => {
    const { server, client, setup } = recorders();
    await using world = await start({ linked: true, ...setup });
    const chat = world.greeter.chat();
    for (const content of ["one", "two", "three"]) {
      await chat.send({ content });
      await next(chat);
      if (content !== "three") await world.link.cut();
    }
    chat.closeSend();
    expect(await next(chat)).toBeUndefined();
    await until("it has ended at the server", () => server.ends.length === 1);
    const twice = ["sessionDetached", "sessionResumed"];
    for (const recorder of [server, client]) {
      expect(sessionNames(recorder.names)).toEqual(["sessionOpened", ...twice, ...twice, "ended"]);
    }
    expect(server.of("sessionResumed")[1]?.call).toBe(server.of("callStarted")[0]);
    expect(client.of("sessionResumed")[1]?.call).toBe(client.of("callStarted")[0]);
    expect(server.end).toMatchObject({ error: undefined, resumes: 2 });
    expect(client.end).toMatchObject({ error: undefined, resumes: 2, attempts: 1 });
    expect([client.end.sent.messages, client.end.received.messages]).toEqual([3, 3]);
    expect([server.end.sent.messages, server.end.received.messages]).toEqual([3, 3]);
  });

  test("without a connection is counted as detached by the stats of both ends", async () => {
    await using world = await start({ linked: true });
    const chat = world.greeter.chat();
    await chat.send({ content: "one" });
    await next(chat);
    expect(world.server.stats().sessions).toEqual({ open: 1, detached: 0 });
    expect(world.transport.stats().sessions).toEqual({ open: 1, detached: 0 });
    expect(world.transport.stats()).toMatchObject({
      connections: 1,
      calls: { open: 1, started: 1 },
    });
    world.link.refuse();
    await world.link.cut();
    await until("both know", () => {
      const { server, transport } = world;
      return server.stats().sessions.detached + transport.stats().sessions.detached === 2;
    });
    expect(world.server.stats().sessions).toEqual({ open: 1, detached: 1 });
    world.link.accept();
    await chat.send({ content: "two" });
    await next(chat);
    expect(world.server.stats().sessions).toEqual({ open: 1, detached: 0 });
    expect(world.server.stats().sessionBytes).toBeGreaterThan(0);
    chat.cancel();
    await until("it has ended", () => world.server.stats().sessions.open === 0);
    expect(world.transport.stats().sessions).toEqual({ open: 0, detached: 0 });
    expect(world.transport.stats().calls).toMatchObject({ open: 0, failed: { CANCELED: 1 } });
    expect(world.server.stats().calls).toMatchObject({ open: 0, failed: { CANCELED: 1 } });
  });

  test("that is lost says why at both ends, and in the server's log once a minute", async () => {
    const { server, client, setup } = recorders();
    const warnings: string[] = [];
    const logger = { error() {}, warn: (line: string) => void warnings.push(line) };
    await using world = await start({
      linked: true,
      server: { ...setup.server, logger, sessions: { graceMs: 100 } },
      transport: setup.transport,
    });
    const chats = [world.greeter.chat(), world.greeter.chat()];
    for (const chat of chats) {
      await chat.send({ content: "one" });
      await next(chat);
    }
    world.link.refuse();
    await world.link.cut();
    for (const chat of chats) await failureOf(chat);
    await until("both have ended at the server", () => server.ends.length === 2);
    expect(client.of("sessionLost")).toMatchObject([
      { call: client.of("callStarted")[0], reason: "UNREACHABLE", error: { code: Code.Aborted } },
      { call: client.of("callStarted")[1], reason: "UNREACHABLE" },
    ]);
    expect(server.of("sessionLost")).toMatchObject([{ reason: "EXPIRED" }, { reason: "EXPIRED" }]);
    expect(server.of("sessionLost")[0]?.call).toBe(server.ends[0]?.call);
    expect(server.ends[0]?.end.error?.code).toBe(Code.Aborted);
    expect(sessionNames(server.names).at(-1)).toBe("ended");
    expect(warnings).toEqual([
      expect.stringMatching(
        /^a call of \/example\.Greeter\/Chat: the session was lost: it was without a connection for longer than the server's grace/,
      ),
    ]);
    world.link.accept();
  });

  test("that its client cancels is not lost", async () => {
    const { server, client, setup } = recorders();
    await using world = await start(setup);
    const chat = world.greeter.chat();
    await chat.send({ content: "one" });
    await next(chat);
    chat.cancel();
    await until("it has ended at the server", () => server.ends.length === 1);
    expect([...server.of("sessionLost"), ...client.of("sessionLost")]).toEqual([]);
  });
});

describe("a call that is made again", () => {
  test("because its method is idempotent is one call with several attempts, and each is told", async () => {
    const { server, client, setup } = recorders();
    const { method, service } = idempotent();
    let failures = 2;
    await using world = await start({
      ...setup,
      server: {
        ...setup.server,
        routes: (router) => {
          router.rpc(method, () => {
            if (failures-- === 0) return {};
            const pushback = { "grpc-retry-pushback-ms": "7" };
            throw new ConnectError("not now", Code.Unavailable, pushback);
          });
        },
      },
    });
    await world.client(service).sayHello({});
    const [call] = client.of("callStarted");
    expect(client.of("retrying")).toMatchObject([
      { call, error: { code: Code.Unavailable }, waitMs: 7 },
      { call, waitMs: 7 },
    ]);
    expect(client.end).toMatchObject({ error: undefined, attempts: 3 });
    expect(client.end.sent.messages).toBe(3);
    await until("all have ended at the server", () => server.ends.length === 3);
    expect(world.transport.stats().calls).toMatchObject({ started: 1, succeeded: 1, failed: {} });
  });

  test("because the server has refused its stream is told, and waits for nothing", async () => {
    const client = clientRecorder();
    let refusals = 1;
    const server = createHttp2Server();
    server.on("stream", (stream) => {
      stream.on("error", () => {});
      if (refusals-- > 0) stream.close(constants.NGHTTP2_REFUSED_STREAM);
      else {
        stream.respond(
          { ":status": 200, "content-type": "application/grpc", "grpc-status": "5" },
          { endStream: true },
        );
      }
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    const { port } = server.address() as AddressInfo;
    {
      await using transport = createTransport({
        baseUrl: `http://127.0.0.1:${port}`,
        observe: client.observer,
      });
      await failureOf(createClient(Greeter, transport).sayHello({}));
    }
    await new Promise((closed) => server.close(closed));
    expect(client.of("retrying")).toMatchObject([{ waitMs: 0 }]);
    expect(client.end).toMatchObject({ error: { code: Code.NotFound }, attempts: 2 });
  });

  test("from its cursor is one call, which is resumed", async () => {
    const client = clientRecorder();
    await using world = await roomWorld({ observe: client.observer });
    const call = await world.watching();
    world.room.post(1);
    await next(call);
    world.room.end(new ConnectError("moving", Code.Unavailable));
    world.room.post(1);
    expect(await next(call)).toMatchObject({ event: { case: "opened" } });
    expect(await next(call)).toMatchObject({ cursor: "2" });
    expect(client.of("callStarted")).toHaveLength(1);
    expect(client.of("retrying")).toMatchObject([{ error: { code: Code.Unavailable } }]);
    expect(client.ends).toEqual([]);
    call.cancel();
    expect(client.end).toMatchObject({
      ...{ error: { code: Code.Canceled }, attempts: 2, resumes: 1 },
      ...{ sent: { messages: 2 }, received: { messages: 4 } },
    });
    await until("it has ended at the server", () => world.room.open === 0);
  });
});

test("a call that waits for its own program is told as stalled, once a transport", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  const client = clientRecorder();
  await using world = await start({
    greeter: {
      async *chat(requests) {
        for await (const _ of requests);
        yield { reply: "all" };
      },
    },
    transport: { observe: client.observer, logger: { warn() {} } },
  });
  const chat = world.greeter.chat();
  await chat.send({ content: "1" });
  const reply = next(chat);
  await until("it is open", () => chat.state === "open");
  vi.advanceTimersByTime(60_000);
  expect(client.of("stalled")).toEqual([
    { method: "example.Greeter.Chat", waitsFor: "closeSend", forMs: 10_000 },
  ]);
  chat.closeSend();
  expect(await reply).toMatchObject({ reply: "all" });
  expect(await next(chat)).toBeUndefined();
});
