/** What observers of a server and of a transport are told of calls. */
import { createClient as createStockClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, ConnectError, type Interceptor } from "../src/index.ts";
import type { HandlerContext } from "../src/server.ts";
import { aborted, gate, until } from "./support/gate.ts";
import { sessions } from "./support/mode.ts";
import { calls, echo, three } from "./support/observed-calls.ts";
import { all, failureOf, next } from "./support/read.ts";
import { clientRecorder, recorders } from "./support/recorder.ts";
import { start } from "./support/world.ts";

describe("a call that succeeds", () => {
  test.each(Object.entries(calls))(
    "of the method %s starts and ends once at each end, with its messages and times",
    async (name, [requests, responses, call]) => {
      const { server, client, setup } = recorders();
      await using world = await start({ greeter: echo, ...setup });
      await call(world);
      await until("it has ended at the server", () => server.ends.length === 1);
      const method = Greeter.methods.find((method) => method.name === name);
      expect(client.of("callStarted")).toEqual([
        { method, target: new URL(world.url).host, timeoutMs: undefined },
      ]);
      const [served] = server.of("callStarted");
      expect(served).toMatchObject({ method, protocol: "grpc", timeoutMs: undefined });
      expect(served?.caller).toMatchObject({ identity: undefined, peer: { address: "127.0.0.1" } });
      expect(served?.header.get("te")).toBe("trailers");
      const sent = { messages: requests, bytes: expect.any(Number) };
      const received = { messages: responses, bytes: expect.any(Number) };
      expect(client.end).toMatchObject({ error: undefined, sent, received });
      expect(client.end).toMatchObject({ attempts: 1, resumes: 0 });
      expect(server.end).toMatchObject({ error: undefined, resumes: 0 });
      expect(server.end.received).toEqual(client.end.sent);
      expect(server.end.sent).toEqual(client.end.received);
      expect(client.end.sent.bytes).toBeGreaterThan(0);
      const { openedMs, durationMs } = client.end;
      expect(openedMs).toBeGreaterThanOrEqual(0);
      expect(durationMs).toBeGreaterThanOrEqual(openedMs as number);
      expect(server.end.durationMs).toBeGreaterThanOrEqual(0);
      expect(server.end.closedMs).toBeGreaterThanOrEqual(server.end.durationMs);
    },
  );

  test("of a client of Connect on a Hawser transport is told too", async () => {
    const { server, client, setup } = recorders();
    await using world = await start({ greeter: echo, ...setup });
    const stock = createStockClient(Greeter, world.transport);
    await stock.sayHello({ content: "a" });
    expect(await all(stock.chat(three()))).toHaveLength(3);
    await until("both have ended at the server", () => server.ends.length === 2);
    expect(client.ends.map(({ call, end }) => [call.method.name, end.received.messages])).toEqual([
      ["SayHello", 1],
      ["Chat", 3],
    ]);
  });

  test("that a client's interceptor answers itself has no attempt, and no start at the server", async () => {
    const { server, client, setup } = recorders();
    const answering: Interceptor = () => async (request) => {
      if (!request.stream) throw new Error("this is for streaming calls");
      const { service, method } = request;
      const [header, trailer] = [new Headers(), new Headers()];
      return { stream: true, service, method, header, trailer, message: nothing() };
    };
    async function* nothing(): AsyncGenerator<never> {}
    setup.transport = { ...setup.transport, interceptors: [answering] } as typeof setup.transport;
    await using world = await start({ greeter: echo, ...setup });
    expect(await all(world.greeter.subscribe({ count: 3 }))).toEqual([]);
    expect(client.end).toMatchObject({ error: undefined, attempts: 0, openedMs: undefined });
    expect(server.of("callStarted")).toEqual([]);
  });
});

