import { once } from "node:events";
import * as http from "node:http";
import * as http2 from "node:http2";
import { connect } from "node:net";
import { createClient as createStockClient, ConnectError as StockError } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { greeter } from "../examples/greeter/handlers.ts";
import { Greeter, MessageRequestSchema } from "../gen/example/greeter_pb.js";
import { Code, ConnectError } from "../src/index.ts";
import { census } from "./support/census.ts";
import { aborted, gate, until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { protocols } from "./support/stock-protocols.ts";
import { certs } from "./support/tls.ts";
import { start } from "./support/world.ts";

const tls = { server: { tls: certs.server }, transport: { tls: { ca: certs.ca } } };

async function* contents(...texts: string[]) {
  for (const content of texts) yield { content };
}

const scheme = { "in cleartext": {}, "with TLS": tls };

describe.each(Object.entries(scheme))("one port %s", (_, setup) => {
  test.each(Object.entries(protocols))(
    "one port serves every kind of call over %s",
    async (protocol, transportTo) => {
      await using world = await start(setup);
      const stock = createStockClient(Greeter, transportTo(world.url));
      expect((await stock.sayHello({ content: "you" })).reply).toBe("Hello, you");
      expect(await all(stock.subscribe({ count: 3, interval: {} }))).toHaveLength(3);
      expect(await stock.collect(contents("ab", "c"))).toMatchObject({ count: 2, bytes: 3n });
      if (!protocol.includes("HTTP/1.1")) {
        expect(await all(stock.chat(contents("a", "b")))).toMatchObject([
          { reply: "Received: a" },
          { reply: "Received: b" },
        ]);
      }
      await world.server.close();
    },
  );

  test("one port serves all protocols, and our own client, at the same time", async () => {
    await using world = await start(setup);
    const stock = Object.values(protocols).map((to) => createStockClient(Greeter, to(world.url)));
    const answers = Array.from({ length: 10 }, () =>
      [world.greeter, ...stock].map((client) => client.sayHello({ content: "you" })),
    );
    for (const { reply } of await Promise.all(answers.flat())) expect(reply).toBe("Hello, you");
    await world.server.close();
  });
});

describe.each(Object.entries(protocols))("%s", (_, transportTo) => {
  test("errors arrive with code, message and details; another error is INTERNAL and logged once", async () => {
    await using world = await start({
      greeter: {
        sayHello({ content }) {
          if (content === "bug") throw new Error("the password is swordfish");
          throw new ConnectError("no such room", Code.NotFound, { "x-room": "blue" }, [
            { desc: MessageRequestSchema, value: { content: "blue" } },
          ]);
        },
      },
    });
    const stock = createStockClient(Greeter, transportTo(world.url));
    const error = await stock.sayHello({}).catch(StockError.from);
    expect(error).toMatchObject({ code: Code.NotFound, rawMessage: "no such room" });
    expect((error as StockError).metadata.get("x-room")).toBe("blue");
    expect((error as StockError).findDetails(MessageRequestSchema)).toMatchObject([
      { content: "blue" },
    ]);
    expect(world.logged).toEqual([]);
    const bug = await stock.sayHello({ content: "bug" }).catch(StockError.from);
    expect(bug).toMatchObject({ code: Code.Internal, rawMessage: "internal error" });
    expect(world.logged).toHaveLength(1);
    await world.server.close();
  });

  test("a status code that no protocol has is UNKNOWN, with its message", async () => {
    await using world = await start({
      greeter: {
        sayHello() {
          throw new ConnectError("as it is", 17 as Code);
        },
        async *subscribe() {
          yield {};
          throw new ConnectError("as it is", -1 as Code);
        },
      },
    });
    const stock = createStockClient(Greeter, transportTo(world.url));
    const expected = { code: Code.Unknown, rawMessage: "as it is" };
    expect(await stock.sayHello({}).catch(StockError.from)).toMatchObject(expected);
    const pushed = all(stock.subscribe({})).catch(StockError.from);
    expect(await pushed).toMatchObject(expected);
    await world.server.close();
  });

  test("a response that is not a message is INTERNAL, and logged with its cause", async () => {
    const text = "text" as never;
    await using world = await start({
      greeter: {
        sayHello: () => text,
        async *subscribe() {
          yield text;
        },
      },
    });
    const stock = createStockClient(Greeter, transportTo(world.url));
    const expected = { code: Code.Internal, rawMessage: "internal error" };
    expect(await stock.sayHello({}).catch(StockError.from)).toMatchObject(expected);
    const pushed = all(stock.subscribe({})).catch(StockError.from);
    expect(await pushed).toMatchObject(expected);
    const causes = world.logged.map(([, cause]) => String(cause));
    expect(causes).toEqual([
      expect.stringContaining('the string "text" is not a example.MessageResponse'),
      expect.stringContaining('the string "text" is not a example.Notification'),
    ]);
    await world.server.close();
  });

  test("a method that does not exist is UNIMPLEMENTED", async () => {
    await using world = await start({ server: { routes: () => {} } });
    const stock = createStockClient(Greeter, transportTo(world.url));
    const error = await stock.sayHello({}).catch(StockError.from);
    expect(error).toMatchObject({ code: Code.Unimplemented });
    await world.server.close();
  });

  test("a request over readMaxBytes is RESOURCE_EXHAUSTED", async () => {
    await using world = await start({ server: { readMaxBytes: 1_000 } });
    const stock = createStockClient(Greeter, transportTo(world.url));
    const error = await stock.sayHello({ content: "x".repeat(1_000) }).catch(StockError.from);
    expect(error).toMatchObject({ code: Code.ResourceExhausted });
    expect((await stock.sayHello({ content: "x" })).reply).toBe("Hello, x");
    await world.server.close();
  });

  test("a client that leaves a push ends the handler, with its signal aborted", async () => {
    const finished = gate<boolean>();
    await using world = await start({
      greeter: {
        async *subscribe(_request, { signal }) {
          try {
            yield { sequence: 1n };
            await aborted(signal);
            yield { sequence: 2n };
          } finally {
            finished.open(signal.aborted);
          }
        },
      },
    });
    const stock = createStockClient(Greeter, transportTo(world.url));
    const controller = new AbortController();
    const push = stock.subscribe({}, { signal: controller.signal });
    await next(push);
    controller.abort();
    expect(await next(push).catch(StockError.from)).toMatchObject({ code: Code.Canceled });
    expect(await finished.opened).toBe(true);
    await world.server.close();
  });

  test("a graceful close lets a running call finish", async () => {
    const mayAnswer = gate();
    const running = gate();
    await using world = await start({
      greeter: {
        async sayHello({ content }) {
          running.open();
          await mayAnswer.opened;
          return { reply: content };
        },
      },
    });
    const stock = createStockClient(Greeter, transportTo(world.url));
    const answer = stock.sayHello({ content: "still here" });
    await running.opened;
    expect(world.server.openCalls).toBe(1);
    const closed = world.server.close();
    mayAnswer.open();
    expect((await answer).reply).toBe("still here");
    await closed;
  });
});

test("a stock client's cancel ends the handler, whose signal aborts", async () => {
  const ended = gate<unknown>();
  await using world = await start({
    greeter: {
      async *chat(requests, { signal }) {
        // Clients on node:http2 half-close before they reset, so the loop cannot distinguish the two.
        signal.addEventListener("abort", () => ended.open(signal.reason));
        for await (const { content } of requests) yield { reply: content };
        await new Promise((gone) => signal.addEventListener("abort", gone));
      },
    },
  });
  const stock = createStockClient(Greeter, createGrpcTransport({ baseUrl: world.url }));
  const controller = new AbortController();
  async function* requests() {
    yield { content: "x" };
    yield await new Promise<never>(() => {});
  }
  const replies = stock.chat(requests(), { signal: controller.signal });
  expect(await next(replies)).toMatchObject({ reply: "x" });
  controller.abort();
  expect(await next(replies).catch(StockError.from)).toMatchObject({ code: Code.Canceled });
  expect(await ended.opened).toMatchObject({ code: Code.Canceled });
  await world.server.close();
});

test("a handler that ends first frees its stream, even if a client of another library would keep it", async () => {
  await using world = await start({
    greeter: {
      async *chat(requests) {
        yield { reply: (await next(requests))?.content };
      },
    },
  });
  const stock = createStockClient(Greeter, createGrpcTransport({ baseUrl: world.url }));
  async function* requests() {
    yield { content: "x" };
    yield await new Promise<never>(() => {});
  }
  for (let n = 0; n < 5; n++) expect(await all(stock.chat(requests()))).toHaveLength(1);
  await until("no stream is open", () => census.clientStreams + census.serverStreams === 0);
  await world.server.close();
});

describe("stock Connect's createClient on our transport", () => {
  test("Connect's createClient makes every kind of call", async () => {
    await using world = await start();
    const stock = createStockClient(Greeter, world.transport);
    const headers: string[] = [];
    const options = {
      onHeader: () => headers.push("header"),
      onTrailer: () => headers.push("trailer"),
    };
    expect((await stock.sayHello({ content: "you" }, options)).reply).toBe("Hello, you");
    expect(await all(stock.subscribe({ count: 3, interval: {} }, options))).toHaveLength(3);
    expect(await stock.collect(contents("ab", "c"), options)).toMatchObject({ count: 2 });
    expect(await all(stock.chat(contents("a", "b"), options))).toMatchObject([
      { reply: "Received: a" },
      { reply: "Received: b" },
    ]);
    expect(headers).toEqual(Array(4).fill(["header", "trailer"]).flat());
  });

  test("Connect's createClient gets errors, deadlines and signals", async () => {
    await using world = await start({
      greeter: {
        ...greeter,
        sayHello() {
          throw new ConnectError("no such room", Code.NotFound);
        },
      },
    });
    const stock = createStockClient(Greeter, world.transport);
    expect((await failureOf(stock.sayHello({}))).code).toBe(Code.NotFound);
    const late = await failureOf(stock.subscribe({}, { timeoutMs: 100 }));
    expect(late.code).toBe(Code.DeadlineExceeded);
    const aborted = await failureOf(stock.subscribe({}, { signal: AbortSignal.timeout(50) }));
    expect(aborted.code).toBe(Code.DeadlineExceeded);
  });
});

describe("a port, for other clients", () => {
  test("a port answers a plain HTTP/1.1 request with an HTTP status, and keeps the connection", async () => {
    await using world = await start();
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (const path of ["/", "/favicon.ico", "/example.Greeter/NoSuchMethod"]) {
      const request = http.get(`${world.url}${path}`, { agent });
      const [response] = (await once(request, "response")) as [http.IncomingMessage];
      expect(response.statusCode).toBeGreaterThanOrEqual(400);
      expect(response.statusCode).toBeLessThan(500);
      response.resume();
      await once(response, "close");
    }
    agent.destroy();
  });

  test.each([
    ["of a URL", "http://a.example/example.Greeter/SayHello", "", /^HTTP\/1\.1 200 /],
    [
      "that expects 100-continue",
      "/example.Greeter/SayHello",
      "Expect: 100-continue\r\n",
      /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /,
    ],
    [
      "that offers h2c, which is ignored,",
      "/example.Greeter/SayHello",
      "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
      /^HTTP\/1\.1 200 /,
    ],
  ])("a call over HTTP/1.1 %s is served", async (_, target, fields, expected) => {
    await using world = await start();
    const socket = connect(Number(new URL(world.url).port), "127.0.0.1");
    const body = JSON.stringify({ content: "you" });
    socket.write(
      `POST ${target} HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/json\r\n${fields}Content-Length: ${body.length}\r\n\r\n${body}`,
    );
    let answer = "";
    for await (const chunk of socket) {
      answer += chunk;
      if (answer.includes("Hello, you")) break;
    }
    expect(answer).toMatch(expected);
  });

  test("a port answers a plain HTTP/2 request that is not a call with an HTTP status", async () => {
    await using world = await start();
    const session = http2.connect(world.url);
    const stream = session.request({ ":path": "/" });
    const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
    expect(Number(headers[":status"])).toBe(404);
    stream.resume();
    await once(stream, "close");
    session.close();
    await once(session, "close");
  });

  test("disconnects a client that sends nothing, and closes although one is connected", async () => {
    await using world = await start({ server: { prefaceTimeoutMs: 100 } });
    const { port } = new URL(world.url);
    const silent = connect(Number(port), "127.0.0.1");
    await once(silent, "connect");
    silent.resume();
    await once(silent, "close");
    const another = connect(Number(port), "127.0.0.1");
    await once(another, "connect");
    const gone = once(another.on("error", () => {}).resume(), "close");
    await world.server.close();
    await gone;
  });
});
