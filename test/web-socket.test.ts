/** Calls in a WebSocket. */
import { createClient as createStockClient } from "@connectrpc/connect";
import * as grpc from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { createClient, createTransport, type TransportOptions } from "../src/index.ts";
import { gate, stillAt, until } from "./support/gate.ts";
import { serviceDefinition } from "./support/grpc-js.ts";
import { all, next } from "./support/read.ts";
import { protocols } from "./support/stock-protocols.ts";
import { certs } from "./support/tls.ts";
import { openWebSocketPipe } from "./support/web-socket-pipe.ts";
import { type Setup, start } from "./support/world.ts";

/** A server that takes WebSockets, and a client that reaches it through one. */
async function world(setup: Setup = {}, transportOptions: Partial<TransportOptions> = {}) {
  const world = await start({ ...setup, server: { webSocket: {}, ...setup.server } });
  const pipe = await openWebSocketPipe(world.url, { ca: certs.ca });
  const transport = createTransport({ baseUrl: pipe.url, ...transportOptions });
  return {
    world,
    pipe,
    greeter: createClient(Greeter, transport),
    transport,
    async [Symbol.asyncDispose]() {
      await transport.close();
      await pipe[Symbol.asyncDispose]();
      await world[Symbol.asyncDispose]();
    },
  };
}

describe.each([
  ["cleartext", {}],
  ["TLS", { tls: certs.server }],
])("over %s", (_, server) => {
  test("all four kinds of call work in one WebSocket", async () => {
    await using one = await world({ server });
    const { greeter, pipe } = one;
    expect((await greeter.sayHello({ content: "Ada" })).reply).toBe("Hello, Ada");
    const sink = greeter.collect();
    for (const content of ["a", "b", "c"]) await sink.send({ content });
    expect((await sink.finish()).count).toBe(3);
    let pushed = 0;
    for await (const _ of greeter.subscribe({ count: 100, interval: {} })) pushed++;
    expect(pushed).toBe(100);
    const chat = greeter.chat();
    for (let n = 0; n < 1000; n++) await chat.send({ content: `${n}` });
    chat.closeSend();
    const replies = await all(chat);
    expect(replies.map(({ reply }) => reply)).toEqual(
      Array.from({ length: 1000 }, (_, n) => `Received: ${n}`),
    );
    expect(pipe.webSockets.size).toBe(1);
  });

  test("messages of 1 MiB arrive whole, both ways, in several calls at the same time", async () => {
    await using one = await world({ server });
    await Promise.all(
      Array.from({ length: 4 }, async (_, n) => {
        const chat = one.greeter.chat();
        const content = `${n}`.repeat(1 << 20);
        for (let sent = 0; sent < 4; sent++) await chat.send({ content });
        chat.closeSend();
        const replies = await all(chat);
        expect(replies.length).toBe(4);
        for (const { reply } of replies) expect(reply === `Received: ${content}`).toBe(true);
      }),
    );
  });

  test("a session continues in another WebSocket after the first was lost", async () => {
    await using one = await world({ server });
    const chat = one.greeter.chat();
    await chat.send({ content: "one" });
    expect(await next(chat)).toMatchObject({ reply: "Received: one" });
    for (const webSocket of one.pipe.webSockets) webSocket.terminate();
    await chat.send({ content: "two" });
    chat.closeSend();
    expect((await all(chat)).map(({ reply }) => reply)).toEqual(["Received: two"]);
    expect(one.pipe.closes).toEqual([1006]);
  });
});

test("a client that does not read makes the handler wait, while other calls of its WebSocket continue", async () => {
  let sent = 0;
  await using one = await world({
    greeter: {
      sayHello: ({ content }) => ({ reply: content }),
      async *subscribe() {
        for (; ; sent++) yield { content: "x".repeat(1024) };
      },
    },
  });
  const push = one.greeter.subscribe({}, { sessions: false });
  await next(push);
  const sentUntilItWaits = await stillAt(() => sent);
  expect(sentUntilItWaits).toBeGreaterThan(60);
  for (let n = 0; n < 20; n++) await one.greeter.sayHello({ content: "hello" });
  expect(sent).toBe(sentUntilItWaits);
  push.cancel();
});

