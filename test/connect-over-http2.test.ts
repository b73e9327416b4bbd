/** Connect over HTTP/2, byte by byte: backpressure in both directions, early answers, and requests that are no calls. */
import { expect, it } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, createServer } from "../src/server.ts";
import { stillAt, until } from "./support/gate.ts";
import { memoryInUse } from "./support/memory.ts";
import { message, otherCall, request, text, watchedServer } from "./support/watched-server.ts";
import {
  data,
  dial,
  envelope,
  Http2Code,
  messages,
  rst,
  Type,
  windowUpdate,
} from "./support/wire.ts";

const MiB = 2 ** 20;

const CONNECT = { "content-type": "application/connect+proto", te: "trailers" };

/** The end of a stream of Connect: an envelope with flag 2, and JSON. */
function endOf(body: Buffer): unknown {
  for (let at = 0; at < body.length; at += 5 + body.readUInt32BE(at + 1)) {
    if (body[at] === 2) return JSON.parse(body.subarray(at + 5).toString());
  }
  return undefined;
}

it("a handler that does not read makes its client wait, and takes no memory", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const { stillWorks } = await otherCall(peer);
  const used = await memoryInUse();
  peer.write(request(3, "Chat", { ...CONNECT, "x-handler": "idle" }));
  let sent = 0;
  const offer = message("x".repeat(MiB));
  const flooded = (async () => {
    for (; ; sent++) await peer.flow(3, offer);
  })();
  await stillAt(() => sent);
  expect(sent).toBe(0);
  expect((await memoryInUse()) - used).toBeLessThan(4 * MiB);
  await stillWorks();
  peer.write(rst(3, Http2Code.CANCEL));
  await world.idle();
  expect(world.calls[1]?.context.signal.reason).toMatchObject({
    code: Code.Canceled,
    rawMessage: "the client cancelled the call",
  });
  await peer[Symbol.asyncDispose]();
  await expect(flooded).rejects.toThrow("the connection ended");
});

it("a client that does not read makes the handler wait, and then gets everything", async () => {
  await using world = await watchedServer();
  const peer = await world.dial({ settings: { 4: 10_000 } });
  const contents = "x".repeat(1_000);
  peer.write(request(1, "Chat", CONNECT));
  const flow = peer.flow(1, Buffer.concat(new Array(500).fill(message(contents))));
  await stillAt(() => world.calls[0]?.requests.length ?? 0);
  expect(world.calls[0]?.requests.length).toBeLessThan(200);
  peer.write(windowUpdate(1, 10 * MiB));
  await flow;
  peer.write(data(1, Buffer.alloc(0), true));
  const { body, headers } = await peer.ended(1);
  expect(headers?.[":status"]).toBe("200");
  expect(endOf(body)).toEqual({});
  expect(messages(body)).toHaveLength(501);
});

it("a call that is answered before its client has sent everything is asked to stop", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const { stillWorks } = await otherCall(peer);
  peer.write(request(3, "Chat", CONNECT), data(3, envelope(text("x"), 0, 5 * MiB)));
  const { body } = await peer.ended(3);
  expect(endOf(body)).toMatchObject({ error: { code: "resource_exhausted" } });
  expect(await peer.reset(3)).toBe(Http2Code.NO_ERROR);
  await stillWorks();
  await world.idle();
});

it.each([
  ["SayHello", "application/proto"],
  ["SayHello", "application/grpc-web+proto"],
  ["Chat", "application/connect+proto"],
])(
  "of requests of %s as %s that have arrived in part, only the oldest continues above the budget of the connection",
  async (method, type) => {
    await using world = await watchedServer({ connectionBudgetBytes: MiB });
    const peer = await world.dial();
    const content = text("x".repeat(900 * 1024));
    const body = type === "application/proto" ? content : envelope(content);
    const ids = Array.from({ length: 4 }, (_, n) => 1 + 2 * n);
    const rest = Promise.withResolvers<void>();
    let halves = 0;
    const sent = ids.map(async (id) => {
      peer.write(request(id, method, { "content-type": type }));
      await peer.flow(id, body.subarray(0, 800 * 1024));
      halves++;
      await rest.promise;
      await peer.flow(id, body.subarray(800 * 1024));
      peer.write(data(id, Buffer.alloc(0), true));
    });
    await stillAt(() => halves);
    expect(halves).toBeLessThanOrEqual(1);
    rest.resolve();
    await Promise.all(sent);
    for (const id of ids) {
      const { headers, body } = await peer.ended(id);
      expect(headers?.[":status"]).toBe("200");
      expect(body.length).toBeGreaterThanOrEqual(content.length);
    }
    await world.idle();
  },
);

