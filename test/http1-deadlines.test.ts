/** Clients of HTTP/1.1 that send slowly: those that stop are disconnected, those that continue are not. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createClient as createStockClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { gate } from "./support/gate.ts";
import { measureLateness } from "./support/lateness.ts";
import { start } from "./support/world.ts";

/** Allowed for the transfer of bytes. The measured delay of this process is added. */
const MARGIN_MS = 300;

const HEAD =
  "POST /example.Greeter/SayHello HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

async function rawClient(url: string): Promise<{ socket: Socket; closed: Promise<string> }> {
  const { port } = new URL(url);
  const received: Buffer[] = [];
  const socket = connect(Number(port), "127.0.0.1");
  socket.on("error", () => {});
  socket.on("data", (chunk) => received.push(chunk));
  const closed = new Promise<string>((resolve) =>
    socket.on("close", () => resolve(Buffer.concat(received).toString("latin1"))),
  );
  await once(socket, "connect");
  return { socket, closed };
}

/** Sends a byte again and again, until the socket is closed. */
function drip(socket: Socket, byte: string, everyMs: number): void {
  const timer = setInterval(() => socket.write(byte), everyMs);
  socket.once("close", () => clearInterval(timer));
}

async function elapsedMs(what: Promise<unknown>): Promise<number> {
  const began = performance.now();
  await what;
  return performance.now() - began;
}

/** Writes to a socket, and lets nothing else run in this process for a time. Timers are the first to run afterwards. */
async function writeAndBlock(socket: Socket, bytes: string, blockMs: number): Promise<void> {
  await new Promise(setImmediate);
  socket.write(bytes);
  const until = performance.now() + blockMs;
  while (performance.now() < until);
}

describe("headers", () => {
  test.each(["that stop", "of which a byte comes now and then"])(
    "headers %s are answered with 408 after headersTimeoutMs",
    async (what) => {
      await using world = await start({ server: { http1: { headersTimeoutMs: 200 } } });
      const { socket, closed } = await rawClient(world.url);
      using late = measureLateness();
      socket.write(HEAD);
      if (what !== "that stop") drip(socket, "x", 20);
      const took = await elapsedMs(closed);
      expect(await closed).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
      expect(took).toBeGreaterThan(180);
      expect(took).toBeLessThan(200 + MARGIN_MS + late.ms);
    },
  );

  test("time does not count while the server does not run, and the rest of the headers has arrived", async () => {
    const headersTimeoutMs = 100;
    await using world = await start({ server: { http1: { headersTimeoutMs } } });
    const { socket, closed } = await rawClient(world.url);
    socket.write(HEAD);
    // The server waits for the rest of the headers.
    await new Promise((resolve) => setTimeout(resolve, headersTimeoutMs / 5));
    const rest = 'Connection: close\r\nContent-Length: 17\r\n\r\n{"content":"you"}';
    await writeAndBlock(socket, rest, 2 * headersTimeoutMs);
    expect(await closed).toMatch(/^HTTP\/1\.1 200 OK\r\n.*Hello, you/s);
  });

  test("the deadline of a later request on a connection begins with its first byte", async () => {
    await using world = await start({ server: { http1: { headersTimeoutMs: 200 } } });
    const { socket, closed } = await rawClient(world.url);
    socket.write(`${HEAD}Content-Length: 2\r\n\r\n{}`);
    await once(socket, "data");
    // Longer than the deadline, which must not run between two requests.
    await new Promise((resolve) => setTimeout(resolve, 300));
    using late = measureLateness();
    socket.write(HEAD);
    const took = await elapsedMs(closed);
    expect(await closed).toMatch(/^HTTP\/1\.1 200 OK\r\n.*HTTP\/1\.1 408 Request Timeout\r\n/s);
    expect(took).toBeGreaterThan(180);
    expect(took).toBeLessThan(200 + MARGIN_MS + late.ms);
  });
});

