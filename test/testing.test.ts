/** The worlds of hawser/testing: their addresses, their options, and what remains after they close. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Code, readSessionLost, SessionLostReason } from "../src/index.ts";
import { startWorld, type WorldOptions } from "../src/testing.ts";
import { census } from "./support/census.ts";
import { chatting, counting, countingWorld, dial } from "./support/counting-world.ts";
import { settles, until } from "./support/gate.ts";
import { failureOf, next } from "./support/read.ts";
import { certs } from "./support/tls.ts";
import { leftSince, resources } from "./support/world.ts";

test("two worlds in one process share nothing", async () => {
  await using a = await countingWorld();
  await using b = await countingWorld();
  const chat = await chatting(b, false);
  const failed = failureOf(await chatting(a, false));
  a.link.cut();
  await failed;
  a.link.stall();
  await a.server.kill();
  await chat.send({ content: "b" });
  expect(await next(chat)).toMatchObject({ reply: "2: b" });
  chat.cancel();
});

test.each<[string, RegExp, Omit<WorldOptions, "routes">]>([
  ["IPv6", /^http:\/\/\[::1\]:\d+$/, { listen: { host: "::1", port: 0 } }],
  [
    "every address of this machine",
    /^http:\/\/127\.0\.0\.1:/,
    { listen: { host: "0.0.0.0", port: 0 } },
  ],
  [
    "TLS with a certificate that signed itself",
    /^https:\/\/127\.0\.0\.1:\d+$/,
    { tls: certs.server, transport: { tls: { ca: certs.ca } } },
  ],
  [
    "TLS with certificates at both ends",
    /^https:/,
    {
      server: { tls: { ...certs.server, ca: certs.ca } },
      transport: { tls: { ca: certs.ca, ...certs.client } },
    },
  ],
])("a world over %s can be served, cut, killed and restarted", async (_name, url, options) => {
  await using it = await countingWorld(options);
  expect(it.world.url).toMatch(url);
  const chat = await chatting(it);
  it.link.cut();
  await chat.send({ content: "b" });
  expect(await next(chat)).toMatchObject({ reply: "2: b" });
  await it.server.kill();
  await it.server.restart();
  expect(readSessionLost(await failureOf(chat))?.reason).toBe(SessionLostReason.SERVER_RESTARTED);
  expect(await it.greeter.sayHello({ content: "hi" })).toMatchObject({ reply: "hi" });
});

test.each<[string, WorldOptions["listen"]]>([
  ["a host", { host: "127.0.0.1" }],
  ["neither a host nor a port", {}],
  ["a port that is undefined", { port: undefined }],
])("worlds that listen with %s have a free port each", async (_name, listen) => {
  await using a = await countingWorld({ listen });
  expect(a.server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  expect(await a.greeter.sayHello({ content: "a" })).toMatchObject({ reply: "a" });
  await using b = await countingWorld({ listen });
  expect(await b.greeter.sayHello({ content: "b" })).toMatchObject({ reply: "b" });
});

test("a world over a Unix socket can be served, cut, killed and restarted", async () => {
  const folder = await mkdtemp(join(tmpdir(), "hawser-"));
  try {
    await using it = await countingWorld({ listen: { path: join(folder, "socket") } });
    const chat = await chatting(it);
    it.link.cut();
    await chat.send({ content: "b" });
    expect(await next(chat)).toMatchObject({ reply: "2: b" });
    await it.server.kill();
    await it.server.restart();
    const lost = readSessionLost(await failureOf(chat));
    expect(lost?.reason).toBe(SessionLostReason.SERVER_RESTARTED);
    expect(await it.greeter.sayHello({ content: "hi" })).toMatchObject({ reply: "hi" });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("a kill during a TLS handshake resets the connection", async () => {
  await using it = await countingWorld({ tls: certs.server });
  const client = dial(it.server);
  // A record that announces a ClientHello, and no more.
  client.socket.write(Buffer.from([22, 3, 1, 2, 0, 1]));
  await until("the server has the connection", () => census.serverSockets > 0);
  await it.server.kill();
  await until("the client sees it", () => client.error === "ECONNRESET");
});

test("the options of server and transport are those of createServer() and createTransport()", async () => {
  await using it = await countingWorld({
    server: { readMaxBytes: 100 },
    transport: { writeMaxBytes: 200 },
  });
  const errorOf = async (bytes: number) =>
    (await failureOf(it.greeter.sayHello({ content: "x".repeat(bytes) }))).message;
  expect(await errorOf(150)).toContain("readMaxBytes 100");
  expect(await errorOf(250)).toContain("writeMaxBytes 200");
});

test.each<[string, Code, unknown]>([
  ["startWorld: options is missing: an object is needed", Code.InvalidArgument, undefined],
  ["startWorld: routes is missing: a function is needed", Code.InvalidArgument, {}],
  [
    "startWorld has no option `sever`: did you mean `server`?",
    Code.InvalidArgument,
    { routes() {}, sever: {} },
  ],
  ["startWorld: server.routes", Code.InvalidArgument, { routes() {}, server: { routes() {} } }],
  [
    "startWorld: transport.baseUrl",
    Code.InvalidArgument,
    { routes() {}, transport: { baseUrl: "http://a" } },
  ],
  ["createServer has no option", Code.InvalidArgument, { routes() {}, server: { prot: 1 } }],
  ["createTransport has no option", Code.InvalidArgument, { routes() {}, transport: { prot: 1 } }],
  ["listen: port is -1", Code.InvalidArgument, { routes() {}, listen: { port: -1 } }],
  ["tls.cert", Code.InvalidArgument, { routes() {}, tls: { cert: "a", key: "b" } }],
])("a world that cannot start fails and leaves nothing: %s", async (message, code, options) => {
  const before = resources();
  const error = await failureOf(startWorld(options as WorldOptions));
  expect(error.rawMessage).toContain(message);
  expect(error.code).toBe(code);
  await settles(() => leftSince(before).length === 0);
  expect(leftSince(before)).toEqual([]);
});

test("disposing of a world ends open calls with CANCELED, whatever its link does, and leaves nothing", async () => {
  for (const trouble of ["none", "stall", "refuse", "delay", "killed"] as const) {
    let failed: Promise<unknown> | undefined;
    const { promise: ended, resolve } = Promise.withResolvers<number>();
    {
      await using it = await countingWorld();
      const chat = await chatting(it);
      failed = failureOf(chat);
      if (trouble === "stall") it.link.stall();
      if (trouble === "refuse") {
        it.link.refuse();
        it.link.cut();
      }
      if (trouble === "delay") it.link.delay(60_000);
      if (trouble === "killed") await it.server.kill();
      await chat.send({ content: "on its way" });
      resolve(performance.now());
    }
    expect(performance.now() - (await ended), trouble).toBeLessThan(1_500);
    expect(await failed, trouble).toMatchObject({ code: Code.Canceled });
  }
});

test("disposing of a world twice has no further effect", async () => {
  const { routes } = counting();
  const world = await startWorld(routes);
  await Promise.all([world[Symbol.asyncDispose](), world[Symbol.asyncDispose]()]);
  await world[Symbol.asyncDispose]();
});

test("disposing of a world while its server restarts leaves nothing", async () => {
  for (let n = 0; n < 20; n++) {
    await using it = await countingWorld();
    await it.greeter.sayHello({});
    const restarted = it.server.restart().catch(() => {});
    if (n % 2 === 0) await Promise.resolve();
    void restarted;
  }
});
