import { randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { Code, ConnectError } from "../src/server.ts";
import { encodeHeaders } from "./support/hpack.ts";
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
  Http2Code,
  headers,
  type Peer,
  rst,
  Type,
} from "./support/wire.ts";

// How a request may be split into frames, and the error that its handler gets if it ends halfway.

const first = message("first");
const second = message("second, a little longer");
const both = Buffer.concat([first, second]);
const bothZipped = Buffer.concat([
  envelope(gzipSync(text("first")), 1),
  envelope(gzipSync(text("second, a little longer")), 1),
]);

it.each([
  ["plain", both, {}],
  ["compressed", bothZipped, { "grpc-encoding": "gzip" }],
])("the server reads %s messages split at every byte boundary", async (_, body, but) => {
  await using world = await watchedServer();
  const peer = await world.dial();
  for (let at = 0; at <= body.length; at++) {
    const stream = 1 + 2 * at;
    peer.write(request(stream, "Chat", but), data(stream, body.subarray(0, at)));
  }
  // All of the first halves have been read before any of the second ones leaves.
  await peer.ping();
  for (let at = 0; at <= body.length; at++) {
    peer.write(data(1 + 2 * at, body.subarray(at), true));
  }
  for (let at = 0; at <= body.length; at++) {
    const reply = await peer.ended(1 + 2 * at);
    expect([at, reply.status, reply.body]).toEqual([at, 0, both]);
  }
  await world.idle();
});

it("the server reads messages split at every two byte boundaries", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  let stream = -1;
  for (let one = 0; one <= both.length; one++) {
    for (let two = one; two <= both.length; two++) {
      stream += 2;
      peer.write(
        request(stream, "Chat"),
        data(stream, both.subarray(0, one)),
        data(stream, both.subarray(one, two)),
        data(stream, both.subarray(two), true),
      );
    }
  }
  for (; stream > 0; stream -= 2) {
    const reply = await peer.ended(stream);
    expect([stream, reply.status, reply.body]).toEqual([stream, 0, both]);
  }
  await world.idle();
});

it("the server reads a request that comes in TCP segments of one byte", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const bytes = Buffer.concat([request(1, "Chat"), data(1, first), data(1, second, true)]);
  for (const byte of bytes) {
    await new Promise<void>((written) => peer.socket.write(Uint8Array.of(byte), () => written()));
  }
  const reply = await peer.ended(1);
  expect([reply.status, reply.body]).toEqual([0, both]);
});

it.each<[string, (stream: number) => Buffer[]]>([
  ["DATA frames of one byte", (stream) => [...both].map((b) => data(stream, Uint8Array.of(b)))],
  [
    "DATA frames of one byte between empty ones",
    (stream) => [...both].flatMap((b) => [data(stream), data(stream, Uint8Array.of(b))]),
  ],
  [
    "DATA frames that are mostly padding",
    (stream) =>
      [...both].map((b) =>
        frame(
          Type.DATA,
          Flag.PADDED,
          stream,
          Buffer.concat([Buffer.of(255, b), Buffer.alloc(255)]),
        ),
      ),
  ],
  [
    "DATA frames of nothing but padding between the others",
    (stream) =>
      [...both].flatMap((b) => [
        frame(Type.DATA, Flag.PADDED, stream, Buffer.of(0)),
        data(stream, Uint8Array.of(b)),
        frame(Type.DATA, Flag.PADDED, stream, Buffer.concat([Buffer.of(9), Buffer.alloc(9)])),
      ]),
  ],
  [
    "frames of an unknown type between the others",
    (stream) =>
      [...both].flatMap((b) => [
        frame(Type.UNKNOWN, 0xff, stream, both),
        data(stream, Uint8Array.of(b)),
      ]),
  ],
])("the server reads %s", async (_, frames) => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const { stillWorks } = await otherCall(peer);
  peer.write(request(3, "Chat"), ...frames(3), data(3, Buffer.alloc(0), true));
  const reply = await peer.ended(3);
  expect([reply.status, reply.body]).toEqual([0, both]);
  expect(world.calls[1]?.end).toBe("half-closed");
  await stillWorks();
});

it("the server takes trailers of a request as its half-close", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  peer.write(request(1, "Chat"), data(1, first), headers(1, [["x-trailer", "1"]], true));
  const reply = await peer.ended(1);
  expect([reply.status, reply.body]).toEqual([0, first]);
  expect(world.calls[0]?.end).toBe("half-closed");
});

