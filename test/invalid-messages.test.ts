import { create } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { Code, type Interceptor } from "../src/index.ts";
import { until } from "./support/gate.ts";
import { inPage } from "./support/mode.ts";
import { failureOf, next } from "./support/read.ts";
import { start } from "./support/world.ts";

// Values of the application that are not messages of the type, which TypeScript refuses.

/** Not a string, and nothing that can be made one. */
const UNSENDABLE = {
  toString() {
    throw new TypeError("no text");
  },
} as unknown as string;

test("a response that cannot be encoded is INTERNAL at the client, and logged at the server", async () => {
  await using world = await start({
    greeter: {
      sayHello: () => ({ reply: UNSENDABLE }),
      async *chat() {
        yield { reply: "fine" };
        yield { reply: UNSENDABLE };
      },
    },
  });
  expect((await failureOf(world.greeter.sayHello({}))).code).toBe(Code.Internal);
  const chat = world.greeter.chat();
  expect(await next(chat)).toMatchObject({ reply: "fine" });
  expect((await failureOf(chat)).code).toBe(Code.Internal);
  expect(world.logged).toHaveLength(2);
});

test("a request that cannot be encoded fails its send and its call; the connection stays open", async () => {
  await using world = await start();
  const chat = world.greeter.chat();
  await chat.send({ content: "x" });
  await next(chat);
  const error = await failureOf(chat.send({ content: UNSENDABLE }));
  expect(error.code).toBe(Code.InvalidArgument);
  expect(error.message).toContain("example.MessageRequest");
  expect((await failureOf(chat)).code).toBe(error.code);
  expect((await failureOf(world.greeter.sayHello({ content: UNSENDABLE }))).message).toContain(
    "example.MessageRequest",
  );
  expect((await world.greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
});

const passing: Interceptor = (next) => (request) => next(request);
const ways = { "without interceptors": [], "with interceptors": [passing] };

/** Values that are not messages, and what the error says of them. */
const NO_MESSAGES: [what: string, value: unknown, said: RegExp][] = [
  ["a string", "text", /the string "text" is not a example\.Message/],
  ["null", null, /null is not a example\.Message/],
  ["nothing", undefined, /undefined is not a example\.Message/],
  ["a number", 5, /5 is not a example\.Message/],
  ["an array", [], /an array is not a example\.Message/],
  ["a function", () => ({}), /a function is not a example\.Message/],
  [
    "a message of another type",
    create(TimestampSchema),
    /a google\.protobuf\.Timestamp is not a example\.Message/,
  ],
];

describe.each(Object.entries(ways))("%s", (_, interceptors) => {
  test.each(NO_MESSAGES)(
    "a request that is %s fails the call with INVALID_ARGUMENT",
    async (_, value, said) => {
      await using world = await start({ transport: { interceptors } });
      const message = value as object;
      const expected = { code: Code.InvalidArgument, rawMessage: expect.stringMatching(said) };
      const { greeter } = world;
      const chat = greeter.chat();
      await chat.send({ content: "first" });
      await next(chat);
      const sent = chat.send(message);
      if (interceptors.length === 0) expect(await failureOf(sent)).toMatchObject(expected);
      expect(await failureOf(chat)).toMatchObject(expected);
      expect(await failureOf(chat.send({}))).toMatchObject(expected);
      async function* requests() {
        yield message;
      }
      expect(await failureOf(greeter.chat(requests()))).toMatchObject(expected);
      expect(await failureOf(greeter.sayHello(message))).toMatchObject(expected);
      expect((await greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
    },
  );

  test.each(NO_MESSAGES)(
    "a response that is %s fails the call with INTERNAL, and is logged with its cause",
    async (_, value, said) => {
      const message = value as object;
      await using world = await start({
        server: { interceptors },
        greeter: {
          sayHello: () => message,
          async *chat() {
            yield message;
          },
        },
      });
      const internal = { code: Code.Internal, rawMessage: "internal error" };
      expect(await failureOf(world.greeter.sayHello({}))).toMatchObject(internal);
      expect(await failureOf(world.greeter.chat())).toMatchObject(internal);
      expect(world.logged).toHaveLength(2);
      for (const [where, cause] of world.logged) {
        expect(where).toMatch(/^the handler of \/example\.Greeter\/(SayHello|Chat) failed:$/);
        expect(String(cause)).toMatch(said);
      }
    },
  );

  // A page asks the test for the first request, and the server has no handler: its answer may come before the request.
  test.skipIf(inPage)(
    "generators that yield a value that is not a message are left: their finally runs",
    async () => {
      const ended: string[] = [];
      async function* bad(where: string) {
        try {
          yield "text" as never;
        } finally {
          ended.push(where);
        }
      }
      await using world = await start({
        server: { interceptors },
        transport: { interceptors },
        greeter: { chat: () => bad("responses"), subscribe: () => bad("responses") },
      });
      const { greeter } = world;
      expect((await failureOf(greeter.collect(bad("requests")))).code).toBe(Code.InvalidArgument);
      await until("the requests are left", () => ended.includes("requests"));
      ended.length = 0;
      expect((await failureOf(greeter.subscribe({}))).code).toBe(Code.Internal);
      expect((await failureOf(greeter.chat())).code).toBe(Code.Internal);
      await until("both handlers are left", () => ended.length === 2);
    },
  );
});

test.each([
  ["an int32 out of range", { count: 1e10 }, /count.*1e10|count.*10000000000/],
  ["an int32 that is not a whole number", { count: 1.5 }, /count.*1\.5/],
  [
    "a child of another type",
    { interval: create(TimestampSchema) },
    /Timestamp is not a google\.protobuf\.Duration/,
  ],
])(
  "a request with %s fails with INVALID_ARGUMENT, and the error says what is wrong",
  async (_, request, said) => {
    await using world = await start();
    const error = await failureOf(world.greeter.subscribe(request as object));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toMatch(said);
  },
);
