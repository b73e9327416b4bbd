/** Scenarios for every peer's Greeter: large messages, limits, gzip. */
import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "../../src/index.ts";
import { echo, read, rejects, type Scenario, scenario, type World } from "./world.ts";

const MiB = 1024 * 1024;
const AT_ONCE = create(DurationSchema);

async function large({ greeter }: World): Promise<void> {
  const content = "0123456789abcdef".repeat((3 * MiB) / 16);
  const { reply } = await greeter.sayHello({ content });
  assert(reply === `Hello, ${content}`, "unary: the reply is another");
  await echo(greeter, [content, "small", content]);
  await using sink = greeter.collect();
  for (let i = 0; i < 3; i++) await sink.send({ content });
  assert.equal((await sink.finish()).bytes, 9n * BigInt(MiB));
  const lengths: number[] = [];
  const headers = { "x-bytes": String(3 * MiB) };
  for await (const n of greeter.subscribe({ count: 3, interval: AT_ONCE }, { headers })) {
    lengths.push(n.content.length);
  }
  assert.deepEqual(lengths, [3 * MiB, 3 * MiB, 3 * MiB]);
}

async function tooLarge(world: World): Promise<void> {
  const content = "x".repeat(5 * MiB);
  await using generous = world.another({ writeMaxBytes: 8 * MiB });
  await rejects(generous.greeter.sayHello({ content }), Code.ResourceExhausted);
  await using chat = generous.greeter.chat();
  // The server may end the call while this is still being sent.
  chat.send({ content }).catch(() => {});
  await rejects(read(chat), Code.ResourceExhausted);
  // The connection stays open.
  assert.equal((await generous.greeter.sayHello({ content: "!" })).reply, "Hello, !");
}

async function tooLargeResponse({ greeter }: World): Promise<void> {
  const headers = { "x-bytes": String(5 * MiB) };
  const call = greeter.subscribe({ count: 3, interval: AT_ONCE }, { headers });
  await rejects(call[Symbol.asyncIterator]().next(), Code.ResourceExhausted);
  assert.equal((await greeter.sayHello({ content: "!" })).reply, "Hello, !");
}

/** Around what a DATA frame of the default size holds, and around the window that a stream begins with (RFC 9113). */
const BOUNDARIES = [16_384, 65_535];

/** Contents whose messages, with their prefixes of gRPC and protobuf, are a few bytes below and above each boundary. */
async function aroundFrames({ greeter }: World): Promise<void> {
  const lengths = [0, 1, ...BOUNDARIES.flatMap((size) => [...range(size - 24, size + 4)])];
  await echo(
    greeter,
    lengths.map((length) => "x".repeat(length)),
  );
  for (const length of lengths) {
    const content = "y".repeat(length);
    const { reply } = await greeter.sayHello({ content });
    assert(reply === `Hello, ${content}`, `${length} B: the reply is another`);
  }
}

function* range(from: number, to: number): Generator<number> {
  for (let i = from; i <= to; i++) yield i;
}

/** The default limit of Hawser, grpc-go, grpcio and grpc-js for what they receive. */
const LIMIT = 4 * MiB;

/** A content whose request is so many bytes long: a tag and a length of 4 B precede it. */
const contentOf = (bytes: number) => "z".repeat(bytes - 5);

async function requestsAtTheLimit(world: World, compress: boolean): Promise<void> {
  await using generous = world.another({ writeMaxBytes: LIMIT + 1 });
  const send = (bytes: number) => {
    async function* requests() {
      yield { content: contentOf(bytes) };
    }
    return generous.greeter.collect(requests(), { compress });
  };
  for (const bytes of [LIMIT - 1, LIMIT])
    assert.equal((await send(bytes)).bytes, BigInt(bytes - 5));
  await rejects(send(LIMIT + 1), Code.ResourceExhausted);
  assert.equal((await generous.greeter.sayHello({ content: "!" })).reply, "Hello, !");
}

/** The client reads what is just under its limit and exactly at it, and refuses what is over it. */
async function responsesAtTheLimit(world: World, headers: HeadersInit): Promise<void> {
  const content = "x".repeat(100_000);
  // The message of the reply: a tag, a length of 3 B, "Received: ".
  const bytes = content.length + 14;
  for (const readMaxBytes of [bytes + 1, bytes]) {
    await using exact = world.another({ readMaxBytes });
    await echo(exact.greeter, [content, "short", content], { headers });
  }
  await using short = world.another({ readMaxBytes: bytes - 1 });
  await rejects(echo(short.greeter, [content], { headers }), Code.ResourceExhausted);
  await echo(short.greeter, ["short"], { headers });
}

const COMPRESSIBLE = "compress me ".repeat(10_000);
const MESSAGES = [COMPRESSIBLE, "short", "", COMPRESSIBLE];

async function gzipRequests({ greeter }: World): Promise<void> {
  await echo(greeter, MESSAGES, { compress: true });
  const { reply } = await greeter.sayHello({ content: COMPRESSIBLE }, { compress: true });
  assert(reply === `Hello, ${COMPRESSIBLE}`);
}

async function gzipOnTheWire({ greeter }: World): Promise<void> {
  const sizesOf = async (options: Parameters<typeof echo>[2]) => {
    const chat = await echo(greeter, MESSAGES, options);
    const trailers = await chat.trailers;
    return (name: string) => Number(trailers.get(`x-wire-${name}`));
  };
  const plain = await sizesOf({ headers: { "x-wire": "yes" } });
  assert.equal(plain("in"), plain("in-plain"));
  const both = await sizesOf({ headers: { "x-wire": "yes", "x-gzip": "yes" }, compress: true });
  assert(both("in") < both("in-plain") / 10, `${both("in")} of ${both("in-plain")} bytes came in`);
  assert(both("out") < both("out-plain") / 10, `${both("out")} of ${both("out-plain")} went out`);
}

async function gzipResponses({ greeter }: World): Promise<void> {
  await echo(greeter, MESSAGES, { headers: { "x-gzip": "yes" } });
}

export const sizes: Scenario[] = [
  scenario("3 MiB messages, all four kinds", large),
  scenario("5 MiB request is RESOURCE_EXHAUSTED", tooLarge),
  scenario("5 MiB response is RESOURCE_EXHAUSTED", tooLargeResponse),
  scenario("0 and 1 B, and around 16,384 and 65,535 B", aroundFrames),
  scenario("requests just under, at and over 4 MiB", (world) => requestsAtTheLimit(world, false)),
  scenario("responses just under, at and over readMaxBytes", (world) =>
    responsesAtTheLimit(world, {}),
  ),
  scenario("gzip requests just under, at and over 4 MiB", (world) =>
    requestsAtTheLimit(world, true),
  ),
  scenario(
    "gzip responses just under, at and over readMaxBytes",
    (world) => responsesAtTheLimit(world, { "x-gzip": "yes" }),
    "gzipResponses",
  ),
  scenario("gzip requests", gzipRequests),
  scenario("gzip responses", gzipResponses, "gzipResponses"),
  scenario("gzip is smaller on the wire", gzipOnTheWire, "wire"),
];
