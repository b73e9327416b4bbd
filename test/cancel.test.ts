import { getEventListeners } from "node:events";
import { describe, expect, test } from "vitest";
import type { Greeter } from "../gen/example/greeter_pb.js";
import { type Client, Code } from "../src/index.ts";
import type { HandlerContext } from "../src/server.ts";
import { census } from "./support/census.ts";
import { aborted, gate, stillAt, until } from "./support/gate.ts";
import { inPage } from "./support/mode.ts";
import { all, failureOf, next } from "./support/read.ts";
import { start } from "./support/world.ts";

type Requests = AsyncIterable<{ content: string }>;

/** A chat handler that echoes, with promises for its start, the abort of its signal and its `finally`. */
function watched(then?: (requests: Requests, context: HandlerContext) => AsyncIterable<object>) {
  const started = gate();
  const signalled = gate();
  const finished = gate();
  async function* chat(requests: Requests, context: HandlerContext) {
    started.open();
    context.signal.addEventListener("abort", () => signalled.open(), { once: true });
    try {
      if (then) yield* then(requests, context);
      else for await (const { content } of requests) yield { reply: content };
    } finally {
      finished.open();
    }
  }
  return { chat, started, ended: () => Promise.all([signalled.opened, finished.opened]) };
}

/** The ways to be busy in which a cancel may find a handler. */
const busy = {
  "waits for a request": undefined,
  "waits for its signal": async function* (_: Requests, { signal }: HandlerContext) {
    yield {};
    await aborted(signal);
  },
  "yields without end": async function* () {
    for (;;) yield { reply: "x".repeat(10_000) };
  },
};

describe.each(Object.entries(busy))(
  "a client that leaves the loop while the handler %s",
  (_, then) => {
    test.each(["break", "throw", "return"])(
      "a client that leaves the loop by %s aborts the handler's signal and runs its finally",
      async (how) => {
        const { chat, ended } = watched(then);
        await using world = await start({ greeter: { chat } });
        const call = world.greeter.chat();
        void call.send({ content: "x" });
        const loop = async () => {
          for await (const _ of call) {
            if (how === "break") break;
            if (how === "throw") throw new Error("out of here");
            return "left";
          }
          return "broke";
        };
        if (how === "throw") await expect(loop()).rejects.toThrow("out of here");
        else await loop();
        await ended();
        expect((await failureOf(call.send({}))).code).toBe(Code.Canceled);
        expect(call.state).toBe("closed");
      },
    );

    test("a client that leaves the loop by the end of a block with `await using` cancels the call", async () => {
      const { chat, started, ended } = watched(then);
      await using world = await start({ greeter: { chat } });
      {
        await using call = world.greeter.chat();
        await call.send({ content: "x" });
        await started.opened;
      }
      await ended();
    });
  },
);

test("leaving a server push cancels it", async () => {
  const finished = gate();
  await using world = await start({
    greeter: {
      async *subscribe(_request, { signal }) {
        try {
          for (let sequence = 1n; ; sequence++) yield { sequence };
        } finally {
          finished.open();
          await aborted(signal);
        }
      },
    },
  });
  for await (const { sequence } of world.greeter.subscribe({})) if (sequence === 3n) break;
  await finished.opened;
});

