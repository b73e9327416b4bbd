import { once } from "node:events";
import { createServer, type ServerHttp2Session } from "node:http2";
import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, createClient, createTransport } from "../src/index.ts";
import { census } from "./support/census.ts";
import { stillAt, until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { start, type World } from "./support/world.ts";

/** A chat after its first reply, and the pings that its client sends from then on. */
async function watchedChat({ greeter }: World) {
  const chat = greeter.chat();
  await chat.send({ content: "x" });
  await next(chat);
  const before = census.pings.client;
  return { chat, pings: () => census.pings.client - before };
}

test("a plain call whose peer falls silent fails with UNAVAILABLE that names the address", async () => {
  await using world = await start({
    linked: true,
    transport: { sessions: false, keepalive: { intervalMs: 100, timeoutMs: 100 } },
  });
  const chat = world.greeter.chat();
  await chat.send({ content: "x" });
  await next(chat);
  world.link.up.dropping = true;
  world.link.down.dropping = true;
  const began = performance.now();
  const error = await failureOf(chat);
  expect(performance.now() - began).toBeLessThan(1_000);
  expect(error.code).toBe(Code.Unavailable);
  expect(error.message).toContain(`127.0.0.1:${world.link.port}`);
  // The server cannot notice this.
  world.link.cut();
});

test("a call without messages is kept alive by pings while the answers come", async () => {
  await using world = await start({
    transport: { keepalive: { intervalMs: 20, timeoutMs: 1_000 } },
    server: { minPingIntervalMs: 0 },
  });
  const { chat, pings } = await watchedChat(world);
  await until("five pings came", () => pings() >= 5);
  expect(census.http2Connections).toBe(2);
  await chat.send({ content: "y" });
  expect(await next(chat)).toMatchObject({ reply: "Received: y" });
  chat.closeSend();
  await all(chat);
});

test("no ping is sent without an open call", async () => {
  await using world = await start({
    transport: { keepalive: { intervalMs: 20, timeoutMs: 1_000 } },
    server: { minPingIntervalMs: 0 },
  });
  const { chat, pings } = await watchedChat(world);
  await until("a ping came", () => pings() >= 1);
  chat.closeSend();
  await all(chat);
  await until("the call has ended", () => world.server.openCalls === 0);
  const before = pings();
  // One ping may be on its way.
  expect((await stillAt(pings, 150)) - before).toBeLessThanOrEqual(1);
});

test("no ping is sent in the first seconds by default: a default grpc-go server would close the connection", async () => {
  await using world = await start();
  const { chat, pings } = await watchedChat(world);
  expect(await stillAt(pings, 500)).toBe(0);
  chat.cancel();
});

test("a server that sends too_many_pings gets half as many", async () => {
  const server = createServer((request) => void request.resume());
  const gaps: number[][] = [];
  const sessions: ServerHttp2Session[] = [];
  server.on("session", (session) => {
    const times: number[] = [];
    const own: number[] = [];
    gaps.push(own);
    sessions.push(session);
    session.on("ping", () => {
      times.push(performance.now());
      const [last, before] = [times.at(-1), times.at(-2)];
      if (last !== undefined && before !== undefined) own.push(last - before);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  await using transport = createTransport({
    baseUrl: `http://127.0.0.1:${port}`,
    // The server answers nothing, so it cannot say that it has no sessions.
    sessions: false,
    keepalive: { intervalMs: 60, timeoutMs: 5_000 },
  });
  const { chat } = createClient(Greeter, transport);

  const first = chat();
  void first.send({});
  await until("three pings came", () => (gaps[0]?.length ?? 0) >= 2);
  const [session] = sessions as [ServerHttp2Session];
  session.goaway(11, 0, Buffer.from("too_many_pings"));
  // The GOAWAY is sent in this turn.
  setImmediate(() => session.destroy());
  expect(await failureOf(first)).toMatchObject({
    code: Code.Unavailable,
    rawMessage: expect.stringContaining('GOAWAY with HTTP/2 error 11 "too_many_pings"'),
  });

  const second = chat();
  void second.send({});
  await until("three more came", () => (gaps[1]?.length ?? 0) >= 2);
  expect(Math.min(...(gaps[0] ?? []))).toBeLessThan(110);
  expect(Math.min(...(gaps[1] ?? []))).toBeGreaterThan(110);
  second.cancel();
  await failureOf(second);
  await transport.close();
  server.close();
});
