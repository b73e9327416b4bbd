import { once } from "node:events";
import { createServer } from "node:http2";
import { setTimeout as pause } from "node:timers/promises";
import { type CallOptions, createClient as createStockClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, ConnectError, createClient, createTransport } from "../src/index.ts";
import type { HandlerContext } from "../src/server.ts";
import { aborted, type Gate, gate, until } from "./support/gate.ts";
import { sessions } from "./support/mode.ts";
import { all, failureOf, next } from "./support/read.ts";
import { start } from "./support/world.ts";

/** The methods that Connect's client and ours share. */
type AnyClient = ReturnType<typeof createStockClient<typeof Greeter>>;
type Outcome = PromiseLike<unknown> | AsyncIterable<object>;

const kinds: Record<string, (greeter: AnyClient, options: CallOptions) => Outcome> = {
  unary: (greeter, options) => greeter.sayHello({}, options),
  "server streaming": (greeter, options) => greeter.subscribe({}, options),
  "client streaming": (greeter, options) => greeter.collect(silence(), options),
  bidirectional: (greeter, options) => greeter.chat(silence(), options),
};

/** Requests that never come. */
async function* silence(): AsyncGenerator<{ content: string }> {
  yield await new Promise<never>(() => {});
}

/** Handlers of every kind that wait for the same promise. */
function waiting(wait: (context: HandlerContext) => Promise<unknown>) {
  return {
    async sayHello(_: unknown, context: HandlerContext) {
      await wait(context);
      return {};
    },
    async *subscribe(_: unknown, context: HandlerContext) {
      await wait(context);
      yield {};
    },
    async collect(_: unknown, context: HandlerContext) {
      await wait(context);
      return {};
    },
    async *chat(_: unknown, context: HandlerContext) {
      await wait(context);
      yield {};
    },
  };
}

/** Resolves when an outcome is DEADLINE_EXCEEDED, and says so in these words. */
async function exceeded(outcome: Outcome, words = /deadline/): Promise<void> {
  const error = await failureOf(outcome);
  expect(error.code).toBe(Code.DeadlineExceeded);
  expect(error.message).toMatch(words);
}

/**
 * Each of the events that `begin` starts must come within 50 ms of its deadline. A plain timer of this process is the
 * clock, and it takes five misses in a row to fail: what a busy machine adds does not count, what the code adds does.
 */
async function expectOnTime(timeoutMs: number, begin: () => Promise<unknown>[]): Promise<void> {
  const now = () => performance.now();
  let late: number[] = [];
  for (let attempt = 0; attempt < 5; attempt++) {
    const events = begin().map((event) => Promise.race([event, pause(timeoutMs + 1_000)]));
    const all = [pause(timeoutMs), ...events].map((event) => event.then(now));
    const times = await Promise.all(all);
    late = times.map((time) => Math.round(time - (times[0] ?? 0)));
    if (late.every((ms) => Math.abs(ms) < 50)) return;
  }
  expect.fail(`the events of a deadline of ${timeoutMs} ms came [${late.slice(1)}] ms late`);
}

describe.each(Object.entries(kinds))("a deadline, %s", (_, call) => {
  test("a deadline is on time at both ends: DEADLINE_EXCEEDED at the client, an aborted signal at the server", async () => {
    let signalled: Gate | undefined;
    await using world = await start({
      greeter: waiting(async ({ signal }) => {
        if (signalled === undefined) throw new ConnectError("connected", Code.Aborted);
        await aborted(signal);
        signalled.open();
      }),
    });
    // A first call connects, and has the code of both sides loaded.
    expect((await failureOf(call(world.greeter, {}))).code).toBe(Code.Aborted);

    await expectOnTime(250, () => {
      signalled = gate();
      return [
        exceeded(call(world.greeter, { timeoutMs: 250 }), /deadline of 2\d\d ms/),
        signalled.opened,
      ];
    });
  });

  test("a deadline is on time although the handler ignores it, even for a client that leaves the deadline to the server", async () => {
    const never = gate();
    await using world = await start({ greeter: waiting(() => never.opened) });
    const stock = createStockClient(Greeter, createGrpcTransport({ baseUrl: world.url }));
    await failureOf(call(stock, { headers: { "grpc-timeout": "100m" } }));

    // Stock Connect sends the header as it is, and then leaves the deadline to the server.
    const headers = { "grpc-timeout": "250m" };
    await expectOnTime(250, () => [exceeded(call(stock, { headers }))]);
    await until("the server holds no call", () => world.server.openCalls === 0);
    never.open();
    await world.server.close();
  });

  test("a deadline is on time although the server never answers", async () => {
    const server = createServer((request) => request.resume());
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    await using transport = createTransport({
      baseUrl: `http://127.0.0.1:${port}`,
      sessions,
    });
    const greeter = createClient(Greeter, transport);
    await failureOf(call(greeter, { timeoutMs: 200 }));

    await expectOnTime(250, () => [exceeded(call(greeter, { timeoutMs: 250 }))]);
    server.close();
  });
});

