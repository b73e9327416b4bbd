/** Functions and iterables of a caller may throw, at any moment: the call fails with a ConnectError, or continues. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { greeter as example } from "../examples/greeter/handlers.ts";
import { RoomService } from "../gen/chat/v1/room_pb.js";
import {
  type CallOptions,
  Code,
  ConnectError,
  createClient,
  type Interceptor,
} from "../src/index.ts";
import { gate, until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { roomWorld } from "./support/toy-room.ts";
import { start, type World } from "./support/world.ts";

/** The thrown value, and the expected error of the call. */
const thrown: [what: string, value: unknown, code: Code][] = [
  ["an Error", new Error("a bug"), Code.Unknown],
  ["a TypeError that looks like a lost connection", new TypeError("fetch failed"), Code.Unknown],
  ["a ConnectError", new ConnectError("no", Code.Unavailable), Code.Unavailable],
  ["a text", "a text", Code.Unknown],
  ["nothing", undefined, Code.Unknown],
];

/** Fails the test unless `error` is what was thrown, or has it as its cause. */
function expectIs(error: ConnectError, value: unknown, code: Code): void {
  expect(error.code).toBe(code);
  if (value instanceof ConnectError) expect(error).toBe(value);
  else expect(error.cause).toBe(value);
}

async function* contents() {
  yield { content: "one" };
  yield { content: "two" };
}

/** A call of each kind that is made to its end. Rejects with the call's error. */
const kinds: [kind: string, call: (world: World, options: CallOptions) => PromiseLike<unknown>][] =
  [
    ["unary", ({ greeter }, options) => greeter.sayHello({}, options)],
    ["client-streaming", ({ greeter }, options) => greeter.collect(contents(), options)],
    ["server-streaming", ({ greeter }, options) => all(greeter.subscribe(few, options))],
    ["bidirectional", ({ greeter }, options) => all(greeter.chat(contents(), options))],
  ];
const few = { count: 2, interval: {} };

let reports: unknown[][];

