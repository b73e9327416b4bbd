import { describe, expect, test } from "vitest";
import {
  CollectResponseSchema,
  type Greeter,
  MessageRequestSchema,
} from "../gen/example/greeter_pb.js";
import { type Client, Code, ConnectError } from "../src/index.ts";
import { gate } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { request } from "./support/watched-server.ts";
import { data, dial, envelope } from "./support/wire.ts";
import { start } from "./support/world.ts";

type Outcome = PromiseLike<unknown> | AsyncIterable<object>;

const kinds: Record<string, (greeter: Client<typeof Greeter>) => Outcome> = {
  unary: (greeter) => greeter.sayHello({}),
  "server streaming": (greeter) => greeter.subscribe({}),
  "client streaming": (greeter) => greeter.collect().finish(),
  bidirectional: (greeter) => greeter.chat(),
};

/** Handlers of every kind that throw what `fail` makes. */
function throwing(fail: () => unknown) {
  return {
    sayHello() {
      throw fail();
    },
    async collect() {
      throw fail();
    },
    async *subscribe() {
      yield* [];
      throw fail();
    },
    async *chat() {
      yield* [];
      throw fail();
    },
  };
}

describe.each(Object.entries(kinds))("a handler that throws, %s", (_, call) => {
  test("a handler that throws a ConnectError sends its code, message, metadata and details", async () => {
    await using world = await start({
      greeter: throwing(
        () =>
          new ConnectError("no such room", Code.NotFound, { "x-room": "blue" }, [
            { desc: MessageRequestSchema, value: { content: "blue" } },
            { desc: CollectResponseSchema, value: { count: 7, bytes: 2n ** 60n } },
          ]),
      ),
    });
    const error = await failureOf(call(world.greeter));
    expect(error.code).toBe(Code.NotFound);
    expect(error.rawMessage).toBe("no such room");
    expect(error.metadata.get("x-room")).toBe("blue");
    expect(error.findDetails(MessageRequestSchema)).toMatchObject([{ content: "blue" }]);
    expect(error.findDetails(CollectResponseSchema)).toMatchObject([
      { count: 7, bytes: 2n ** 60n },
    ]);
    expect(world.logged).toEqual([]);
  });

  test.each([
    ["an Error", new Error("the password is swordfish")],
    ["a string", "the password is swordfish"],
    ["undefined", undefined],
  ])(
    "a handler that throws %s ends the call with INTERNAL without the text, which is logged once",
    async (_, thrown) => {
      await using world = await start({ greeter: throwing(() => thrown) });
      const error = await failureOf(call(world.greeter));
      expect(error.code).toBe(Code.Internal);
      expect(error.rawMessage).toBe("internal error");
      expect(JSON.stringify([...error.metadata, error.details])).not.toContain("swordfish");
      expect(world.logged).toHaveLength(1);
      expect(world.logged[0]).toContain(thrown);
    },
  );
});

test.each(Object.values(Code).filter((code): code is Code => typeof code === "number"))(
  "a handler that throws status code %d sends it unchanged",
  async (code) => {
    await using world = await start({
      greeter: throwing(() => new ConnectError("as it is", code)),
    });
    for (const call of Object.values(kinds)) {
      const error = await failureOf(call(world.greeter));
      expect([error.code, error.rawMessage]).toEqual([code, "as it is"]);
    }
  },
);

test.each([17, 0, -1, Number.NaN, 1.5, 99])(
  "a handler's status code %d, which gRPC does not have, reaches the client as UNKNOWN with its message and details",
  async (code) => {
    const detail = { desc: MessageRequestSchema, value: { content: "a detail" } };
    await using world = await start({
      greeter: throwing(() => new ConnectError("as it is", code, { "x-error": "1" }, [detail])),
    });
    for (const call of Object.values(kinds)) {
      const error = await failureOf(call(world.greeter));
      expect([error.code, error.rawMessage]).toEqual([Code.Unknown, "as it is"]);
      expect(error.metadata.get("x-error")).toBe("1");
      expect(error.findDetails(MessageRequestSchema)).toMatchObject([{ content: "a detail" }]);
    }
    await using peer = await dial(Number(new URL(world.url).port));
    peer.write(request(1, "SayHello"), data(1, envelope(Buffer.alloc(0)), true));
    const { headers, message } = await peer.ended(1);
    expect([headers?.["grpc-status"], message]).toEqual(["2", "as it is"]);
    expect(world.logged).toEqual([]);
  },
);

test.each([
  "",
  "100 % of it",
  "%41 %zz %",
  "line\nbreak\r\n\ttab \u0000",
  "Grüße, 世界, 🚢",
  " spaces around ",
  "x".repeat(5_000),
])("the message of an error arrives unchanged: %j", async (message) => {
  await using world = await start({
    greeter: throwing(() => new ConnectError(message, Code.Aborted)),
  });
  expect((await failureOf(world.greeter.chat())).rawMessage).toBe(message);
});