test("a deadline wakes a handler that waits for a request, and its signal has aborted by then", async () => {
  const woken = gate<{ error: unknown; abortedThen: boolean }>();
  await using world = await start({
    greeter: {
      async *chat(requests, { signal }) {
        try {
          for await (const { content } of requests) yield { reply: content };
        } catch (error) {
          woken.open({ error, abortedThen: signal.aborted });
          throw error;
        }
      },
    },
  });
  // Here too only the server has a clock: a client with one might cancel a moment earlier.
  const stock = createStockClient(Greeter, createGrpcTransport({ baseUrl: world.url }));
  const replies = stock.chat(onceThenSilence(), { headers: { "grpc-timeout": "250m" } });
  expect(await next(replies)).toMatchObject({ reply: "x" });
  expect((await failureOf(replies)).code).toBe(Code.DeadlineExceeded);
  const { error, abortedThen } = await woken.opened;
  expect(error).toMatchObject({ code: Code.DeadlineExceeded });
  expect(abortedThen).toBe(true);
  expect(world.logged).toEqual([]);
  await world.server.close();
});

async function* onceThenSilence() {
  yield { content: "x" };
  yield* silence();
}

test("a call is closed after its deadline: the loop has thrown, and sends reject with the same error", async () => {
  await using world = await start();
  const chat = world.greeter.chat({ timeoutMs: 500 });
  await chat.send({ content: "x" });
  expect(await next(chat)).toMatchObject({ reply: "Received: x" });
  const error = await failureOf(chat);
  expect(error.code).toBe(Code.DeadlineExceeded);
  expect(await failureOf(chat.send({}))).toBe(error);
  expect(await failureOf(chat.trailers)).toBe(error);
  expect(chat.state).toBe("closed");
});

test("a deadline ends a call whose client does not read and whose handler yields without end", async () => {
  const finished = gate();
  await using world = await start({
    greeter: {
      async *chat() {
        try {
          for (;;) yield { reply: "x".repeat(60_000) };
        } finally {
          finished.open();
        }
      },
    },
  });
  const chat = world.greeter.chat({ timeoutMs: 500 });
  await next(chat);
  await finished.opened;
  expect((await failureOf(chat)).code).toBe(Code.DeadlineExceeded);
});

test("a handler sees how much time is left", async () => {
  await using world = await start({
    greeter: {
      sayHello: (_, context) => ({ reply: String(context.timeoutMs()) }),
    },
  });
  const { reply } = await world.greeter.sayHello({}, { timeoutMs: 5_000 });
  expect(Number(reply)).toBeGreaterThan(4_000);
  expect(Number(reply)).toBeLessThanOrEqual(5_000);
  expect((await world.greeter.sayHello({})).reply).toBe("undefined");
});

test.each([2 ** 31 - 1, 2 ** 31, 2 ** 32 + 5, 1e12, 3.6e14, Number.MAX_SAFE_INTEGER])(
  "a timeout of %d ms is a long time, not an immediate deadline",
  async (timeoutMs) => {
    let left: number | undefined;
    await using world = await start({
      greeter: {
        async *chat(requests, context) {
          for await (const { content } of requests) yield { reply: content };
          left = context.timeoutMs();
        },
      },
    });
    const chat = world.greeter.chat({ timeoutMs });
    await chat.send({ content: "x" });
    expect(await next(chat)).toMatchObject({ reply: "x" });
    chat.closeSend();
    expect(await all(chat)).toEqual([]);
    // Eight digits of hours are the most that grpc-timeout can say.
    expect(left).toBeGreaterThan(Math.min(timeoutMs, 99_999_999 * 3_600_000) - 60_000);
  },
);

test("the transport's timeoutMs holds for each call that does not set it", async () => {
  await using world = await start({
    greeter: waiting(({ signal }) => aborted(signal)),
    transport: { timeoutMs: 100 },
  });
  for (const call of Object.values(kinds)) {
    const error = await failureOf(call(world.greeter, {}));
    expect(error.code).toBe(Code.DeadlineExceeded);
    expect(error.message).toMatch(/deadline of (100|\d\d) ms/);
  }
  const error = await failureOf(world.greeter.sayHello({}, { timeoutMs: 150 }));
  expect(error.message).toMatch(/deadline of 1\d\d ms/);

  const chat = world.greeter.chat({ timeoutMs: 0 });
  await chat.send({});
  await failureOf(world.greeter.sayHello({}, { timeoutMs: 150 }));
  expect(chat.state).not.toBe("closed");
  chat.cancel();
});

test("a deadline also holds while the client connects", async () => {
  await using world = await start({ linked: true });
  world.link.stall();
  await expectOnTime(100, () => [exceeded(world.greeter.sayHello({}, { timeoutMs: 100 }))]);
});

test("a server's maxTimeoutMs refuses a longer deadline, and names both", async () => {
  await using world = await start({ server: { maxTimeoutMs: 1_000 } });
  const error = await failureOf(world.greeter.sayHello({}, { timeoutMs: 2_000 }));
  expect(error.code).toBe(Code.InvalidArgument);
  expect(error.message).toMatch(/\d+ ms is over maxTimeoutMs 1000/);
  await world.greeter.sayHello({}, { timeoutMs: 900 });
});
