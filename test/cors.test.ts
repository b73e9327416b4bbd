/** What browsers let pages of other hosts do, by the headers that a server sends (the Fetch standard, 3.2). */
import { describe, expect, test } from "vitest";
import { Code, ConnectError, createServer, type ServerOptions } from "../src/server.ts";
import { ask, type HttpRequest, type HttpResponse, versions } from "./support/http-request.ts";
import { all, failureOf, next } from "./support/read.ts";
import { start } from "./support/world.ts";

const ORIGIN = "https://app.example.com";
const PATH = "/example.Greeter/SayHello";
const CONNECT = { "content-type": "application/json", "connect-protocol-version": "1" };

const world = (cors: ServerOptions["cors"]) =>
  start({
    server: { ...(cors === undefined ? {} : { cors }) },
    greeter: {
      sayHello({ content }, context) {
        if (content === "fail") throw new ConnectError("it failed", Code.FailedPrecondition);
        context.responseHeader.set("x-of-handler", "1");
        context.responseHeader.append("set-cookie", "a=b");
        context.responseTrailer.set("x-of-trailers", "2");
        return { reply: `Hello, ${content}` };
      },
      async *chat(requests) {
        for await (const { content } of requests) yield { reply: content };
      },
      async *subscribe(_, context) {
        context.responseHeader.set("x-of-handler", "1");
        yield { sequence: 1n };
      },
    },
  });

/** The names in a header that is a list. */
const listed = ({ headers }: HttpResponse, name: string) =>
  (headers.get(name) ?? "").split(",").map((one) => one.trim().toLowerCase());