it("the server fails a request that trailers cut off", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  peer.write(request(1, "Chat"), data(1, both.subarray(0, -1)), headers(1, [["x-end", "1"]], true));
  expect((await peer.ended(1)).status).toBe(Code.Internal);
  await world.idle();
});

it.each<[string, (stream: number) => Buffer[], number]>([
  [
    "headers twice",
    (s) => [request(s, "Chat"), data(s, first), request(s, "Chat")],
    Http2Code.PROTOCOL_ERROR,
  ],
  [
    "headers twice, then the end",
    (s) => [request(s, "Chat"), data(s, first), request(s, "Chat", {}, true)],
    Http2Code.PROTOCOL_ERROR,
  ],
  [
    "a content-length that promises more",
    (s) => [request(s, "Chat", { "content-length": "999" }), data(s, first, true)],
    Http2Code.PROTOCOL_ERROR,
  ],
  [
    "two paths",
    (s) => [headers(s, [[":path", "/"], ...requestHeaders("Chat")])],
    Http2Code.PROTOCOL_ERROR,
  ],
  [
    "no path",
    (s) => [
      headers(
        s,
        requestHeaders("Chat").filter(([name]) => name !== ":path"),
      ),
    ],
    Http2Code.PROTOCOL_ERROR,
  ],
  ["an empty path", (s) => [request(s, "Chat", { ":path": "" })], Http2Code.PROTOCOL_ERROR],
  [
    "a pseudo-header after the others",
    (s) => [headers(s, requestHeaders("Chat").reverse())],
    Http2Code.PROTOCOL_ERROR,
  ],
  ["an unknown pseudo-header", (s) => [request(s, "Chat", { ":x": "" })], Http2Code.PROTOCOL_ERROR],
  ["a name in capitals", (s) => [request(s, "Chat", { "X-Odd": "1" })], Http2Code.PROTOCOL_ERROR],
  ["a connection header", (s) => [request(s, "Chat", { connection: "close" })], 1],
  [
    "DATA after its end",
    (s) => [request(s, "Chat", { "x-handler": "idle" }, true), data(s, first)],
    Http2Code.STREAM_CLOSED,
  ],
  [
    "a content-length that promises less than comes",
    (s) => [request(s, "Chat", { "content-length": "3" }), data(s, first, true)],
    Http2Code.PROTOCOL_ERROR,
  ],
  ["a te of gzip", (s) => [request(s, "Chat", { te: "gzip" })], Http2Code.PROTOCOL_ERROR],
])("the server resets a stream with %s, and no other", async (_, frames, code) => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const { stillWorks } = await otherCall(peer);
  peer.write(...frames(3));
  expect(await peer.reset(3)).toBe(code);
  await stillWorks();
  await world.expectServed();
  await world.idle();
  // What the handler had begun to read did not end cleanly.
  expect(world.calls.slice(1).filter(({ end }) => end === "half-closed")).toEqual([]);
});

it("the server refuses a call of three hundred headers with its status", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const { stillWorks } = await otherCall(peer);
  const many = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`x-${n}`, ""]));
  peer.write(request(3, "Chat", many));
  const { status, message } = await peer.ended(3);
  expect(status).toBe(Code.ResourceExhausted);
  expect(message).toMatch(/the client sent \d+ request headers: 128 are taken at most/);
  await stillWorks();
});

it("the server refuses a call whose headers are over 64 KiB with its status", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const { stillWorks } = await otherCall(peer);
  const block = encodeHeaders([...requestHeaders("Chat"), ["x-large", "y".repeat(70_000)]]);
  const frames: Buffer[] = [];
  for (let at = 0; at < block.length; at += 16_384) {
    const type = at === 0 ? Type.HEADERS : Type.CONTINUATION;
    const flags = at + 16_384 >= block.length ? Flag.END_HEADERS : 0;
    frames.push(frame(type, flags, 3, block.subarray(at, at + 16_384)));
  }
  peer.write(...frames);
  const { status, message } = await peer.ended(3);
  expect(status).toBe(Code.ResourceExhausted);
  expect(message).toContain("the call's headers are over the 65536 B that this server takes");
  await stillWorks();
});

