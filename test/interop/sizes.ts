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
  scenario("gzip requests", gzipRequests),
  scenario("gzip responses", gzipResponses, "gzipResponses"),
  scenario("gzip is smaller on the wire", gzipOnTheWire, "wire"),
];