it.each(["100-continue", "100-Continue"])(
  "a request with expect: %s is told to continue",
  async (expected) => {
    await using world = await watchedServer();
    const peer = await world.dial();
    const json = { "content-type": "application/json", expect: expected };
    peer.write(request(1, "SayHello", json));
    await peer.frame(Type.HEADERS, 1);
    expect(peer.stream(1).headers?.[":status"]).toBe("100");
    peer.write(data(1, Buffer.from('{"content":"x"}'), true));
    const { body } = await peer.ended(1);
    expect(JSON.parse(body.toString())).toEqual({ reply: "x" });
  },
);

it.each<[string, Record<string, string>, string]>([
  ["of an unknown path", { ":path": "/nowhere" }, "404"],
  ["of the path *", { ":path": "*", ":method": "OPTIONS" }, "404"],
  ["with three hundred headers", many(300), "431"],
  ["of an authority that is no host", { ":authority": "[" }, "400"],
])("a request %s is answered with its status, and without its body", async (_, fields, status) => {
  await using world = await watchedServer();
  const peer = await world.dial();
  peer.write(request(1, "SayHello", { "content-type": "application/json", ...fields }));
  expect((await peer.ended(1)).headers?.[":status"]).toBe(status);
  expect(await peer.reset(1)).toBe(Http2Code.NO_ERROR);
  await world.idle();
});

it("a call is refused with 503 while the server closes", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const call = await otherCall(peer);
  const closed = world.server.close();
  // It arrives before the answer to the ping that the server sends with its first GOAWAY.
  peer.write(request(3, "SayHello", CONNECT), data(3, Buffer.alloc(0), true));
  await until("it is answered", () => peer.stream(3).headers !== undefined);
  expect(peer.stream(3).headers?.[":status"]).toBe("503");
  await call.stillWorks();
  await closed;
});

function many(count: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, n) => [`x-${n}`, ""]));
}

it("a request that only announces a large body takes no memory for it", async () => {
  await using world = await watchedServer();
  const peer = await world.dial();
  const before = process.memoryUsage().arrayBuffers;
  const headers = { "content-type": "application/proto", "content-length": String(4 * MiB) };
  for (let n = 0; n < 20; n++) peer.write(request(2 * n + 1, "SayHello", headers));
  await until("all requests are open", () => world.server.openCalls === 20);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(40 * MiB);
  await peer[Symbol.asyncDispose]();
});

it("the messages of a chunk are handled in several turns of the event loop, so that other work continues", async () => {
  const turns = new Set<number>();
  let turn = 0;
  let count = 0;
  const loop = setInterval(() => turn++, 0);
  await using server = createServer({
    routes: (router) =>
      router.rpc(Greeter.method.collect, async (requests) => {
        for await (const _ of requests) {
          count++;
          turns.add(turn);
        }
        return { count };
      }),
  });
  const { port } = await server.listen({ port: 0 });
  await using peer = await dial(port as number);
  peer.write(request(1, "Collect", CONNECT));
  await peer.flow(1, Buffer.concat(new Array(9_000).fill(message("x".repeat(0)))));
  peer.write(data(1, Buffer.alloc(0), true));
  expect(endOf((await peer.ended(1)).body)).toEqual({});
  clearInterval(loop);
  expect(count).toBe(9_000);
  expect(turns.size).toBeGreaterThan(8);
});