test("clients of grpc-js make calls of all kinds that their API has", async () => {
  await using one = await world();
  const address = one.pipe.url.replace("http://", "");
  const Client = grpc.makeGenericClientConstructor(serviceDefinition(Greeter), "Greeter");
  const client = new Client(address, grpc.credentials.createInsecure());
  const unary = await new Promise<{ reply: string }>((resolve, reject) => {
    const sayHello = client.sayHello?.bind(client) as (...given: unknown[]) => void;
    sayHello({ content: "grpc-js" }, (error: Error | null, response: { reply: string }) =>
      error ? reject(error) : resolve(response),
    );
  });
  expect(unary.reply).toBe("Hello, grpc-js");
  const chat = (client.chat as unknown as () => grpc.ClientDuplexStream<object, object>).call(
    client,
  );
  const replies: unknown[] = [];
  chat.on("data", ({ reply }: { reply: string }) => replies.push(reply));
  const ended = new Promise<grpc.StatusObject>((resolve) => chat.on("status", resolve));
  for (let n = 0; n < 100; n++) chat.write({ content: `${n}` });
  chat.end();
  expect((await ended).code).toBe(grpc.status.OK);
  expect(replies).toEqual(Array.from({ length: 100 }, (_, n) => `Received: ${n}`));
  client.close();
});

test.each(["gRPC over HTTP/2", "gRPC-Web over HTTP/2", "Connect over HTTP/2"])(
  "stock Connect's clients speak %s, on node:http2",
  async (protocol) => {
    await using one = await world();
    const make = protocols[protocol] as (typeof protocols)[string];
    const greeter = createStockClient(Greeter, make(one.pipe.url));
    expect((await greeter.sayHello({ content: "Ada" })).reply).toBe("Hello, Ada");
    let pushed = 0;
    for await (const _ of greeter.subscribe({ count: 50, interval: {} })) pushed++;
    expect(pushed).toBe(50);
  },
);

describe("a server that closes", () => {
  test("tells each WebSocket to make no more calls, lets its calls finish, and closes it with 1001", async () => {
    const finish = gate();
    const told = gate();
    const greeter = {
      async sayHello() {
        await finish.opened;
        return { reply: "finished" };
      },
    };
    await using one = await world(
      { server: { sessions: false }, greeter },
      { observe: { goawayReceived: () => told.open() } },
    );
    const call = one.greeter.sayHello({});
    await until("the call is open", () => one.world.server.openCalls === 1);
    const closing = one.world.server.close();
    await told.opened;
    finish.open();
    expect((await call).reply).toBe("finished");
    await closing;
    await until("the WebSocket is closed", () => one.pipe.closes.length === 1);
    expect(one.pipe.closes).toEqual([1001]);
  });

  test("takes the WebSocket in which a session continues, while it waits for the session", async () => {
    const first = gate();
    await using one = await world({
      greeter: {
        async *chat(requests) {
          for await (const { content } of requests) {
            first.open();
            yield { reply: content };
          }
        },
      },
    });
    const chat = one.greeter.chat();
    await chat.send({ content: "one" });
    await next(chat);
    const closing = one.world.server.close({ graceMs: 5000 });
    for (const webSocket of one.pipe.webSockets) webSocket.terminate();
    await chat.send({ content: "two" });
    chat.closeSend();
    expect((await all(chat)).map(({ reply }) => reply)).toEqual(["two"]);
    await closing;
  });
});

test("stats() counts a WebSocket as one connection", async () => {
  await using one = await world();
  await one.greeter.sayHello({});
  expect(one.world.server.stats().connections).toBe(1);
  await one.transport.close();
  await until("it is closed", () => one.world.server.stats().connections === 0);
});
