import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { StreamTable } from "../src/http2/stream-table.ts";
import { Code, createClient, createTransport, type TransportOptions } from "../src/index.ts";
import { census } from "./support/census.ts";
import { run } from "./support/child.ts";
import { gate, stillAt, until } from "./support/gate.ts";
import { sessions } from "./support/mode.ts";
import { all, failureOf, next } from "./support/read.ts";
import { start } from "./support/world.ts";

/** A TCP server that does with its connections what the test wants. */
async function peer(
  onConnection: (socket: Socket) => void,
): Promise<AsyncDisposable & { port: number }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
    onConnection(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** A port on which nothing listens. */
async function unusedPort(): Promise<number> {
  await using server = await peer(() => {});
  return server.port;
}

function clientOf(port: number, options?: Partial<TransportOptions>) {
  const transport = createTransport({
    baseUrl: `http://127.0.0.1:${port}`,
    sessions,
    ...options,
  });
  return Object.assign(transport, { greeter: createClient(Greeter, transport) });
}

async function elapsedMs(what: Promise<unknown>): Promise<number> {
  const began = performance.now();
  await what;
  return performance.now() - began;
}

describe("a call to an address on which no server listens", () => {
  test("a call fails immediately before the server is up; when it is up, the same transport works", async () => {
    const port = await unusedPort();
    await using transport = clientOf(port);
    const failed = failureOf(transport.greeter.sayHello({}));
    expect(await elapsedMs(failed)).toBeLessThan(1_000);
    const error = await failed;
    expect(error.code).toBe(Code.Unavailable);
    expect(error.message).toContain(`127.0.0.1:${port}`);
    expect(error.message).toContain("ECONNREFUSED");

    await using world = await start({ listen: { port } });
    expect((await transport.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
    await transport.close();
    expect(world.server.openCalls).toBe(0);
  });

  test("every kind of call, and every promise of a call, fails with UNAVAILABLE that names the address", async () => {
    const port = await unusedPort();
    const unavailable = async (what: PromiseLike<unknown> | AsyncIterable<object>) => {
      const error = await failureOf(what);
      expect(error.code).toBe(Code.Unavailable);
      expect(error.message).toContain(`127.0.0.1:${port}`);
    };
    await using transport = clientOf(port);
    const { greeter } = transport;
    const chat = greeter.chat();
    const push = greeter.subscribe({});
    const sink = greeter.collect();
    await Promise.all([
      unavailable(chat),
      unavailable(chat.headers),
      unavailable(chat.trailers),
      unavailable(push),
      unavailable(push.headers),
      unavailable(sink.finish()),
      unavailable(greeter.sayHello({})),
    ]);
    await unavailable(chat.send({}));
    expect(chat.state).toBe("closed");
  });

  test("a call to a host name that does not resolve fails with UNAVAILABLE that names it", async () => {
    await using transport = createTransport({ baseUrl: "http://no-such-host.invalid:50051" });
    const error = await failureOf(
      createClient(Greeter, transport).sayHello({}, { timeoutMs: 8_000 }),
    );
    expect(error.code).toBe(Code.Unavailable);
    expect(error.message).toContain("no-such-host.invalid:50051");
  });

  test("a call to a Unix socket that does not exist fails with UNAVAILABLE that names it", async () => {
    await using transport = createTransport({ baseUrl: "unix:/no/such.sock" });
    const error = await failureOf(createClient(Greeter, transport).sayHello({}));
    expect(error.code).toBe(Code.Unavailable);
    expect(error.message).toContain("/no/such.sock");
  });
});

describe("a peer that is not a gRPC server", () => {
  test.each<[string, (socket: Socket) => void]>([
    ["stays silent", () => {}],
    ["reads and stays silent", (socket) => void socket.resume()],
    ["closes immediately", (socket) => void socket.end()],
    ["resets immediately", (socket) => void socket.resetAndDestroy()],
    [
      "speaks HTTP/1.1",
      (socket) => void socket.end("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n"),
    ],
    ["speaks SSH and stays", (socket) => void socket.write("SSH-2.0-OpenSSH_9.6\r\n")],
    ["sends noise", (socket) => void socket.write(Buffer.alloc(100_000, 0x5a))],
  ])(
    "a call to a peer that %s fails with UNAVAILABLE that names the address, within the connect timeout",
    async (_, behave) => {
      await using server = await peer(behave);
      await using transport = clientOf(server.port, { connectTimeoutMs: 300 });
      const chat = transport.greeter.chat();
      void chat.send({ content: "x" });
      const failed = failureOf(chat);
      expect(await elapsedMs(failed)).toBeLessThan(600);
      const error = await failed;
      expect(error.code).toBe(Code.Unavailable);
      expect(error.message).toContain(`127.0.0.1:${server.port}`);
    },
  );
});

// A call with a session continues; these calls have none.
describe("a server that is lost during a plain call", () => {
  const plain = { sessions: false };

  test("the loop throws UNAVAILABLE immediately when the server is killed (SIGKILL)", async () => {
    await using server = run("greeter-server");
    const { port } = new URL(await server.line());
    await using transport = clientOf(Number(port), plain);
    const chat = transport.greeter.chat();
    await chat.send({ content: "x" });
    expect(await next(chat)).toMatchObject({ reply: "Received: x" });
    const push = transport.greeter.subscribe({});
    await next(push);
    const sink = transport.greeter.collect();
    await sink.send({});

    const failed = [failureOf(chat), failureOf(push), failureOf(sink.finish())];
    server.kill();
    expect(await elapsedMs(Promise.all(failed))).toBeLessThan(500);
    for (const error of await Promise.all(failed)) {
      expect(error.code).toBe(Code.Unavailable);
      expect(error.message).toContain(`127.0.0.1:${port}`);
    }
    expect((await failureOf(chat.send({}))).code).toBe(Code.Unavailable);

    await using again = run("greeter-server", port);
    await again.line();
    expect((await transport.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
  });

  test.each(["fin", "rst"] as const)(
    "the loop throws UNAVAILABLE immediately when the connection is cut (%s), in each phase of a call",
    async (kind) => {
      await using world = await start({ linked: true, transport: plain });
      const { greeter, link } = world;
      const cut = async (...calls: (PromiseLike<unknown> | AsyncIterable<object>)[]) => {
        const failed = calls.map(failureOf);
        link.cut(kind);
        for (const error of await Promise.all(failed)) {
          expect(error.code).toBe(Code.Unavailable);
          expect(error.message).toContain(`127.0.0.1:${link.port}`);
        }
        await until("the server noticed", () => world.server.openCalls === 0);
      };
      const open = async () => {
        const chat = greeter.chat();
        await chat.send({ content: "x" });
        await next(chat);
        return chat;
      };
      await cut(await open());
      const halfClosed = await open();
      halfClosed.closeSend();
      link.stall("up");
      await cut(halfClosed);
      link.resume();
      await cut(await open(), await open(), await open());
    },
  );

  test("the loop throws UNAVAILABLE immediately when the connection is cut at any byte of a frame", async () => {
    await using world = await start({ linked: true, transport: plain });
    for (let bytes = 1; bytes < 60; bytes += 4) {
      const chat = world.greeter.chat();
      await chat.send({ content: "x" });
      await next(chat);
      const cut = world.link.cutAfter("down", bytes, bytes % 8 === 1 ? "fin" : "rst");
      const failed = failureOf(chat);
      for (let n = 0; n < 20; n++) void chat.send({ content: `Message ${n}` });
      await cut;
      expect((await failed).code).toBe(Code.Unavailable);
    }
    await until("the server noticed", () => world.server.openCalls === 0);
  });

  test("messages that arrived before the connection was lost are delivered before the loop throws", async () => {
    const enough = gate();
    await using world = await start({
      linked: true,
      transport: plain,
      greeter: {
        async *chat() {
          for (let n = 0; n < 10; n++) yield { reply: `${n}` };
          await enough.opened;
        },
      },
    });
    const chat = world.greeter.chat();
    expect(await next(chat)).toMatchObject({ reply: "0" });
    await chat.headers;
    await stillAt(() => world.link.down.delivered);
    world.link.cut("fin");
    await until("the client noticed", () => census.clientStreams === 0);
    for (let n = 1; n < 10; n++) expect(await next(chat)).toMatchObject({ reply: `${n}` });
    expect((await failureOf(chat)).code).toBe(Code.Unavailable);
    enough.open();
  });
});

describe("connections", () => {
  test("200 calls, at the same time and one after the other, share one connection", async () => {
    await using world = await start();
    const before = census.connections;
    await Promise.all(Array.from({ length: 100 }, () => world.greeter.sayHello({})));
    for (let n = 0; n < 100; n++) await world.greeter.sayHello({});
    expect(census.connections - before).toBe(1);
  });

  test("a transport connects at its first call, not before", async () => {
    await using world = await start();
    const before = census.connections;
    const other = createTransport({ baseUrl: world.url });
    createClient(Greeter, other);
    await other.close();
    expect(census.connections).toBe(before);
  });

  test("a transport connects again after a loss", async () => {
    await using world = await start({ linked: true });
    for (let n = 0; n < 5; n++) {
      expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
      world.link.cut(n % 2 ? "fin" : "rst");
      await until("the client noticed", () => census.http2Connections === 0);
    }
    expect(world.link.accepted).toBe(5);
  });

  test("25 calls at the same time open three connections if the server takes 10 on each", async () => {
    await using world = await start({ linked: true, server: { maxConcurrentStreams: 10 } });
    const chats = Array.from({ length: 25 }, () => world.greeter.chat());
    await Promise.all(
      chats.map(async (chat, n) => {
        await chat.send({ content: `${n}` });
        expect(await next(chat)).toMatchObject({ reply: `Received: ${n}` });
      }),
    );
    expect(world.link.accepted).toBe(3);
    for (const chat of chats) {
      chat.closeSend();
      expect(await all(chat)).toEqual([]);
    }
  });

  test("a slow link delivers everything, in order", async () => {
    await using world = await start({ linked: true });
    world.link.delay(20, "up");
    world.link.delay(20, "down");
    world.link.down.bytesPerSecond = 2_000_000;
    const chat = world.greeter.chat();
    const texts = Array.from({ length: 500 }, (_, n) => `${n} ${"=".repeat(n)}`);
    for (const content of texts) void chat.send({ content });
    chat.closeSend();
    expect((await all(chat)).map(({ reply }) => reply)).toEqual(
      texts.map((text) => `Received: ${text}`),
    );
  });

  test("a link that is stalled for a while loses nothing", async () => {
    await using world = await start({ linked: true });
    const chat = world.greeter.chat();
    await chat.send({ content: "first" });
    await next(chat);
    world.link.stall();
    for (let n = 0; n < 100; n++) void chat.send({ content: `${n}` });
    chat.closeSend();
    let arrived = 0;
    const reading = (async () => {
      for (; await next(chat); ) arrived++;
    })();
    expect(await stillAt(() => arrived)).toBe(0);
    world.link.resume();
    await reading;
    expect(arrived).toBe(100);
  });
});

test.each(["localhost:50051", "ftp://127.0.0.1", "http://", "unix:", ""])(
  "a baseUrl that is not valid, %j, fails immediately with INVALID_ARGUMENT and an example",
  (baseUrl) => {
    expect(() => createTransport({ baseUrl })).toThrow(
      expect.objectContaining({
        code: Code.InvalidArgument,
        message: expect.stringContaining("http://host:port"),
      }),
    );
  },
);

test("a baseUrl may have an IPv6 address", async () => {
  await using world = await start({ listen: { host: "::1", port: 0 } });
  expect(world.url).toMatch(/^http:\/\/\[::1\]:\d+$/);
  expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
});

test("calls that wait for the same connection fail together", async () => {
  let accepted = 0;
  await using silent = await peer(() => accepted++);
  await using transport = clientOf(silent.port, { connectTimeoutMs: 300 });
  const failed = Array.from({ length: 5 }, () => failureOf(transport.greeter.sayHello({})));
  expect(await elapsedMs(Promise.all(failed))).toBeLessThan(600);
  for (const error of await Promise.all(failed)) expect(error.code).toBe(Code.Unavailable);
  expect(accepted).toBe(1);
});

test("a connection whose stream ids are used up is replaced, and its calls continue", async () => {
  await using world = await start({ linked: true });
  const sockets = census.clientSockets;
  // Each connection has five ids, and not the half of 2^31.
  const hasIds = vi.spyOn(StreamTable.prototype, "hasIds", "get");
  hasIds.mockImplementation(function (this: StreamTable) {
    return this.isIdle(9);
  });
  onTestFinished(() => hasIds.mockRestore());
  await world.greeter.sayHello({});
  const chat = world.greeter.chat();
  await chat.send({});
  await next(chat);
  for (let n = 0; n < 5; n++) {
    expect(await world.greeter.sayHello({ content: "you" })).toMatchObject({ reply: "Hello, you" });
  }
  expect(world.link.accepted).toBeGreaterThan(1);
  await chat.send({ content: "on" });
  expect(await next(chat)).toMatchObject({ reply: "Received: on" });
  chat.closeSend();
  expect(await next(chat)).toBeUndefined();
  hasIds.mockRestore();
  // Each connection is two: to the link, and from there to the server.
  await until("its connection is closed", () => census.clientSockets <= sockets + 2);
});