describe("a call that is cancelled by cancel()", () => {
  test("a call that is cancelled before it sent anything throws CANCELED in its loop, and its sends reject", async () => {
    await using world = await start();
    const chat = world.greeter.chat();
    chat.cancel();
    expect((await failureOf(chat)).code).toBe(Code.Canceled);
    expect((await failureOf(chat.send({}))).code).toBe(Code.Canceled);
    expect((await failureOf(chat.headers)).code).toBe(Code.Canceled);
    expect((await failureOf(chat.trailers)).code).toBe(Code.Canceled);
    expect(chat.state).toBe("closed");
  });

  test("a running call that is cancelled throws CANCELED in its loop, aborts the handler's signal and runs its finally", async () => {
    const { chat, started, ended } = watched();
    await using world = await start({ greeter: { chat } });
    const call = world.greeter.chat();
    const loop = failureOf(call);
    await started.opened;
    call.cancel();
    expect((await loop).code).toBe(Code.Canceled);
    await ended();
  });

  test("a running call that is cancelled drops messages that wait", async () => {
    await using world = await start();
    const chat = world.greeter.chat();
    for (let n = 0; n < 10; n++) await chat.send({});
    await next(chat);
    chat.cancel();
    expect((await failureOf(chat)).code).toBe(Code.Canceled);
  });

  test("inside the loop: the loop throws CANCELED", async () => {
    await using world = await start();
    const chat = world.greeter.chat();
    await chat.send({});
    const loop = (async () => {
      for await (const _ of chat) chat.cancel();
    })();
    expect((await failureOf(loop)).code).toBe(Code.Canceled);
  });

  test("a call that is cancelled with a reason fails with an error that has the reason as its cause", async () => {
    await using world = await start();
    const reason = new Error("the user closed the window");
    const chat = world.greeter.chat();
    chat.cancel(reason);
    const error = await failureOf(chat);
    expect(error.code).toBe(Code.Canceled);
    expect(error.cause).toBe(reason);
  });

  test("a call that is cancelled after its end does not change", async () => {
    await using world = await start();
    const chat = world.greeter.chat();
    void chat.send({});
    chat.closeSend();
    expect(await all(chat)).toHaveLength(1);
    chat.cancel();
    chat.cancel();
    expect(await next(chat)).toBeUndefined();
    await chat.headers;
    await chat.trailers;
    expect((await failureOf(chat.send({}))).code).toBe(Code.FailedPrecondition);
  });

  test("twice, and then disposed of, is still CANCELED", async () => {
    await using world = await start();
    const chat = world.greeter.chat();
    chat.cancel();
    chat.cancel();
    expect((await failureOf(chat)).code).toBe(Code.Canceled);
    await chat[Symbol.asyncDispose]();
  });

  test("a push or a sink that is cancelled ends with CANCELED", async () => {
    const over = gate();
    await using world = await start({
      greeter: {
        async *subscribe(_request, { signal }) {
          yield { sequence: 1n };
          await aborted(signal);
        },
        async collect(requests) {
          try {
            for await (const _ of requests);
          } finally {
            over.open();
          }
          return {};
        },
      },
    });
    const push = world.greeter.subscribe({});
    await next(push);
    push.cancel();
    expect((await failureOf(push)).code).toBe(Code.Canceled);

    const sink = world.greeter.collect();
    await sink.send({});
    sink.cancel();
    expect((await failureOf(sink.send({}))).code).toBe(Code.Canceled);
    expect((await failureOf(sink.finish())).code).toBe(Code.Canceled);
    await over.opened;
  });

  test("a cancelled call rejects its send() that waits for the window", async () => {
    const { chat, started } = watched(busy["waits for its signal"]);
    await using world = await start({ greeter: { chat } });
    const call = world.greeter.chat();
    const offering = (async () => {
      for (;;) await call.send({ content: "x".repeat(65_536) });
    })();
    await started.opened;
    call.cancel();
    expect((await failureOf(offering)).code).toBe(Code.Canceled);
  });
});

/** Starts a call of each kind that the handlers of `endless` never end. */
const kinds: Record<
  string,
  (c: Client<typeof Greeter>, signal: AbortSignal) => PromiseLike<unknown> | AsyncIterable<object>
> = {
  unary: (greeter, signal) => greeter.sayHello({}, { signal }),
  "server streaming": (greeter, signal) => greeter.subscribe({}, { signal }),
  "client streaming": (greeter, signal) => greeter.collect({ signal }).finish(),
  bidirectional: (greeter, signal) => greeter.chat({ signal }),
};

function endless(onCall: (signal: AbortSignal) => void = () => {}) {
  const wait = async ({ signal }: HandlerContext) => {
    onCall(signal);
    await aborted(signal);
    return {};
  };
  return {
    sayHello: (_: unknown, context: HandlerContext) => wait(context),
    collect: (_: unknown, context: HandlerContext) => wait(context),
    async *subscribe(_: unknown, context: HandlerContext) {
      yield await wait(context);
    },
    async *chat(_: unknown, context: HandlerContext) {
      yield await wait(context);
    },
  };
}

