/** A server that drains ends calls that continue from a cursor: these continue at the next address. */
import { createClient as createStockClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { greeter as example } from "../examples/greeter/handlers.ts";
import { RoomService } from "../gen/chat/v1/room_pb.js";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, createClient, createTransport } from "../src/index.ts";
import { createServer } from "../src/server.ts";
import { openLink } from "../src/testing/link.ts";
import { until } from "./support/gate.ts";
import { failureOf, next } from "./support/read.ts";
import { begin, textOf, texts, toyRoom } from "./support/toy-room.ts";
import { start } from "./support/world.ts";

/** Two servers of one room, with a link before the first. */
async function twoServers() {
  const room = toyRoom();
  const both = await Promise.all(
    ["a", "b"].map(async () => {
      const server = createServer({
        routes: (router) => {
          router.service(RoomService, room.service);
          router.service(Greeter, example);
        },
      });
      return { server, ...(await server.listen({ port: 0 })) };
    }),
  );
  const link = await openLink({ host: "127.0.0.1", port: both[0]!.port as number });
  const transport = createTransport({ baseUrl: [link.url, both[1]!.url] });
  return {
    room,
    a: both[0]!.server,
    b: both[1]!.server,
    link,
    rooms: createClient(RoomService, transport),
    greeter: createClient(Greeter, transport),
    async [Symbol.asyncDispose]() {
      await transport.close();
      for (const { server } of both) await server.close({ graceMs: 0 });
      await link[Symbol.asyncDispose]();
    },
  };
}

test("a watcher continues at the next address within 100 ms, and no message is lost or comes twice", async () => {
  await using world = await twoServers();
  const call = await begin(world.rooms);
  const states: string[] = [];
  call.onState((state) => states.push(state));
  world.room.post(1000);
  const began = performance.now();
  const closed = world.a.close();
  world.room.post(1000);
  const read: string[] = [];
  let openedMs = 0;
  while (read.length < 2000) {
    const response = await next(call);
    const text = response && textOf(response);
    if (text === undefined) openedMs = performance.now() - began;
    else read.push(text);
  }
  expect(read).toEqual(texts(2000));
  // 100 ms, on a machine that does nothing else.
  expect(openedMs).toBeGreaterThan(0);
  expect(openedMs).toBeLessThan(400);
  expect(states).toEqual(["resuming", "open"]);
  // No other call delays the server.
  await closed;
  call.cancel();
});

test("all watchers of a transport move to the next address; other calls finish on their server", async () => {
  await using world = await twoServers();
  const calls = await Promise.all(Array.from({ length: 200 }, () => begin(world.rooms)));
  const chat = world.greeter.chat();
  await chat.send({ content: "1" });
  await next(chat);
  const opened = calls.map((call) => next(call));
  const closed = world.a.close();
  for (const response of await Promise.all(opened)) {
    expect(response).toMatchObject({ event: { case: "opened" } });
  }
  expect(world.a.openCalls).toBe(1);
  await chat.send({ content: "2" });
  expect(await next(chat)).toMatchObject({ reply: "Received: 2" });
  chat.closeSend();
  expect(await next(chat)).toBeUndefined();
  await closed;
  expect(world.room.open).toBe(200);
  for (const call of calls) call.cancel();
  await until("all watchers have left", () => world.room.open === 0);
});

test("a watcher whose server was killed continues at the next address, and at the first when the next one drains", async () => {
  await using world = await twoServers();
  const call = await begin(world.rooms);
  world.room.post(1);
  const read: (string | undefined)[] = [];
  const readOne = async () => void read.push(textOf((await next(call))!));
  await readOne();
  world.link.refuse();
  world.link.cut();
  world.room.post(1);
  await readOne();
  await readOne();
  world.link.accept();
  const closed = world.b.close();
  world.room.post(1);
  await readOne();
  await readOne();
  expect(read).toEqual(["1", undefined, "2", undefined, "3"]);
  expect(world.room.watchings.map(({ after }) => after)).toEqual(["", "1", "2"]);
  await closed;
  call.cancel();
});

const stock: Record<string, (baseUrl: string) => Transport> = {
  gRPC: (baseUrl) => createGrpcTransport({ baseUrl }),
  "gRPC-Web over HTTP/1.1": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
  "Connect over HTTP/1.1": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  "Connect over HTTP/2": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" }),
};

test.each(Object.entries(stock))(
  "a plain client, over %s, gets UNAVAILABLE and the pushback after the messages",
  async (_, to) => {
    const room = toyRoom();
    await using world = await start({
      server: { routes: (router) => router.service(RoomService, room.service) },
    });
    const call = createStockClient(RoomService, to(world.url)).watch({});
    await next(call);
    room.post(500);
    expect(textOf((await next(call))!)).toBe("1");
    const closed = world.server.close();
    const read = ["1"];
    const reading = (async () => {
      for (;;) read.push(textOf((await next(call))!) as string);
    })();
    const error = await failureOf(reading);
    expect(error).toMatchObject({
      code: Code.Unavailable,
      rawMessage: "the server is closing: continue at another one",
    });
    expect(error.metadata.get("grpc-retry-pushback-ms")).toBe("0");
    expect(read).toEqual(texts(read.length));
    await closed;
    expect(room.open).toBe(0);
  },
);
