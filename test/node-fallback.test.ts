/** Apps for Node's requests and responses, such as those of Express, serve what is no RPC over HTTP/1.1. */
import * as http2 from "node:http2";
import { describe, expect, test } from "vitest";
import { createServer, type NodeApp, nodeFallback, type ServerOptions } from "../src/server.ts";
import { gate, until } from "./support/gate.ts";
import { ask } from "./support/http-request.ts";
import { failureOf } from "./support/read.ts";
import { start } from "./support/world.ts";

const world = (app: NodeApp, server: Partial<ServerOptions> = {}) =>
  start({ server: { fallback: nodeFallback(app), ...server } });

test("an app gets the request of node:http, and answers it", async () => {
  await using one = await world(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    response.writeHead(201, { "x-own": `${request.method} ${request.url}` });
    response.end(`you sent ${body}`);
  });
  const request = { url: one.url, path: "/page?a=b", method: "POST", body: "a text" };
  const response = await ask("HTTP/1.1", request);
  expect(response.status).toBe(201);
  expect(response.headers.get("x-own")).toBe("POST /page?a=b");
  expect(response.body.toString()).toBe("you sent a text");
});

test("an app gets no RPC", async () => {
  await using one = await world((_, response) => response.end("a page"));
  const json = { "content-type": "application/json" };
  const call = { url: one.url, method: "POST", headers: json, body: '{"content":"Ada"}' };
  const rpc = await ask("HTTP/1.1", { ...call, path: "/example.Greeter/SayHello" });
  expect(rpc.body.toString()).toMatch(/Hello, Ada/);
  const page = await ask("HTTP/1.1", { ...call, path: "/" });
  expect(page.body.toString()).toBe("a page");
  expect((await one.greeter.sayHello({ content: "Ada" })).reply).toBe("Hello, Ada");
});

test("a client of HTTP/2 is asked to make the request over HTTP/1.1, and its calls are served", async () => {
  let requests = 0;
  await using one = await world((_, response) => {
    requests++;
    response.end();
  });
  const session = http2.connect(one.url);
  session.on("error", () => {});
  const stream = session.request({ ":path": "/" });
  stream.on("error", () => {});
  await new Promise((resolve) => stream.once("close", resolve));
  expect(stream.rstCode).toBe(http2.constants.NGHTTP2_HTTP_1_1_REQUIRED);
  expect(requests).toBe(0);
  const headers = { "content-type": "application/json" };
  const call = session.request({
    ...{ ":path": "/example.Greeter/SayHello", ":method": "POST" },
    ...headers,
  });
  call.end('{"content":"Ada"}');
  const parts: Buffer[] = [];
  for await (const part of call) parts.push(part as Buffer);
  expect(Buffer.concat(parts).toString()).toMatch(/Hello, Ada/);
  session.destroy();
});

describe("an app that", () => {
  test.each<[string, NodeApp]>([
    [
      "throws",
      () => {
        throw new Error("a secret");
      },
    ],
    ["rejects", () => Promise.reject(new Error("a secret"))],
  ])("%s is logged, and its client gets 500 without a text", async (_, app) => {
    await using one = await world(app);
    const response = await ask("HTTP/1.1", { url: one.url, path: "/page?token=1" });
    expect([response.status, response.body.length]).toEqual([500, 0]);
    expect(one.logged).toEqual([["the fallback failed for GET /page:", expect.any(Error)]]);
  });

  test("throws after the headers is logged, and its response is cut off", async () => {
    await using one = await world((_, response) => {
      response.writeHead(200, { "content-length": 100 });
      response.write("the beginning");
      throw new Error("a secret");
    });
    await expect(ask("HTTP/1.1", { url: one.url, path: "/" })).rejects.toThrow();
    await until("it is logged", () => one.logged.length === 1);
  });

  test("has open requests lets a closing server wait for them", async () => {
    const finish = gate();
    await using one = await world(async (_, response) => {
      await finish.opened;
      response.end("finished");
    });
    const asking = ask("HTTP/1.1", { url: one.url, path: "/" });
    await until("it is open", () => one.server.openCalls === 1);
    const closing = one.server.close({ graceMs: 5000 });
    finish.open();
    expect((await asking).body.toString()).toBe("finished");
    await closing;
  });
});

test.each<[string, () => unknown, RegExp]>([
  [
    "nodeFallback()",
    () => nodeFallback({} as never),
    /^nodeFallback: app is an object: a function is needed/,
  ],
  [
    "createServer()",
    () => createServer({ routes: () => {}, fallback: {} as never }),
    /^createServer: fallback is an object: a function is needed/,
  ],
])("%s refuses what is no function", async (_, make, text) => {
  expect((await failureOf((async () => void make())())).rawMessage).toMatch(text);
});