describe("a body", () => {
  test("a body that stops is answered with 408 after bodyIdleMs", async () => {
    await using world = await start({ server: { http1: { bodyIdleMs: 200 } } });
    const { socket, closed } = await rawClient(world.url);
    using late = measureLateness();
    socket.write(`${HEAD}Content-Length: 100\r\n\r\n{"content":`);
    const took = await elapsedMs(closed);
    expect(await closed).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
    expect(took).toBeGreaterThan(180);
    expect(took).toBeLessThan(200 + MARGIN_MS + late.ms);
    expect(world.server.openCalls).toBe(0);
    expect(world.logged).toEqual([]);
  });

  test("a body that stops does not cut off the response of an earlier request on its connection", async () => {
    const later = gate();
    await using world = await start({
      server: { http1: { bodyIdleMs: 100 } },
      greeter: {
        async *subscribe() {
          yield { sequence: 1n };
          await later.opened;
          yield { sequence: 2n };
        },
      },
    });
    const { socket, closed } = await rawClient(world.url);
    const stream =
      "POST /example.Greeter/Subscribe HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+json\r\n";
    socket.write(`${stream}Content-Length: 7\r\n\r\n\0\0\0\0\x02{}`);
    socket.write(`${HEAD}Content-Length: 100\r\n\r\n{"content":`);
    // Longer than bodyIdleMs: the response continues after the second body should have ended.
    setTimeout(() => later.open(), 400);
    expect(await closed).toMatch(
      /^HTTP\/1\.1 200 .*"1".*"2".*\r\n0\r\n\r\nHTTP\/1\.1 408 Request Timeout\r\n/s,
    );
  });

  test("the connection of a body that stops after the response has begun is closed", async () => {
    await using world = await start({ server: { http1: { bodyIdleMs: 200 } } });
    const { socket, closed } = await rawClient(world.url);
    // An unknown path is answered without the body.
    socket.write("POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx");
    expect(await closed).toMatch(/^HTTP\/1\.1 404 /);
  });

  test("a call whose messages come more often than bodyIdleMs lives longer than all deadlines", async () => {
    const bodyIdleMs = 1_000;
    await using world = await start({ server: { http1: { headersTimeoutMs: 200, bodyIdleMs } } });
    const transport = createConnectTransport({ baseUrl: world.url, httpVersion: "1.1" });
    async function* requests() {
      for (let n = 0; n < 20; n++) {
        yield { content: "x" };
        // The time between the messages is what is tested.
        await new Promise((resolve) => setTimeout(resolve, bodyIdleMs / 10));
      }
    }
    const client = createStockClient(Greeter, transport);
    const took = await elapsedMs(
      client.collect(requests()).then((result) => expect(result.count).toBe(20)),
    );
    expect(took).toBeGreaterThan(1.5 * bodyIdleMs);
  });

  test("time does not count while the handler has not read what has arrived", async () => {
    const bodyIdleMs = 100;
    const mayRead = gate();
    await using world = await start({
      server: { http1: { bodyIdleMs } },
      greeter: {
        async collect(requests) {
          await mayRead.opened;
          let count = 0;
          for await (const _ of requests) count++;
          return { count };
        },
      },
    });
    const transport = createConnectTransport({ baseUrl: world.url, httpVersion: "1.1" });
    async function* requests() {
      for (let n = 0; n < 64; n++) yield { content: "x".repeat(64 * 1024) };
    }
    const answer = createStockClient(Greeter, transport).collect(requests());
    // Time must pass in which the handler does not read.
    setTimeout(() => mayRead.open(), 4 * bodyIdleMs);
    expect(await answer).toMatchObject({ count: 64 });
  });

  test("time does not count while the server does not run, and the rest of the body has arrived", async () => {
    const bodyIdleMs = 100;
    await using world = await start({ server: { http1: { bodyIdleMs } } });
    const { socket, closed } = await rawClient(world.url);
    socket.write(`${HEAD}Connection: close\r\nContent-Length: 17\r\n\r\n{"content":`);
    // The server waits for the rest of the body.
    await new Promise((resolve) => setTimeout(resolve, bodyIdleMs / 5));
    await writeAndBlock(socket, '"you"}', 2 * bodyIdleMs);
    expect(await closed).toMatch(/^HTTP\/1\.1 200 OK\r\n.*Hello, you/s);
  });

  test("a push may last longer than bodyIdleMs after its request", async () => {
    await using world = await start({
      server: { http1: { bodyIdleMs: 50 } },
      greeter: {
        async *subscribe() {
          yield { sequence: 1n };
          // Longer than bodyIdleMs.
          await new Promise((resolve) => setTimeout(resolve, 300));
          yield { sequence: 2n };
        },
      },
    });
    const transport = createConnectTransport({ baseUrl: world.url, httpVersion: "1.1" });
    const received: bigint[] = [];
    for await (const { sequence } of createStockClient(Greeter, transport).subscribe({})) {
      received.push(sequence);
    }
    expect(received).toEqual([1n, 2n]);
  });
});
