import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { mkdtemp, rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, ConnectError, createClient, createTransport } from "../src/index.ts";
import { createServer } from "../src/server.ts";
import { census } from "./support/census.ts";
import { run } from "./support/child.ts";
import { aborted, gate, until } from "./support/gate.ts";
import { idempotent } from "./support/idempotent.ts";
import { all, failureOf, next } from "./support/read.ts";
import { roomWorld } from "./support/toy-room.ts";
import { message, request, watchedServer } from "./support/watched-server.ts";
import { data } from "./support/wire.ts";
import { start, type World } from "./support/world.ts";

/** The server asks for a pause that is longer than a test may take. */
const PUSHBACK = { "grpc-retry-pushback-ms": "60000" };

/** A chat that has had one exchange. */
async function runningChat({ greeter }: World) {
  const chat = greeter.chat();
  await chat.send({ content: "before" });
  expect(await next(chat)).toMatchObject({ reply: "Received: before" });
  return chat;
}

/** Resolves with the next socket that a server of this process accepts. */
function serverSocket(): Promise<{ socket: Socket }> {
  return new Promise((resolve) => {
    const note = (message: unknown) => {
      unsubscribe("net.server.socket", note);
      resolve(message as { socket: Socket });
    };
    subscribe("net.server.socket", note);
  });
}

async function elapsedMs(what: Promise<unknown>): Promise<number> {
  const began = performance.now();
  await what;
  return performance.now() - began;
}

