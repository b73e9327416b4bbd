/** A transport with several addresses: which of them calls go to, and when they go to the next. */
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, ConnectError, createClient, createTransport } from "../src/index.ts";
import { createServer } from "../src/server.ts";
import { openLink, type TcpLink } from "../src/testing/link.ts";
import { census } from "./support/census.ts";
import { listen } from "./support/fake-server.ts";
import { until } from "./support/gate.ts";
import { failureOf, next } from "./support/read.ts";

/** Servers whose replies say which one answered; with a link before each, and a client of all of them. */
async function servers(names: string[], session: boolean) {
  const asked: string[] = [];
  const all = await Promise.all(
    names.map(async (name) => {
      const server = createServer({
        routes: (router) =>
          router.service(Greeter, {
            sayHello(_request, { url }) {
              asked.push(new URL(url).host);
              return { reply: name };
            },
            async *chat(requests) {
              for await (const { content } of requests) yield { reply: `${name}: ${content}` };
            },
          }),
      });
      const { port } = await server.listen({ port: 0 });
      const link = await openLink({ host: "127.0.0.1", port: port as number });
      return { server, link };
    }),
  );
  const links = all.map(({ link }) => link);
  const transport = createTransport({ baseUrl: links.map(({ url }) => url), sessions: session });
  const greeter = createClient(Greeter, transport);
  return {
    servers: all.map(({ server }) => server),
    links,
    /** The hosts that requests named, as the servers saw them. */
    asked,
    transport,
    greeter,
    answer: async () => (await greeter.sayHello({})).reply,
    async [Symbol.asyncDispose]() {
      await transport.close();
      for (const { server } of all) await server.close({ graceMs: 0 });
      for (const link of links) await link[Symbol.asyncDispose]();
    },
  };
}

async function elapsedMs(what: Promise<unknown>): Promise<number> {
  const began = performance.now();
  await what;
  return performance.now() - began;
}

describe.each([
  ["sessions", true],
  ["plain calls", false],
])("with %s", (_, session) => {
  test("calls go to the first address, and each request names that address", async () => {
    await using world = await servers(["a", "b"], session);
    expect([await world.answer(), await world.answer()]).toEqual(["a", "a"]);
    world.links[0]!.refuse();
    world.links[0]!.cut();
    await until("the connection is closed", () => census.clientSockets === 0);
    expect(await world.answer()).toBe("b");
    const [a, b] = world.links.map(({ url }) => new URL(url).host);
    expect(world.asked).toEqual([a, a, b]);
    expect(world.links[1]!.accepted).toBe(1);
  });

  test("the next address is tried immediately if one cannot be reached, and stays in use; the first comes again after all others", async () => {
    await using world = await servers(["a", "b", "c"], session);
    const [a, b, c] = world.links as [TcpLink, TcpLink, TcpLink];
    a.refuse();
    b.refuse();
    expect(await elapsedMs(world.answer())).toBeLessThan(500);
    a.accept();
    b.accept();
    expect(await world.answer()).toBe("c");
    c.refuse();
    c.cut();
    await until("the connection is closed", () => census.clientSockets === 0);
    expect(await world.answer()).toBe("a");
  });

  test("a call waits 500 ms for an address that does not answer, and then tries the next", async () => {
    await using silent = await listen(() => {});
    await using world = await servers(["b"], session);
    const baseUrl = [silent.url, world.links[0]!.url];
    await using transport = createTransport({ baseUrl, sessions: session });
    const greeter = createClient(Greeter, transport);
    const chat = greeter.chat();
    const ms = await elapsedMs(chat.send({ content: "1" }).then(() => next(chat)));
    expect(ms).toBeGreaterThan(490);
    expect(ms).toBeLessThan(1000);
    chat.cancel();
    expect(await elapsedMs(greeter.sayHello({}))).toBeLessThan(200);
  });

  test("a call that reaches no address fails with an error that names each, and the next attempt comes after the pause of the backoff", async () => {
    await using world = await servers(["a", "b"], session);
    for (const link of world.links) link.refuse();
    const chat = world.greeter.chat();
    const error = await failureOf(chat);
    expect(error.code).toBe(Code.Unavailable);
    expect(error.rawMessage).toContain("none of 2 addresses can be reached");
    for (const { url } of world.links) expect(error.rawMessage).toContain(new URL(url).host);
    for (const link of world.links) link.accept();
    // The backoff of the first failure: 1 s, or less by its jitter.
    expect(await elapsedMs(world.answer())).toBeGreaterThan(500);
  });

  test("new calls leave a server that drains, and calls that run on it continue", async () => {
    await using world = await servers(["a", "b"], session);
    const chat = world.greeter.chat();
    await chat.send({ content: "1" });
    expect(await next(chat)).toMatchObject({ reply: "a: 1" });
    const closed = world.servers[0]!.close();
    // The call that finds the server draining is refused there, and made again.
    expect(await world.answer()).toBe("b");
    const other = world.greeter.chat();
    await other.send({ content: "1" });
    expect(await next(other)).toMatchObject({ reply: "b: 1" });
    await chat.send({ content: "2" });
    expect(await next(chat)).toMatchObject({ reply: "a: 2" });
    chat.closeSend();
    expect(await next(chat)).toBeUndefined();
    other.cancel();
    await closed;
  });

  test("closing the transport ends calls that wait for a connection", async () => {
    await using world = await servers(["a", "b"], session);
    for (const link of world.links) link.refuse();
    await failureOf(world.greeter.sayHello({}));
    const waiting = failureOf(world.greeter.sayHello({}));
    await world.transport.close();
    expect((await waiting).code).toBe(Code.Canceled);
    const late = await failureOf(world.greeter.sayHello({}));
    for (const { url } of world.links) expect(late.rawMessage).toContain(new URL(url).host);
  });
});

test("a session continues at the address that has it, while new calls go to the next", async () => {
  await using world = await servers(["a", "b"], true);
  const [a] = world.links as [TcpLink];
  const chat = world.greeter.chat();
  await chat.send({ content: "1" });
  expect(await next(chat)).toMatchObject({ reply: "a: 1" });
  a.refuse();
  a.cut();
  await until("the session looks for its server", () => chat.state === "resuming");
  await chat.send({ content: "2" });
  expect(await world.answer()).toBe("b");
  const other = world.greeter.chat();
  await other.send({ content: "1" });
  expect(await next(other)).toMatchObject({ reply: "b: 1" });
  a.accept();
  expect(await next(chat)).toMatchObject({ reply: "a: 2" });
  chat.cancel();
  other.cancel();
});

test.each<[string, string[], RegExp]>([
  ["none", [], /empty list/],
  [
    "one that is not valid",
    ["http://127.0.0.1:1", "127.0.0.1:2"],
    /baseUrl is "127.0.0.1:2" \(a string\)/,
  ],
  ["with TLS and without", ["http://127.0.0.1:1", "https://127.0.0.1:2"], /127.0.0.1:1 and 127/],
  ["of two paths", ["http://127.0.0.1:1/a", "http://127.0.0.1:2/b"], /one path/],
])("addresses that contain %s are refused", (_, baseUrl, message) => {
  expect(() => createTransport({ baseUrl })).toThrow(ConnectError);
  expect(() => createTransport({ baseUrl })).toThrow(message);
});
