/**
 * Calls that are made again, and what was sent before they were. Where calls have sessions, it is the question whether
 * the server keeps any that is refused.
 */
import { constants, createServer as createHttp2Server } from "node:http2";
import * as net from "node:net";
import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, ConnectError, createClient, createTransport } from "../src/index.ts";
import { census } from "./support/census.ts";
import { gate, until } from "./support/gate.ts";
import { idempotent } from "./support/idempotent.ts";
import { sessions } from "./support/mode.ts";
import { all, failureOf, next } from "./support/read.ts";
import { start } from "./support/world.ts";

/** A front that refuses the first call, and hands every later connection to `port` when `ready`. */
async function refusingFront(port: number, ready: Promise<void>) {
  const again = gate();
  const sockets = new Set<net.Socket>();
  const http2 = createHttp2Server();
  http2.on("sessionError", () => {});
  http2.on("stream", (stream) => {
    stream.on("error", () => {});
    stream.once("data", () => {
      stream.session?.goaway(constants.NGHTTP2_NO_ERROR, 0);
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
    });
  });
  let connections = 0;
  const server = net.createServer(async (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    if (++connections === 1) {
      http2.emit("connection", socket);
      return;
    }
    again.open();
    await ready;
    const onward = net.connect(port, "127.0.0.1");
    sockets.add(onward);
    onward.on("error", () => {});
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = server.address() as net.AddressInfo;
  return {
    url: `http://127.0.0.1:${address.port}`,
    /** The client, refused, has connected again. */
    again: again.opened,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((closed) => server.close(closed));
    },
  };
}

test.each([
  ["little", 10, 10],
  ["more than is kept for another attempt", 30_000, 40_000],
  ["one message over it", 10, 100_000],
])("%s, sent while a refused call looks for another connection, is not lost", async (_, a, b) => {
  await using world = await start();
  const ready = gate();
  await using front = await refusingFront(Number(new URL(world.url).port), ready.opened);
  await using transport = createTransport({ baseUrl: front.url, sessions });
  const chat = createClient(Greeter, transport).chat();
  await chat.send({ content: "a".repeat(a) });
  await front.again;
  const sent = [chat.send({ content: "b".repeat(b) }), chat.send({ content: "c" })];
  ready.open();
  await Promise.all(sent);
  chat.closeSend();
  const replies = (await all(chat)).map(({ reply }) => reply.length - "Received: ".length);
  expect(replies).toEqual([a, b, 1]);
});

test("a refused call whose sender waits for the window is tried again, with all messages", async () => {
  await using world = await start();
  const ready = gate();
  await using front = await refusingFront(Number(new URL(world.url).port), ready.opened);
  await using transport = createTransport({ baseUrl: front.url, sessions });
  const chat = createClient(Greeter, transport).chat();
  const sends = Array.from({ length: 500 }, (_, n) => chat.send({ content: `${n}` }));
  ready.open();
  const replies = all(chat);
  await Promise.all(sends);
  chat.closeSend();
  expect((await replies).map(({ reply }) => reply)).toEqual(sends.map((_, n) => `Received: ${n}`));
});

test("a unary call of an idempotent method is made again on UNAVAILABLE, up to three times, and says so", async () => {
  const { method, service } = idempotent();
  const seen: (string | null)[] = [];
  const failUntil = { count: 2 };
  await using world = await start({
    server: {
      routes: (router) => {
        router.rpc(method, (request, { requestHeader }) => {
          seen.push(requestHeader.get("grpc-previous-rpc-attempts"));
          if (seen.length <= failUntil.count) {
            throw new ConnectError("not now", Code.Unavailable, {
              "grpc-retry-pushback-ms": "1",
            });
          }
          return { reply: `Hello, ${request.content}` };
        });
      },
    },
  });
  const greeter = world.client(service);
  expect((await greeter.sayHello({ content: "you" })).reply).toBe("Hello, you");
  expect(seen).toEqual([null, "1", "2"]);

  seen.length = 0;
  failUntil.count = 9;
  expect((await failureOf(greeter.sayHello({ content: "you" }))).code).toBe(Code.Unavailable);
  expect(seen).toEqual([null, "1", "2", "3"]);

  seen.length = 0;
  const plain = world.greeter.sayHello({ content: "you" });
  expect((await failureOf(plain)).code).toBe(Code.Unavailable);
  expect(seen).toEqual([null]);
});

test("a cancel ends a unary call that waits until it is made again, with CANCELED", async () => {
  const { method, service } = idempotent();
  let made = 0;
  await using world = await start({
    server: {
      routes: (router) => {
        router.rpc(method, () => {
          made++;
          throw new ConnectError("not now", Code.Unavailable, {
            "grpc-retry-pushback-ms": "60000",
          });
        });
      },
    },
  });
  const controller = new AbortController();
  const failed = failureOf(world.client(service).sayHello({}, { signal: controller.signal }));
  await until("the call waits", () => made === 1 && census.clientStreams === 0);
  controller.abort();
  expect(await failed).toMatchObject({ code: Code.Canceled, rawMessage: "the call was cancelled" });
  expect(made).toBe(1);
});

test("interceptors that never answer delay neither cancel() nor a deadline", async () => {
  const asked = gate();
  await using world = await start({
    transport: {
      interceptors: [
        () => () => {
          asked.open();
          return new Promise(() => {});
        },
      ],
    },
  });
  const chat = world.greeter.chat();
  const reading = failureOf(next(chat) as Promise<unknown>);
  await asked.opened;
  chat.cancel();
  expect((await reading).code).toBe(Code.Canceled);
  expect((await failureOf(chat.headers)).code).toBe(Code.Canceled);
  expect((await failureOf(chat.send({}))).code).toBe(Code.Canceled);
  const late = await failureOf(world.greeter.sayHello({}, { timeoutMs: 20 }));
  expect(late.code).toBe(Code.DeadlineExceeded);
});

test("every send() on a call whose signal had aborted rejects, with and without interceptors", async () => {
  await using world = await start({ transport: { interceptors: [(ask) => (call) => ask(call)] } });
  const chat = world.greeter.chat({ signal: AbortSignal.abort() });
  for (let n = 0; n < 40; n++) {
    expect((await failureOf(chat.send({ content: `${n}` }))).code).toBe(Code.Canceled);
  }
  await until("nothing is open", () => world.server.openCalls === 0);
});
