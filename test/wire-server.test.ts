import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { Code } from "../src/server.ts";
import { until } from "./support/gate.ts";
import {
  message,
  otherCall,
  request,
  requestHeaders,
  text,
  watchedServer,
} from "./support/watched-server.ts";
import { data, envelope, headers, messages, uint32 } from "./support/wire.ts";

// Bad requests, one level above HTTP/2: each gets its gRPC status. Meanwhile another call on the same connection goes
// on, and the next connection is served.

interface BadRequest {
  readonly what: string;
  /** "Chat" unless it says otherwise. */
  readonly path?: string;
  readonly with?: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** The client does not half-close. */
  readonly open?: boolean;
  readonly status: Code;
  readonly message?: RegExp;
}

const hello = message("hello");
const compressed = envelope(gzipSync(text("hello")), 1);

const badRequests: BadRequest[] = [
  ...[
    ["a length past the end of the message", [0x0a, 0x7f, 0x41]],
    ["a tag that is cut off", [0x80]],
    ["the field number 0", [0x00, 0x01]],
    ["wire type 7", [0x0f, 0x01]],
    ["the end of a group that never began", [0x14]],
    ["a group that never ends", [0x13, 0x08, 0x01]],
    ["a string of invalid UTF-8", [0x0a, 0x02, 0xc3, 0x28]],
    ["a string with half a surrogate pair", [0x0a, 0x03, 0xed, 0xa0, 0x80]],
  ].map(([what, bytes]) => ({
    what: `malformed protobuf: ${what}`,
    body: envelope(Uint8Array.from(bytes as number[])),
    status: Code.Internal,
    message: /MessageRequest could not be decoded/,
  })),
  ...[1, 2, 3, 4, 5, 6, hello.length - 1].map((bytes) => ({
    what: `a request cut off after ${bytes} B`,
    body: hello.subarray(0, bytes),
    status: Code.Internal,
    message: /protocol error/,
  })),
  {
    what: "a request cut off after a whole one",
    body: Buffer.concat([hello, hello.subarray(0, 7)]),
    status: Code.Internal,
    message: /protocol error/,
  },
  ...[0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x03, 0xff].map((flags) => ({
    what: `the reserved flag bits 0x${flags.toString(16)}`,
    body: envelope(text("hello"), flags),
    open: true,
    status: Code.Internal,
    message: /reserved flag/,
  })),
  {
    what: "an unknown grpc-encoding",
    with: { "grpc-encoding": "snappy" },
    body: envelope(text("hello"), 1),
    status: Code.Unimplemented,
    message: /snappy/,
  },
  {
    what: "a compressed message without grpc-encoding",
    body: compressed,
    open: true,
    status: Code.Internal,
    message: /compressed/,
  },
  {
    what: "a compressed message in a call of identity",
    with: { "grpc-encoding": "identity" },
    body: compressed,
    open: true,
    status: Code.Internal,
    message: /compressed/,
  },
  {
    what: "a message that says gzip and is not",
    with: { "grpc-encoding": "gzip" },
    body: envelope(Buffer.from("this is not gzip"), 1),
    open: true,
    status: Code.Internal,
    message: /gzip/,
  },
  {
    what: "a large message that says gzip and is not",
    with: { "grpc-encoding": "gzip" },
    body: envelope(Buffer.alloc(8192, "this is not gzip"), 1),
    open: true,
    status: Code.Internal,
    message: /gzip/,
  },
  {
    what: "gzip that is cut off",
    with: { "grpc-encoding": "gzip" },
    body: envelope(gzipSync(text("hello")).subarray(0, -9), 1),
    open: true,
    status: Code.Internal,
    message: /gzip|decompress/,
  },
  {
    what: "gzip of malformed protobuf",
    with: { "grpc-encoding": "gzip" },
    body: envelope(gzipSync(Uint8Array.of(0x0a, 0x7f, 0x41)), 1),
    open: true,
    status: Code.Internal,
    message: /could not be decoded/,
  },
  ...[0, 1].map((flags) => ({
    what: `a length of 2^32-1 with the flags ${flags}`,
    with: { "grpc-encoding": "gzip" },
    body: Buffer.concat([Buffer.of(flags), uint32(0xffffffff), Buffer.alloc(100)]),
    open: true,
    status: Code.ResourceExhausted,
    message: /4294967295 B is over readMaxBytes 4194304/,
  })),
  {
    what: "a length one over readMaxBytes, of which nothing comes",
    body: Buffer.concat([Buffer.of(0), uint32(4 * 1024 * 1024 + 1)]),
    open: true,
    status: Code.ResourceExhausted,
    message: /4194305 B is over readMaxBytes 4194304/,
  },
  {
    what: "gzip that inflates to over readMaxBytes",
    with: { "grpc-encoding": "gzip" },
    body: envelope(gzipSync(Buffer.alloc(8 * 1024 * 1024)), 1),
    open: true,
    status: Code.ResourceExhausted,
    message: /over readMaxBytes 4194304/,
  },
  ...["", "1", "S", "1s", "-1S", "+1S", "1.5S", "0x1S", "1e3m", "123456789S", "1S1S"].map(
    (timeout) => ({
      what: `the grpc-timeout "${timeout}"`,
      with: { "grpc-timeout": timeout },
      body: hello,
      open: true,
      status: Code.InvalidArgument,
      message: /grpc-timeout/,
    }),
  ),
  {
    what: "a deadline that has passed",
    with: { "grpc-timeout": "1n" },
    body: hello,
    open: true,
    status: Code.DeadlineExceeded,
  },
  ...[
    "/example.Greeter/Shout",
    "/example.Greeter/chat",
    "/example.Greeter/Chat/",
    "/example.Greeter/",
    "/example.Greeter",
    "/example.Stranger/Chat",
    "/Greeter/Chat",
    "//",
    "/",
    "/example.Greeter/%43hat",
    "/example.Greeter/__proto__",
    "/constructor/toString",
    `/example.Greeter/${"x".repeat(3000)}`,
  ].map((path) => ({
    what: `the path ${path.slice(0, 30)}`,
    path,
    body: hello,
    open: true,
    status: Code.Unimplemented,
  })),
  {
    what: "a varint of eleven bytes",
    path: "Subscribe",
    body: envelope(Uint8Array.of(0x08, ...new Array(10).fill(0xff), 0x01)),
    status: Code.Internal,
    message: /SubscribeRequest could not be decoded/,
  },
  ...["SayHello", "Subscribe"].flatMap((path) => [
    { what: `${path} without a request`, path, body: Buffer.alloc(0), status: Code.Unimplemented },
    {
      what: `${path} with two requests`,
      path,
      body: Buffer.concat([envelope(Buffer.alloc(0)), envelope(Buffer.alloc(0))]),
      status: Code.Unimplemented,
    },
    {
      what: `${path} with half a request`,
      path,
      body: hello.subarray(0, 6),
      status: Code.Internal,
    },
    {
      what: `${path} with reserved flag bits`,
      path,
      body: envelope(text("hello"), 0x40),
      open: true,
      status: Code.Internal,
    },
    {
      what: `${path} with a length of 2^32-1`,
      path,
      body: Buffer.concat([Buffer.of(0), uint32(0xffffffff)]),
      open: true,
      status: Code.ResourceExhausted,
    },
  ]),
];

