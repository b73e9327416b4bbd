/** The server of hawser/testing: kill() and restart(). */
import { once } from "node:events";
import { createServer as createTcpServer } from "node:net";
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import {
  Code,
  createClient,
  createTransport,
  readSessionLost,
  SessionLostReason,
} from "../src/index.ts";
import type { HandlerContext } from "../src/server.ts";
import { startWorld } from "../src/testing.ts";
import { chatting, counting, countingWorld, dial, elapsedMs } from "./support/counting-world.ts";
import { aborted, gate, settles, stillAt, until } from "./support/gate.ts";
import { failureOf, next } from "./support/read.ts";
import { leftSince, resources } from "./support/world.ts";

describe("server.kill()", () => {
  test("server.kill() resets every connection without GOAWAY, even during a handshake", async () => {
    await using it = await countingWorld();
    const silent = dial(it.server);
    const greeted = dial(it.server);
    greeted.socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    await until("one has the server's SETTINGS", () => greeted.bytes > 0);
    const bytes = await stillAt(() => greeted.bytes, 50);
    await it.server.kill();
    await until("both see it", () => silent.error !== "" && greeted.error !== "");
    expect([silent.error, greeted.error]).toEqual(["ECONNRESET", "ECONNRESET"]);
    expect(greeted.bytes).toBe(bytes);
  });

  test("server.kill() aborts handlers; plain calls fail, those with a session wait, new ones are refused", async () => {
    await using it = await countingWorld();
    const plain = await chatting(it, false);
    const lasting = await chatting(it);
    expect(it.server.openCalls).toBe(2);
    await it.server.kill();
    expect(it.server.openCalls).toBe(0);
    for (const { signal } of it.contexts) expect(signal.aborted).toBe(true);
    expect((await failureOf(plain)).code).toBe(Code.Unavailable);
    await until("it looks for the server", () => lasting.state === "resuming");
    expect((await failureOf(it.greeter.sayHello({}))).code).toBe(Code.Unavailable);
    lasting.cancel();
  });

  test("server.kill() resolves immediately, even if handlers ignore their signals or sessions have no connection", async () => {
    const finish = gate();
    const before = resources();
    {
      await using world = await startWorld((router) =>
        router.service(Greeter, {
          async *chat() {
            yield { reply: "here" };
            await finish.opened;
          },
        }),
      );
      const chat = world.client(Greeter).chat();
      expect(await next(chat)).toMatchObject({ reply: "here" });
      world.link.refuse();
      world.link.cut();
      await until("the session has no connection", () => world.link.open === 0);
      expect(await elapsedMs(world.server.kill())).toBeLessThan(500);
      chat.cancel();
    }
    finish.open();
    await settles(() => leftSince(before).length === 0);
    expect(leftSince(before)).toEqual([]);
  });

  test("server.kill() ends a drain that is under way", async () => {
    await using it = await countingWorld();
    const chat = await chatting(it, false);
    const closed = it.server.close({ graceMs: 60_000 });
    await it.server.kill();
    await closed;
    expect((await failureOf(chat)).code).toBe(Code.Unavailable);
  });

  test("server.kill() does nothing if the server is already killed or closed", async () => {
    await using it = await countingWorld();
    await Promise.all([it.server.kill(), it.server.kill()]);
    await it.server.close();
    await it.server.kill();
  });

  test.each([
    [
      "HTTP/1.1",
      "POST /example.Greeter/SayHello HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
    ],
  ])("server.kill() aborts the handler of a call over %s", async (_name, request) => {
    const running = gate<HandlerContext>();
    await using world = await startWorld((router) =>
      router.service(Greeter, {
        async sayHello(_request, context) {
          running.open(context);
          await aborted(context.signal);
          throw context.signal.reason;
        },
      }),
    );
    const client = dial(world.server);
    client.socket.write(request);
    const { signal } = await running.opened;
    await world.server.kill();
    expect(signal.aborted).toBe(true);
    await until("the client sees it", () => client.error === "ECONNRESET");
    expect(client.bytes).toBe(0);
  });
});

describe("server.restart()", () => {
  test("server.restart() serves at the same address, without the sessions from before", async () => {
    await using it = await countingWorld();
    const { url } = it.server;
    const chat = await chatting(it);
    await it.server.kill();
    await it.server.restart();
    const lost = readSessionLost(await failureOf(chat));
    expect(lost?.reason).toBe(SessionLostReason.SERVER_RESTARTED);
    const again = await chatting(it);
    expect(it.contexts).toHaveLength(2);
    expect(it.server.url).toBe(url);
    await using direct = createTransport({ baseUrl: url });
    const greeter = createClient(Greeter, direct);
    expect(await greeter.sayHello({ content: "hi" })).toMatchObject({ reply: "hi" });
    again.cancel();
  });

  test("server.restart() kills a server that runs, and waits for one that drains", async () => {
    await using it = await countingWorld();
    const first = await chatting(it, false);
    await it.server.restart();
    expect((await failureOf(first)).code).toBe(Code.Unavailable);
    const second = await chatting(it, false);
    const closed = it.server.close({ graceMs: 60_000 });
    await it.server.restart();
    await closed;
    expect((await failureOf(second)).code).toBe(Code.Unavailable);
    expect(await it.greeter.sayHello({ content: "hi" })).toMatchObject({ reply: "hi" });
  });

  test("server.restart() runs routes again, so that their state is new, as in a new process", async () => {
    let processes = 0;
    await using world = await startWorld((router) => {
      const reply = `process ${++processes}`;
      router.service(Greeter, { sayHello: () => ({ reply }) });
    });
    const greeter = world.client(Greeter);
    expect(await greeter.sayHello({})).toMatchObject({ reply: "process 1" });
    await world.server.restart();
    expect(await greeter.sayHello({})).toMatchObject({ reply: "process 2" });
  });

  test("server.restart() called twice at the same time restarts once, and a kill() meanwhile follows the restart", async () => {
    await using it = await countingWorld();
    const both = Promise.all([it.server.restart(), it.server.restart()]);
    const killed = it.server.kill();
    await both;
    await killed;
    expect((await failureOf(it.greeter.sayHello({}))).code).toBe(Code.Unavailable);
    await it.server.restart();
    expect(await it.greeter.sayHello({ content: "hi" })).toMatchObject({ reply: "hi" });
  });

  test("server.restart() fails if the port is taken, and may be called again afterwards", async () => {
    await using it = await countingWorld();
    await it.server.kill();
    const other = createTcpServer().listen(Number(new URL(it.server.url).port), "127.0.0.1");
    await once(other, "listening");
    const error = await failureOf(it.server.restart());
    expect(error.code).toBe(Code.FailedPrecondition);
    expect(error.message).toMatch(/127\.0\.0\.1:\d+ is in use \(EADDRINUSE\)/);
    other.close();
    await once(other, "close");
    await it.server.restart();
    expect(await it.greeter.sayHello({ content: "hi" })).toMatchObject({ reply: "hi" });
  });

  test("fails while its world is disposed and afterwards, and starts no server", async () => {
    const before = resources();
    const world = await startWorld(counting().routes);
    const disposed = world[Symbol.asyncDispose]();
    const errors = [await failureOf(world.server.restart())];
    await disposed;
    errors.push(await failureOf(world.server.restart()));
    for (const error of errors) {
      expect(error.code).toBe(Code.FailedPrecondition);
      expect(error.rawMessage).toBe(
        "server.restart: the world was disposed: start another with startWorld()",
      );
    }
    await settles(() => leftSince(before).length === 0);
    expect(leftSince(before)).toEqual([]);
  });
});
