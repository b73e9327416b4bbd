/** Interceptors that wrap the messages of a call change neither how it ends nor what its sides hear, at both ends. */
import { describe, expect, test } from "vitest";
import type { Greeter } from "../gen/example/greeter_pb.js";
import { pumpTo } from "../src/flow/writer.ts";
import type { Interceptor } from "../src/index.ts";
import { Code, ConnectError, later, type ServiceImpl } from "../src/server.ts";
import { aborted, gate, until } from "./support/gate.ts";
import { type HubWorld, world as hubWorld, TOPIC } from "./support/hub-world.ts";
import { all, failureOf, next } from "./support/read.ts";
import { start } from "./support/world.ts";

type Wrap = <T>(messages: AsyncIterable<T>) => AsyncIterable<T>;

async function* generated<T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
  for await (const message of messages) yield message;
}

/** An object that has only the methods that a wrapper must pass on. */
function object<T>(messages: AsyncIterable<T>): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = messages[Symbol.asyncIterator]();
      return {
        next: () => iterator.next(),
        return: async (value) => (await iterator.return?.(value)) ?? { done: true, value },
      };
    },
  };
}

const wraps: [string, Wrap | undefined][] = [
  ["not at all", undefined],
  ["by a generator", generated],
  ["by an object", object],
];

/** Interceptors that wrap both directions, at either end. */
function wrapping(wrap: Wrap | undefined): Interceptor[] {
  if (wrap === undefined) return [];
  return [
    (next) => async (request) => {
      if (!request.stream) return await next(request);
      const response = await next({ ...request, message: wrap(request.message) });
      return response.stream ? { ...response, message: wrap(response.message) } : response;
    },
  ];
}

describe.each(wraps)("a client whose messages are wrapped %s", (_, wrap) => {
  const transport = { interceptors: wrapping(wrap) };
  const STATUS = new ConnectError("no more", Code.ResourceExhausted);

  test("the waiting send() and a later send() fail with the status of the call, before a response is read", async () => {
    const ends = gate();
    await using world = await start({
      transport,
      greeter: {
        async *chat(requests) {
          await requests[Symbol.asyncIterator]().next();
          yield { reply: "not read" };
          await ends.opened;
          throw STATUS;
        },
      },
    });
    const chat = world.greeter.chat();
    // More than the call takes while its handler reads nothing.
    const content = "x".repeat(256 * 1024);
    const sends = Array.from({ length: 40 }, () => chat.send({ content }));
    await sends[0];
    ends.open();
    const failures = await Promise.all(sends.slice(-5).map(failureOf));
    expect(failures.map(({ code }) => code)).toEqual(Array(5).fill(STATUS.code));
    expect((await failureOf(chat.send({ content: "late" }))).code).toBe(STATUS.code);
    expect(chat.state).toBe("closed");
    expect((await failureOf(chat)).rawMessage).toBe("no more");
  });

  test("send() rejects with FAILED_PRECONDITION after the call ended with OK", async () => {
    await using world = await start({
      transport,
      greeter: {
        async *chat() {
          yield { reply: "that is all" };
        },
      },
    });
    const chat = world.greeter.chat();
    expect(await all(chat)).toMatchObject([{ reply: "that is all" }]);
    expect((await failureOf(chat.send({ content: "late" }))).code).toBe(Code.FailedPrecondition);
    expect((await chat.trailers).get("x-none")).toBeNull();
  });

  test("cancels with the error that its send() gets", async () => {
    const signals: AbortSignal[] = [];
    await using world = await start({
      transport,
      greeter: {
        async *chat(_requests, { signal }) {
          signals.push(signal);
          yield { reply: "not read" };
          await aborted(signal);
        },
      },
    });
    const chat = world.greeter.chat();
    await chat.send({ content: "hello" });
    await until("the handler runs", () => signals.length === 1);
    chat.cancel();
    expect((await failureOf(chat.send({}))).code).toBe(Code.Canceled);
    expect((await failureOf(chat)).code).toBe(Code.Canceled);
    await until("the handler knows", () => signals[0]?.aborted === true);
  });
});

describe.each(wraps)("a server whose messages are wrapped %s", (_, wrap) => {
  const server = { interceptors: wrapping(wrap) };
  type Handlers = Partial<ServiceImpl<typeof Greeter>>;

  /** Each kind of iterable that a handler may return, and whether it was left. */
  function handlers(it: HubWorld): { greeter: Handlers; left: () => boolean }[] {
    let left = 0;
    const waits = async function* (signal: AbortSignal) {
      try {
        yield { reply: "first" };
        await aborted(signal);
      } finally {
        left++;
      }
    };
    const shape = ({ kind }: { kind: string }) => ({ reply: kind });
    return [
      { greeter: { chat: (_requests, { signal }) => waits(signal) }, left: () => left === 1 },
      {
        greeter: { chat: (_requests, { signal }) => later(async () => waits(signal)) },
        left: () => left === 2,
      },
      {
        greeter: { chat: (_requests, { signal }) => it.hub.subscribe(TOPIC, { shape }, signal) },
        left: () => it.hub.size.topics === 0,
      },
    ];
  }

  test("the server leaves the iterable that its handler returned when the client cancels a call of any kind", async () => {
    await using it = hubWorld();
    for (const { greeter, left } of handlers(it)) {
      await using world = await start({ server, greeter });
      const chat = world.greeter.chat();
      expect(await next(chat)).toBeDefined();
      chat.cancel();
      await until("it is left", left);
    }
  });

  test("the server ends the requests that its handler waits for when the client cancels", async () => {
    const ends: unknown[] = [];
    await using world = await start({
      server,
      greeter: {
        async *chat(requests) {
          try {
            for await (const { content } of requests) yield { reply: content };
          } catch (error) {
            ends.push(ConnectError.from(error).code);
          }
        },
      },
    });
    const chat = world.greeter.chat();
    await chat.send({ content: "a" });
    expect(await next(chat)).toMatchObject({ reply: "a" });
    chat.cancel();
    await until("it knows", () => ends.length === 1);
    expect(ends).toEqual([Code.Canceled]);
  });
});

test("an iterable that writes its messages itself, when it is wrapped, is read as any other", async () => {
  const values = later(async () => generated(object(one())));
  expect(pumpTo in values).toBe(true);
  expect(pumpTo in generated(values)).toBe(false);
  expect(pumpTo in object(values)).toBe(false);
});

async function* one() {
  yield 1;
}