for (const bad of badRequests) it(`${bad.what} is answered with its status`, () => play(bad));

async function play(bad: BadRequest): Promise<void> {
  await using world = await watchedServer();
  const peer = await world.dial();
  const { stillWorks } = await otherCall(peer);

  peer.write(request(3, bad.path ?? "Chat", bad.with), data(3, bad.body, !bad.open));
  const reply = await peer.ended(3);

  expect(reply.headers).toMatchObject({ ":status": "200", "content-type": /^application\/grpc/ });
  expect([reply.status, reply.message]).toEqual([bad.status, expect.any(String)]);
  if (bad.message) expect(reply.message).toMatch(bad.message);
  // The client has not half-closed: only a reset frees the stream now.
  if (bad.open) expect(await peer.reset(3)).toBe(0);
  await stillWorks();
  await world.expectServed();
  await world.idle();
  expect(world.logged).toEqual([]);
}

it("the server names the encodings that it supports when it refuses one", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  peer.write(request(1, "Chat", { "grpc-encoding": "br" }), data(1, hello, true));
  const { headers, status } = await peer.ended(1);
  expect(status).toBe(Code.Unimplemented);
  expect(headers?.["grpc-accept-encoding"]?.split(/, ?/)).toContain("gzip");
});

it("a bad message does not cancel replies to the good messages before the bad one", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  peer.write(request(1, "Chat"), data(1, Buffer.concat([hello, hello])));
  await peer.until(() => peer.stream(1).bytes === 2 * hello.length);
  peer.write(data(1, envelope(text("x"), 2)));
  const { body, status } = await peer.ended(1);
  expect(messages(body)).toEqual([text("hello"), text("hello")]);
  expect(status).toBe(Code.Internal);
});

it.each([
  ["reserved flag bits", envelope(text("hello"), 0x80), Code.Internal],
  ["a compressed message without grpc-encoding", compressed, Code.Internal],
  ["a length of 2^32-1", envelope(text(""), 0, 0xffffffff), Code.ResourceExhausted],
])("%s end the call of a handler that does not read", async (_, body, status) => {
  await using world = await watchedServer();
  const peer = await world.dial();
  peer.write(request(1, "Chat", { "x-handler": "idle" }));
  await until("the handler runs", () => world.calls.length === 1);
  peer.write(data(1, body));
  expect((await peer.ended(1)).status).toBe(status);
  expect(await peer.reset(1)).toBe(0);
  await world.idle();
  expect(world.calls[0]).toMatchObject({ abortedAtEnd: true });
});

