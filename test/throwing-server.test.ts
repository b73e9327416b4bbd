/** Functions and iterables of an application may throw, at any moment: the call ends at both ends, and the server continues. */
import { createClient as createStockClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { greeter as example } from "../examples/greeter/handlers.ts";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, ConnectError, createTransport, type Interceptor } from "../src/index.ts";
import { createServer } from "../src/server.ts";
import { until } from "./support/gate.ts";
import { start } from "./support/world.ts";

const thrown: [what: string, value: unknown, code: Code, text: string][] = [
  ["an Error", new Error("a secret"), Code.Internal, "internal error"],
  ["a ConnectError", new ConnectError("no", Code.NotFound), Code.NotFound, "no"],
  ["a text", "a secret", Code.Internal, "internal error"],
  ["nothing", undefined, Code.Internal, "internal error"],
];

const transports: [name: string, (baseUrl: string) => Transport & { close?(): Promise<void> }][] = [
  ["Hawser, with sessions", (baseUrl) => createTransport({ baseUrl })],
  ["Hawser, without", (baseUrl) => createTransport({ baseUrl, sessions: false })],
  ["stock gRPC-Web", (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "2" })],
  ["stock Connect", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" })],
];

async function* contents() {
  yield { content: "one" };
  yield { content: "two" };
}

async function readAll(messages: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of messages);
}

type Client = ReturnType<typeof createStockClient<typeof Greeter>>;

const kinds: [kind: string, call: (client: Client) => Promise<unknown>][] = [
  ["unary", (client) => client.sayHello({})],
  ["client-streaming", (client) => client.collect(contents())],
  ["server-streaming", (client) => readAll(client.subscribe({ count: 2, interval: {} }))],
  ["bidirectional", (client) => readAll(client.chat(contents()))],
];

/** Passes the messages on, and throws at a moment. */
function passing(moment: "first" | "second" | "end" | "early", fail: () => never) {
  return async function* <T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
    if (moment === "early") fail();
    let count = 0;
    for await (const message of messages) {
      if (++count === 1 && moment === "first") fail();
      if (count === 2 && moment === "second") fail();
      yield message;
    }
    if (moment === "end") fail();
  };
}

describe.each(transports)("over %s", (_, transportTo) => {
  describe.each(thrown)("%s", (_, value, code, text) => {
    const fail = (): never => {
      throw value;
    };

    const interceptors: [moment: string, Interceptor][] = [
      ["immediately", () => fail],
      ["before it calls on", () => async () => fail()],
      [
        "after the handler",
        (next) => async (request) => {
          await next(request);
          return fail();
        },
      ],
    ];
    test.each(interceptors)(
      "the error that an interceptor throws %s ends every kind of call",
      async (_, interceptor) => {
        await using world = await start({ server: { interceptors: [interceptor] } });
        const transport = transportTo(world.url);
        const client = createStockClient(Greeter, transport);
        for (const [kind, call] of kinds) {
          const before = world.logged.length;
          const error = ConnectError.from(await call(client).catch((error) => error));
          expect([kind, error.code, error.rawMessage]).toEqual([kind, code, text]);
          await until("the call has ended", () => world.server.openCalls === 0);
          const logged = world.logged.slice(before).map(([, error]) => error);
          expect([kind, logged]).toEqual([kind, value instanceof ConnectError ? [] : [value]]);
        }
        await transport.close?.();
      },
    );

    test.each(["early", "first", "second", "end"] as const)(
      "the error that an interceptor's messages throw (%s) ends the call, both ways",
      async (moment) => {
        const around = passing(moment, fail);
        const requests: Interceptor = (next) => (request) =>
          next(request.stream ? { ...request, message: around(request.message) } : request);
        const responses: Interceptor = (next) => async (request) => {
          const response = await next(request);
          return response.stream ? { ...response, message: around(response.message) } : response;
        };
        for (const interceptor of [requests, responses]) {
          await using world = await start({ server: { interceptors: [interceptor] } });
          const transport = transportTo(world.url);
          const client = createStockClient(Greeter, transport);
          const error = await readAll(client.chat(contents())).catch((error) => error);
          expect([error.code, error.rawMessage]).toEqual([code, text]);
          await until("the call has ended", () => world.server.openCalls === 0);
          await transport.close?.();
        }
      },
    );

    test("thrown by an interceptor's messages when their call is cancelled harms no other call", async () => {
      let left = 0;
      const around: Interceptor = (next) => async (request) => {
        const response = await next(request);
        if (!response.stream) return response;
        const { message } = response;
        async function* leaving() {
          try {
            yield* message;
          } finally {
            left++;
            fail();
          }
        }
        return { ...response, message: leaving() } as typeof response;
      };
      await using world = await start({ server: { interceptors: [around] } });
      const transport = transportTo(world.url);
      const client = createStockClient(Greeter, transport);
      const cancelling = new AbortController();
      const options = { signal: cancelling.signal };
      const reading = (async () => {
        for await (const _ of client.subscribe({ interval: {} }, options)) cancelling.abort();
      })();
      expect(await reading.catch(({ code }) => code)).toBe(Code.Canceled);
      await until("it was left", () => left === 1);
      await until("the call has ended", () => world.server.openCalls === 0);
      expect((await client.sayHello({ content: "you" })).reply).toBe("Hello, you");
      await transport.close?.();
    });
  });
});

describe("a logger that fails", () => {
  const bug = new Error("the handler's bug");
  const broken = new Error("the logger's bug");

  const failing: [how: string, () => unknown][] = [
    [
      "immediately",
      () => {
        throw broken;
      },
    ],
    ["later", () => Promise.reject(broken)],
  ];

  const ways = failing.flatMap(([how, log]) =>
    transports.map(([name, transportTo]) => [how, name, log, transportTo] as const),
  );
  test.each(ways)(
    "%s ends no call and no process, over %s",
    async (_how, _name, log, transportTo) => {
      const logger = { error: log };
      const gone: unknown[] = [];
      await using server = createServer({
        logger,
        routes: (router) =>
          router.service(Greeter, {
            ...example,
            async collect() {
              throw bug;
            },
            async *chat(requests, { signal }) {
              try {
                for await (const { content } of requests) yield { reply: content };
              } finally {
                gone.push(signal.aborted);
                if (signal.aborted) fail();
              }
            },
          }),
      });
      const { url } = await server.listen({ port: 0 });
      const transport = transportTo(url);
      const client = createStockClient(Greeter, transport);
      const error = await client.collect(contents()).catch((error) => error);
      expect([error.code, error.rawMessage]).toEqual([Code.Internal, "internal error"]);

      const cancelling = new AbortController();
      const endless = async function* () {
        yield { content: "one" };
        await new Promise(() => {});
      };
      const reading = (async () => {
        const options = { signal: cancelling.signal };
        for await (const _ of client.chat(endless(), options)) cancelling.abort();
      })();
      await expect(reading).rejects.toThrow();
      await until("the handler has ended", () => gone.length === 1);
      await until("the call has ended", () => server.openCalls === 0);
      expect((await client.sayHello({ content: "you" })).reply).toBe("Hello, you");
      await transport.close?.();
    },
  );

  function fail(): never {
    throw bug;
  }
});
