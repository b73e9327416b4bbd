/** What is no RPC: a server's own function from a Request to a Response serves it. */
import { once } from "node:events";
import * as http from "node:http";
import * as http2 from "node:http2";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { describe, expect, test } from "vitest";
import type { ServerOptions } from "../src/server.ts";
import { aborted, gate, stillAt, until } from "./support/gate.ts";
import { ask, type Version, versions } from "./support/http-request.ts";
import { recorders } from "./support/recorder.ts";
import { type Setup, start } from "./support/world.ts";

type Serve = (request: Request) => Response | Promise<Response>;

const world = (fallback: Serve, server: Partial<ServerOptions> = {}, more: Setup = {}) =>
  start({ ...more, server: { fallback, ...server } });

const MiB = 2 ** 20;

/** A request whose body, and the reading of whose response, the test controls. */
interface OpenRequest extends AsyncDisposable {
  /** Writes are the body of the request. */
  readonly upload: NodeJS.WritableStream & { readonly writableLength: number };
  /** Resolves when the response has begun: what is read is its body. */
  readonly response: Promise<Duplex | http.IncomingMessage>;
  /** Leaves: the connection, or the stream, is gone. */
  leave(): void;
}

function open(version: Version, url: string, { path = "/", method = "POST" } = {}): OpenRequest {
  if (version === "HTTP/1.1") {
    const request = http.request(`${url}${path}`, { method, agent: false });
    request.on("error", () => {});
    request.flushHeaders();
    const response = once(request, "response").then(([response]) => {
      response.on("error", () => {});
      return response as http.IncomingMessage;
    });
    response.catch(() => {});
    const leave = () => void request.destroy();
    return { upload: request, response, leave, [Symbol.asyncDispose]: async () => leave() };
  }
  const session = http2.connect(url);
  session.on("error", () => {});
  const stream = session.request({ ":method": method, ":path": path });
  stream.on("error", () => {});
  const response = once(stream, "response").then(() => stream);
  response.catch(() => {});
  return {
    ...{ upload: stream, response, leave: () => void stream.close(http2.constants.NGHTTP2_CANCEL) },
    async [Symbol.asyncDispose]() {
      session.destroy();
    },
  };
}

/** A body without an end, and what became of it. */
function endless() {
  const state = { parts: 0, cancelled: gate<unknown>() };
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        state.parts++;
        controller.enqueue(new Uint8Array(64 * 1024));
      },
      cancel: (reason) => state.cancelled.open(reason),
    },
    { highWaterMark: 0 },
  );
  return { body, ...state, count: () => state.parts };
}