test("messages that were sent before an error arrive before it", async () => {
  await using world = await start({
    greeter: {
      async *chat(requests) {
        for await (const { content } of requests) {
          if (content === "3") throw new ConnectError("three is too many", Code.OutOfRange);
          yield { reply: content };
        }
      },
    },
  });
  const chat = world.greeter.chat();
  for (let n = 0; n < 6; n++) void chat.send({ content: `${n}` });
  for (let n = 0; n < 3; n++) expect(await next(chat)).toMatchObject({ reply: `${n}` });
  expect((await failureOf(chat)).code).toBe(Code.OutOfRange);
  expect(chat.state).toBe("closed");
});

test("a failed call resolves the headers and trailers that arrived, and rejects those that did not with its error", async () => {
  await using world = await start({
    greeter: {
      async *chat(_requests, { responseHeader, responseTrailer }) {
        responseHeader.set("x-leading", "1");
        responseTrailer.set("x-trailing", "2");
        yield {};
        throw new ConnectError("enough", Code.Aborted, { "x-of-the-error": "3" });
      },
    },
  });
  const chat = world.greeter.chat();
  const error = await failureOf(chat);
  expect((await chat.headers).get("x-leading")).toBe("1");
  expect(error.metadata.get("x-trailing")).toBe("2");
  expect(error.metadata.get("x-of-the-error")).toBe("3");
  expect(await failureOf(chat.trailers)).toBe(error);
});

test("a call has one error: the loop, a waiting send and trailers give the same", async () => {
  const fail = gate();
  await using world = await start({
    greeter: {
      async *chat() {
        await fail.opened;
        yield* [];
        throw new ConnectError("enough", Code.Aborted);
      },
    },
  });
  const chat = world.greeter.chat();
  const sends = failureOf(
    (async () => {
      for (;;) await chat.send({ content: "x".repeat(60_000) });
    })(),
  );
  fail.open();
  const error = await failureOf(chat);
  expect(error.code).toBe(Code.Aborted);
  expect(await sends).toBe(error);
  expect(await failureOf(chat.trailers)).toBe(error);
});

test("a method without a handler, and a service that is not served: UNIMPLEMENTED, naming the path", async () => {
  await using partly = await start({ greeter: { sayHello: () => ({}) } });
  for (const [kind, call] of Object.entries(kinds)) {
    if (kind === "unary") continue;
    expect((await failureOf(call(partly.greeter))).code).toBe(Code.Unimplemented);
  }
  await using empty = await start({ server: { routes: () => {} } });
  for (const call of Object.values(kinds)) {
    const error = await failureOf(call(empty.greeter));
    expect(error.code).toBe(Code.Unimplemented);
    expect(error.message).toContain("/example.Greeter/");
  }
});

test("a handler that throws does not harm the other calls of its connection", async () => {
  await using world = await start({
    greeter: {
      async *chat(requests) {
        for await (const { content } of requests) {
          if (content === "fail") throw new Error("a bug");
          yield { reply: content };
        }
      },
    },
  });
  const good = world.greeter.chat();
  await good.send({ content: "before" });
  expect(await next(good)).toMatchObject({ reply: "before" });
  for (let n = 0; n < 20; n++) {
    const bad = world.greeter.chat();
    void bad.send({ content: "fail" });
    expect((await failureOf(bad)).code).toBe(Code.Internal);
  }
  await good.send({ content: "after" });
  good.closeSend();
  expect(await all(good)).toMatchObject([{ reply: "after" }]);
  expect(world.logged).toHaveLength(20);
});

test("the error of a handler that throws because its call was cancelled is not logged", async () => {
  const thrown = gate();
  await using world = await start({
    greeter: {
      async *chat(_requests, { signal }) {
        yield {};
        await new Promise((_, reject) =>
          signal.addEventListener("abort", () => {
            thrown.open();
            reject(new DOMException("the operation was aborted", "AbortError"));
          }),
        );
      },
    },
  });
  const chat = world.greeter.chat();
  await next(chat);
  chat.cancel();
  await thrown.opened;
  await world.server.close();
  expect(world.logged).toEqual([]);
});

test("errors of what a peer did have no stack: its frames would all be Hawser's", async () => {
  const started = gate();
  const cancelled = gate<unknown>();
  await using world = await start({
    greeter: {
      sayHello() {
        throw new ConnectError("no such person", Code.NotFound);
      },
      async *chat(_requests, { signal }) {
        signal.addEventListener("abort", () => cancelled.open(signal.reason));
        started.open();
        yield* [];
        await cancelled.opened;
      },
    },
  });
  const error = await failureOf(world.greeter.sayHello({}));
  expect(error.stack).toBe("ConnectError: [not_found] no such person");
  const chat = world.greeter.chat();
  await started.opened;
  chat.cancel();
  const reason = (await cancelled.opened) as ConnectError;
  expect(reason.stack).toBe("ConnectError: [canceled] the client cancelled the call");
  expect(new ConnectError("of somebody else").stack).toContain("errors.test.ts");
});