describe("server.close()", () => {
  test("server.close() lets a running chat finish, and refuses new calls until then", async () => {
    await using world = await start();
    const chat = await runningChat(world);
    const closed = world.server.close();

    // A new call on the old connection, and one on a new connection.
    expect((await failureOf(world.greeter.sayHello({}))).code).toBe(Code.Unavailable);
    await using other = createTransport({ baseUrl: world.url });
    expect((await failureOf(createClient(Greeter, other).sayHello({}))).code).toBe(
      Code.Unavailable,
    );

    for (let n = 0; n < 10; n++) {
      await chat.send({ content: `${n}` });
      expect(await next(chat)).toMatchObject({ reply: `Received: ${n}` });
    }
    chat.closeSend();
    expect(await all(chat)).toEqual([]);
    await closed;
    await until("the connection is closed", () => census.clientSockets === 0);
  });

  test("server.close() ends calls that still run after graceMs: UNAVAILABLE at the client, an aborted signal at the server", async () => {
    const signalled = gate();
    await using world = await start({
      greeter: {
        async *chat(requests, { signal }) {
          signal.addEventListener("abort", () => signalled.open(), { once: true });
          for await (const { content } of requests) yield { reply: `Received: ${content}` };
        },
      },
    });
    const chat = await runningChat(world);
    const failed = failureOf(chat);
    const closed = world.server.close({ graceMs: 200 });
    const ms = await elapsedMs(failed);
    expect(ms).toBeGreaterThan(150);
    expect(ms).toBeLessThan(400);
    expect((await failed).code).toBe(Code.Unavailable);
    await signalled.opened;
    expect(await elapsedMs(closed)).toBeLessThan(500);
    expect((await failureOf(chat.send({}))).code).toBe(Code.Unavailable);
    expect(world.logged).toEqual([]);
  });

  test("server.close() with graceMs 0 ends running calls immediately", async () => {
    await using world = await start();
    const chat = await runningChat(world);
    const push = world.greeter.subscribe({});
    await next(push);
    const failed = [failureOf(chat), failureOf(push)];
    expect(await elapsedMs(world.server.close({ graceMs: 0 }))).toBeLessThan(500);
    for (const error of await Promise.all(failed)) expect(error.code).toBe(Code.Unavailable);
  });

  test("server.close() does not wait for a handler that ignores its signal", async () => {
    const never = gate();
    await using world = await start({
      greeter: {
        async *chat() {
          yield {};
          await never.opened;
        },
      },
    });
    const chat = world.greeter.chat();
    await next(chat);
    const failed = failureOf(chat);
    expect(await elapsedMs(world.server.close({ graceMs: 50 }))).toBeLessThan(1_000);
    expect((await failed).code).toBe(Code.Unavailable);
    never.open();
  });

  test("server.close() ends a call whose client does not read with UNAVAILABLE too", async () => {
    const finished = gate();
    await using world = await start({
      greeter: {
        async *chat(_requests, { signal }) {
          try {
            for (;;) yield { reply: "x".repeat(60_000) };
          } finally {
            await aborted(signal);
            finished.open();
          }
        },
      },
    });
    const chat = world.greeter.chat();
    await next(chat);
    expect(await elapsedMs(world.server.close({ graceMs: 50 }))).toBeLessThan(2_000);
    await finished.opened;
    expect((await failureOf(chat)).code).toBe(Code.Unavailable);
  });

  test("server.close() gives a client that reads slowly what was written for its calls that have ended", async () => {
    await using world = await watchedServer();
    const accepted = serverSocket();
    const peer = await world.dial();
    const { socket } = await accepted;
    // The client reads nothing until its socket is full, and some of the responses wait in the server.
    peer.socket.pause();
    let calls = 0;
    while (socket.writableLength < 20_000 || world.server.openCalls > 0) {
      const id = 1 + 2 * calls++;
      peer.write(request(id, "SayHello"), data(id, message("x".repeat(16_000)), true));
      // The server must read and answer before the next look at its socket.
      await setTimeout(1);
    }
    const closed = world.server.close();
    // A close() that did not wait for the client would cut off the responses in this time.
    await setTimeout(20);
    peer.socket.resume();
    await closed;
    await peer.closed;
    const ended = Array.from({ length: calls }, (_, n) => peer.stream(1 + 2 * n).ended);
    expect(ended.filter((isEnded) => !isEnded)).toEqual([]);
  });

  test("server.close() resolves immediately if there are no calls, even with clients connected", async () => {
    await using world = await start();
    await world.greeter.sayHello({});
    expect(await elapsedMs(world.server.close())).toBeLessThan(300);
    await until("the connection is closed", () => census.clientSockets === 0);
  });

  test("server.close() may be called twice, and the shorter grace applies", async () => {
    await using world = await start();
    const failed = failureOf(await runningChat(world));
    const first = world.server.close({ graceMs: 60_000 });
    const second = world.server.close({ graceMs: 0 });
    expect(await elapsedMs(Promise.all([first, second]))).toBeLessThan(500);
    expect((await failed).code).toBe(Code.Unavailable);
    await world.server.close();
  });

  test("server.close() resolves before listen()", async () => {
    const server = createServer({ routes: () => {} });
    await server.close();
    await server.close();
  });

  test("`await using` calls server.close() with graceMs 0", async () => {
    let url = "";
    {
      await using server = createServer({ routes: () => {} });
      ({ url } = await server.listen({ port: 0 }));
    }
    await using transport = createTransport({ baseUrl: url });
    const error = await failureOf(createClient(Greeter, transport).sayHello({}));
    expect(error.code).toBe(Code.Unavailable);
  });

  test("a client makes its next calls at the server that takes the place of the closed one", async () => {
    await using world = await start();
    const { port } = new URL(world.url);
    await world.greeter.sayHello({});
    await world.server.close();
    await using next = await start({ listen: { port: Number(port) } });
    expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
    await world.transport.close();
    expect(next.server.openCalls).toBe(0);
  });

  test("every call ends, with OK or UNAVAILABLE, in 20 rounds of server.close() under load", async () => {
    for (let round = 0; round < 20; round++) {
      await using world = await start();
      let answers = 0;
      const callUntilRefused = async () => {
        for (;;) {
          expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
          answers++;
        }
      };
      const refusals = Array.from({ length: 10 }, () => failureOf(callUntilRefused()));
      await until("calls are under way", () => answers > round * 5);
      await world.server.close();
      for (const error of await Promise.all(refusals)) expect(error.code).toBe(Code.Unavailable);
    }
  });
});

