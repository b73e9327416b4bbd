import type { Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { Code } from "../src/index.ts";
import {
  type FakeCall,
  fakeServer,
  listen,
  outcomeOf,
  responseHeaders,
  scripted,
  trailers,
} from "./support/fake-server.ts";
import { stillAt, until } from "./support/gate.ts";
import { countBuffers, memoryInUse } from "./support/memory.ts";
import { message, text } from "./support/watched-server.ts";
import { data, envelope, frame, goaway, settings, Type } from "./support/wire.ts";

// Servers that do not speak, or not HTTP/2, or too much: no call hangs, and none takes the client's memory.

const MiB = 2 ** 20;

it.each<[string, (socket: Socket) => unknown]>([
  ["sends nothing", () => {}],
  ["sends half of its settings", (socket) => socket.write(settings().subarray(0, 4))],
  [
    "announces a frame of 16 MiB and sends nothing of it",
    (socket) => socket.write(Buffer.alloc(9, 0xff)),
  ],
  ["sends garbage", (socket) => socket.write(Buffer.alloc(4096, 0xee))],
  ["sends zeros", (socket) => socket.write(Buffer.alloc(4096))],
  [
    "sends pings before its settings",
    (socket) => socket.write(frame(Type.PING, 0, 0, Buffer.alloc(8))),
  ],
  [
    "speaks HTTP/1.1",
    (socket) => socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
  ],
  ["speaks HTTP/1.1 and stays", (socket) => socket.write("HTTP/1.1 200 OK\r\n\r\n")],
  ["speaks another protocol first", (socket) => socket.write("SSH-2.0-OpenSSH_9.6\r\n")],
  ["asks for TLS", (socket) => socket.end(Buffer.from("15030100020246", "hex"))],
  ["closes the connection", (socket) => socket.end()],
  [
    "closes the connection when it has received bytes",
    (socket) => socket.once("data", () => socket.end()),
  ],
  ["resets the connection", (socket) => socket.resetAndDestroy()],
  ["sends GOAWAY first", (socket) => socket.end(goaway(0, 0))],
  [
    "sends its settings and GOAWAY",
    (socket) => socket.end(Buffer.concat([settings(), goaway(0, 0)])),
  ],
  ["sends settings that are not valid", (socket) => socket.write(settings({ 4: 2 ** 31 }))],
])(
  "a call to a server that %s fails with UNAVAILABLE within the connect timeout",
  async (_, serve) => {
    await using server = await listen((socket) => {
      socket.resume();
      serve(socket);
    });
    await using world = await fakeServer(() => {}, { baseUrl: server.url, connectTimeoutMs: 500 });
    const began = performance.now();
    const outcomes = await Promise.all([outcomeOf.unary(world), outcomeOf.chat(world)]);
    expect(performance.now() - began).toBeLessThan(2500);
    for (const { error } of outcomes) {
      expect(error).toMatchObject({ code: Code.Unavailable });
      expect(error?.rawMessage).toContain(`127.0.0.1:${server.port}`);
    }
  },
);

it.each(["unary", "chat"] as const)(
  "a %s call that is never answered ends at its deadline",
  async (kind) => {
    await using world = await fakeServer(() => {}, { timeoutMs: 200 });
    expect(await outcomeOf[kind](world)).toMatchObject({ error: { code: Code.DeadlineExceeded } });
    const [{ peer, stream }] = world.calls as [FakeCall];
    expect(await peer.reset(stream)).toBe(8);
    await world.expectServed();
    await world.idle();
    expect(world.peers).toHaveLength(1);
  },
);

it("a call on a connection whose server has gone silent ends by keepalive", async () => {
  await using world = await fakeServer(() => {}, {
    mute: true,
    keepalive: { intervalMs: 100, timeoutMs: 200 },
  });
  const outcome = outcomeOf.chat(world);
  await until("it has connected", () => world.peers.length > 0);
  // The server writes only this: it answers no ping.
  world.peers[0]?.write(settings(), frame(Type.SETTINGS, 1, 0));
  expect((await outcome).error).toMatchObject({ code: Code.Unavailable });
  await world.idle();
});

it("messages that are not read stay at the server", async () => {
  const offer = Buffer.concat(new Array(64).fill(message("x".repeat(MiB))));
  await using world = await fakeServer(async ({ peer, stream }) => {
    peer.write(responseHeaders(stream));
    await peer.flow(stream, offer);
  });
  const { stillWorks } = await world.otherCall();
  const used = await memoryInUse();
  const chat = world.client.chat(scripted);
  await chat.headers;
  await stillAt(() => world.peers[0]?.frames.length ?? 0);
  expect((await memoryInUse()) - used).toBeLessThan(8 * MiB);
  await stillWorks();
  chat.cancel();
  await world.idle();
});

it("a length of 4 GiB allocates nothing, and a length within the limit no more than the bytes that come", async () => {
  const lengths = [0xffffffff, 4 * MiB];
  await using world = await fakeServer(({ peer, stream }) => {
    const length = lengths[world.calls.length % 2];
    peer.write(responseHeaders(stream), data(stream, envelope(text("x"), 0, length)));
  });
  await world.expectServed();
  const allocated = await countBuffers();
  const chats = Array.from({ length: 100 }, () => world.client.chat(scripted));
  await Promise.allSettled(chats.map(({ headers }) => headers));
  await world.peers[0]?.ping();
  expect(allocated()).toBeLessThan(16 * MiB);
  for (const chat of chats) chat.cancel();
  await world.idle();
});

it("gzip that inflates a thousandfold takes no more memory than readMaxBytes", async () => {
  const bomb = envelope(gzipSync(Buffer.alloc(64 * MiB)), 1);
  await using world = await fakeServer(async ({ peer, stream }) => {
    peer.write(responseHeaders(stream, { "grpc-encoding": "gzip" }));
    await peer.flow(stream, bomb);
    peer.write(trailers(stream));
  });
  await world.expectServed();
  const allocated = await countBuffers();
  const outcome = await outcomeOf.chat(world);
  expect(outcome).toMatchObject({ replies: [], error: { code: Code.ResourceExhausted } });
  expect(allocated()).toBeLessThan(16 * MiB);
  await world.expectServed();
});

it("a message does not keep the memory of other bytes that came with the message", async () => {
  const junk = frame(Type.UNKNOWN, 0, 0, Buffer.alloc(16_384));
  await using world = await fakeServer(async ({ peer, stream }) => {
    peer.write(responseHeaders(stream));
    for (let n = 0; n < 1000; n++) {
      peer.write(data(stream, envelope(Buffer.alloc(0))), junk, junk, junk);
      if (n % 10 === 0) await peer.ping();
    }
    await peer.ping();
    peer.write(data(stream, message("all")));
  });
  await world.expectServed();
  const used = await memoryInUse();
  const chat = world.client.chat(scripted);
  await chat.headers;
  await stillAt(() => world.peers[0]?.frames.length ?? 0);
  expect((await memoryInUse()) - used).toBeLessThan(4 * MiB);
  chat.cancel();
  await world.idle();
});

it("a message in DATA frames of five bytes arrives", async () => {
  const content = "x".repeat(64 * 1024);
  await using world = await fakeServer(async ({ peer, stream }) => {
    peer.write(responseHeaders(stream));
    await peer.flow(stream, message(content), 5);
    peer.write(trailers(stream));
  });
  expect(await outcomeOf.chat(world)).toEqual({ replies: [content], error: undefined });
});

it("a server that floods with DATA frames of one byte loses its connection, and the error names the flood", async () => {
  await using world = await fakeServer(async ({ peer, stream }) => {
    peer.write(responseHeaders(stream));
    await peer.flow(stream, message("x".repeat(64 * 1024)), 1);
  });
  const { error } = await outcomeOf.chat(world);
  expect(error?.code).toBe(Code.Unavailable);
  expect(error?.rawMessage).toContain("too_many_tiny_data_frames");
});