describe.each(versions)("over %s", (version) => {
  test("it gets the request, and its response is sent", async () => {
    const requests: Request[] = [];
    await using one = await world((request) => {
      requests.push(request);
      const headers = new Headers({
        "content-type": "text/html",
        connection: "x-own",
        "x-own": "1",
      });
      headers.append("set-cookie", "a=1");
      headers.append("set-cookie", "b=2");
      return new Response("<h1>hello</h1>", { status: 203, headers });
    });
    const headers = { cookie: "c=3", "x-mine": "4" };
    const response = await ask(version, { url: one.url, path: "/page?a=b", headers });
    expect(response.status).toBe(203);
    expect(response.body.toString()).toBe("<h1>hello</h1>");
    expect(response.headers.get("content-type")).toBe("text/html");
    expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    expect(response.headers.has("date")).toBe(true);
    const [request] = requests as [Request];
    expect(request.method).toBe("GET");
    expect(request.url).toBe(`${one.url}/page?a=b`);
    expect(request.headers.get("cookie")).toBe("c=3");
    expect(request.headers.get("x-mine")).toBe("4");
    expect(request.body).toBeNull();
    expect(request.signal.aborted).toBe(false);
  });

  test("a body of 16 MiB is passed on in both directions, as it comes", async () => {
    await using one = await world((request) => new Response(request.body));
    const sent = Buffer.alloc(16 * MiB);
    for (let at = 0; at < sent.length; at += 4) sent.writeUInt32LE(at, at);
    const response = await ask(version, { url: one.url, path: "/", method: "POST", body: sent });
    expect(response.body.equals(sent)).toBe(true);
  });

  test("parts of a body of both sides alternate", async () => {
    await using one = await world((request) => new Response(request.body));
    await using made = open(version, one.url);
    const { upload, response } = made;
    upload.write("ping");
    const reading = await response;
    for (const word of ["ping", "pong", "ping"]) {
      const [part] = (await once(reading, "data")) as [Buffer];
      expect(part.toString()).toBe(word);
      upload.write(word === "ping" ? "pong" : "ping");
    }
    upload.end();
  });

  test("a part of 32 MiB is sent no faster than a client reads", async () => {
    const sent = Buffer.alloc(32 * MiB, "x");
    await using one = await world(() => new Response(new Uint8Array(sent)));
    await using made = open(version, one.url);
    const { upload, response } = made;
    upload.end();
    const reading = await response;
    await stillAt(() => one.server.stats().unreadBytes, 50);
    expect(one.server.stats().unreadBytes).toBeLessThan(MiB);
    let length = 0;
    for await (const part of reading) length += (part as Buffer).length;
    expect(length).toBe(sent.length);
  });

  test("a client that does not read makes the body wait, and the body is cancelled when it leaves", async () => {
    const source = endless();
    await using one = await world(() => new Response(source.body));
    await using request = open(version, one.url);
    request.upload.end();
    await request.response;
    const parts = await stillAt(source.count);
    expect(parts).toBeLessThan(400);
    request.leave();
    await source.cancelled.opened;
    await until("it is no longer open", () => one.server.openCalls === 0);
    expect(one.logged).toEqual([]);
  });

  test("a body that is not read makes the client wait", async () => {
    const finish = gate();
    await using one = await world(async () => {
      await finish.opened;
      return new Response("done");
    });
    await using made = open(version, one.url);
    const { upload, response } = made;
    let taken = 0;
    const offer = () => upload.write(Buffer.alloc(64 * 1024), () => taken++ < 4000 && offer());
    offer();
    const before = await stillAt(() => taken);
    expect(before).toBeLessThan(2000);
    expect(one.server.stats().unreadBytes).toBeLessThan(MiB);
    finish.open();
    await response;
  });

  test("its signal aborts when the client leaves, and what it then throws is not logged", async () => {
    const begun = gate<AbortSignal>();
    await using one = await world(async ({ signal }) => {
      begun.open(signal);
      await aborted(signal);
      throw signal.reason;
    });
    await using request = open(version, one.url);
    request.upload.end();
    const signal = await begun.opened;
    expect(signal.aborted).toBe(false);
    request.leave();
    await aborted(signal);
    expect((signal.reason as Error).name).toBe("AbortError");
    await until("it is no longer open", () => one.server.openCalls === 0);
    expect(one.logged).toEqual([]);
  });

  test("its signal does not abort because the response is complete", async () => {
    const signals: AbortSignal[] = [];
    await using one = await world(({ signal }) => {
      signals.push(signal);
      return new Response("done");
    });
    await ask(version, { url: one.url, path: "/" });
    await stillAt(() => signals.length, 50);
    expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
  });

  test.each<[string, Serve, RegExp]>([
    [
      "throws",
      () => {
        throw new Error("a secret");
      },
      /a secret/,
    ],
    ["rejects", () => Promise.reject(new Error("a secret")), /a secret/],
    ["returns nothing", (() => undefined) as never, /returned undefined, and not a Response/],
    ["returns an error of the network", () => Response.error(), /and not a Response/],
  ])(
    "if it %s, the client gets 500 without a text, and the logger and the observer the error",
    async (_, serve, text) => {
      const { server, setup } = recorders();
      await using one = await world(serve, { ...setup.server });
      const response = await ask(version, { url: one.url, path: "/page?token=1" });
      expect(response.status).toBe(500);
      expect(response.body.length).toBe(0);
      expect(one.logged).toEqual([["the fallback failed for GET /page:", expect.any(Error)]]);
      expect(String(one.logged[0]?.[1])).toMatch(text);
      expect(server.of("fallbackFailed")).toEqual([
        { method: "GET", path: "/page", error: one.logged[0]?.[1] },
      ]);
      expect((await one.greeter.sayHello({ content: "Ada" })).reply).toBe("Hello, Ada");
    },
  );

  test("a response whose body fails is cut off, and logged", async () => {
    const body = () =>
      new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(new TextEncoder().encode("the beginning"));
        },
        pull(controller) {
          controller.error(new Error("the disk is gone"));
        },
      });
    await using one = await world(() => new Response(body()));
    await expect(ask(version, { url: one.url, path: "/" })).rejects.toThrow();
    await until("it is logged", () => one.logged.length === 1);
    expect(String(one.logged[0]?.[1])).toMatch(/the disk is gone/);
  });

  test("HEAD is answered as GET, without the body, which is cancelled", async () => {
    const source = endless();
    const headers = { "content-length": "1234" };
    await using one = await world(() => new Response(source.body, { headers }));
    const response = await ask(version, { url: one.url, path: "/", method: "HEAD" });
    expect(response.headers.get("content-length")).toBe("1234");
    expect(response.body.length).toBe(0);
    await source.cancelled.opened;
  });

  test.each([
    ["takes for ever", () => new Promise<void>(() => {}), []],
    [
      "fails",
      () => Promise.reject(new Error("it cannot be closed")),
      [
        [
          "the fallback failed for HEAD /:",
          expect.objectContaining({ message: "it cannot be closed" }),
        ],
      ],
    ],
  ])("HEAD is answered if the cancelling of the body %s", async (_, cancel, logged) => {
    await using one = await world(() => new Response(new ReadableStream({ cancel })));
    const response = await ask(version, { url: one.url, path: "/", method: "HEAD" });
    expect(response.status).toBe(200);
    await until("it is no longer open", () => one.server.openCalls === 0);
    expect(one.logged).toEqual(logged);
  });

  test.each([204, 205, 304])("a response with the status %i has no body", async (status) => {
    await using one = await world(() => new Response(null, { status }));
    const response = await ask(version, { url: one.url, path: "/" });
    expect(response.status).toBe(status);
    expect(response.body.length).toBe(0);
  });

  test("a redirection is sent as it is", async () => {
    await using one = await world(({ url }) => Response.redirect(`${url}other`));
    const response = await ask(version, { url: one.url, path: "/" });
    expect([response.status, response.headers.get("location")]).toEqual([302, `${one.url}/other`]);
  });

  test("it gets no RPC, also if no method has its path", async () => {
    const paths: string[] = [];
    await using one = await world(({ url }) => {
      paths.push(new URL(url).pathname);
      return new Response("a page");
    });
    const json = { "content-type": "application/json" };
    const call = { url: one.url, path: "/example.Greeter/SayHello", method: "POST", body: "{}" };
    expect((await ask(version, { ...call, headers: json })).body.toString()).toMatch(/Hello/);
    expect((await ask(version, { url: one.url, path: call.path })).status).not.toBe(200);
    for (const type of ["application/grpc-web+proto", "application/connect+json"]) {
      const headers = { "content-type": type };
      expect(
        (await ask(version, { ...call, path: "/example.Greeter/Other", headers })).status,
      ).toBe(404);
    }
    expect(paths).toEqual([]);
    const page = await ask(version, { ...call, path: "/example.Greeter/Other", headers: json });
    expect(page.body.toString()).toBe("a page");
    expect(paths).toEqual(["/example.Greeter/Other"]);
  });

  test("a method that Fetch has no requests for is answered with 501", async () => {
    await using one = await world(() => new Response("a page"));
    expect((await ask(version, { url: one.url, path: "/", method: "TRACE" })).status).toBe(501);
  });

  test("a server that closes lets its responses end, and refuses further requests", async () => {
    const finish = gate();
    await using one = await world(async () => {
      await finish.opened;
      return new Response("finished");
    });
    const asking = ask(version, { url: one.url, path: "/" });
    await until("it is open", () => one.server.openCalls === 1);
    const closing = one.server.close({ graceMs: 5000 });
    finish.open();
    expect((await asking).body.toString()).toBe("finished");
    await closing;
  });
});

