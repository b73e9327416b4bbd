/** Options of one call: what is refused, and what the others do. */
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { type CallOptions, Code, createTransport } from "../src/index.ts";
import { failureOf, next } from "./support/read.ts";
import { wrongly } from "./support/refusal.ts";
import { start } from "./support/world.ts";

describe("options of one call", () => {
  const bad: [string, object][] = [
    ["timeoutMs is NaN: a number of milliseconds is needed", { timeoutMs: NaN }],
    ['timeoutMs is "1s" (a string): a number of milliseconds is needed', { timeoutMs: "1s" }],
    ["signal is an object: an AbortSignal is needed", { signal: new AbortController() }],
    ["onHeader is an object: a function is needed", { onHeader: {} }],
    ["onTrailer is null: a function is needed", { onTrailer: null }],
    ['compress is "gzip" (a string): true or false is needed', { compress: "gzip" }],
    ["sessions is 1: an object is needed", { sessions: 1 }],
    ["sessions.windowBytes is 0: a whole number from 1", { sessions: { windowBytes: 0 } }],
    [
      "contextValues is an object: an object with the functions get, set, delete",
      { contextValues: {} },
    ],
    ["has no option `timeout`: did you mean `timeoutMs`?", { timeout: 1 }],
  ];

  test.each(bad)("%s: every kind of call fails with this error", async (text, options) => {
    await using world = await start();
    const { greeter } = world;
    const given = wrongly<CallOptions>(options);
    const sink = greeter.collect(given);
    const chat = greeter.chat(given);
    const failed = [
      greeter.sayHello({}, given),
      greeter.subscribe({}, given),
      sink.finish(),
      sink.headers,
      chat,
      chat.send({}),
      chat.trailers,
      greeter.chat((async function* () {})(), given),
      greeter.collect((async function* () {})(), given),
    ];
    for (const error of await Promise.all(failed.map(failureOf))) {
      expect(error.code).toBe(Code.InvalidArgument);
      expect(error.rawMessage).toContain(text);
      expect(error.rawMessage).toContain("example.Greeter.");
    }
    expect([chat.state, sink.state]).toEqual(["closed", "closed"]);
  });

  test("options that are not an object, and requests that are not an async iterable, fail the call", async () => {
    await using world = await start();
    expect((await failureOf(world.greeter.sayHello({}, wrongly(5)))).code).toBe(
      Code.InvalidArgument,
    );
    expect((await failureOf(world.greeter.chat(wrongly("x")))).rawMessage).toContain(
      'example.Greeter.Chat: options is "x" (a string): an object is needed',
    );
    expect((await failureOf(world.greeter.chat(wrongly([{}])))).code).toBe(Code.InvalidArgument);
    expect((await failureOf(world.greeter.chat(wrongly(null)))).code).toBe(Code.InvalidArgument);
  });

  test("a listener that is not a function throws where it is set, and the call continues", async () => {
    await using world = await start();
    const chat = world.greeter.chat();
    expect(() => chat.onState(wrongly(undefined))).toThrow(
      "onState: listener is missing: a function is needed",
    );
    await chat.send({ content: "x" });
    expect(await next(chat)).toMatchObject({ reply: "Received: x" });
    chat.cancel();
  });

  test.each([0, -1, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY])(
    "timeoutMs %d means no deadline, even if the transport has one",
    async (timeoutMs) => {
      const heard: (number | undefined)[] = [];
      await using world = await start({
        transport: { timeoutMs: 60_000 },
        greeter: {
          sayHello(_, context) {
            heard.push(context.timeoutMs());
            return {};
          },
        },
      });
      await world.greeter.sayHello({}, { timeoutMs });
      expect(heard).toEqual([undefined]);
    },
  );

  test("a deadline of NaN is refused by the transport too, for clients that are not Hawser's", async () => {
    await using transport = createTransport({ baseUrl: "http://127.0.0.1:1" });
    const call = transport.unary(Greeter.method.sayHello, undefined, NaN, undefined, {}, undefined);
    expect((await failureOf(call)).rawMessage).toContain("timeoutMs is NaN");
  });

  test("a signal of another realm is accepted", async () => {
    await using world = await start();
    const like = {
      aborted: false,
      reason: undefined,
      addEventListener() {},
      removeEventListener() {},
    };
    await world.greeter.sayHello({}, { signal: wrongly(like) });
  });

  test("a signal whose listeners cannot be removed is refused", async () => {
    await using world = await start();
    const signal = wrongly<AbortSignal>({ aborted: false, addEventListener() {} });
    expect((await failureOf(world.greeter.sayHello({}, { signal }))).rawMessage).toContain(
      "signal is an object: an AbortSignal is needed",
    );
  });
});
