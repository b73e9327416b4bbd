/** Which WebSockets a server opens, and what it answers to the requests for others. */
import { once } from "node:events";
import * as tls from "node:tls";
import { describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { createServer, type ServerOptions } from "../src/server.ts";
import { measureLateness } from "./support/lateness.ts";
import { rawClient, requestText, upgradeHeaders } from "./support/raw-web-socket.ts";
import { failureOf } from "./support/read.ts";
import { certs } from "./support/tls.ts";
import { SUBPROTOCOL, webSocketUrl } from "./support/web-socket-pipe.ts";
import { start } from "./support/world.ts";

const webSocket = { origins: ["https://app.example.com", "capacitor://localhost"] };

/** Returns the response to a request, without what follows a 101. */
async function answerTo(url: string, text: string): Promise<string> {
  using client = await rawClient(url);
  client.socket.write(text);
  await once(client.socket, "data");
  return client.received.toString("latin1");
}

type Headers = Record<string, string | undefined>;

describe("a WebSocket is opened", () => {
  test.each<[string, string, Headers]>([
    ["without an origin, as programs ask for it", "/hawser", {}],
    ["for a page of the host itself", "/hawser", { origin: "http://127.0.0.1" }],
    [
      "for a page with TLS, which a proxy has before the host",
      "/hawser",
      { origin: "https://127.0.0.1" },
    ],
    [
      "for a page of the host, whose port is the default one",
      "/hawser",
      { host: "a.example:443", origin: "https://a.example" },
    ],
    [
      "for a page of the host, whose port is another one",
      "/hawser",
      { host: "a.example:8443", origin: "https://a.example:8443" },
    ],
    ["for an origin that is listed", "/hawser", { origin: "https://app.example.com" }],
    ["for an origin of an app that is listed", "/hawser", { origin: "capacitor://localhost" }],
    ["whatever the query is", "/hawser?a=b", {}],
    [
      "if the subprotocol is one of several",
      "/hawser",
      { "sec-websocket-protocol": `other, ${SUBPROTOCOL}` },
    ],
  ])("%s", async (_, path, headers) => {
    await using world = await start({ server: { webSocket } });
    const answer = await answerTo(world.url, requestText(path, upgradeHeaders(headers)));
    expect(answer).toMatch(/^HTTP\/1\.1 101 /);
    expect(answer).toMatch(new RegExp(`^sec-websocket-protocol: ${SUBPROTOCOL}\r$`, "im"));
    expect(answer).not.toMatch(/sec-websocket-extensions/i);
  });

  test("at a path of one's own", async () => {
    await using world = await start({ server: { webSocket: { path: "/rpc" } } });
    expect(await answerTo(world.url, requestText("/rpc", upgradeHeaders()))).toMatch(/ 101 /);
    expect(await answerTo(world.url, requestText("/hawser", upgradeHeaders()))).toMatch(/ 404 /);
  });

  test("by Node's own client", async () => {
    await using world = await start({ server: { webSocket } });
    const client = new globalThis.WebSocket(webSocketUrl(world.url), SUBPROTOCOL);
    await once(client, "open");
    expect(client.protocol).toBe(SUBPROTOCOL);
    client.close();
    await once(client, "close");
  });
});

describe("a request for a WebSocket is refused", () => {
  const foreign = /neither the server's own nor in webSocket\.origins/;
  test.each<[string, string, Headers, number, RegExp]>([
    ["at another path", "/other", {}, 404, /at \/hawser/],
    ["of another origin", "/hawser", { origin: "https://evil.example" }, 403, foreign],
    [
      "of an origin that begins with a listed one",
      "/hawser",
      { origin: "https://app.example.com.evil.example" },
      403,
      foreign,
    ],
    [
      "of the same host at another port",
      "/hawser",
      { host: "a.example", origin: "http://a.example:8080" },
      403,
      foreign,
    ],
    ["of a page without an origin of its own", "/hawser", { origin: "null" }, 403, foreign],
    [
      "of another origin, in the header of an old version",
      "/hawser",
      { "sec-websocket-version": "8", "sec-websocket-origin": "https://evil.example" },
      403,
      foreign,
    ],
    ["with an origin that is none", "/hawser", { origin: "127.0.0.1" }, 403, foreign],
    [
      "without a subprotocol",
      "/hawser",
      { "sec-websocket-protocol": undefined },
      400,
      /hawser\.h2\.v1/,
    ],
    [
      "with another subprotocol",
      "/hawser",
      { "sec-websocket-protocol": "chat" },
      400,
      /hawser\.h2\.v1/,
    ],
    ["without a key", "/hawser", { "sec-websocket-key": undefined }, 400, /Sec-WebSocket-Key/],
    [
      "of another version",
      "/hawser",
      { "sec-websocket-version": "7" },
      400,
      /Sec-WebSocket-Version/,
    ],
  ])("%s", async (_, path, headers, status, text) => {
    await using world = await start({ server: { webSocket } });
    using client = await rawClient(world.url);
    client.socket.write(requestText(path, upgradeHeaders(headers)));
    const answer = (await client.closed).toString("latin1");
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer).toMatch(text);
    expect((await world.greeter.sayHello({ content: "Ada" })).reply).toBe("Hello, Ada");
  });

  test("of a page without TLS, if the server has TLS", async () => {
    await using world = await start({ server: { webSocket, tls: certs.server } });
    const open = async (origin: string) => {
      const { port } = new URL(world.url);
      const client = new WebSocket(webSocketUrl(world.url), SUBPROTOCOL, {
        ...{ ca: certs.ca, origin: `${origin}:${port}` },
      });
      const opened = once(client, "open").then(() => "open");
      const refused = once(client, "unexpected-response").then(
        ([, { statusCode }]) => statusCode as number,
      );
      client.on("error", () => {});
      const outcome = await Promise.race([opened, refused]);
      client.terminate();
      return outcome;
    };
    expect(await open("https://127.0.0.1")).toBe("open");
    expect(await open("http://127.0.0.1")).toBe(403);
  });

  test("while an earlier request of its connection has no answer yet: the connection is closed", async () => {
    await using world = await start({ server: { webSocket } });
    using client = await rawClient(world.url);
    const head =
      "POST /example.Greeter/SayHello HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    const first = `${head}content-length: 2\r\n\r\n{}`;
    client.socket.write(first + requestText("/hawser", upgradeHeaders()));
    expect((await client.closed).toString("latin1")).not.toMatch(/ 101 /);
  });
});