test.each(["*", ".evil.example/", "@evil.example/"])(
  "a path %j does not become a part of the host: it is answered with 400",
  async (path) => {
    const urls: string[] = [];
    await using one = await world(({ url }) => {
      urls.push(url);
      return new Response("a page");
    });
    const { port } = new URL(one.url);
    const session = http2.connect(one.url);
    const stream = session.request({
      ...{ ":method": "OPTIONS", ":path": path, ":authority": "a.example" },
    });
    const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
    expect(headers[":status"]).toBe(400);
    session.destroy();
    const socket = connect(Number(port), "127.0.0.1");
    socket.write(`OPTIONS ${path} HTTP/1.1\r\nhost: a.example\r\n\r\n`);
    const [answer] = (await once(socket, "data")) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 400 /);
    socket.destroy();
    expect(urls).toEqual([]);
  },
);

test("requests over HTTP/2 count as open calls of their clients, and are refused with 503 above the limit", async () => {
  const finish = gate();
  await using one = await world(
    async () => {
      await finish.opened;
      return new Response("done");
    },
    { maxOpenCalls: 4 },
  );
  const refused = () => one.server.stats().limits.maxOpenCalls?.refused ?? 0;
  const asking = Array.from({ length: 5 }, () => ask("HTTP/2", { url: one.url, path: "/" }));
  await until("one is refused", () => refused() > 0);
  await until("all have arrived", () => one.server.openCalls + refused() === 5);
  finish.open();
  const responses = await Promise.all(asking);
  const statuses = responses.map(({ status }) => status).sort();
  expect(new Set(statuses)).toEqual(new Set([200, 503]));
  const answer = responses.find(({ status }) => status === 503);
  expect(answer?.headers.get("retry-after")).toMatch(/^[12]$/);
  await until("all are closed", () => one.server.stats().limits.maxOpenCalls?.held === 0);
});
