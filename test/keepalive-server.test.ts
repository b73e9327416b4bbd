/** Clients that vanish without closing: a server notices by HTTP/2 pings while calls are open, and by TCP's keepalive. */
import { readFileSync } from "node:fs";
import { createClient as createStockClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, ConnectError, createClient, createTransport } from "../src/index.ts";
import { createServer, type HandlerContext } from "../src/server.ts";
import { aborted, gate, until } from "./support/gate.ts";
import { measureLateness } from "./support/lateness.ts";
import { all, failureOf, next } from "./support/read.ts";
import { certs } from "./support/tls.ts";
import { start } from "./support/world.ts";

const KEEPALIVE = { intervalMs: 1_000, timeoutMs: 200 };

/** 1000 ms, 5 percent more, and 200 ms. */
const NOTICED_MS = 1_250;

/** Allowed for the transfer of bytes, which no timer covers. The measured delay of this process is added. */
const MARGIN_MS = 200;

/** How long a session waits after its connection was found dead. */
const GRACE_MS = 1_000;

/** A world whose only call is a Chat that says "ready", and notes how it ends. */
async function abandoned(session: boolean) {
  const ended = gate<{ at: number; signal: unknown; requests: ConnectError }>();
  const world = await start({
    linked: true,
    transport: { sessions: session },
    server: { keepalive: KEEPALIVE, sessions: { graceMs: GRACE_MS } },
    greeter: {
      async *chat(requests, { signal }: HandlerContext) {
        yield { reply: "ready" };
        try {
          for await (const { content } of requests) yield { reply: content };
        } catch (error) {
          const requests = ConnectError.from(error);
          ended.open({ at: performance.now(), signal: signal.reason, requests });
          throw error;
        }
      },
      async *subscribe(_, { signal }: HandlerContext) {
        yield {};
        await aborted(signal);
        const at = performance.now();
        ended.open({ at, signal: signal.reason, requests: ConnectError.from(signal.reason) });
      },
    },
  });
  return { world, ended: ended.opened };
}

test.each([3, 130])(
  "the handler of a plain client that vanishes %i ms after its call began ends in time, with the reason",
  async (afterMs) => {
    const { world: made, ended } = await abandoned(false);
    await using world = made;
    const chat = world.greeter.chat();
    await next(chat);
    // The final byte arrives just after a check of the received bytes, or between two checks.
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    await chat.send({ content: "last" });
    await next(chat);
    const lastByteAt = performance.now();
    using late = measureLateness();
    world.link.stall("up");
    const { at, signal, requests } = await ended;
    expect(at - lastByteAt).toBeGreaterThan(KEEPALIVE.intervalMs);
    expect(at - lastByteAt).toBeLessThan(NOTICED_MS + MARGIN_MS + late.ms);
    expect(requests).toMatchObject({
      code: Code.Canceled,
      rawMessage:
        "the connection to the client was lost (no answer to a keepalive ping for 200 ms)",
    });
    expect(signal).toBe(requests);
    await until("the call has ended", () => world.server.openCalls === 0);
    world.link.resume("up");
    world.link.cut();
    await failureOf(chat);
  },
);

test("the loss of a client that has sent all and only reads is noticed too", async () => {
  const { world: made, ended } = await abandoned(false);
  await using world = made;
  const push = world.greeter.subscribe({});
  await next(push);
  const lastByteAt = performance.now();
  using late = measureLateness();
  world.link.stall("up");
  const { at, requests } = await ended;
  expect(at - lastByteAt).toBeLessThan(NOTICED_MS + MARGIN_MS + late.ms);
  expect(requests.rawMessage).toContain("no answer to a keepalive ping for 200 ms");
  world.link.resume("up");
  world.link.cut();
  await failureOf(push);
});

