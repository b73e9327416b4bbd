/** What observers are told of connections, and of the end of a server; and what its logger is told of that. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from "node:net";
import { createClient as createStockClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { WebSocketServer } from "ws";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, createClient, createTransport } from "../src/index.ts";
import { createServer } from "../src/server.ts";
import { createTransport as createWebTransport } from "../src/web.ts";
import { aborted, stillAt, until } from "./support/gate.ts";
import { failureOf, next } from "./support/read.ts";
import { clientRecorder, recorders, serverRecorder } from "./support/recorder.ts";
import { certs } from "./support/tls.ts";
import { watchedServer } from "./support/watched-server.ts";
import { SUBPROTOCOL } from "./support/web-socket-pipe.ts";
import { frame, Type } from "./support/wire.ts";
import { start } from "./support/world.ts";

function openSocket(url: string, localAddress = "127.0.0.1"): Socket {
  const socket = connect({ port: Number(new URL(url).port), host: "127.0.0.1", localAddress });
  return socket.on("error", () => {}).resume();
}

describe("a connection", () => {
  test("is opened and closed once at each end, and its events have the same object", async () => {
    const { server, client, setup } = recorders();
    {
      await using world = await start(setup);
      await world.greeter.sayHello({});
      expect(client.of("connectionOpened")).toEqual([
        { connection: { address: new URL(world.url).host } },
      ]);
      const [{ connection }] = server.of("connectionOpened") as [{ connection: object }];
      expect(connection).toMatchObject({ protocol: "h2", peer: { address: "127.0.0.1" } });
    }
    const [closed] = client.of("connectionClosed");
    expect(closed).toMatchObject({ why: "closed", detail: expect.stringContaining("was closed") });
    expect(closed?.connection).toBe(client.of("connectionOpened")[0]?.connection);
    expect(server.of("connectionClosed")).toHaveLength(1);
    const { connection } = server.of("connectionClosed")[0] as { connection: object };
    expect(connection).toBe(server.of("connectionOpened")[0]?.connection);
  });

  test("that the network loses is lost at both ends", async () => {
    const { server, client, setup } = recorders();
    await using world = await start({ linked: true, ...setup });
    await world.greeter.sayHello({});
    await world.link.cut();
    await until("both know", () => {
      return (
        [...server.names, ...client.names].filter((n) => n === "connectionClosed").length === 2
      );
    });
    for (const { why, detail } of [
      ...server.of("connectionClosed"),
      ...client.of("connectionClosed"),
    ]) {
      expect([why, detail]).toEqual(["lost", expect.stringContaining("ECONNRESET")]);
    }
  });

  test("whose client breaks HTTP/2 has failed, and the event says how", async () => {
    const { observer, of, names } = serverRecorder();
    await using server = await watchedServer({ observe: observer });
    const peer = await server.dial();
    peer.write(frame(Type.DATA, 0, 0));
    await until("it is closed", () => names.includes("connectionClosed"));
    expect(of("connectionClosed")).toMatchObject([
      { why: "failed", detail: expect.stringContaining("broke the HTTP/2 protocol") },
    ]);
  });

  test("whose other side does not answer a ping says keepalive", async () => {
    const { server, client, setup } = recorders();
    const keepalive = { intervalMs: 20, timeoutMs: 20 };
    await using world = await start({
      linked: true,
      greeter: {
        async *chat(_, { signal }) {
          yield {};
          await aborted(signal);
        },
      },
      server: { ...setup.server, keepalive },
      transport: { ...setup.transport, keepalive, sessions: false },
    });
    const chat = world.greeter.chat();
    await next(chat);
    world.link.stall();
    await failureOf(chat);
    await until("the server knows", () => server.names.includes("connectionClosed"));
    for (const closed of [...server.of("connectionClosed"), ...client.of("connectionClosed")]) {
      expect(closed).toMatchObject({ why: "keepalive", detail: expect.stringContaining("ping") });
    }
    world.link.resume();
  });

  test("of HTTP/1.1 is told too", async () => {
    const { observer, of, names } = serverRecorder();
    await using world = await start({ server: { observe: observer } });
    const baseUrl = world.url;
    const stock = createConnectTransport({ baseUrl, httpVersion: "1.1" });
    await createStockClient(Greeter, stock).sayHello({});
    expect(of("connectionOpened")).toMatchObject([{ connection: { protocol: "http/1.1" } }]);
    await world.server.close();
    await until("it is closed", () => names.includes("connectionClosed"));
    expect(of("connectionClosed")).toMatchObject([{ why: "closed", detail: "" }]);
  });
});

describe("a connection that is refused", () => {
  test.each([
    ["by maxConnections", 3, "127.0.0.1"],
    ["by the share of its address", 9, "127.0.0.2"],
  ])("%s", async (_, maxConnections, from) => {
    const { observer, of } = serverRecorder();
    await using world = await start({ server: { observe: observer, maxConnections } });
    const sockets: Socket[] = [];
    while (of("connectionRefused").length === 0) {
      const socket = openSocket(world.url, from);
      sockets.push(socket);
      await once(socket, "connect");
    }
    expect(of("connectionRefused")[0]).toMatchObject({
      peer: { address: from },
      why: "maxConnections",
    });
    expect(world.server.stats().limits.maxConnections).toMatchObject({
      ...{ total: maxConnections, refused: of("connectionRefused").length },
    });
    // The logger has a line of its own for that.
    expect(of("limitRefused")).toEqual([]);
    for (const socket of sockets) socket.destroy();
  });

  test("because its TLS handshake fails", async () => {
    const { observer, of, names } = serverRecorder();
    await using world = await start({ server: { observe: observer, tls: certs.server } });
    const socket = openSocket(world.url);
    socket.write("GET / HTTP/1.1\r\n\r\n");
    await until("it is refused", () => names.includes("connectionRefused"));
    expect(of("connectionRefused")).toMatchObject([{ why: "tls" }]);
    socket.destroy();
  });

  test("because it sends nothing", async () => {
    const { observer, of, names } = serverRecorder();
    await using world = await start({ server: { observe: observer, prefaceTimeoutMs: 20 } });
    const socket = openSocket(world.url);
    await until("it is refused", () => names.includes("connectionRefused"));
    expect(of("connectionRefused")).toEqual([
      { peer: { address: "127.0.0.1" }, why: "prefaceTimeoutMs" },
    ]);
    socket.destroy();
  });
});

test("a connection that a transport cannot make has failed, with the error of its calls", async () => {
  const { observer, of } = clientRecorder();
  const server = createServer({ routes: () => {} });
  const { url } = await server.listen({ port: 0 });
  await server.close();
  await using transport = createTransport({ baseUrl: url, observe: observer });
  const error = await failureOf(createClient(Greeter, transport).sayHello({}));
  expect(error.code).toBe(Code.Unavailable);
  const [failed] = of("connectionFailed");
  expect(failed?.address).toBe(new URL(url).host);
  expect(failed?.error.rawMessage).toBe(error.rawMessage);
  expect(of("connectionOpened")).toEqual([]);
});

describe.each([
  ["TCP", createTransport, silentServer],
  ["a WebSocket", createWebTransport, silentWebSocketServer],
] as const)("a connection over %s whose server says nothing", (_, create, listen) => {
  test("has failed once when its time is over", async () => {
    const { observer, of } = clientRecorder();
    await using server = await listen();
    const options = { baseUrl: server.url, connectTimeoutMs: 100, observe: observer };
    await using transport = create(options);
    const error = await failureOf(createClient(Greeter, transport).sayHello({}));
    expect(error.code).toBe(Code.Unavailable);
    expect(await stillAt(() => of("connectionFailed").length, 50)).toBe(1);
  });

  test("has not failed if its transport is closed meanwhile", async () => {
    const { observer, of } = clientRecorder();
    await using server = await listen();
    const transport = create({ baseUrl: server.url, observe: observer });
    const failed = failureOf(createClient(Greeter, transport).sayHello({}));
    await server.accepted;
    await new Promise((resolve) => setTimeout(resolve, 20));
    await transport.close();
    expect((await failed).code).toBe(Code.Canceled);
    expect(await stillAt(() => of("connectionFailed").length, 50)).toBe(0);
  });
});

interface SilentServer extends AsyncDisposable {
  readonly url: string;
  readonly accepted: Promise<unknown>;
}

async function silentServer(): Promise<SilentServer> {
  const server = createTcpServer();
  const accepted = once(server, "connection");
  server.on("connection", (socket) => socket.on("error", () => {}).resume());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    ...{ url: `http://127.0.0.1:${port}`, accepted },
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

async function silentWebSocketServer(): Promise<SilentServer> {
  const handleProtocols = () => SUBPROTOCOL;
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols });
  const accepted = once(server, "connection");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    ...{ url: `http://127.0.0.1:${port}`, accepted },
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

test("a server that closes begins to drain, sends GOAWAY, and has drained; its logger has a line for each", async () => {
  const { server, client, setup } = recorders();
  const lines: string[] = [];
  const logger = { error() {}, info: (line: string) => void lines.push(line) };
  await using world = await start({
    greeter: {
      async *chat(_, { signal }) {
        yield {};
        await aborted(signal);
      },
    },
    server: { ...setup.server, logger },
    transport: { ...setup.transport, sessions: false },
  });
  const chat = world.greeter.chat();
  await next(chat);
  expect(lines).toEqual([`listening on ${world.url}`]);
  const ended = failureOf(chat);
  const closing = world.server.close({ graceMs: 30 });
  expect(server.of("drainBegan")).toEqual([{ openCalls: 1 }]);
  await until("the client knows", () => client.names.includes("goawayReceived"));
  expect(server.of("goawaySent")).toHaveLength(1);
  expect(client.of("goawayReceived")).toMatchObject([{ code: 0, debugData: "" }]);
  expect(server.of("drainEnded")).toEqual([]);
  expect((await ended).code).toBe(Code.Unavailable);
  await closing;
  const [drained] = server.of("drainEnded");
  expect(drained).toMatchObject({ endedCalls: 1 });
  expect(drained?.durationMs).toBeGreaterThanOrEqual(25);
  expect(lines).toEqual([
    `listening on ${world.url}`,
    "closing; open calls: 1",
    "closed; calls that were ended: 1",
  ]);
});

test("a server that never listened says nothing when it is closed", async () => {
  const { observer, names } = serverRecorder();
  const lines: string[] = [];
  const logger = { error() {}, info: (line: string) => void lines.push(line) };
  await createServer({ routes: () => {}, observe: observer, logger }).close();
  expect([...lines, ...names]).toEqual([]);
});

test("a client that floods a server is told as a connection that has failed", async () => {
  const { observer, of, names } = serverRecorder();
  await using server = await watchedServer({ observe: observer, abuse: { budget: 10 } });
  const peer = await server.dial();
  for (let n = 0; n < 20; n++) peer.write(frame(Type.PING, 0, 0, Buffer.alloc(8)));
  await until("it is closed", () => names.includes("connectionClosed"));
  expect(of("connectionClosed")).toMatchObject([
    { why: "failed", detail: expect.stringContaining("too_many_pings") },
  ]);
});
