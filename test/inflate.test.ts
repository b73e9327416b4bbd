/** Compressed messages: which are inflated on the main thread, which in others, and in which order the handler gets them. */
import { gunzipSync, gzipSync } from "node:zlib";
import { compressionGzip } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { Greeter, MessageRequestSchema } from "../gen/example/greeter_pb.js";
import { handled } from "../src/failure.ts";
import { MessageReader } from "../src/grpc/message.ts";
import { Code } from "../src/index.ts";
import { connectGzip, nodeGzip } from "../src/node/gzip.ts";
import { caller, createServer } from "../src/server.ts";
import { decode } from "./support/codecs.ts";
import { bomb } from "./support/hostile-client.ts";
import { countBuffers } from "./support/memory.ts";
import { failureOf } from "./support/read.ts";
import { message, request, text, watchedServer } from "./support/watched-server.ts";
import { data, dial, envelope, Http2Code, messages, rst } from "./support/wire.ts";

const KIB = 1024;
const MIB = 2 ** 20;

/** gzip whose size field claims that it inflates to `saidBytes`. */
function lying(gzip: Buffer, saidBytes: number): Buffer {
  const copy = Buffer.from(gzip);
  copy.writeUInt32LE(saidBytes, copy.length - 4);
  return copy;
}

/** Messages of nobody in particular, up to a size. */
const of = (readMaxBytes: number) => ({ readMaxBytes, owner: undefined });

test.each([
  ["nothing", Buffer.alloc(0), 0],
  ["no bytes, compressed", gzipSync(Buffer.alloc(0)), 0],
  ["a few bytes", gzipSync(Buffer.alloc(10)), 10],
  ["16 KiB", gzipSync(Buffer.alloc(16 * KIB)), 16 * KIB],
  [
    "16 KiB in two members",
    Buffer.concat([10, 16 * KIB - 10].map((n) => gzipSync(Buffer.alloc(n)))),
    16 * KIB,
  ],
])("%s are inflated synchronously", (_, gzip, bytes) => {
  expect(nodeGzip.inflateSmall(gzip, 4 * MIB)?.length).toBe(bytes);
});

test.each([
  ["a byte more than 16 KiB", gzipSync(Buffer.alloc(16 * KIB + 1)), 16 * KIB + 1],
  [
    "two members of 10 KiB",
    Buffer.concat([1, 2].map(() => gzipSync(Buffer.alloc(10 * KIB)))),
    20 * KIB,
  ],
  [
    "a thousand members of nothing",
    Buffer.concat(new Array(1000).fill(gzipSync(Buffer.alloc(0)))),
    0,
  ],
  ["a megabyte", gzipSync(Buffer.alloc(MIB)), MIB],
])("%s are inflated in a thread", async (_, gzip, bytes) => {
  expect(nodeGzip.inflateSmall(gzip, 4 * MIB)).toBeUndefined();
  expect(await nodeGzip.inflate(gzip, of(4 * MIB), ({ length }) => length).done).toBe(bytes);
});

test("a message that a thread compresses is kept although its memory is used again", async () => {
  // Four threads compress at a time: the others wait.
  const compressed = Array.from({ length: 8 }, (_, n) => {
    const bytes = Buffer.alloc(100_000, n);
    const gzip = nodeGzip.compress(bytes);
    bytes.fill(0xdd);
    return gzip;
  });
  for (const [n, gzip] of (await Promise.all(compressed)).entries()) {
    expect(new Set(gunzipSync(gzip))).toEqual(new Set([n]));
  }
});

test.each([0, 100, 2 ** 32 - 1])(
  "a megabyte whose gzip says %i B neither blocks the event loop nor takes more memory than the limit",
  async (said) => {
    const gzip = lying(gzipSync(Buffer.alloc(MIB)), said);
    expect(nodeGzip.inflateSmall(gzip, 4 * MIB)).toBeUndefined();
    // The length is a checksum, too.
    await expect(nodeGzip.inflate(gzip, of(4 * MIB), () => 0).done).rejects.toMatchObject({
      code: Code.Internal,
    });
    await expect(nodeGzip.inflate(gzip, of(MIB / 2), () => 0).done).rejects.toMatchObject({
      code: Code.ResourceExhausted,
    });
  },
);

test("a small message over readMaxBytes is refused synchronously", () => {
  expect(() => nodeGzip.inflateSmall(gzipSync(Buffer.alloc(101)), 100)).toThrow(
    /message of \d+ B \(gzip\) inflates to over readMaxBytes 100 B/,
  );
});

test("messages that threads inflate, and messages that are small or plain, come in their order", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const sizes = Array.from({ length: 40 }, (_, n) => [10, 20_000, 200_000, 100][n % 4] as number);
  const contents = sizes.map((size, n) => `${n} `.padEnd(size, "x"));
  const frames = contents.map((content, n) =>
    n % 4 === 3 ? message(content) : envelope(gzipSync(text(content)), 1),
  );
  peer.write(request(1, "Chat", { "grpc-encoding": "gzip" }));
  await peer.flow(1, Buffer.concat(frames));
  peer.write(data(1, undefined, true));
  const reply = await peer.ended(1);
  expect(reply.status, reply.message).toBe(0);
  expect(messages(reply.body)).toEqual(contents.map((content) => text(content)));
});