describe.each(versions)("over %s", (version) => {
  const preflight = (url: string, headers: Record<string, string> = {}) =>
    ask(version, {
      ...{ url, path: PATH, method: "OPTIONS" },
      headers: {
        origin: ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "connect-protocol-version,content-type,x-mine",
        ...headers,
      },
    });
  const call = (url: string, more: Partial<HttpRequest> = {}) =>
    ask(version, {
      ...{ url, path: PATH, method: "POST", body: '{"content":"Ada"}' },
      ...more,
      headers: { ...CONNECT, origin: ORIGIN, ...more.headers },
    });

  test("a preflight of a listed page is allowed, with the headers that it asks for", async () => {
    await using one = await world({ origins: [ORIGIN] });
    const response = await preflight(one.url);
    expect(response.status).toBe(204);
    expect(response.body.length).toBe(0);
    expect(response.headers.get("access-control-allow-origin")).toBe(ORIGIN);
    expect(response.headers.has("access-control-allow-credentials")).toBe(false);
    expect(listed(response, "access-control-allow-methods")).toEqual(["get", "post"]);
    expect(listed(response, "access-control-allow-headers")).toContain("x-mine");
    expect(listed(response, "vary")).toContain("origin");
    expect(Number(response.headers.get("access-control-max-age"))).toBeGreaterThan(0);
  });

  test.each([
    ["a page that is not listed", { origin: "https://evil.example" }, /not in cors\.origins/],
    ["a page without an origin of its own", { origin: "null" }, /not in cors\.origins/],
    [
      "a listed page, for a method that no call has",
      { "access-control-request-method": "PUT" },
      /GET or POST/,
    ],
  ])("a preflight of %s is refused, and says why", async (_, headers, text) => {
    await using one = await world({ origins: [ORIGIN] });
    const response = await preflight(one.url, headers);
    expect(response.status).toBe(403);
    expect(response.body.toString()).toMatch(text);
    expect(response.headers.has("access-control-allow-methods")).toBe(false);
    expect(listed(response, "vary")).toContain("origin");
  });

  test("a listed page may read a response, and all its headers and trailers", async () => {
    await using one = await world({ origins: [ORIGIN] });
    const response = await call(one.url);
    expect(response.status).toBe(200);
    expect(JSON.parse(response.body.toString())).toEqual({ reply: "Hello, Ada" });
    expect(response.headers.get("access-control-allow-origin")).toBe(ORIGIN);
    expect(listed(response, "vary")).toContain("origin");
    const exposed = listed(response, "access-control-expose-headers");
    for (const name of ["grpc-status", "grpc-message", "grpc-status-details-bin"]) {
      expect(exposed).toContain(name);
    }
    expect(exposed).toEqual(expect.arrayContaining(["x-of-handler", "trailer-x-of-trailers"]));
    expect(exposed).not.toContain("set-cookie");
  });

  test("a listed page may read an error", async () => {
    await using one = await world({ origins: [ORIGIN] });
    const response = await call(one.url, { body: '{"content":"fail"}' });
    expect(response.status).toBe(400);
    expect(JSON.parse(response.body.toString())).toMatchObject({ message: "it failed" });
    expect(response.headers.get("access-control-allow-origin")).toBe(ORIGIN);
  });

  test("a listed page may read what a handler sets before its first response, over gRPC-Web", async () => {
    await using one = await world({ origins: [ORIGIN] });
    const response = await call(one.url, {
      path: "/example.Greeter/Subscribe",
      headers: { "content-type": "application/grpc-web+proto", "x-grpc-web": "1" },
      body: Buffer.alloc(5),
    });
    expect(response.status).toBe(200);
    expect(response.headers.get("access-control-allow-origin")).toBe(ORIGIN);
    expect(listed(response, "access-control-expose-headers")).toContain("x-of-handler");
  });

  test("another page may not read a response, which says that it depends on the origin", async () => {
    await using one = await world({ origins: [ORIGIN] });
    const response = await call(one.url, { headers: { origin: "https://evil.example" } });
    expect(response.headers.has("access-control-allow-origin")).toBe(false);
    expect(response.headers.has("access-control-expose-headers")).toBe(false);
    expect(listed(response, "vary")).toContain("origin");
  });

  test("a listed page may read that a server has no such method", async () => {
    await using one = await world({ origins: [ORIGIN] });
    const path = "/example.Greeter/Other";
    const asked = await ask(version, {
      ...{ url: one.url, path, method: "OPTIONS" },
      headers: { origin: ORIGIN, "access-control-request-method": "POST" },
    });
    const response = await call(one.url, { path });
    expect([asked.status, response.status]).toEqual([204, 404]);
    for (const { headers } of [asked, response]) {
      expect(headers.get("access-control-allow-origin")).toBe(ORIGIN);
    }
  });

  test("a listed page may read that a server closes", async () => {
    await using one = await world({ origins: [ORIGIN] });
    const chat = one.greeter.chat();
    await chat.send({ content: "the server listens while I have a session" });
    await next(chat);
    const closing = one.server.close();
    const [asked, response] = [await preflight(one.url), await call(one.url)];
    expect([asked.status, response.status]).toEqual([204, 503]);
    for (const { headers } of [asked, response]) {
      expect(headers.get("access-control-allow-origin")).toBe(ORIGIN);
    }
    chat.closeSend();
    await all(chat);
    await closing;
  });

  test("with credentials, both say so, and name the origin", async () => {
    await using one = await world({ origins: ["https://b.example", ORIGIN], credentials: true });
    for (const response of [await preflight(one.url), await call(one.url)]) {
      expect(response.headers.get("access-control-allow-credentials")).toBe("true");
      expect(response.headers.get("access-control-allow-origin")).toBe(ORIGIN);
    }
  });

  test('["*"] allows all pages, without credentials', async () => {
    await using one = await world({ origins: ["*"] });
    for (const response of [await preflight(one.url), await call(one.url)]) {
      expect(["*", ORIGIN]).toContain(response.headers.get("access-control-allow-origin"));
      expect(response.headers.has("access-control-allow-credentials")).toBe(false);
    }
  });

  test("a page of the host itself, and a program, are served as ever", async () => {
    await using one = await world({ origins: [ORIGIN] });
    expect((await call(one.url, { headers: { origin: one.url } })).status).toBe(200);
    const { "content-type": type } = CONNECT;
    const response = await ask(version, {
      ...{ url: one.url, path: PATH, method: "POST", body: "{}" },
      headers: { "content-type": type },
    });
    expect(response.status).toBe(200);
    expect(response.headers.has("access-control-allow-origin")).toBe(false);
  });

  test("a server without the option says nothing of origins", async () => {
    await using one = await world(undefined);
    const asked = await preflight(one.url);
    expect(asked.status).toBe(405);
    for (const { headers } of [asked, await call(one.url)]) {
      expect([...headers.keys()].filter((name) => /^(access-control-|vary)/.test(name))).toEqual(
        [],
      );
    }
  });
});

test.each<[string, unknown, RegExp]>([
  ["no origins", {}, /cors\.origins is missing/],
  ["a text", { origins: ORIGIN }, /cors\.origins.*an array of origins/],
  ["an origin with a path", { origins: [`${ORIGIN}/`] }, /cors\.origins\[0\]/],
  [
    "all origins with credentials",
    { origins: ["*"], credentials: true },
    /cors\.origins.*a list of origins/,
  ],
  ["credentials that are a text", { origins: [ORIGIN], credentials: "yes" }, /cors\.credentials/],
])("the option is refused if it has %s", async (_, cors, text) => {
  const make = async () => void createServer({ routes: () => {}, cors } as ServerOptions);
  expect((await failureOf(make())).message).toMatch(text);
});