describe("a call that fails", () => {
  test("has the error of its handler at both ends", async () => {
    const { server, client, setup } = recorders();
    const sayHello = () => {
      throw new ConnectError("nobody of that name", Code.NotFound);
    };
    await using world = await start({ greeter: { sayHello }, ...setup });
    const error = await failureOf(world.greeter.sayHello({}));
    await until("it has ended at the server", () => server.ends.length === 1);
    expect(client.end.error).toBe(error);
    expect(server.end.error?.code).toBe(Code.NotFound);
    expect(server.of("handlerFailed")).toEqual([]);
  });

  test("because of a bug of its handler is INTERNAL, and the observer gets what was thrown", async () => {
    const { server, client, setup } = recorders();
    const bug = new Error("a bug");
    const chat = async function* () {
      yield { reply: "one" };
      throw bug;
    };
    await using world = await start({ greeter: { chat }, ...setup });
    await failureOf(world.greeter.chat());
    await until("it has ended at the server", () => server.ends.length === 1);
    expect(server.of("handlerFailed")).toEqual([{ method: Greeter.method.chat, error: bug }]);
    for (const { end } of [...server.ends, ...client.ends]) {
      expect(end.error?.code).toBe(Code.Internal);
    }
  });

  test("at its deadline is told as that at both ends, before its end", async () => {
    const { server, client, setup } = recorders();
    const sayHello = async (_: object, { signal }: HandlerContext) => {
      await aborted(signal);
      return {};
    };
    await using world = await start({ greeter: { sayHello }, ...setup });
    await failureOf(world.greeter.sayHello({}, { timeoutMs: 50 }));
    await until("it has ended at the server", () => server.ends.length === 1);
    const [called] = client.of("callStarted");
    expect(called?.timeoutMs).toBe(50);
    expect(client.of("deadlineExceeded")).toEqual([{ call: called, timeoutMs: 50 }]);
    expect(client.end.error?.code).toBe(Code.DeadlineExceeded);
    const [served] = server.of("callStarted");
    expect(served?.timeoutMs).toBeGreaterThan(40);
    // The client's cancel may come before the server's own timer.
    const isExpired = server.end.error?.code === Code.DeadlineExceeded;
    expect(server.of("deadlineExceeded")).toHaveLength(isExpired ? 1 : 0);
  });

  test("with DEADLINE_EXCEEDED of another call, which its handler made, has not passed its own", async () => {
    const { server, client, setup } = recorders();
    const sayHello = () => {
      throw new ConnectError("of another call", Code.DeadlineExceeded);
    };
    await using world = await start({ greeter: { sayHello }, ...setup });
    await failureOf(world.greeter.sayHello({}, { timeoutMs: 60_000 }));
    await until("it has ended at the server", () => server.ends.length === 1);
    expect(server.end.error?.code).toBe(Code.DeadlineExceeded);
    expect([...server.of("deadlineExceeded"), ...client.of("deadlineExceeded")]).toEqual([]);
  });

  test("because its client cancels it is CANCELED at both ends", async () => {
    const { server, client, setup } = recorders();
    await using world = await start({ greeter: echo, ...setup });
    const chat = world.greeter.chat();
    await chat.send({ content: "one" });
    await next(chat);
    chat.cancel();
    await until("it has ended at the server", () => server.ends.length === 1);
    for (const { end } of [...server.ends, ...client.ends]) {
      expect(end.error?.code).toBe(Code.Canceled);
      expect([end.sent.messages, end.received.messages]).toEqual([1, 1]);
    }
  });

  test("before its headers are known has no attempt", async () => {
    const client = clientRecorder();
    const pending = gate<HeadersInit>();
    await using world = await start({
      transport: { observe: client.observer, headers: () => pending.opened },
    });
    await failureOf(world.greeter.sayHello({}, { timeoutMs: 20 }));
    await failureOf(world.greeter.chat({ timeoutMs: 20 }));
    pending.open({});
    expect(client.ends.map(({ end }) => [end.attempts, end.openedMs])).toEqual([
      [0, undefined],
      [0, undefined],
    ]);
    expect(client.of("deadlineExceeded")).toHaveLength(2);
  });

  test("because the server does not serve it has no start there", async () => {
    const { server, client, setup } = recorders();
    setup.server = {
      ...setup.server,
      authenticate: () => {
        throw new ConnectError("who are you?", Code.Unauthenticated);
      },
    } as typeof setup.server;
    await using world = await start({ ...setup });
    await failureOf(world.greeter.sayHello({}));
    expect(client.end.error?.code).toBe(Code.Unauthenticated);
    expect(server.of("callStarted")).toEqual([]);
  });
});