describe.each(Object.entries(kinds))("the caller's AbortSignal, %s", (_, call) => {
  test("already aborted: CANCELED, and nothing reaches the server", async () => {
    let calls = 0;
    await using world = await start({ greeter: endless(() => calls++) });
    const error = await failureOf(call(world.greeter, AbortSignal.abort()));
    expect(error.code).toBe(Code.Canceled);
    expect(calls).toBe(0);
  });

  test("aborted later: CANCELED, the handler's signal aborts, no listener stays", async () => {
    const started = gate<AbortSignal>();
    await using world = await start({ greeter: endless((signal) => started.open(signal)) });
    const controller = new AbortController();
    const ending = failureOf(call(world.greeter, controller.signal));
    const handlerSignal = await started.opened;
    controller.abort();
    expect((await ending).code).toBe(Code.Canceled);
    await aborted(handlerSignal);
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(0);
  });

  test("aborted with a reason: the error has the reason as its cause", async () => {
    await using world = await start({ greeter: endless() });
    const reason = new Error("the user closed the window");
    const error = await failureOf(call(world.greeter, AbortSignal.abort(reason)));
    expect(error.cause).toBe(reason);
  });

  test("AbortSignal.timeout: DEADLINE_EXCEEDED", async () => {
    await using world = await start({ greeter: endless() });
    const error = await failureOf(call(world.greeter, AbortSignal.timeout(20)));
    expect(error.code).toBe(Code.DeadlineExceeded);
  });
});

test("a signal that is never aborted has no listener left after its calls", async () => {
  await using world = await start();
  const { signal } = new AbortController();
  for (let n = 0; n < 50; n++) {
    await world.greeter.sayHello({}, { signal });
    const chat = world.greeter.chat({ signal });
    chat.closeSend();
    await all(chat);
  }
  await until("no listener is left", () => getEventListeners(signal, "abort").length === 0);
});

test("calls that fill a connection and are cancelled together abort every handler's signal, and other calls continue", async () => {
  const STREAMS = 500;
  let running = 0;
  await using world = await start({
    linked: true,
    server: { maxConcurrentStreams: STREAMS },
    greeter: {
      async *chat(requests) {
        for await (const { content } of requests) yield { reply: content };
      },
      async *subscribe(_request, { signal }) {
        running++;
        yield {};
        await aborted(signal);
        running--;
      },
    },
  });
  // Without a session: what happens to the connection happens to it.
  const otherCall = world.greeter.chat({ sessions: false });
  await otherCall.send({ content: "before" });
  expect(await next(otherCall)).toMatchObject({ reply: "before" });
  const controller = new AbortController();
  const { signal } = controller;
  const pushes = Array.from({ length: STREAMS - 1 }, () => world.greeter.subscribe({}, { signal }));
  await Promise.all(pushes.map((push) => next(push)));
  expect(running).toBe(STREAMS - 1);

  // All that the client says of it reaches the server in one piece.
  world.link.stall("up");
  controller.abort();
  for (const push of pushes) expect((await failureOf(push)).code).toBe(Code.Canceled);
  await stillAt(() => census.clientStreams);
  world.link.resume("up");
  await until("every handler has ended", () => running === 0);
  await otherCall.send({ content: "after" });
  expect(await next(otherCall)).toMatchObject({ reply: "after" });
  otherCall.cancel();
});

// A page does not wait for a listener that is in the test.
test.skipIf(inPage)(
  "where a listener cancels the call when it opens, onHeader is not called",
  async () => {
    await using world = await start();
    let headers = 0;
    const push = world.greeter.subscribe({ count: 1 }, { onHeader: () => void headers++ });
    push.onState((state) => {
      if (state === "open") push.cancel();
    });
    expect(await failureOf(push)).toMatchObject({ code: Code.Canceled });
    expect(headers).toBe(0);
  },
);

test("a request iterable is told to return when the call is cancelled", async () => {
  const returned = gate();
  await using world = await start();
  async function* requests() {
    try {
      for (;;) yield { content: "x" };
    } finally {
      returned.open();
    }
  }
  for await (const _ of world.greeter.chat(requests())) break;
  await returned.opened;
});

test("a request iterable that throws cancels the call, which ends with the error thrown", async () => {
  const { chat, started, ended } = watched();
  await using world = await start({ greeter: { chat } });
  async function* requests() {
    yield { content: "x" };
    // The handler of a call that is cancelled with its first bytes never runs.
    await started.opened;
    throw new Error("the source ran dry");
  }
  const error = await failureOf(world.greeter.chat(requests()));
  expect(error.message).toContain("the source ran dry");
  await ended();
});