/** The moments at which a client resets its stream: what it has sent, and what the server has answered, by then. */
const points: Record<string, (peer: Peer, world: WatchedServer) => Promise<void>> = {
  "after its headers": async (peer) => {
    peer.write(request(3, "Chat"));
    await peer.ping();
  },
  "within a length prefix": async (peer) => {
    peer.write(request(3, "Chat"), data(3, first.subarray(0, 3)));
    await peer.ping();
  },
  "within a message": async (peer) => {
    peer.write(request(3, "Chat"), data(3, first.subarray(0, -1)));
    await peer.ping();
  },
  "after a reply": async (peer) => {
    peer.write(request(3, "Chat"), data(3, first));
    await peer.until(() => peer.stream(3).bytes === first.length);
  },
  "after its half-close": async (peer, world) => {
    peer.write(request(3, "Chat", { "x-handler": "idle" }), data(3, first, true));
    await peer.ping();
    expect(world.calls.at(-1)?.end).toBe("running");
  },
};

it.each(
  Object.keys(points).flatMap((point) =>
    Object.keys(Http2Code).map((code) => [point, code as keyof typeof Http2Code] as const),
  ),
)("a reset %s, with %s, ends the handler, and no other", async (point, code) => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const { stillWorks } = await otherCall(peer);
  await points[point]?.(peer, world);
  peer.write(rst(3, Http2Code[code]));
  await stillWorks();
  await world.expectServed();
  await world.idle();
  expect(world.calls[1]?.end).toBeInstanceOf(ConnectError);
  expect(world.calls[1]?.abortedAtEnd).toBe(true);
  if (code === "CANCEL") expect(world.calls[1]?.end).toMatchObject({ code: Code.Canceled });
  expect(world.logged).toEqual([]);
});

it("a reset right after the headers leaves no handler and no stream", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const { stillWorks } = await otherCall(peer);
  for (let stream = 3; stream < 100; stream += 2) {
    peer.write(request(stream, "Chat"), rst(stream, Http2Code.CANCEL));
  }
  await stillWorks();
  await world.idle();
});

it("a reset while a message is inflated leaves no handler and no stream", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const { stillWorks } = await otherCall(peer);
  const zipped = gzipSync(text(randomBytes(20_000).toString("hex")));
  for (let stream = 3; stream < 43; stream += 2) {
    peer.write(request(stream, "Chat", { "grpc-encoding": "gzip" }));
    await peer.flow(stream, envelope(zipped, 1));
    await peer.ping();
    peer.write(rst(stream, Http2Code.CANCEL));
  }
  await stillWorks();
  await world.idle();
  for (const { end } of world.calls.slice(1)) expect(end).toBeInstanceOf(ConnectError);
  expect(world.logged).toEqual([]);
});

it("a reset frees a handler that waits for a client which reads nothing", async () => {
  await using world = await watchedServer();
  const peer = await world.dial({ settings: { 4: 0 } });
  peer.write(request(1, "Chat"));
  const blocked = peer.flow(1, Buffer.concat(new Array(4000).fill(message("x".repeat(1000)))));
  await peer.until(() => (world.calls[0]?.requests.length ?? 0) > 0);
  await peer.ping();
  peer.write(rst(1, Http2Code.CANCEL));
  await world.idle();
  expect(world.calls[0]).toMatchObject({ abortedAtEnd: true });
  await peer[Symbol.asyncDispose]();
  await blocked.catch(() => {});
});

it.each(["fin", "rst"])(
  "a connection cut (%s) at any byte of a request does not count as a half-close",
  async (how) => {
    await using world = await watchedServer();
    const bytes = Buffer.concat([request(1, "Chat"), data(1, first), data(1, second, true)]);
    for (let at = 0; at < bytes.length; at++) {
      const peer = await world.dial();
      await peer.frame(Type.SETTINGS);
      peer.write(bytes.subarray(0, at));
      if (how === "fin") peer.socket.end();
      else peer.socket.resetAndDestroy();
      await peer.closed;
    }
    await world.expectServed();
    await world.idle();
    for (const { end, abortedAtEnd } of world.calls) {
      expect(end).toBeInstanceOf(ConnectError);
      expect(abortedAtEnd).toBe(true);
    }
    expect(world.logged).toEqual([]);
  },
);
