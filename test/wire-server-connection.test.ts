import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { expect, it } from "vitest";
import { Code, ConnectError } from "../src/server.ts";
import { census } from "./support/census.ts";
import { until } from "./support/gate.ts";
import { encodeHeaders } from "./support/hpack.ts";
import { certs } from "./support/tls.ts";
import {
  message,
  otherCall,
  request,
  requestHeaders,
  text,
  type WatchedServer,
  watchedServer,
} from "./support/watched-server.ts";
import {
  data,
  envelope,
  Flag,
  frame,
  goaway,
  Http2Code,
  headers,
  type Peer,
  type PeerOptions,
  PREFACE,
  rst,
  settings,
  Type,
  uint32,
  windowUpdate,
} from "./support/wire.ts";

// Input of a hostile client on its connection: no other connection is harmed.

it.each<[string, Buffer[], number]>([
  ["DATA on stream 0", [data(0, text("x"))], Http2Code.PROTOCOL_ERROR],
  ["DATA on a stream that never was", [data(99, text("x"))], Http2Code.PROTOCOL_ERROR],
  ["a reset of a stream that never was", [rst(99, 8)], Http2Code.PROTOCOL_ERROR],
  ["a reset of stream 0", [rst(0, 8)], Http2Code.PROTOCOL_ERROR],
  ["a reset of three bytes", [frame(Type.RST_STREAM, 0, 1, Buffer.alloc(3))], 6],
  ["headers on stream 0", [request(0, "Chat")], Http2Code.PROTOCOL_ERROR],
  ["headers on an even stream", [request(2, "Chat")], Http2Code.PROTOCOL_ERROR],
  [
    "headers on a stream with a lower number than an earlier one",
    [request(9, "Chat"), request(5, "Chat")],
    Http2Code.STREAM_CLOSED,
  ],
  ["a frame over the limit", [data(1, Buffer.alloc(16_385))], Http2Code.FRAME_SIZE_ERROR],
  [
    "a frame that says it has 16 MiB",
    [Buffer.concat([Buffer.of(0xff, 0xff, 0xff, 0, 0), uint32(1)])],
    Http2Code.FRAME_SIZE_ERROR,
  ],
  [
    "more padding than frame",
    [frame(Type.DATA, Flag.PADDED, 1, Buffer.of(9, 1, 2))],
    Http2Code.PROTOCOL_ERROR,
  ],
  ["settings of five bytes", [frame(Type.SETTINGS, 0, 0, Buffer.alloc(5))], 6],
  ["settings on a stream", [frame(Type.SETTINGS, 0, 1)], Http2Code.PROTOCOL_ERROR],
  ["a window of 2^31 in settings", [settings({ 4: 2 ** 31 })], Http2Code.FLOW_CONTROL_ERROR],
  ["a largest frame of 1 B in settings", [settings({ 5: 1 })], Http2Code.PROTOCOL_ERROR],
  ["a ping of seven bytes", [frame(Type.PING, 0, 0, Buffer.alloc(7))], 6],
  ["a ping on a stream", [frame(Type.PING, 0, 1, Buffer.alloc(8))], Http2Code.PROTOCOL_ERROR],
  ["a window update of nothing", [windowUpdate(0, 0)], Http2Code.PROTOCOL_ERROR],
  ["a window past 2^31-1", [windowUpdate(0, 2 ** 31 - 1)], Http2Code.FLOW_CONTROL_ERROR],
  [
    "a push promise",
    [frame(Type.PUSH_PROMISE, Flag.END_HEADERS, 1, Buffer.concat([uint32(2), Buffer.of(0x82)]))],
    Http2Code.PROTOCOL_ERROR,
  ],
  ["a continuation of nothing", [frame(Type.CONTINUATION, 4, 1, Buffer.of(0x82))], 1],
  [
    "DATA in the middle of headers",
    [frame(Type.HEADERS, 0, 3, Buffer.of(0x82)), data(1, text("x"))],
    Http2Code.PROTOCOL_ERROR,
  ],
  [
    "headers that refer to nothing",
    [frame(Type.HEADERS, Flag.END_HEADERS, 3, Buffer.of(0xff, 0xff, 0x7f))],
    Http2Code.COMPRESSION_ERROR,
  ],
  [
    "headers cut off in a string",
    [frame(Type.HEADERS, Flag.END_HEADERS, 3, Buffer.of(0x00, 0x7f, 0x41))],
    Http2Code.COMPRESSION_ERROR,
  ],
  ["a second preface", [PREFACE], Http2Code.FRAME_SIZE_ERROR],
  ["random bytes", [Buffer.from("9f3c61d8aa07b24e5510c3f6e8192d7b", "hex")], 6],
])("the server ends a connection with %s, and no other", async (_, bytes, code) => {
  await using world = await watchedServer();
  const elsewhere = await otherCall(await world.dial());
  const peer = await world.dial();
  await otherCall(peer);
  peer.write(...bytes);
  await peer.closed;
  expect(await peer.goaway()).toBe(code);
  await until("the handler on it ended", () => world.calls[1]?.end !== "running");
  expect(world.calls[1]?.end).toBeInstanceOf(ConnectError);
  expect(world.calls[1]?.end).toMatchObject({
    rawMessage: expect.stringMatching(
      /^the connection to the client was lost \(the client broke the HTTP\/2 protocol: \S.+\)$/,
    ),
  });
  expect(world.calls[1]?.abortedAtEnd).toBe(true);
  await elsewhere.stillWorks();
  await world.expectServed();
  await world.idle();
  expect(world.logged).toEqual([]);
});

