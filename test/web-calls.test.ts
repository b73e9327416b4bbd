/** Calls of hawser/web: one WebSocket carries the bytes of an HTTP/2 connection. */
import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, ConnectError, createClient, createTransport } from "../src/web.ts";
import { aborted, gate, stillAt, until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { startWeb } from "./support/web-world.ts";

test.each([
  ["a server", false],
  ["a server that takes TCP alone, through a pipe", true],
])("the four kinds of calls work over one WebSocket to %s", async (_, hasPipe) => {
  await using world = await startWeb({ hasPipe });
  const { greeter } = world;
  expect(await greeter.sayHello({ content: "Ada" })).toMatchObject({ reply: "Hello, Ada" });
  const chat = greeter.chat();
  for (const content of ["one", "two"]) {
    await chat.send({ content });
    expect(await next(chat)).toMatchObject({ reply: `Received: ${content}` });
  }
  chat.closeSend();
  expect(await all(chat)).toEqual([]);
  const sink = greeter.collect();
  await sink.send({ content: "äö" });
  expect(await sink.finish()).toMatchObject({ count: 1, bytes: 4n });
  const pushed = await all(greeter.subscribe({ count: 3, interval: { seconds: 0n } }));
  expect(pushed.map(({ sequence }) => sequence)).toEqual([1n, 2n, 3n]);
  expect(world.link.accepted).toBe(1);
});

test("a path of baseUrl, and that of the option webSocket, are those of the WebSocket alone", async () => {
  await using world = await startWeb({ server: { webSocket: { path: "/api/rpc" } } });
  const options = { baseUrl: `${world.url}/api/`, webSocket: { path: "/rpc" } };
  await using transport = createTransport(options);
  const { reply } = await createClient(Greeter, transport).sayHello({ content: "Ada" });
  expect(reply).toBe("Hello, Ada");
});

test("a chat of 20,000 messages arrives whole and in order, in both directions at the same time", async () => {
  await using world = await startWeb();
  const chat = world.greeter.chat();
  const sending = (async () => {
    for (let n = 0; n < 20_000; n++) await chat.send({ content: `${n}` });
    chat.closeSend();
  })();
  let got = 0;
  for await (const { reply } of chat) expect(reply).toBe(`Received: ${got++}`);
  expect(got).toBe(20_000);
  await sending;
});

test("metadata and trailers pass in both directions, binary ones too", async () => {
  await using world = await startWeb({
    greeter: {
      // biome-ignore lint/correctness/useYield: it has no responses.
      async *chat(_requests, context) {
        context.responseHeader.set("x-got", context.requestHeader.get("x-sent") ?? "");
        context.responseTrailer.set("x-end-bin", context.requestHeader.get("x-bytes-bin") ?? "");
      },
    },
    transport: { headers: { "x-sent": "of the transport" } },
  });
  const chat = world.greeter.chat({ headers: { "x-bytes-bin": "AAEC" } });
  chat.closeSend();
  expect(await all(chat)).toEqual([]);
  expect((await chat.headers).get("x-got")).toBe("of the transport");
  expect((await chat.trailers).get("x-end-bin")).toBe("AAEC");
});

test("an error of the handler reaches the client with its code, text and metadata", async () => {
  await using world = await startWeb({
    greeter: {
      sayHello() {
        throw new ConnectError("not today", Code.FailedPrecondition, { "x-why": "sunday" });
      },
    },
  });
  const error = await failureOf(world.greeter.sayHello({}));
  expect(error).toMatchObject({ code: Code.FailedPrecondition, rawMessage: "not today" });
  expect(error.metadata.get("x-why")).toBe("sunday");
});

test("a deadline ends the call at both ends", async () => {
  const ended = gate();
  await using world = await startWeb({
    greeter: {
      async *chat(_requests, { signal }) {
        yield { reply: "begun" };
        await aborted(signal);
        ended.open();
      },
    },
  });
  const chat = world.greeter.chat({ timeoutMs: 150 });
  expect(await next(chat)).toMatchObject({ reply: "begun" });
  expect(await failureOf(chat)).toMatchObject({ code: Code.DeadlineExceeded });
  await ended.opened;
});

test("a cancelled call tells its handler, and other calls of the WebSocket go on", async () => {
  const ended = gate();
  await using world = await startWeb({
    greeter: {
      async *chat(_requests, { signal }) {
        yield { reply: "begun" };
        await aborted(signal);
        ended.open();
      },
      sayHello: () => ({ reply: "still here" }),
    },
  });
  const chat = world.greeter.chat();
  await next(chat);
  chat.cancel();
  expect(await failureOf(chat)).toMatchObject({ code: Code.Canceled });
  await ended.opened;
  expect(await world.greeter.sayHello({})).toMatchObject({ reply: "still here" });
  expect(world.link.accepted).toBe(1);
});

test("compressed messages pass in both directions, and one that inflates to over readMaxBytes ends its call", async () => {
  await using world = await startWeb({
    server: { sendCompression: "gzip", compressMinBytes: 100 },
    transport: { sendCompression: "gzip", readMaxBytes: 100_000 },
  });
  const chat = world.greeter.chat();
  for (const content of ["short", "long ".repeat(1000), "é".repeat(20_000)]) {
    await chat.send({ content });
    expect(await next(chat)).toMatchObject({ reply: `Received: ${content}` });
  }
  await chat.send({ content: "x".repeat(200_000) });
  const error = await failureOf(chat);
  expect(error.code).toBe(Code.ResourceExhausted);
  expect(error.message).toMatch(/inflates to over readMaxBytes 100000 B/);
});

test("a push that nobody reads stops at a window, and other calls of the WebSocket go on", async () => {
  let sent = 0;
  await using world = await startWeb({
    greeter: {
      async *chat() {
        for (; sent < 20_000; sent++) yield { reply: "x".repeat(1024) };
      },
      sayHello: () => ({ reply: "still here" }),
    },
    transport: { sessions: false },
  });
  const chat = world.greeter.chat();
  await next(chat);
  await stillAt(() => sent);
  expect(sent).toBeGreaterThan(30);
  expect(sent).toBeLessThan(6000);
  expect(await world.greeter.sayHello({})).toMatchObject({ reply: "still here" });
  expect(await all(chat)).toHaveLength(19_999);
});

test("requests that the server does not read stop the sender, and the socket holds little", async () => {
  const read = gate();
  await using world = await startWeb({
    greeter: {
      async collect(requests) {
        await read.opened;
        let count = 0;
        for await (const _ of requests) count++;
        return { count, bytes: 0n };
      },
    },
    transport: { sessions: false },
  });
  const sink = world.greeter.collect();
  let sent = 0;
  const sending = (async () => {
    for (; sent < 5000; sent++) await sink.send({ content: "x".repeat(8192) });
  })();
  await until("the first message was sent", () => sent > 0);
  await stillAt(() => sent);
  expect(sent).toBeLessThan(4000);
  read.open();
  await sending;
  expect(await sink.finish()).toMatchObject({ count: 5000 });
});

test("calls to a place without a WebSocket fail with UNAVAILABLE that names the URL and what to look at", async () => {
  await using transport = createTransport({
    baseUrl: "http://127.0.0.1:1/api/",
    webSocket: { path: "/ws" },
  });
  const error = await failureOf(createClient(Greeter, transport).sayHello({}));
  expect(error.code).toBe(Code.Unavailable);
  expect(error.message).toMatch(/ws:\/\/127\.0\.0\.1:1\/api\/ws.*option webSocket.*origin/);
});

test("a baseUrl or a path that a browser cannot use is refused", () => {
  expect(() => createTransport({ baseUrl: "unix:/run/x.sock" })).toThrow(
    /baseUrl is "unix:\/run\/x.sock".*: http:\/\/host:port or https:\/\/host:port is needed/,
  );
  const webSocket = { path: "hawser" };
  expect(() => createTransport({ baseUrl: "http://x", webSocket })).toThrow(/begins with \//);
});

test("a closed transport fails its calls, and later ones, with CANCELED", async () => {
  await using world = await startWeb();
  const chat = world.greeter.chat();
  await chat.send({ content: "x" });
  await next(chat);
  await world.transport.close();
  expect(await failureOf(chat)).toMatchObject({ code: Code.Canceled });
  expect(await failureOf(world.greeter.sayHello({}))).toMatchObject({ code: Code.Canceled });
});