beforeEach(() => {
  reports = [];
  vi.spyOn(console, "warn").mockImplementation((...words) => void reports.push(words));
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** The server's log has no errors that clients throw. */
async function calm(world: World): Promise<void> {
  expect(world.logged).toEqual([]);
  expect(await world.greeter.sayHello({ content: "you" })).toMatchObject({ reply: "Hello, you" });
}

describe.each(thrown)("%s", (_, value, code) => {
  const fail = (): never => {
    throw value;
  };

  describe.each(kinds)("in a %s call", (_, call) => {
    test.each(["onHeader", "onTrailer"] as const)(
      "the error that %s throws fails the call",
      async (option) => {
        await using world = await start();
        expectIs(await failureOf(call(world, { [option]: fail })), value, code);
        await calm(world);
      },
    );

    const interceptors: [moment: string, Interceptor][] = [
      ["before it sees the call", fail],
      ["immediately", () => fail],
      ["before it calls on", () => async () => fail()],
      [
        "when it has the headers",
        (next) => async (request) => {
          await next(request);
          return fail();
        },
      ],
    ];
    test.each(interceptors)(
      "the error that an interceptor throws %s fails the call",
      async (_, interceptor) => {
        await using world = await start({ transport: { interceptors: [except(interceptor)] } });
        expectIs(await failureOf(call(world, {})), value, code);
        await calm(world);
      },
    );
  });

  /** Ways to end an iterable badly. */
  const endings: [moment: string, end: <T>(messages: AsyncIterable<T>) => AsyncIterable<T>][] = [
    [
      "when its iterator is asked for",
      () => ({
        [Symbol.asyncIterator]: fail,
      }),
    ],
    [
      "when the first message is asked for",
      () => ({ [Symbol.asyncIterator]: () => ({ next: fail }) }),
    ],
    [
      "before the first message",
      async function* () {
        fail();
        yield* [];
      },
    ],
    [
      "after the first message",
      async function* (messages) {
        for await (const message of messages) {
          yield message;
          fail();
        }
      },
    ],
    [
      "after the first message, without leaving the iterable that it reads",
      (messages) => {
        const iterator = messages[Symbol.asyncIterator]();
        let count = 0;
        return {
          [Symbol.asyncIterator]: () => ({
            next: () => (count++ === 0 ? iterator.next() : fail()),
          }),
        };
      },
    ],
    [
      "at the end",
      async function* (messages) {
        yield* messages;
        fail();
      },
    ],
  ];

  test.each(endings)(
    "the error that the caller's requests throw %s fails the call",
    async (_, end) => {
      await using world = await start();
      const chat = world.greeter.chat(end(contents()));
      expectIs(await failureOf(chat), value, code);
      expectIs(await failureOf(chat.trailers), value, code);
      expectIs(await failureOf(world.greeter.collect(end(contents()))), value, code);
      expect(chat.state).toBe("closed");
      await calm(world);
    },
  );

  test.each(endings)(
    "the error that an interceptor's requests throw %s fails the call",
    async (_, end) => {
      await using world = await start({
        transport: {
          interceptors: [
            (next) => (request) =>
              next(request.stream ? { ...request, message: end(request.message) } : request),
          ],
        },
      });
      const chat = world.greeter.chat();
      const sending = chat.send({ content: "one" });
      sending.then(
        () => chat.closeSend(),
        () => {},
      );
      expectIs(await failureOf(chat), value, code);
      expectIs(await failureOf(chat.trailers), value, code);
      await expect(chat.send({ content: "late" })).rejects.toThrow(ConnectError);
      await calm(world);
    },
  );

  test.each(endings)(
    "the error that an interceptor's responses throw %s fails the call",
    async (moment, end) => {
      await using world = await start({
        transport: {
          interceptors: [
            (next) => async (request) => {
              const response = await next(request);
              return response.stream ? { ...response, message: end(response.message) } : response;
            },
          ],
        },
      });
      const chat = world.greeter.chat();
      void chat.send({ content: "one" });
      chat.closeSend();
      expectIs(await failureOf(chat), value, code);
      expectIs(await failureOf(chat.trailers), value, code);
      expect(chat.state).toBe("closed");
      // A call that the server would never end is ended, too.
      if (moment !== "at the end") {
        expectIs(await failureOf(world.greeter.subscribe({ interval: {} })), value, code);
      }
      await calm(world);
    },
  );

  test("an error thrown by requests that are left does not change the end of the call", async () => {
    const left = gate();
    async function* requests() {
      try {
        for (;;) yield { content: "x".repeat(64 * 1024) };
      } finally {
        left.open();
        fail();
      }
    }
    await using world = await start({
      greeter: {
        ...example,
        async *chat() {
          yield* [];
          throw new ConnectError("full", Code.ResourceExhausted);
        },
      },
    });
    expect(await failureOf(world.greeter.chat(requests()))).toMatchObject({ rawMessage: "full" });
    await left.opened;
    await calm(world);
  });

  test("an error thrown by onTrailer at the end of a call that continues from a cursor fails the call, and no attempt follows", async () => {
    await using world = await roomWorld({}, []);
    const served = world.room.watchings.length;
    const watch = createClient(RoomService, world.transport).watch;
    const call = watch({ room: "lobby" }, { onTrailer: fail });
    await next(call);
    world.room.end(new ConnectError("over", Code.NotFound));
    expect(await failureOf(call)).toMatchObject({ code: Code.NotFound });
    expect(world.room.watchings.length).toBe(served + 1);
  });
});

test("an interceptor that ends the responses early, without leaving its source of responses, ends the call", async () => {
  const first: Interceptor = (next) => async (request) => {
    const response = await next(request);
    if (!response.stream) return response;
    const iterator = response.message[Symbol.asyncIterator]();
    async function* onlyTheFirst() {
      yield (await iterator.next()).value;
    }
    return { ...response, message: onlyTheFirst() } as typeof response;
  };
  await using world = await start({ transport: { interceptors: [first] } });
  const call = world.greeter.subscribe({ interval: {} });
  expect(await all(call)).toHaveLength(1);
  await call.trailers;
  await until("the call has ended on the server", () => world.server.openCalls === 0);
});

/** The interceptor, but for the calls with which a test sees that all is well. */
function except(interceptor: Interceptor): Interceptor {
  return (next) => async (request) => {
    const content = (request.message as { content?: string }).content;
    return await (content === "you" ? next : interceptor(next))(request);
  };
}

describe("a listener of onState that throws", () => {
  const bug = new Error("a bug");

  test.each(["open", "closed"])(
    "a listener that throws when the call is %s is reported, with the method's name, and the call continues",
    async (at) => {
      await using world = await start();
      const chat = world.greeter.chat();
      const states: string[] = [];
      chat.onState((state) => {
        if (state === at) throw bug;
      });
      chat.onState((state) => states.push(state));
      await chat.send({ content: "one" });
      expect(await next(chat)).toMatchObject({ reply: "Received: one" });
      chat.closeSend();
      expect(await next(chat)).toBeUndefined();
      await chat.trailers;
      expect(states).toEqual(["open", "closed"]);
      expect(reports).toEqual([[expect.stringContaining("example.Greeter.Chat"), bug]]);
    },
  );

  test.each(["cancelled", "failed", "past its deadline"])(
    "a listener that throws at the end of a call that is %s is reported, and does not change the end",
    async (how) => {
      await using world = await start({
        greeter: {
          async *chat(requests) {
            yield* [];
            for await (const _ of requests);
            throw new ConnectError("no", Code.NotFound);
          },
        },
      });
      // Long enough for the call to open on a busy machine.
      const timeoutMs = how === "past its deadline" ? 1500 : undefined;
      const chat = world.greeter.chat({ timeoutMs });
      chat.onState(() => {
        throw bug;
      });
      if (how === "failed") chat.closeSend();
      await until("it is open", () => chat.state === "open");
      if (how === "cancelled") chat.cancel();
      const code = { cancelled: Code.Canceled, failed: Code.NotFound }[how];
      expect(await failureOf(chat)).toMatchObject({ code: code ?? Code.DeadlineExceeded });
      expect(reports).toHaveLength(2);
    },
  );

  test("a listener that throws when its session is cut, and resumed, is reported each time", async () => {
    await using world = await start({ linked: true, transport: { sessions: true } });
    const chat = world.greeter.chat();
    chat.onState(() => {
      throw bug;
    });
    await chat.send({ content: "one" });
    await next(chat);
    world.link.cut();
    await chat.send({ content: "two" });
    expect(await next(chat)).toMatchObject({ reply: "Received: two" });
    chat.closeSend();
    expect(await next(chat)).toBeUndefined();
    expect(reports).toHaveLength(4);
  });

  test("a listener that throws in a call that continues from a cursor is reported, and the call continues", async () => {
    await using world = await roomWorld();
    const call = world.watch({ room: "lobby" });
    call.onState(() => {
      throw bug;
    });
    await next(call);
    world.link.cut();
    await next(call);
    call.cancel();
    expect(reports).toHaveLength(4);
    expect(reports[0]).toEqual([expect.stringContaining("chat.v1.RoomService.Watch"), bug]);
  });
});