test("messages of calls that were cancelled while they waited for a thread do not delay others", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const large = bomb(4 * MIB);
  const streams = Array.from({ length: 100 }, (_, n) => 1 + 2 * n);
  for (const stream of streams) {
    peer.write(request(stream, "Collect", { "grpc-encoding": "gzip" }));
    await peer.flow(stream, large);
  }
  for (const stream of streams) peer.write(rst(stream, Http2Code.CANCEL));
  peer.write(request(1001, "Collect", { "grpc-encoding": "gzip" }));
  peer.write(data(1001, envelope(gzipSync(text("y".repeat(20_000))), 1), true));
  expect((await peer.ended(1001)).status).toBe(0);
  const read = world.calls.reduce((sum, { requests }) => sum + requests.length, 0);
  expect(read).toBeLessThan(90);
});

test("a caller with many messages to inflate does not make another one wait for all of them", async () => {
  const order: string[] = [];
  await using server = createServer({
    authenticate: ({ header }) => ({ identity: String(header.get("x-name")) }),
    routes: (router) =>
      router.rpc(Greeter.method.collect, async (requests, context) => {
        for await (const _ of requests) order.push(String(caller(context).identity));
        return { count: 1 };
      }),
  });
  const { port } = await server.listen({ port: 0 });
  await using greedy = await dial(port as number);
  await using honest = await dial(port as number);
  const large = bomb(4 * MIB);
  const streams = Array.from({ length: 60 }, (_, n) => 1 + 2 * n);
  for (const stream of streams) {
    greedy.write(request(stream, "Collect", { "grpc-encoding": "gzip", "x-name": "greedy" }));
    await greedy.flow(stream, large);
    greedy.write(data(stream, undefined, true));
  }
  await greedy.ping();
  honest.write(request(1, "Collect", { "grpc-encoding": "gzip", "x-name": "honest" }));
  honest.write(data(1, envelope(gzipSync(text("y".repeat(20_000))), 1), true));
  expect((await honest.ended(1)).status).toBe(0);
  for (const stream of streams) expect((await greedy.ended(stream)).status).toBe(0);
  expect(order).toHaveLength(61);
  expect(order.indexOf("honest")).toBeLessThan(45);
});

test("of many messages that Connect's handlers inflate only a few take memory at the same time", async () => {
  const large = gzipSync(text("x".repeat(4 * MIB - 100)));
  const allocated = await countBuffers();
  const all = Array.from({ length: 50 }, () => connectGzip.decompress(large, 4 * MIB));
  await Promise.race(all);
  expect(allocated()).toBeLessThan(60 * MIB);
  for (const { length } of await Promise.all(all)) expect(length).toBeGreaterThan(4 * MIB - 100);
});

test("small messages of Connect's handlers are inflated although large ones wait", async () => {
  const large = gzipSync(text("x".repeat(4 * MIB - 100)));
  const order: string[] = [];
  const inflate = async (name: string, gzip: Buffer) => {
    await connectGzip.decompress(gzip, 4 * MIB);
    order.push(name);
  };
  const all = Array.from({ length: 10 }, () => inflate("large", large));
  await Promise.all([...all, inflate("small", gzipSync(text("y")))]);
  expect(order[0]).toBe("small");
});

test.each([
  ["small", gzipSync(Buffer.alloc(10_000))],
  ["large", gzipSync(Buffer.alloc(MIB))],
])(
  "a %s message that Connect's handlers cannot inflate fails as by Connect itself",
  async (_, gzip) => {
    const damaged = Buffer.from(gzip).fill(0, 12, 20);
    for (const bytes of [gzip, damaged, gzip.subarray(0, -9), Buffer.from("no gzip")]) {
      const [own, ofConnect] = await Promise.all(
        [connectGzip, compressionGzip].map(({ decompress }) => failureOf(decompress(bytes, 1000))),
      );
      expect(own).toMatchObject({ code: ofConnect?.code, rawMessage: ofConnect?.rawMessage });
    }
  },
);

test("messages that wait to be inflated count as held, until they are decoded or dropped", async () => {
  const counts: number[] = [];
  const held = () => counts.reduce((sum, bytes) => sum + bytes, 0);
  const stream = { hold: (bytes: number) => void counts.push(bytes) };
  const gzip = gzipSync(text("x".repeat(20_000)));
  const frame = { flags: 1, bytes: gzip, start: 0, end: gzip.length };
  const options = { readMaxBytes: MIB, writeMaxBytes: MIB, compression: nodeGzip };
  const reader = () => new MessageReader(MessageRequestSchema, options, { encoding: "gzip" });
  const opened = reader().open(frame, stream);
  expect(held()).toBe(gzip.length);
  await opened;
  expect(held()).toBe(0);
  // Four are inflated at a time: the fifth waits.
  const readers = Array.from({ length: 5 }, reader);
  const all = readers.map((one) => handled(Promise.resolve(one.open(frame, stream))));
  readers[4]?.drop(new Error("the call has ended"));
  await expect(all[4]).rejects.toThrow("the call has ended");
  await Promise.all(all.slice(0, 4));
  expect(held()).toBe(0);
  const broken = { ...frame, end: gzip.length - 10 };
  await expect(reader().open(broken, stream)).rejects.toMatchObject({ code: Code.Internal });
  expect(held()).toBe(0);
});

test("a text of megabytes arrives as it was sent, wherever its characters begin, and is refused if it is not UTF-8", () => {
  for (const offset of [0, 1, 2, 3]) {
    const content = `${"a".repeat(offset)}${"é€𝄞".repeat(300_000)}`;
    const bytes = text(content);
    expect(
      decode(MessageRequestSchema, { bytes: bytes, start: 0, end: bytes.length }).content ===
        content,
    ).toBe(true);
  }
  const broken = text("a".repeat(3 * MIB));
  broken.fill(0x80, 999_000, 1_001_000);
  expect(() =>
    decode(MessageRequestSchema, { bytes: broken, start: 0, end: broken.length }),
  ).toThrow("is not valid UTF-8");
});