describe("transport.close()", () => {
  test("transport.close() ends running calls with CANCELED, at both ends, and refuses new ones", async () => {
    const signalled = gate();
    await using world = await start({
      greeter: {
        async *chat(requests, { signal }) {
          signal.addEventListener("abort", () => signalled.open(), { once: true });
          for await (const { content } of requests) yield { reply: `Received: ${content}` };
        },
      },
    });
    const chat = await runningChat(world);
    const failed = failureOf(chat);
    await world.transport.close();
    expect((await failed).code).toBe(Code.Canceled);
    await signalled.opened;
    await until("the server noticed", () => world.server.openCalls === 0);
    const error = await failureOf(world.greeter.sayHello({}));
    expect(error.code).toBe(Code.Canceled);
    expect(error.message).toContain(new URL(world.url).host);
    await world.transport.close();
  });

  test("transport.close() does not wait for a server that does not answer", async () => {
    await using world = await start({ linked: true });
    const failed = failureOf(await runningChat(world));
    world.link.stall();
    expect(await elapsedMs(world.transport.close())).toBeLessThan(1_000);
    expect((await failed).code).toBe(Code.Canceled);
    world.link.resume();
    world.link.cut();
  });

  test("transport.close() ends calls that still wait for a connection", async () => {
    await using world = await start({ linked: true });
    world.link.stall();
    const failed = failureOf(world.greeter.sayHello({}));
    await until("the client connects", () => world.link.accepted === 1);
    expect(await elapsedMs(world.transport.close())).toBeLessThan(200);
    expect((await failed).code).toBe(Code.Canceled);
    world.link.cut();
  });

  test("transport.close() ends calls that wait for the next attempt", async () => {
    await using world = await start({ linked: true });
    world.link.refuse();
    await failureOf(world.greeter.sayHello({}));
    const failed = failureOf(world.greeter.sayHello({}));
    await world.transport.close();
    expect((await failed).code).toBe(Code.Canceled);
  });

  test("ends a unary call that waits until it is made again", async () => {
    const { method, service } = idempotent();
    let made = 0;
    await using world = await start({
      server: {
        routes: (router) => {
          router.rpc(method, () => {
            made++;
            throw new ConnectError("busy", Code.Unavailable, PUSHBACK);
          });
        },
      },
    });
    const failed = failureOf(world.client(service).sayHello({}));
    await until("the call waits", () => made === 1 && census.clientStreams === 0);
    await world.transport.close();
    expect(await failed).toMatchObject({
      code: Code.Canceled,
      rawMessage: expect.stringContaining("was closed"),
    });
    expect(made).toBe(1);
  });

  test("ends a push that waits until it continues by its cursor", async () => {
    await using world = await roomWorld();
    const call = await world.watching();
    const failed = failureOf(call);
    world.room.end(new ConnectError("busy", Code.Unavailable, PUSHBACK));
    await until("the call waits", () => call.state === "resuming");
    await world.transport.close();
    expect(await failed).toMatchObject({
      code: Code.Canceled,
      rawMessage: expect.stringContaining("was closed"),
    });
  });
});

describe("server.listen()", () => {
  test("server.listen() with port 0 takes a free port, and returns its number", async () => {
    await using world = await start();
    expect(world.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  });

  test("server.listen() on a port that is taken fails with the address and the remedy", async () => {
    await using world = await start();
    const { port } = new URL(world.url);
    await using other = createServer({ routes: () => {} });
    const error = await failureOf(other.listen({ port: Number(port) }));
    expect(error.code).toBe(Code.FailedPrecondition);
    expect(error.message).toMatch(new RegExp(`127\\.0\\.0\\.1:${port} .*choose another port`));
  });

  test("server.listen() called twice, or after close(), fails with FAILED_PRECONDITION", async () => {
    const server = createServer({ routes: () => {} });
    await server.listen({ port: 0 });
    expect((await failureOf(server.listen({ port: 0 }))).code).toBe(Code.FailedPrecondition);
    await server.close();
    expect((await failureOf(server.listen({ port: 0 }))).code).toBe(Code.FailedPrecondition);
  });

  test("server.listen() serves a Unix socket, takes it over from a server that died, and not from one that runs", async () => {
    const folder = await mkdtemp(join(tmpdir(), "hawser-"));
    const path = join(folder, "greeter.sock");
    try {
      {
        await using dying = run("greeter-server", path);
        expect(await dying.line()).toBe(`unix:${path}`);
      }
      await using world = await start({ listen: { path } });
      expect(world.url).toBe(`unix:${path}`);
      const chat = await runningChat(world);
      chat.closeSend();
      expect(await all(chat)).toEqual([]);

      await using other = createServer({ routes: () => {} });
      expect((await failureOf(other.listen({ path }))).code).toBe(Code.FailedPrecondition);
      expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