it.each<[string, (peer: Peer) => void, string]>([
  [
    "by GOAWAY with an error",
    (peer) => {
      peer.write(goaway(0, Http2Code.INTERNAL_ERROR, "a bug"));
      peer.socket.end();
    },
    ' (it sent GOAWAY with HTTP/2 error 2 "a bug")',
  ],
  [
    "by GOAWAY without an error",
    (peer) => {
      peer.write(goaway(0, Http2Code.NO_ERROR, "bye"));
      peer.socket.end();
    },
    "",
  ],
  ["at once", (peer) => void peer.socket.end(), ""],
  ["by a reset of the socket", (peer) => void peer.socket.resetAndDestroy(), " (ECONNRESET)"],
])("a handler learns why its connection ended: the client ended it %s", async (_, end, reason) => {
  await using world = await watchedServer();
  const peer = await world.dial();
  await otherCall(peer);
  end(peer);
  await until("the handler ended", () => world.calls[0]?.end !== "running");
  expect(world.calls[0]?.end).toMatchObject({
    code: Code.Canceled,
    rawMessage: `the connection to the client was lost${reason}`,
  });
});

it("a connection continues with its streams after the client's GOAWAY", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const { stillWorks } = await otherCall(peer);
  peer.write(frame(Type.GOAWAY, 0, 0, Buffer.alloc(8)));
  await stillWorks();
});

it.each<[string, Buffer]>([
  ["half a preface", PREFACE.subarray(0, 12)],
  ["a preface and half a frame", Buffer.concat([PREFACE, settings().subarray(0, 5)])],
  ["a preface with another ending", Buffer.from("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")],
  ["a preface and garbage", Buffer.concat([PREFACE, Buffer.alloc(64, 0xee)])],
  ["a malformed HTTP/1.1 request", Buffer.from("NOT A REQUEST\r\n\r\n")],
  ["half an HTTP/1.1 request", Buffer.from("POST / HTTP/1.1\r\nHost: x\r\nContent-Le")],
  ["the hello of TLS", Buffer.from("16030100c8010000c40303", "hex")],
  ["zeros", Buffer.alloc(4096)],
  ["one byte", Buffer.of(0x50)],
  ["nothing", Buffer.alloc(0)],
])("a client that sends %s and then closes leaves no handler and no socket", async (_, bytes) => {
  await using world = await watchedServer();
  const before = census.serverSockets;
  const { socket, closed } = await rawSocket(world);
  await new Promise<void>((written) => socket.write(bytes, () => written()));
  socket.end();
  await closed;
  await world.expectServed();
  await until("the server has closed it", () => census.serverSockets <= before);
});