describe("other requests", () => {
  const h2c = {
    host: "x",
    connection: "Upgrade, HTTP2-Settings",
    upgrade: "h2c",
    "http2-settings": "",
  };

  test.each([
    ["that takes WebSockets", { webSocket }],
    ["that takes none", {}],
  ])("an upgrade to h2c is ignored by a server %s", async (_, server) => {
    await using world = await start({ server });
    const body = '{"content":"Ada"}';
    const headers = {
      ...h2c,
      "content-type": "application/json",
      "content-length": `${body.length}`,
    };
    const text = requestText("/example.Greeter/SayHello", headers, "POST") + body;
    using client = await rawClient(world.url);
    client.socket.write(text);
    await once(client.socket, "data");
    expect(client.received.toString()).toMatch(/^HTTP\/1\.1 200 [\s\S]*Hello, Ada/);
  });

  test("a server without the option opens no WebSocket", async () => {
    await using world = await start();
    const answer = await answerTo(world.url, requestText("/hawser", upgradeHeaders()));
    expect(answer).toMatch(/^HTTP\/1\.1 404 /);
  });
});

describe("time", () => {
  test("a request for a WebSocket that stops is answered with 408 after headersTimeoutMs", async () => {
    const http1 = { headersTimeoutMs: 200 };
    await using world = await start({ server: { webSocket, http1 } });
    using client = await rawClient(world.url);
    using late = measureLateness();
    const began = performance.now();
    client.socket.write(requestText("/hawser", upgradeHeaders()).slice(0, -2));
    expect((await client.closed).toString()).toMatch(/^HTTP\/1\.1 408 /);
    expect(performance.now() - began).toBeLessThan(500 + late.ms);
  });

  test("an open WebSocket in which HTTP/2 does not begin is closed after prefaceTimeoutMs, and not before", async () => {
    const server = { webSocket, prefaceTimeoutMs: 200, http1: { headersTimeoutMs: 50 } };
    await using world = await start({ server });
    const client = new WebSocket(webSocketUrl(world.url), SUBPROTOCOL);
    await once(client, "open");
    using late = measureLateness();
    const began = performance.now();
    const [code] = (await once(client, "close")) as [number];
    expect(code).toBe(1001);
    expect(performance.now() - began).toBeGreaterThan(180);
    expect(performance.now() - began).toBeLessThan(500 + late.ms);
  });

  test("a client of TLS that leaves its WebSocket half open is closed as well", async () => {
    const server = { webSocket, tls: certs.server, http1: { headersTimeoutMs: 200 } };
    await using world = await start({ server });
    const { port } = new URL(world.url);
    const socket = tls.connect({ port: Number(port), host: "127.0.0.1", ca: certs.ca });
    socket.write("GET /hawser HTTP/1.1\r\nUpgrade: websocket\r\n");
    socket.resume();
    await once(socket, "close");
  });
});

describe("the option", () => {
  const routes = () => {};

  test.each<[string, unknown, RegExp]>([
    ["a path without a slash", { path: "hawser" }, /webSocket\.path is "hawser".*begins with "\/"/],
    ["a path with a query", { path: "/a?b" }, /webSocket\.path/],
    [
      "an origin with a path",
      { origins: ["https://a.example/"] },
      /webSocket\.origins\[0\].*without a path/,
    ],
    [
      "an origin with a default port",
      { origins: ["https://a.example:443"] },
      /webSocket\.origins\[0\]/,
    ],
    [
      "a host",
      { origins: ["https://a.example", "b.example"] },
      /webSocket\.origins\[1\] is "b\.example"/,
    ],
    ["all origins", { origins: ["*"] }, /webSocket\.origins\[0\] is "\*"/],
    ["no array", { origins: "https://a.example" }, /webSocket\.origins.*an array of origins/],
    ["an unknown name", { origin: [] }, /did you mean `origins`/],
    ["true", true, /webSocket is true.*an object is needed/],
  ])("is refused if it is %s", async (_, webSocket, text) => {
    const options = { routes, webSocket } as ServerOptions;
    const make = async () => void createServer(options);
    expect((await failureOf(make())).message).toMatch(text);
  });
});
