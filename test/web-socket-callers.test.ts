/** Who calls in a WebSocket, and what observers and limits see of it. */
import { once } from "node:events";
import { createClient as createStockClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { type ClientOptions, WebSocket } from "ws";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, createClient, createTransport, type TransportOptions } from "../src/index.ts";
import {
  type AuthenticationRequest,
  caller,
  type Peer,
  type ServerOptions,
} from "../src/server.ts";
import { runText } from "./support/child.ts";
import { until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { recorders } from "./support/recorder.ts";
import { protocols } from "./support/stock-protocols.ts";
import { openWebSocketPipe, SUBPROTOCOL, webSocketUrl } from "./support/web-socket-pipe.ts";
import { start } from "./support/world.ts";

/** A world whose client comes through a WebSocket that was opened with these headers. */
async function world(
  server: Partial<ServerOptions>,
  options: ClientOptions = {},
  transportOptions: Partial<TransportOptions> = {},
) {
  const peers: Peer[] = [];
  const world = await start({
    server: { webSocket: { origins: ["https://app.example"] }, ...server },
    greeter: {
      sayHello(_, context) {
        const { identity = "nobody", peer } = caller(context);
        peers.push(peer);
        return { reply: identity };
      },
      async *chat(requests) {
        for await (const { content } of requests) yield { reply: content };
      },
    },
  });
  const pipe = await openWebSocketPipe(world.url, options);
  const transport = createTransport({ baseUrl: pipe.url, ...transportOptions });
  return {
    ...{ world, pipe, transport, peers },
    greeter: createClient(Greeter, transport),
    async [Symbol.asyncDispose]() {
      await transport.close();
      await pipe[Symbol.asyncDispose]();
      await world[Symbol.asyncDispose]();
    },
  };
}

describe("authenticate", () => {
  const ofPage = {
    origin: "https://app.example",
    headers: { cookie: "session=ada", "x-user-of-proxy": "ada", "user-agent": "a browser" },
  };

  /** Notes what authenticate was given. */
  function watching(expiresAfterMs?: number) {
    const requests: AuthenticationRequest[] = [];
    const authenticate: ServerOptions["authenticate"] = (request) => {
      requests.push(request);
      const expiresAt = expiresAfterMs && new Date(Date.now() + expiresAfterMs);
      return { identity: "ada", ...(expiresAt ? { expiresAt } : {}) };
    };
    return { requests, authenticate };
  }

  test("gets the cookie and the origin of the page, and the headers of the call", async () => {
    const { requests, authenticate } = watching();
    await using one = await world({ authenticate }, ofPage);
    const headers = { "x-of-call": "1", authorization: "Bearer of-call" };
    expect((await one.greeter.sayHello({}, { headers })).reply).toBe("ada");
    const [{ header, webSocketHeader }] = requests as [AuthenticationRequest];
    expect(header.get("cookie")).toBe("session=ada");
    expect(header.get("origin")).toBe("https://app.example");
    expect(header.get("user-agent")).toBe("a browser");
    expect(header.get("x-of-call")).toBe("1");
    expect(header.get("authorization")).toBe("Bearer of-call");
    for (const name of ["connection", "upgrade", "sec-websocket-key"]) {
      expect(header.has(name)).toBe(false);
      expect(webSocketHeader?.has(name)).toBe(true);
    }
    expect(webSocketHeader?.get("cookie")).toBe("session=ada");
    expect(webSocketHeader?.has("x-of-call")).toBe(false);
  });

  test("does not get what a script writes in place of the page's headers, but its own authorization", async () => {
    const { requests, authenticate } = watching();
    const authorization = "Basic of-page";
    const headers = { ...ofPage.headers, authorization };
    await using one = await world({ authenticate }, { ...ofPage, headers });
    const written = {
      cookie: "session=eve",
      origin: "https://else.example",
      "x-user-of-proxy": "eve",
    };
    await one.greeter.sayHello({}, { headers: written });
    await one.greeter.sayHello({}, { headers: { authorization: "Bearer of-call" } });
    const [first, second] = requests as [AuthenticationRequest, AuthenticationRequest];
    expect(first.header.get("cookie")).toBe("session=ada");
    expect(first.header.get("origin")).toBe("https://app.example");
    expect(first.header.get("x-user-of-proxy")).toBe("ada");
    expect(first.header.get("authorization")).toBe("Basic of-page");
    expect(second.header.get("authorization")).toBe("Bearer of-call");
  });

  test("gets them in other protocols in the WebSocket too, and in admit", async () => {
    const { requests, authenticate } = watching();
    const admitted: Headers[] = [];
    const admit: ServerOptions["admit"] = ({ header }) => void admitted.push(header);
    await using one = await world({ authenticate, admit }, ofPage);
    const make = protocols["Connect over HTTP/2"] as (typeof protocols)[string];
    await createStockClient(Greeter, make(one.pipe.url)).sayHello({});
    expect(requests[0]?.header.get("cookie")).toBe("session=ada");
    expect(admitted[0]?.get("cookie")).toBe("session=ada");
  });

  test("gets them when a session renews its credentials, and when it continues in another WebSocket", async () => {
    const { requests, authenticate } = watching(500);
    let count = 0;
    const headers = () => ({ authorization: `Bearer ${++count}` });
    await using one = await world({ authenticate }, ofPage, { headers });
    const chat = one.greeter.chat();
    await chat.send({ content: "one" });
    await next(chat);
    await until("it was renewed twice", () => requests.length >= 3);
    for (const webSocket of one.pipe.webSockets) webSocket.terminate();
    await chat.send({ content: "two" });
    chat.closeSend();
    expect((await all(chat)).map(({ reply }) => reply)).toEqual(["two"]);
    expect(new Set(requests.map(({ header }) => header.get("cookie")))).toEqual(
      new Set(["session=ada"]),
    );
    expect(new Set(requests.map(({ header }) => header.get("authorization"))).size).toBe(
      requests.length,
    );
  });

  test("gets no such headers of a call that came in no WebSocket", async () => {
    const { requests, authenticate } = watching();
    await using one = await world({ authenticate }, ofPage);
    await one.world.greeter.sayHello({}, { headers: { cookie: "session=own" } });
    expect(requests[0]?.webSocketHeader).toBeUndefined();
    expect(requests[0]?.header.get("cookie")).toBe("session=own");
  });
});

describe("behind a proxy", () => {
  const forwarded = { "x-forwarded-for": "198.51.100.7" };
  const forged = { headers: { "x-forwarded-for": "203.0.113.9" } };

  test("that is trusted, the address is the one that it wrote into the request for the WebSocket", async () => {
    await using one = await world({ trustedProxies: ["loopback"] }, { headers: forwarded });
    await one.greeter.sayHello({});
    await one.greeter.sayHello({}, forged);
    expect(one.peers).toMatchObject([
      { address: "198.51.100.7", proxy: { address: "127.0.0.1" } },
      { address: "198.51.100.7", proxy: { address: "127.0.0.1" } },
    ]);
  });

  test("that is not trusted, the address is the proxy's", async () => {
    await using one = await world({ trustedProxies: ["192.0.2.1"] }, { headers: forwarded });
    await one.greeter.sayHello({});
    expect(one.peers).toMatchObject([{ address: "127.0.0.1", proxy: undefined }]);
  });

  test.each([
    ["names a trusted address", { "x-forwarded-for": "127.0.0.1" }],
    ["names nobody", {}],
    ["names two", { ...forwarded, forwarded: "for=192.0.2.9" }],
  ])("that %s, a client cannot choose its address in its calls", async (_, headers) => {
    await using one = await world({ trustedProxies: ["loopback", "unix"] }, { headers });
    await one.greeter.sayHello({}, forged);
    expect(one.peers[0]?.address).not.toBe("203.0.113.9");
  });
});

describe("an observer", () => {
  test("is told of one connection at a time: of HTTP/1.1, which closes, and of the WebSocket", async () => {
    const { server, setup } = recorders();
    {
      await using one = await world(setup.server ?? {});
      await one.greeter.sayHello({});
      expect(server.of("connectionOpened")).toMatchObject([
        { connection: { protocol: "http/1.1" } },
        { connection: { protocol: "websocket", peer: { address: "127.0.0.1" } } },
      ]);
      expect(server.of("connectionClosed")).toMatchObject([
        { connection: { protocol: "http/1.1" }, why: "closed", detail: "it became a WebSocket" },
      ]);
      for (const webSocket of one.pipe.webSockets) webSocket.terminate();
      await until("it is closed", () => server.of("connectionClosed").length === 2);
    }
    expect(server.of("connectionClosed")[1]).toMatchObject({
      ...{ connection: { protocol: "websocket" }, why: "lost" },
    });
  });

  test("is told why a WebSocket was closed that broke a rule", async () => {
    const { server, setup } = recorders();
    await using one = await world(setup.server ?? {});
    const client = new WebSocket(webSocketUrl(one.world.url), SUBPROTOCOL);
    await once(client, "open");
    client.send("a text");
    await once(client, "close");
    await until("it is told", () => server.of("connectionClosed").length === 2);
    expect(server.of("connectionClosed")[1]).toMatchObject({
      detail: "a text message, and only binary ones are taken",
    });
  });
});

test("maxConnections counts WebSockets, and further ones are closed", async () => {
  await using one = await world({ maxConnections: 1, logger: { error() {} } });
  await one.greeter.sayHello({});
  const client = new WebSocket(webSocketUrl(one.world.url), SUBPROTOCOL);
  await once(client, "error");
  expect(one.world.server.stats().limits.maxConnections).toMatchObject({ held: 1, refused: 1 });
});

test("keepalive finds a client of a WebSocket that is silent, and ends its calls", async () => {
  await using one = await world({ keepalive: { intervalMs: 50, timeoutMs: 50 }, sessions: false });
  const chat = one.greeter.chat();
  await chat.send({ content: "one" });
  await next(chat);
  for (const webSocket of one.pipe.webSockets) webSocket.pause();
  await until("its call has ended", () => one.world.server.openCalls === 0);
  for (const webSocket of one.pipe.webSockets) webSocket.terminate();
  expect((await failureOf(all(chat))).code).toBe(Code.Unavailable);
});

test("a server with WebSockets whose package is missing says at listen() what to install", async () => {
  await using child = runText(`
    import { registerHooks } from "node:module";
    registerHooks({
      resolve(name, context, next) {
        if (name !== "ws") return next(name, context);
        throw Object.assign(new Error("Cannot find module 'ws'"), { code: "MODULE_NOT_FOUND" });
      },
    });
    const server = createServer({ routes: () => {}, webSocket: {} });
    await server.listen({ port: 0 }).catch((error) => console.log(Code[error.code], error.rawMessage));
    await createServer({ routes: () => {} }).listen({ port: 0 });
    console.log("the other listens");
  `);
  expect(await child.line()).toBe(
    "FailedPrecondition a server with the option webSocket needs the package ws: npm install ws",
  );
  expect(await child.line()).toBe("the other listens");
});
