import { createClient as createStockClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import {
  type Authenticate,
  type Caller,
  Code,
  ConnectError,
  caller,
  createContextKey,
  createContextValues,
  createServer,
  type HandlerContext,
  type Interceptor,
} from "../src/server.ts";
import { aborted, gate, stillAt, until } from "./support/gate.ts";
import { memoryInUse } from "./support/memory.ts";
import { all, failureOf, next } from "./support/read.ts";
import { protocols } from "./support/stock-protocols.ts";
import { message, request, watchedServer } from "./support/watched-server.ts";
import { Http2Code, rst } from "./support/wire.ts";
import { type Setup, start } from "./support/world.ts";

const MiB = 2 ** 20;

const stranger = new ConnectError("who are you?", Code.Unauthenticated, { "x-realm": "test" });

/** The identity is the token. */
const byToken: Authenticate = ({ header }) => {
  const [, token] = header.get("authorization")?.split(" ") ?? [];
  if (token === undefined) throw stranger;
  return { identity: token };
};

const later: Authenticate = async (request) => {
  await new Promise((resolve) => setImmediate(resolve));
  return byToken(request);
};

const ada = { headers: { authorization: "Bearer ada" } };

/** Chat returns the identities of its callers; the other handlers too. */
function identities(server: Setup["server"]): Setup {
  const who = (context: HandlerContext) => ({ reply: String(caller(context).identity) });
  return {
    server: { ...server },
    greeter: {
      sayHello: (_, context) => who(context),
      async *subscribe(_, context) {
        yield { content: who(context).reply };
      },
      async *chat(requests, context) {
        for await (const _ of requests) yield who(context);
      },
    },
  };
}

async function* two() {
  yield { content: "one" };
  yield { content: "two" };
}

describe.each([
  ["immediately", byToken],
  ["later", later],
])("authenticate that answers %s", (_, authenticate) => {
  test.each(Object.entries(protocols))("%s: the handler knows its caller", async (name, to) => {
    await using world = await start(identities({ authenticate }));
    const stock = createStockClient(Greeter, to(world.url));
    expect(await stock.sayHello({}, ada)).toMatchObject({ reply: "ada" });
    expect(await all(stock.subscribe({}, ada))).toMatchObject([{ content: "ada" }]);
    if (!name.includes("HTTP/1.1")) {
      expect(await all(stock.chat(two(), ada))).toMatchObject([{ reply: "ada" }, { reply: "ada" }]);
    }
    await world.server.close();
  });

  test.each(Object.entries(protocols))(
    "%s: a stranger gets the error, and no handler runs",
    async (_, to) => {
      let runs = 0;
      await using world = await start({
        server: { authenticate },
        greeter: {
          sayHello: () => ({ reply: `${runs++}` }),
          async *subscribe() {
            yield { content: `${runs++}` };
          },
        },
      });
      const stock = createStockClient(Greeter, to(world.url));
      const calls = [() => stock.sayHello({}), () => all(stock.subscribe({}))];
      for (const call of calls) {
        const error = await failureOf(call());
        expect(error).toMatchObject({ code: Code.Unauthenticated, rawMessage: "who are you?" });
        expect(error.metadata.get("x-realm")).toBe("test");
      }
      expect(runs).toBe(0);
      expect(world.logged).toEqual([]);
      await world.server.close();
    },
  );

  test("Hawser's client: calls of each kind, with sessions or without", async () => {
    await using world = await start(identities({ authenticate }));
    expect(await world.greeter.sayHello({}, ada)).toMatchObject({ reply: "ada" });
    expect(await all(world.greeter.subscribe({}, ada))).toMatchObject([{ content: "ada" }]);
    const chat = world.greeter.chat(ada);
    await chat.send({ content: "one" });
    chat.closeSend();
    expect(await all(chat)).toMatchObject([{ reply: "ada" }]);
    const refused = await failureOf(world.greeter.chat());
    expect(refused).toMatchObject({ code: Code.Unauthenticated, rawMessage: "who are you?" });
  });
});

test("clients of sessions need no credentials to ask whether there are sessions", async () => {
  const asked: string[] = [];
  await using world = await start({
    ...identities({
      authenticate: (request) => {
        asked.push(request.method.name);
        return byToken(request);
      },
    }),
    transport: { sessions: true },
  });
  const chat = world.greeter.chat(ada);
  await chat.send({ content: "one" });
  await next(chat);
  expect(chat.resumable).toBe(true);
  expect(asked).toEqual(["Chat"]);
  chat.closeSend();
  await all(chat);
});

test("an interceptor sees the caller, and so does the handler behind one that changes the context values", async () => {
  const seen: (string | undefined)[] = [];
  const note = createContextKey("nothing");
  const interceptor: Interceptor = (next) => (request) => {
    seen.push(caller(request).identity);
    request.contextValues.set(note, "changed");
    return next(request);
  };
  await using world = await start({
    server: { authenticate: byToken, interceptors: [interceptor] },
    greeter: {
      sayHello: (_, context) => ({
        reply: `${caller(context).identity} ${context.values.get(note)}`,
      }),
    },
  });
  expect(await world.greeter.sayHello({}, ada)).toMatchObject({ reply: "ada changed" });
  for (const to of Object.values(protocols)) {
    const stock = createStockClient(Greeter, to(world.url));
    expect(await stock.sayHello({}, ada)).toMatchObject({ reply: "ada changed" });
  }
  expect(new Set(seen)).toEqual(new Set(["ada"]));
});

test("the values that authenticate returns reach the handler, and no call changes those of another", async () => {
  const role = createContextKey("none");
  const team = createContextKey("none");
  const shared = createContextValues().set(role, "admin").set(team, "blue");
  await using world = await start({
    server: { authenticate: () => ({ identity: "ada", values: shared }) },
    greeter: {
      sayHello({ content }, { values }) {
        const before = `${values.get(role)} ${values.get(team)}`;
        values.set(role, content).delete(team);
        return { reply: `${before}, then ${values.get(role)} ${values.get(team)}` };
      },
    },
  });
  const stocks = Object.values(protocols).map((to) => createStockClient(Greeter, to(world.url)));
  for (const client of [world.greeter, ...stocks, world.greeter]) {
    const { reply } = await client.sayHello({ content: "guest" });
    expect(reply).toBe("admin blue, then guest none");
  }
  expect(shared.get(role)).toBe("admin");
});

test("without authenticate there is no identity, but the client's address", async () => {
  const seen: Caller[] = [];
  await using world = await start({
    greeter: {
      sayHello(_, context) {
        seen.push(caller(context));
        return {};
      },
    },
  });
  await world.greeter.sayHello({});
  for (const to of Object.values(protocols)) {
    await createStockClient(Greeter, to(world.url)).sayHello({});
  }
  expect(seen).toHaveLength(8);
  for (const { identity, peer } of seen) {
    expect(identity).toBeUndefined();
    expect(peer).toEqual({
      ...{ address: "127.0.0.1", isEncrypted: false, certificate: undefined, proxy: undefined },
    });
  }
});

test("caller() of a context that is not of a Hawser server says so", () => {
  const values = createContextValues();
  expect(() => caller({ values })).toThrow("this is no call of a Hawser server");
  expect(() => caller(undefined as never)).toThrow("caller: call is missing: an object is needed");
});

describe("an authenticate with a fault", () => {
  test("an error that is no ConnectError: its caller gets UNAUTHENTICATED without the text, and the log once a minute", async () => {
    await using world = await start({
      server: {
        authenticate: () => {
          throw new TypeError("the key is swordfish");
        },
      },
    });
    const stock = Object.values(protocols).map((to) => createStockClient(Greeter, to(world.url)));
    for (const client of [world.greeter, ...stock]) {
      expect(await failureOf(client.sayHello({}))).toMatchObject({
        ...{ code: Code.Unauthenticated, rawMessage: "the caller could not be authenticated" },
      });
    }
    expect(world.logged).toEqual([
      [expect.stringContaining("authenticate failed"), expect.any(TypeError)],
    ]);
  });

  test.each([
    ["no identity", {}, "an identity that is undefined"],
    ["an empty identity", { identity: "" }, 'an identity that is ""'],
    ["nothing", undefined, "an identity that is undefined"],
    ["a number as time", { identity: "ada", expiresAt: 5 }, "an expiresAt that is 5"],
    ["a wrong date", { identity: "ada", expiresAt: new Date("x") }, "an expiresAt that is"],
  ])("%s: INTERNAL for the client, and the log says why", async (_, answer, why) => {
    await using world = await start({ server: { authenticate: () => answer as never } });
    const error = await failureOf(world.greeter.sayHello({}));
    expect(error).toMatchObject({ code: Code.Internal, rawMessage: "internal error" });
    expect(world.logged).toEqual([[expect.stringContaining(`authenticate returned ${why}`)]]);
  });
});

describe("while authenticate waits", () => {
  /** A server whose authenticate waits for a gate. */
  function waiting() {
    const known = gate();
    let asked = 0;
    const authenticate: Authenticate = async (request) => {
      asked++;
      await known.opened;
      return byToken(request);
    };
    return { known, authenticate, asked: () => asked };
  }

  test("the call is open, and its end closes it", async () => {
    const { known, authenticate, asked } = waiting();
    await using world = await start({ server: { authenticate } });
    const abort = new AbortController();
    const call = failureOf(world.greeter.sayHello({}, { ...ada, signal: abort.signal }));
    await until("the caller is asked for", () => asked() === 1);
    expect(world.server.openCalls).toBe(1);
    abort.abort();
    await call;
    await until("no call is open", () => world.server.openCalls === 0);
    known.open();
  });

  test("at most a window of the body waits", async () => {
    const { known, authenticate, asked } = waiting();
    await using world = await watchedServer({ authenticate });
    const peer = await world.dial();
    const used = await memoryInUse();
    peer.write(request(1, "Collect", { authorization: "Bearer ada" }));
    let sent = 0;
    const offer = message("x".repeat(MiB));
    const flooded = (async () => {
      for (; ; sent++) await peer.flow(1, offer);
    })();
    await until("the caller is asked for", () => asked() === 1);
    await stillAt(() => sent);
    expect(sent).toBe(0);
    expect((await memoryInUse()) - used).toBeLessThan(4 * MiB);
    peer.write(rst(1, Http2Code.CANCEL));
    await world.idle();
    await peer[Symbol.asyncDispose]();
    await expect(flooded).rejects.toThrow("the connection ended");
    known.open();
  });

  test.each(Object.entries(protocols))("%s: a deadline ends the call", async (_, to) => {
    const { known, authenticate } = waiting();
    await using world = await start({ server: { authenticate } });
    const stock = createStockClient(Greeter, to(world.url));
    const error = await failureOf(stock.sayHello({}, { ...ada, timeoutMs: 50 }));
    expect(error.code).toBe(Code.DeadlineExceeded);
    await until("no call is open", () => world.server.openCalls === 0);
    known.open();
  });

  test("close() waits for the call, and ends it with UNAVAILABLE when its grace is over", async () => {
    const { known, authenticate, asked } = waiting();
    await using world = await start({ server: { authenticate } });
    const call = failureOf(world.greeter.subscribe({}, ada));
    await until("the caller is asked for", () => asked() === 1);
    await world.server.close({ graceMs: 50 });
    expect(await call).toMatchObject({ code: Code.Unavailable });
    known.open();
  });
});

describe("credentials that expire", () => {
  const soon: Authenticate = ({ header }) => ({
    identity: String(header.get("authorization")),
    expiresAt: new Date(Date.now() + 150),
  });

  const expired = {
    code: Code.Unauthenticated,
    rawMessage: expect.stringContaining("credentials have expired"),
  };

  test.each(Object.entries(protocols))(
    "%s: open calls end with UNAUTHENTICATED, and their handlers are told",
    async (_, to) => {
      const signals: AbortSignal[] = [];
      await using world = await start({
        server: { authenticate: soon },
        greeter: {
          async sayHello(_, { signal }) {
            signals.push(signal);
            await aborted(signal);
            return {};
          },
          async *subscribe(_, { signal }) {
            signals.push(signal);
            yield { content: "first" };
            await aborted(signal);
          },
        },
      });
      const stock = createStockClient(Greeter, to(world.url));
      const streamed = stock.subscribe({});
      const calls = [failureOf(stock.sayHello({})), failureOf(streamed)];
      for (const call of calls) expect(await call).toMatchObject(expired);
      expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
      expect(world.logged).toEqual([]);
    },
  );

  test("credentials that have expired already are refused", async () => {
    await using world = await start({
      server: { authenticate: () => ({ identity: "ada", expiresAt: new Date(Date.now() - 1) }) },
    });
    expect(await failureOf(world.greeter.sayHello({}))).toMatchObject(expired);
  });

  test("a call that ends before leaves no timer", async () => {
    await using world = await start({
      server: {
        authenticate: () => ({ identity: "ada", expiresAt: new Date(Date.now() + 3_600_000) }),
      },
    });
    expect(await world.greeter.sayHello({ content: "you" })).toMatchObject({ reply: "Hello, you" });
    expect(await all(world.greeter.subscribe({ count: 2, interval: {} }))).toHaveLength(2);
    for (const to of Object.values(protocols)) {
      const stock = createStockClient(Greeter, to(world.url));
      expect(await all(stock.subscribe({ count: 2, interval: {} }))).toHaveLength(2);
    }
  });
});

test("a route with Connect's requestGate is refused: gRPC calls would not pass it", () => {
  const routes = (router: Parameters<Parameters<typeof createServer>[0]["routes"]>[0]) =>
    router.service(Greeter, {}, { requestGate: () => {} });
  expect(() => createServer({ routes })).toThrow("authenticate of createServer");
});
