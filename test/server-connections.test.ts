/** How many connections a server has, and for how long: maxConnections, connectionIdleMs, connectionAgeMs. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code } from "../src/server.ts";
import { census } from "./support/census.ts";
import { gate, stillAt, until } from "./support/gate.ts";
import { all, next } from "./support/read.ts";
import { certs } from "./support/tls.ts";
import { otherCall, watchedServer } from "./support/watched-server.ts";
import { Http2Code, Type } from "./support/wire.ts";
import { start } from "./support/world.ts";

async function openSocket(
  url: string,
  localAddress = "127.0.0.1",
): Promise<{ socket: Socket; closed: Promise<unknown> }> {
  const socket = connect({ port: Number(new URL(url).port), host: "127.0.0.1", localAddress });
  socket.on("error", () => {});
  const closed = new Promise((resolve) => socket.on("close", resolve));
  await once(socket.resume(), "connect");
  return { socket, closed };
}

describe("maxConnections", () => {
  test.each([
    ["in cleartext", {}],
    ["with TLS", { tls: certs.server }],
  ])(
    "a connection over maxConnections is closed when it is accepted, and logged, %s",
    async (_, tls) => {
      await using world = await start({ server: { maxConnections: 2, ...tls } });
      const first = await openSocket(world.url);
      const second = await openSocket(world.url);
      const third = await openSocket(world.url);
      await third.closed;
      const fourth = await openSocket(world.url);
      await fourth.closed;
      // The second one is not logged within the same minute.
      expect(world.logged).toEqual([
        [
          "a connection was closed when accepted: maxConnections 2 are open; raise it, or start more servers",
        ],
      ]);
      first.socket.destroy();
      await first.closed;
      const fifth = await openSocket(world.url);
      await stillAt(() => Number(fifth.socket.closed), 100);
      expect(fifth.socket.closed).toBe(false);
      for (const { socket } of [second, fifth]) socket.destroy();
    },
  );
});

describe("the connections of one address", () => {
  /** Opens connections from an address until `most` are open, or one is closed. Returns those that are open. */
  async function openMany(url: string, localAddress: string, most = 100): Promise<Socket[]> {
    const sockets: Socket[] = [];
    while (sockets.length < most) {
      const { socket } = await openSocket(url, localAddress);
      await stillAt(() => Number(socket.closed), 20);
      if (socket.closed) break;
      sockets.push(socket);
    }
    return sockets;
  }

  test.each([
    ["in cleartext", {}],
    ["with TLS", { tls: certs.server }],
  ])("leave some for others, and the log says so once, %s", async (_, tls) => {
    const transport = "tls" in tls ? { transport: { tls: { ca: certs.ca } } } : {};
    await using world = await start({ server: { maxConnections: 9, ...tls }, ...transport });
    const greedy = await openMany(world.url, "127.0.0.2");
    expect(greedy).toHaveLength(8);
    expect(world.logged).toEqual([
      ["a connection was closed when accepted: 8 of maxConnections 9 are of the client 127.0.0.2"],
    ]);
    await world.greeter.sayHello({});
    greedy.pop()?.destroy();
    await until("there is a place", () => census.serverSockets <= 8);
    const [another] = await openMany(world.url, "127.0.0.3", 1);
    expect(another).toBeDefined();
    for (const socket of [...greedy, another]) socket?.destroy();
  });

  test("of a trusted proxy are those of many clients: only the total limits them", async () => {
    await using world = await start({
      server: { maxConnections: 9, trustedProxies: ["127.0.0.2"] },
    });
    const ofProxy = await openMany(world.url, "127.0.0.2");
    expect(ofProxy).toHaveLength(9);
    for (const socket of ofProxy) socket.destroy();
  });
});

describe("connectionIdleMs", () => {
  test("a connection without open calls is closed after connectionIdleMs, by GOAWAY", async () => {
    await using world = await watchedServer({ connectionIdleMs: 100 });
    const peer = await world.dial();
    const connectedAt = performance.now();
    await peer.closed;
    expect(performance.now() - connectedAt).toBeGreaterThan(90);
    expect(await peer.goaway()).toBe(Http2Code.NO_ERROR);
  });

  test("a connection with an open call is kept, and closed connectionIdleMs after its call", async () => {
    await using world = await watchedServer({ connectionIdleMs: 100 });
    const peer = await world.dial();
    const call = await otherCall(peer);
    await stillAt(() => Number(peer.socket.closed), 300);
    await call.stillWorks();
    await peer.closed;
    expect(await peer.goaway()).toBe(Http2Code.NO_ERROR);
  });

  test("a client whose idle connection was closed makes its next call on another one", async () => {
    await using world = await start({ server: { connectionIdleMs: 50 } });
    for (let n = 0; n < 5; n++) {
      expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
      await new Promise((resolve) => setTimeout(resolve, 20 * n));
    }
  });
});