it.each<[string, Buffer]>([
  ["nothing", Buffer.alloc(0)],
  ["one byte of a preface", PREFACE.subarray(0, 1)],
  ["half a preface", PREFACE.subarray(0, 12)],
  ["a preface and nothing more", PREFACE],
  ["half an HTTP/1.1 request", Buffer.from("POST / HTTP/1.1\r\nHost: x\r\nContent-Le")],
])("close() does not wait for a client that sends %s", async (_, bytes) => {
  await using world = await watchedServer();
  const { socket, closed } = await rawSocket(world);
  await new Promise<void>((written) => socket.write(bytes, () => written()));
  await world.expectServed();
  await world.server.close({ graceMs: 60_000 });
  await closed;
});

it.each<[string, Buffer]>([
  ["nothing", Buffer.alloc(0)],
  ["one byte of a preface", PREFACE.subarray(0, 1)],
  ["half a preface", PREFACE.subarray(0, 12)],
  ["all of a preface but a byte", PREFACE.subarray(0, -1)],
  ["a preface and no settings", PREFACE],
])("a client that sends %s is disconnected after prefaceTimeoutMs", async (_, bytes) => {
  await using world = await watchedServer({ prefaceTimeoutMs: 300 });
  const busy = await otherCall(await world.dial());
  const { socket, closed } = await rawSocket(world);
  socket.write(bytes);
  await closed;
  // Who has begun to speak in time stays.
  await busy.stillWorks();
});

