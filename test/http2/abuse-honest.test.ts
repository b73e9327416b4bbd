/** What honest clients do, however often, does not end their connections: the twins of abuse.test.ts. */
import { expect, test, vi } from "vitest";
import { data, envelope, frame, Http2Code, rst, Type, windowUpdate } from "../support/wire.ts";
import type { EndOptions } from "./support/end.ts";
import { request } from "./support/exchanges.ts";
import { grpcServer, sendMessage } from "./support/grpc-server.ts";
import { Link } from "./support/link.ts";
import { RawPeer, requestFrame } from "./support/raw-peer.ts";

/** A busy machine takes several times as long. */
vi.setConfig({ testTimeout: 60_000 });

function startServer(options: Partial<EndOptions> = {}): RawPeer {
  return new RawPeer({ ...grpcServer(), ...options, role: "server" }).begin();
}

function expectUnharmed({ end }: RawPeer): void {
  expect(end.end).toBeUndefined();
  expect(end.violations).toEqual([]);
}

test("10,000 calls on one connection, each cancelled after its first message", () => {
  const server = startServer().write(windowUpdate(0, 2 ** 30));
  for (let id = 1; id < 20_000; id += 2) {
    server.write(requestFrame(id, "/push"), data(id, envelope(Buffer.alloc(3)), true));
    expect(server.frames.splice(0).some(({ type }) => type === Type.DATA)).toBe(true);
    server.write(rst(id, Http2Code.CANCEL));
  }
  expect(server.end.openStreams).toEqual([]);
  expectUnharmed(server);
});

test("150 calls a second, each cancelled before any answer, for 30 s", () => {
  const server = startServer();
  for (let n = 0; n < 150 * 30; n++) {
    const id = 2 * n + 1;
    server.write(requestFrame(id, "/silent"), data(id, envelope(Buffer.alloc(3)), true));
    server.write(rst(id, Http2Code.CANCEL));
    server.end.time.pass(1000 / 150);
  }
  expectUnharmed(server);
});

test("100,000 messages of one byte, a frame each, in one call", () => {
  const server = startServer();
  server.write(requestFrame(1, "/count"));
  const message = data(1, envelope(Buffer.alloc(1)));
  for (let n = 0; n < 1000; n++) server.write(...new Array<Buffer>(100).fill(message));
  server.write(data(1, Buffer.alloc(0), true));
  const body = Buffer.concat(server.of(Type.DATA, 1).map(({ payload }) => payload));
  expect(body.toString("latin1", 5)).toBe("100000");
  expectUnharmed(server);
});

test("a ping every 10 s for six hours", () => {
  const server = startServer();
  server.write(requestFrame(1, "/silent"));
  for (let n = 0; n < 6 * 360; n++) {
    server.end.time.pass(10_000);
    server.write(frame(Type.PING, 0, 0, Buffer.alloc(8)));
  }
  expect(server.of(Type.PING)).toHaveLength(6 * 360);
  expectUnharmed(server);
});

test("a client that answers each frame of pushed data with WINDOW_UPDATEs and a PING, as bandwidth estimators do", () => {
  const server = startServer();
  server.write(requestFrame(1, "/push"));
  const log = server.end.stream(1);
  for (let n = 0; n < 500; n++) {
    sendMessage(log, Buffer.alloc(65_536));
    while (server.read().frames.length > 0) {
      const frames = server.frames.splice(0).filter(({ type }) => type === Type.DATA);
      const updates = frames.flatMap(({ payload }) => [
        windowUpdate(0, payload.length),
        windowUpdate(1, payload.length),
      ]);
      const ping = frames.length > 0 ? [frame(Type.PING, 0, 0, Buffer.alloc(8))] : [];
      server.write(...updates, ...ping);
    }
  }
  expect(log.stream.waitingBytes).toBe(0);
  expectUnharmed(server);
});

test("a proxy that answers each KiB of a frame with two WINDOW_UPDATEs, as it arrives there", () => {
  const server = startServer();
  server.write(requestFrame(1, "/push"));
  const log = server.end.stream(1);
  const parts = (bytes: number) => [
    ...Array.from({ length: Math.floor(bytes / 1024) }, () => 1024),
    bytes % 1024,
  ];
  for (let n = 0; n < 10; n++) {
    sendMessage(log, Buffer.alloc(3 * 1024 * 1024));
    while (server.read().frames.length > 0) {
      const sent = server.frames.splice(0).filter(({ type }) => type === Type.DATA);
      const updates = sent
        .flatMap(({ payload }) => parts(payload.length))
        .filter((bytes) => bytes > 0)
        .flatMap((bytes) => [windowUpdate(1, bytes), windowUpdate(0, bytes)]);
      server.write(...updates);
    }
  }
  expect(log.stream.waitingBytes).toBe(0);
  expectUnharmed(server);
});

test("a reader that pauses for a minute gets everything then", () => {
  const link = new Link({ server: grpcServer() });
  const call = link.client.open(request("/push"), {}, true);
  call.countsOnly = true;
  call.holdsCredit = true;
  link.run();
  const log = link.server.stream(1);
  const messages = 200;
  for (let n = 0; n < messages; n++) sendMessage(log, Buffer.alloc(10_000));
  log.stream.end(["grpc-status", "0"]);
  link.run();
  expect(log.stream.waitingBytes).toBeGreaterThan(0);
  link.client.time.pass(60_000);
  link.run();
  expect(call.closed).toBeUndefined();
  call.holdsCredit = false;
  call.release();
  link.run();
  // The first message is "one".
  expect(call.bytes).toBe(8 + messages * 10_005);
  expect(call.closed).toMatchObject({ by: "ended" });
  expect(link.violations).toEqual([]);
});

test("a proxy's connection with 1,000 calls at a time", () => {
  const link = new Link({ server: grpcServer() });
  const { client, server } = link;
  for (let round = 0; round < 2; round++) {
    const calls = Array.from({ length: 1000 }, () => client.open(request("/unary")));
    link.run();
    expect(server.connection.openStreams).toBe(1000);
    for (const call of calls) {
      call.writeMessage(Buffer.from("hello"));
      call.stream.end();
    }
    link.run();
    for (const call of calls) expect(call.trailers).toEqual(["grpc-status", "0"]);
  }
  expect(server.end ?? client.end).toBeUndefined();
  expect(link.violations).toEqual([]);
});

test("a client that opens a call a second and never reads fills only its windows", () => {
  const link = new Link({ server: grpcServer() });
  for (let n = 0; n < 100; n++) {
    const call = link.client.open(request("/push"), {}, true);
    call.holdsCredit = true;
    link.run();
    const log = link.server.streams.at(-1)!;
    for (let m = 0; m < 10 && log.stream.waitingBytes === 0; m++)
      sendMessage(log, Buffer.alloc(20_000));
    link.run();
    link.client.time.pass(1000);
  }
  expect(link.server.end ?? link.client.end).toBeUndefined();
  expect(link.client.streams.every(({ heldBytes }) => heldBytes <= 65_535)).toBe(true);
  expect(link.violations).toEqual([]);
});