describe("connectionAgeMs", () => {
  test("an aged connection takes no more calls, and its calls may finish", async () => {
    await using world = await start({
      server: { connectionAgeMs: 100 },
      transport: { sessions: false },
    });
    const chat = world.greeter.chat();
    await chat.send({ content: "a" });
    await next(chat);
    // Past the age of several connections.
    await stillAt(() => 0, 300);
    for (let n = 0; n < 3; n++) await world.greeter.sayHello({ content: "you" });
    await chat.send({ content: "b" });
    expect(await next(chat)).toMatchObject({ reply: "Received: b" });
    chat.closeSend();
    await all(chat);
  });

  test("the calls that are left after connectionAgeGraceMs end with their connection, and their handlers learn why", async () => {
    await using world = await watchedServer({ connectionAgeMs: 50, connectionAgeGraceMs: 50 });
    const peer = await world.dial();
    await otherCall(peer);
    await peer.closed;
    await world.idle();
    expect(world.calls[0]?.end).toMatchObject({
      code: Code.Canceled,
      rawMessage:
        "the connection to the client was lost (it was closed connectionAgeGraceMs 50 ms after its age)",
    });
  });

  test("ages differ by up to 10 % in both directions", async () => {
    await using world = await watchedServer({ connectionAgeMs: 1_000 });
    const ages = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const peer = await world.dial();
        const connectedAt = performance.now();
        await peer.frame(Type.GOAWAY);
        return performance.now() - connectedAt;
      }),
    );
    expect(Math.min(...ages)).toBeGreaterThan(890);
    expect(Math.max(...ages) - Math.min(...ages)).toBeGreaterThan(50);
  });

  test("a session whose caller was identified after the connection's age begins on the next connection", async () => {
    const identified = gate();
    let attachments = 0;
    await using world = await start({
      server: {
        connectionAgeMs: 50,
        async authenticate({ method }) {
          if (method === Greeter.method.chat) {
            attachments++;
            await identified.opened;
          }
          return { identity: "the caller" };
        },
      },
      transport: { sessions: true },
    });
    const chat = world.greeter.chat();
    await chat.send({ content: "x" });
    await until("the caller is asked for", () => attachments === 1);
    const connections = census.connections;
    // The connection has reached its age when a call needs another one.
    while (census.connections === connections) await world.greeter.sayHello({});
    identified.open();
    await next(chat);
    expect(attachments).toBeGreaterThan(1);
    chat.closeSend();
    await all(chat);
  });

  test("sessions under load move from aged connections to the next ones, and lose nothing", async () => {
    await using world = await start({
      server: { connectionAgeMs: 200 },
      transport: { sessions: true },
      greeter: {
        async *chat(requests) {
          for await (const { content } of requests) yield { reply: content };
        },
      },
    });
    // Each session moves several times, while messages go both ways. What is in flight is limited, because it is sent again
    // after each move: a whole window takes a busy machine longer than a connection lives.
    const atOnce = 50;
    const moves: number[] = new Array(10).fill(0);
    const chats = moves.map(async (_, c) => {
      const chat = world.greeter.chat();
      chat.onState((state) => {
        if (state === "resuming") moves[c] = (moves[c] as number) + 1;
      });
      let sent = 0;
      while (moves.some((count) => count < 2)) {
        const first = sent;
        const sending = Array.from({ length: atOnce }, () => {
          return chat.send({ content: `${c}/${sent++}` });
        });
        for (let n = first; n < sent; n++) {
          expect(await next(chat)).toMatchObject({ reply: `${c}/${n}` });
        }
        await Promise.all(sending);
      }
      chat.closeSend();
      expect(await next(chat)).toBeUndefined();
    });
    await Promise.all(chats);
  });
});