it.each<[string, Buffer]>([
  ["nothing", Buffer.alloc(0)],
  ["half a hello", Buffer.from("16030100c8010000c40303", "hex")],
  ["an HTTP/2 preface", Buffer.concat([PREFACE, settings()])],
  ["an HTTP/1.1 request", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")],
  ["zeros", Buffer.alloc(4096)],
])(
  "a client that sends %s to a TLS port is disconnected, and close() does not wait",
  async (_, bytes) => {
    await using world = await watchedServer({ tls: certs.server, prefaceTimeoutMs: 300 });
    const { socket, closed } = await rawSocket(world);
    socket.write(bytes);
    await closed;
    const again = await rawSocket(world);
    await new Promise<void>((written) => again.socket.write(bytes, () => written()));
    await world.server.close({ graceMs: 60_000 });
    await again.closed;
    expect(world.logged).toEqual([]);
  },
);

it("the server answers malformed HTTP/1.1 with 400", async () => {
  await using world = await watchedServer();
  const { socket, closed } = await rawSocket(world);
  socket.write("NOT A REQUEST\r\n\r\n");
  expect(await closed).toMatch(/^HTTP\/1.1 400 /);
});

it.each<[string, (stream: number) => Buffer[], PeerOptions?]>([
  ["opened and immediately reset", (s) => [request(s, "Chat"), rst(s, Http2Code.CANCEL)]],
  ["opened and broken", (s) => [request(s, "Chat"), request(s, "Chat")]],
  ["refused for their headers", (s) => [headers(s, [[":path", "/"]])]],
  ["refused for their path", (s) => [request(s, "/nowhere")]],
  ["refused for their content-type", (s) => [request(s, "Chat", { "content-type": "x/y" })]],
  ["ended by a bad message", (s) => [request(s, "Chat"), data(s, envelope(text("x"), 0x80))]],
  [
    "answered, and whose answers are not read",
    (s) => [request(s, "SayHello"), data(s, message("x"), true)],
    { settings: { 4: 0 } },
  ],
])("a flood of streams that are %s harms no other connection", async (_, frames, options) => {
  await using world = await watchedServer();
  const { stillWorks } = await otherCall(await world.dial());
  const flood = await world.dial(options);
  for (let stream = 1; stream < 6000; stream += 2) flood.write(...frames(stream));
  // The client is served up to its final stream, or disconnected; both are right.
  await Promise.race([flood.ping().catch(() => {}), flood.closed]);
  await stillWorks();
  await world.expectServed();
  await flood[Symbol.asyncDispose]();
  await world.idle();
});

it("a flood of pings and settings harms no other connection", async () => {
  await using world = await watchedServer();
  const { stillWorks } = await otherCall(await world.dial());
  const flood = await world.dial();
  const volley = new Array(5000).fill(
    Buffer.concat([settings(), frame(Type.PING, 0, 0, Buffer.alloc(8))]),
  );
  flood.write(...volley);
  await Promise.race([flood.ping().catch(() => {}), flood.closed]);
  await stillWorks();
});

it("more streams than maxConcurrentStreams are refused one by one", async () => {
  await using world = await watchedServer({ maxConcurrentStreams: 10 });
  const peer = await world.dial({ mute: true });
  const requests = Array.from({ length: 50 }, (_, n) => request(1 + 2 * n, "Chat"));
  // In one go with the preface: the client does not know of the limit yet.
  peer.write(PREFACE, settings(), ...requests);
  expect(await peer.reset(99)).toBe(Http2Code.REFUSED_STREAM);
  expect(peer.frames.filter(({ type }) => type === Type.RST_STREAM)).toHaveLength(40);
  peer.write(data(1, message("still here")));
  await peer.until(() => peer.stream(1).bytes > 0);
  expect(world.calls).toHaveLength(10);
});

it("more streams than maxConcurrentStreams are refused also after the client has acknowledged that limit", async () => {
  await using world = await watchedServer({ maxConcurrentStreams: 10 });
  const peer = await world.dial();
  await peer.ping();
  for (let stream = 1; stream < 100; stream += 2) peer.write(request(stream, "Chat"));
  expect(await peer.reset(99)).toBe(Http2Code.REFUSED_STREAM);
  expect(world.calls).toHaveLength(10);
  await peer[Symbol.asyncDispose]();
  await world.idle();
});

it.each<[string, number, number]>([
  ["a header of 100 KiB", 1, 100 * 1024],
  ["ten thousand headers", 10_000, 1],
])("a request with %s is refused", async (_, count, size) => {
  await using world = await watchedServer();
  const elsewhere = await otherCall(await world.dial());
  const peer = await world.dial();
  const many = Array.from({ length: count }, (_, n) => [`x-${n}`, "y".repeat(size)] as const);
  const block = encodeHeaders([...requestHeaders("Chat"), ...many]);
  peer.write(frame(Type.HEADERS, 0, 1, block.subarray(0, 16_384)));
  for (let at = 16_384; at < block.length; at += 16_384) {
    const end = at + 16_384 >= block.length;
    peer.write(
      frame(Type.CONTINUATION, end ? Flag.END_HEADERS : 0, 1, block.subarray(at, at + 16_384)),
    );
  }
  await Promise.race([peer.ended(1), peer.closed]);
  expect(world.calls).toHaveLength(1);
  await elsewhere.stillWorks();
  await world.expectServed();
});

/** Connects a socket; `closed` resolves with all that it received. */
async function rawSocket(
  world: WatchedServer,
): Promise<{ socket: Socket; closed: Promise<string> }> {
  const heard: Buffer[] = [];
  const socket = connect(world.port, "127.0.0.1");
  const closed = new Promise<string>((resolve) =>
    socket.on("close", () => resolve(Buffer.concat(heard).toString("latin1"))),
  );
  socket.on("error", () => {});
  socket.on("data", (chunk) => heard.push(chunk));
  await once(socket, "connect");
  return { socket, closed };
}