it("the server ends the call of a handler that does not read when its requests are cut off", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  peer.write(request(1, "Chat", { "x-handler": "idle" }));
  await until("the handler runs", () => world.calls.length === 1);
  peer.write(data(1, hello.subarray(0, 6), true));
  expect((await peer.ended(1)).status).toBe(Code.Internal);
  await world.idle();
  expect(world.calls[0]).toMatchObject({ abortedAtEnd: true });
});

it.each([
  ["text/plain", { "content-type": "text/plain" }],
  ["an image", { "content-type": "image/jpeg" }],
  ["an unknown codec", { "content-type": "application/grpc+bogus" }],
  ["a word that only begins as gRPC does", { "content-type": "application/grpcish" }],
])("the server answers 415 to %s", async (_, but) => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const { stillWorks } = await otherCall(peer);
  peer.write(request(3, "Chat", but), data(3, hello, true));
  expect((await peer.ended(3)).headers?.[":status"]).toBe("415");
  await stillWorks();
  await world.expectServed();
  await world.idle();
});

it("the server answers 415 if a request has no content-type", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const list = requestHeaders("Chat").filter(([name]) => name !== "content-type");
  peer.write(headers(1, list), data(1, hello, true));
  expect((await peer.ended(1)).headers?.[":status"]).toBe("415");
  await world.idle();
});

it.each(["GET", "PUT", "DELETE", "PATCH", "BREW"])(
  "the server answers 405 to %s",
  async (method) => {
    await using world = await watchedServer();
    const peer = await world.dial();
    peer.write(request(1, "Chat", { ":method": method }), data(1, hello, true));
    expect((await peer.ended(1)).headers?.[":status"]).toBe("405");
    await world.expectServed();
    await world.idle();
  },
);

it("the server answers a refused request whose body never ends", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const { stillWorks } = await otherCall(peer);
  peer.write(
    request(3, "Chat", { "content-type": "text/plain" }),
    request(5, "Chat", { ":method": "PUT" }),
    request(7, "/example.Stranger/Chat"),
  );
  expect((await peer.ended(3)).headers?.[":status"]).toBe("415");
  expect((await peer.ended(5)).headers?.[":status"]).toBe("405");
  expect((await peer.ended(7)).status).toBe(Code.Unimplemented);
  for (const stream of [3, 5, 7]) expect(await peer.reset(stream)).toBe(0);
  await stillWorks();
});

it.each([
  ["a message of no bytes", [envelope(Buffer.alloc(0))], [""]],
  ["many messages of no bytes", new Array(500).fill(envelope(Buffer.alloc(0))), [""]],
  [
    "an unknown field",
    [envelope(Buffer.concat([text("hello"), Buffer.of(0x98, 0x06, 1)]))],
    ["hello"],
  ],
  ["a field given twice", [envelope(Buffer.concat([text("a"), text("b")]))], ["b"]],
  ["a length in more bytes than it needs", [envelope(Buffer.of(0x0a, 0x81, 0x00, 0x41))], ["A"]],
])("the server serves %s", async (_, bodies, contents) => {
  await using world = await watchedServer();
  const peer = await world.dial();
  peer.write(request(1, "Chat"), data(1, Buffer.concat(bodies), true));
  const { body, status } = await peer.ended(1);
  expect(status).toBe(0);
  expect(messages(body)).toHaveLength(bodies.length);
  expect([...new Set(world.calls[0]?.requests)]).toEqual(contents);
  expect(world.calls[0]?.end).toBe("half-closed");
});

it.each([
  ["a deadline of eleven thousand years", { "grpc-timeout": "99999999H" }],
  ["a deadline past 31 bits of milliseconds", { "grpc-timeout": "2147484S" }],
  ["a charset in the content-type", { "content-type": "application/grpc; charset=utf-8" }],
  ["a content-type in capitals", { "content-type": "Application/gRPC+Proto" }],
  ["binary metadata that is not base64", { "x-odd-bin": "%%%" }],
  ["metadata of every printable character", { "x-odd": "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" }],
  ["metadata that names a prototype", { __proto__x: "1", "constructor-bin": "AAAA" }],
  ["no te header", { te: "" }],
])("the server serves a request with %s", async (_, but) => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const list = requestHeaders("Chat", but).filter(([, value]) => value !== "");
  peer.write(headers(1, list), data(1, hello));
  await peer.until(() => peer.stream(1).bytes === hello.length);
  await peer.ping();
  peer.write(data(1, hello, true));
  const { status, message } = await peer.ended(1);
  expect([status, message]).toEqual([0, ""]);
});