test("the loss of a client of gRPC-Web over HTTP/2 is noticed too", async () => {
  const { world: made, ended } = await abandoned(false);
  await using world = made;
  const transport = createGrpcWebTransport({ baseUrl: world.link.url, httpVersion: "2" });
  const push = createStockClient(Greeter, transport).subscribe({});
  await next(push);
  const lastByteAt = performance.now();
  using late = measureLateness();
  world.link.stall("up");
  const { at } = await ended;
  expect(at - lastByteAt).toBeLessThan(NOTICED_MS + MARGIN_MS + late.ms);
  await until("the call has ended", () => world.server.openCalls === 0);
  world.link.resume("up");
  world.link.cut();
  await failureOf(push);
});

test("the loss of a client with sessions is noticed too: its session waits, and its grace begins then", async () => {
  const { world: made, ended } = await abandoned(true);
  await using world = made;
  const chat = world.greeter.chat();
  await next(chat);
  await chat.send({ content: "last" });
  await next(chat);
  const lastByteAt = performance.now();
  using late = measureLateness();
  world.link.stall("up");
  const { at, requests } = await ended;
  expect(at - lastByteAt).toBeGreaterThan(KEEPALIVE.intervalMs + GRACE_MS);
  expect(at - lastByteAt).toBeLessThan(NOTICED_MS + GRACE_MS + MARGIN_MS + late.ms);
  expect(requests.code).toBe(Code.Aborted);
  world.link.resume("up");
  world.link.cut();
  await failureOf(chat);
});

test("a client that answers pings stays connected while its call is silent", async () => {
  await using world = await start({
    transport: { sessions: false },
    server: { keepalive: { intervalMs: 20, timeoutMs: 400 } },
  });
  const chat = world.greeter.chat();
  await chat.send({ content: "x" });
  await next(chat);
  // Several intervals and timeouts of silence: nothing may happen in them.
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  await chat.send({ content: "y" });
  expect(await next(chat)).toMatchObject({ reply: "Received: y" });
  chat.closeSend();
  await all(chat);
});

test("a server that vanishes is noticed by its client in time, whenever its last byte came", async () => {
  for (const afterMs of [3, 130]) {
    await using world = await start({
      linked: true,
      transport: { sessions: false, keepalive: KEEPALIVE },
    });
    const chat = world.greeter.chat();
    await chat.send({ content: "first" });
    await next(chat);
    // The final byte arrives just after a check of the received bytes, or between two checks.
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    await chat.send({ content: "last" });
    await next(chat);
    const lastByteAt = performance.now();
    using late = measureLateness();
    world.link.stall("down");
    const error = await failureOf(chat);
    const silentMs = performance.now() - lastByteAt;
    expect(silentMs).toBeGreaterThan(KEEPALIVE.intervalMs);
    expect(silentMs).toBeLessThan(NOTICED_MS + MARGIN_MS + late.ms);
    expect(error.message).toContain("no answer to a keepalive ping for 200 ms");
    world.link.resume("down");
    world.link.cut();
  }
});

/** The lines of Linux's table of TCP connections whose timer is that of TCP's keepalive, by their two ports. */
function keptAlive(port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([, from, to, state]) => state === "01" && `${from} ${to}`.includes(`:${hex}`))
    .filter(([, , , , , timer = ""]) => {
      const [kind, ticks = ""] = timer.split(":");
      // Hundredths of a second.
      const leftMs = Number.parseInt(ticks, 16) * 10;
      return kind === "02" && leftMs > 50_000 && leftMs <= 60_000;
    })
    .map(([, from, to]) => `${from} ${to}`);
}

test.runIf(process.platform === "linux").each(["cleartext", "TLS"])(
  "TCP's keepalive begins after 60 s at both ends, over %s",
  async (over) => {
    await using server = createServer({
      routes: (router) => router.service(Greeter, { sayHello: () => ({}) }),
      ...(over === "TLS" ? { tls: certs.server } : {}),
    });
    const { url, port } = await server.listen({ port: 0 });
    await using transport = createTransport({
      baseUrl: url,
      ...(over === "TLS" ? { tls: { ca: certs.ca } } : {}),
    });
    await createClient(Greeter, transport).sayHello({});
    await until("both are idle", () => keptAlive(port as number).length === 2);
  },
);
