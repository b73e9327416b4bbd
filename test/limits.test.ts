import { gzipSync } from "node:zlib";
import { toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { MessageRequestSchema, MessageResponseSchema } from "../gen/example/greeter_pb.js";
import { Code, type ConnectError } from "../src/index.ts";
import { census } from "./support/census.ts";
import { all, failureOf, next } from "./support/read.ts";
import { start, type World } from "./support/world.ts";

const LIMIT = 1_000;

/** A text whose message encodes to exactly `bytes`: a tag, a length of two bytes, and the text. */
const ofSize = (bytes: number) => "x".repeat(bytes - 3);

/** Starts a call on the same connection, which must continue while others fail. */
async function otherCall(world: World) {
  const chat = world.greeter.chat();
  await chat.send({ content: "before" });
  expect(await next(chat)).toMatchObject({ reply: "before" });
  const connections = census.connections;
  return {
    async stillWorks() {
      await chat.send({ content: "after" });
      expect(await next(chat)).toMatchObject({ reply: "after" });
      chat.closeSend();
      expect(await all(chat)).toEqual([]);
      await world.greeter.sayHello({});
      expect(census.connections).toBe(connections);
    },
  };
}

/** Handlers that answer with as many bytes as the request has; "grow" makes them answer with one byte too many. */
const mirror = {
  sayHello: ({ content }: { content: string }) => ({ reply: answer(content) }),
  async *chat(requests: AsyncIterable<{ content: string }>) {
    for await (const { content } of requests) yield { reply: answer(content) };
  },
  async collect(requests: AsyncIterable<unknown>) {
    return { count: (await all(requests as AsyncIterable<object>)).length };
  },
};

const answer = (content: string) => (content === "grow" ? ofSize(LIMIT + 1) : content);

function expectOverLimit(error: ConnectError, limit: "readMaxBytes" | "writeMaxBytes"): void {
  expect(error.code).toBe(Code.ResourceExhausted);
  expect(error.rawMessage).toContain(`message of ${LIMIT + 1} B is over ${limit} ${LIMIT} `);
}

test("ofSize() makes a message of exactly the limit", () => {
  expect(
    toBinary(MessageRequestSchema, { $typeName: "example.MessageRequest", content: ofSize(LIMIT) }),
  ).toHaveLength(LIMIT);
  expect(
    toBinary(MessageResponseSchema, { $typeName: "example.MessageResponse", reply: ofSize(LIMIT) }),
  ).toHaveLength(LIMIT);
});

test.each([
  ["the server reads", { server: { readMaxBytes: LIMIT } }],
  ["the server writes", { server: { writeMaxBytes: LIMIT } }],
  ["the client reads", { transport: { readMaxBytes: LIMIT } }],
  ["the client writes", { transport: { writeMaxBytes: LIMIT } }],
])("a message of exactly the limit passes when %s it", async (_, options) => {
  await using world = await start({ greeter: mirror, ...options });
  const content = ofSize(LIMIT);
  expect((await world.greeter.sayHello({ content })).reply).toHaveLength(content.length);
  const chat = world.greeter.chat();
  await chat.send({ content });
  chat.closeSend();
  expect(await all(chat)).toHaveLength(1);
});

describe("a request over the server's readMaxBytes", () => {
  const options = { greeter: mirror, server: { readMaxBytes: LIMIT } };
  const content = ofSize(LIMIT + 1);

  test("a large request fails a unary call with RESOURCE_EXHAUSTED and both numbers", async () => {
    await using world = await start(options);
    const other = await otherCall(world);
    expectOverLimit(await failureOf(world.greeter.sayHello({ content })), "readMaxBytes");
    await other.stillWorks();
  });

  test("a large request fails a client-streaming call with RESOURCE_EXHAUSTED and both numbers", async () => {
    await using world = await start(options);
    const other = await otherCall(world);
    const sink = world.greeter.collect();
    await sink.send({ content: "small" });
    void sink.send({ content });
    expectOverLimit(await failureOf(sink.finish()), "readMaxBytes");
    await other.stillWorks();
  });

  test("a large request fails a bidirectional call with RESOURCE_EXHAUSTED and both numbers, after earlier replies have arrived", async () => {
    await using world = await start(options);
    const other = await otherCall(world);
    const chat = world.greeter.chat();
    await chat.send({ content: "small" });
    expect(await next(chat)).toMatchObject({ reply: "small" });
    await chat.send({ content });
    expectOverLimit(await failureOf(chat), "readMaxBytes");
    expectOverLimit(await failureOf(chat.send({})), "readMaxBytes");
    await other.stillWorks();
  });

  test("the handler's requests throw the error of a large request, with the signal aborted", async () => {
    const seen: unknown[] = [];
    await using world = await start({
      server: options.server,
      greeter: {
        async *chat(requests, { signal }) {
          try {
            for await (const { content } of requests) yield { reply: content };
          } catch (error) {
            seen.push(error, signal.aborted);
            throw error;
          }
        },
      },
    });
    const chat = world.greeter.chat();
    // The handler of a call that is refused with its first bytes never runs.
    await chat.send({ content: "x" });
    await next(chat);
    await chat.send({ content });
    expectOverLimit(await failureOf(chat), "readMaxBytes");
    expectOverLimit(seen[0] as ConnectError, "readMaxBytes");
    expect(seen[1]).toBe(true);
    expect(world.logged).toEqual([]);
  });
});

test("a response over the server's writeMaxBytes: RESOURCE_EXHAUSTED with both numbers for client and handler", async () => {
  const thrown: unknown[] = [];
  await using world = await start({
    server: { writeMaxBytes: LIMIT },
    greeter: { ...mirror },
  });
  const other = await otherCall(world);
  expectOverLimit(await failureOf(world.greeter.sayHello({ content: "grow" })), "writeMaxBytes");
  const chat = world.greeter.chat();
  await chat.send({ content: "small" });
  expect(await next(chat)).toMatchObject({ reply: "small" });
  await chat.send({ content: "grow" });
  expectOverLimit(await failureOf(chat), "writeMaxBytes");
  expect(thrown).toEqual([]);
  await other.stillWorks();
});

test("a response over the client's readMaxBytes: RESOURCE_EXHAUSTED with both numbers, the handler is cancelled", async () => {
  await using world = await start({ greeter: mirror, transport: { readMaxBytes: LIMIT } });
  const other = await otherCall(world);
  expectOverLimit(await failureOf(world.greeter.sayHello({ content: "grow" })), "readMaxBytes");
  const chat = world.greeter.chat();
  await chat.send({ content: "small" });
  expect(await next(chat)).toMatchObject({ reply: "small" });
  await chat.send({ content: "grow" });
  expectOverLimit(await failureOf(chat), "readMaxBytes");
  await other.stillWorks();
});

test("a request over the client's writeMaxBytes: that send rejects with both numbers, and the call fails", async () => {
  await using world = await start({ greeter: mirror, transport: { writeMaxBytes: LIMIT } });
  const content = ofSize(LIMIT + 1);
  const other = await otherCall(world);
  expectOverLimit(await failureOf(world.greeter.sayHello({ content })), "writeMaxBytes");

  const chat = world.greeter.chat();
  await chat.send({ content: "small" });
  expectOverLimit(await failureOf(chat.send({ content })), "writeMaxBytes");
  expectOverLimit(await failureOf(chat), "writeMaxBytes");

  const sink = world.greeter.collect();
  expectOverLimit(await failureOf(sink.send({ content })), "writeMaxBytes");
  expectOverLimit(await failureOf(sink.finish()), "writeMaxBytes");
  await other.stillWorks();
});

test("a message of 4 MiB passes in each direction by default, and a larger one does not", async () => {
  const MIB_4 = 4 * 1024 * 1024;
  await using world = await start({
    greeter: {
      sayHello: ({ content }) => ({ reply: content === "grow" ? "x".repeat(MIB_4) : content }),
    },
  });
  // A tag, and four bytes of length.
  const content = "x".repeat(MIB_4 - 5);
  expect((await world.greeter.sayHello({ content })).reply === content).toBe(true);
  const tooLong = await failureOf(world.greeter.sayHello({ content: `${content}x` }));
  expect(tooLong.rawMessage).toContain(`message of ${MIB_4 + 1} B is over writeMaxBytes ${MIB_4} `);
  const answered = await failureOf(world.greeter.sayHello({ content: "grow" }));
  expect(answered.code).toBe(Code.ResourceExhausted);
  expect(answered.rawMessage).toContain(`${MIB_4}`);
});

describe("gzip", () => {
  const text = "the same again and again, ".repeat(2_000);

  test.each([
    ["requests, for one call", {}, { compress: true }],
    ["requests, for a transport", { transport: { sendCompression: "gzip" as const } }, {}],
    ["responses, for a server", { server: { sendCompression: "gzip" as const } }, {}],
  ])("gzip makes %s small on the wire", async (what, setup, call) => {
    await using world = await start({ linked: true, ...setup });
    const direction = what.startsWith("requests") ? "up" : "down";
    const chat = world.greeter.chat(call);
    for (let n = 0; n < 5; n++) void chat.send({ content: text });
    chat.closeSend();
    const replies = await all(chat);
    expect(replies.map(({ reply }) => reply)).toEqual(Array(5).fill(`Received: ${text}`));
    expect(world.link[direction].delivered).toBeLessThan(10 * gzipSync(text).length);
  });

  test("gzip is off by default", async () => {
    await using world = await start({ linked: true });
    await world.greeter.sayHello({ content: text });
    expect(world.link.up.delivered).toBeGreaterThan(text.length);
    expect(world.link.down.delivered).toBeGreaterThan(text.length);
  });

  test("gzip does not compress messages under compressMinBytes", async () => {
    await using world = await start({
      linked: true,
      transport: { sendCompression: "gzip", compressMinBytes: 100_000 },
      server: { sendCompression: "gzip", compressMinBytes: 100_000 },
    });
    await world.greeter.sayHello({ content: text });
    expect(world.link.up.delivered).toBeGreaterThan(text.length);
    expect(world.link.down.delivered).toBeGreaterThan(text.length);
  });

  test("gzip is not sent to a client that does not accept it", async () => {
    await using world = await start({
      linked: true,
      transport: { acceptCompression: false },
      server: { sendCompression: "gzip" },
    });
    expect((await world.greeter.sayHello({ content: text })).reply).toBe(`Hello, ${text}`);
    expect(world.link.down.delivered).toBeGreaterThan(text.length);
  });

  test("a small message that inflates over readMaxBytes: RESOURCE_EXHAUSTED, here and there", async () => {
    await using world = await start({
      server: { readMaxBytes: 10_000, sendCompression: "gzip" },
      transport: { readMaxBytes: 20_000, sendCompression: "gzip" },
      greeter: {
        sayHello: ({ content }) => ({ reply: content === "grow" ? text : content }),
        chat: mirror.chat,
      },
    });
    const other = await otherCall(world);
    const request = await failureOf(world.greeter.sayHello({ content: text }));
    expect(request.code).toBe(Code.ResourceExhausted);
    expect(request.rawMessage).toContain("readMaxBytes 10000");
    const response = await failureOf(world.greeter.sayHello({ content: "grow" }));
    expect(response.code).toBe(Code.ResourceExhausted);
    expect(response.rawMessage).toContain("readMaxBytes 20000");
    await other.stillWorks();
  });

  test("gzip keeps the order of messages, whatever their size", async () => {
    await using world = await start({
      server: { sendCompression: "gzip" },
      transport: { sendCompression: "gzip" },
    });
    const texts = Array.from({ length: 300 }, (_, n) => `${n} ${"=".repeat((n * 7919) % 40_000)}`);
    const chat = world.greeter.chat();
    for (const content of texts) void chat.send({ content });
    chat.closeSend();
    const replies = await all(chat);
    expect(replies.map(({ reply }) => reply)).toEqual(texts.map((text) => `Received: ${text}`));
  });
});