describe("the headers of a client's observer", () => {
  /** The headers that the handlers of all kinds got, by call. */
  async function headersOf(
    headers: HeadersInit,
    options: { headers?: HeadersInit | (() => HeadersInit) },
  ) {
    const seen: Headers[] = [];
    const warnings: string[] = [];
    const note = (context: HandlerContext) => void seen.push(context.requestHeader);
    await using world = await start({
      greeter: {
        sayHello: (_, context) => {
          note(context);
          return {};
        },
        async *chat(_, context) {
          note(context);
          yield {};
        },
      },
      transport: {
        observe: clientRecorder(() => ({ headers })).observer,
        logger: { warn: (text) => void warnings.push(text) },
      },
    });
    await world.greeter.sayHello({}, options);
    await all(world.greeter.chat(options));
    return { seen, warnings };
  }

  test.each([
    ["none", {}],
    ["an object", { headers: { traceparent: "theirs", other: "1" } }],
    ["a function", { headers: () => ({ traceparent: "theirs", other: "1" }) }],
  ])("are sent by each call, in place of the same ones of the call: %s", async (_, options) => {
    const { seen, warnings } = await headersOf({ traceparent: "ours" }, options);
    const other = "headers" in options ? "1" : null;
    expect(seen.map((header) => [header.get("traceparent"), header.get("other")])).toEqual([
      ["ours", other],
      ["ours", other],
    ]);
    expect(warnings).toEqual([]);
  });

  test.each([
    ["gRPC reserves", { "grpc-timeout": "1S" }],
    ["HTTP does not know", { "not a name": "1" }],
  ])("are left out with a warning, once a minute, if %s them", async (_, headers) => {
    const { seen, warnings } = await headersOf(headers, { headers: { other: "1" } });
    expect(seen.map((header) => header.get("other"))).toEqual(["1", "1"]);
    expect(warnings).toEqual(["headers of observe failed; nothing else changes:"]);
  });
});

/** How often an observer was called by a chat with so many messages in both directions. */
async function timesTold(messages: number): Promise<{ server: number; client: number }> {
  const { server, client, setup } = recorders();
  await using world = await start({ greeter: echo, ...setup });
  async function* requests() {
    for (let n = 0; n < messages; n++) yield { content: `${n}` };
  }
  expect(await all(world.greeter.chat(requests()))).toHaveLength(messages);
  await until("it has ended at the server", () => server.ends.length === 1);
  expect(server.end.received.messages).toBe(messages);
  return { server: server.names.length, client: client.names.length };
}

test("an observer is told as often of a call with 1,000 messages as of one with a single message", async () => {
  const once = await timesTold(1);
  expect(await timesTold(1000)).toEqual(once);
  const ofSession = sessions ? 1 : 0;
  // The connection, the session, the start and the end.
  expect(once).toEqual({ server: 3 + ofSession, client: 3 + ofSession });
});

test("an observer that throws in all its methods harms no call, and is logged once a minute", async () => {
  const bad = () => {
    throw new Error("the observer is broken");
  };
  const broken = <Observer extends object>(names: string[], more: object) =>
    ({ ...Object.fromEntries(names.map((name) => [name, bad])), ...more }) as Observer;
  const events = Object.keys(recorders().server.observer);
  const warnings: unknown[][] = [];
  const callStarted = () => ({ run: bad, ended: bad });
  await using world = await start({
    greeter: echo,
    server: { observe: broken(events, { callStarted }) },
    transport: {
      observe: broken(events, {}),
      logger: { warn: (...words) => void warnings.push(words) },
    },
  });
  expect(await world.greeter.sayHello({ content: "1" })).toMatchObject({ reply: "1" });
  expect(await all(world.greeter.chat(three()))).toHaveLength(3);
  await failureOf(world.greeter.chat({ signal: AbortSignal.abort() }));
  const error = new Error("the observer is broken");
  expect(warnings).toEqual([["callStarted of observe failed; nothing else changes:", error]]);
  expect(world.logged).toEqual([
    ["connectionOpened of observe failed; nothing else changes:", error],
  ]);
});

test("an observer whose promises reject harms nothing either", async () => {
  const rejecting = async () => {
    throw new Error("late");
  };
  await using world = await start({
    greeter: echo,
    server: {
      observe: { connectionOpened: rejecting, callStarted: () => ({ ended: rejecting }) },
    },
  });
  await world.greeter.sayHello({ content: "1" });
  await until("it was logged", () => world.logged.length > 0);
  expect(world.logged).toEqual([
    ["connectionOpened of observe failed; nothing else changes:", new Error("late")],
  ]);
});
