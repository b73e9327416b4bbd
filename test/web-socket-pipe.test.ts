import { once } from "node:events";
import { createServer, type Server } from "node:http";
import * as https from "node:https";
import type { Socket } from "node:net";
import { expect, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import type { PipeListener } from "../src/connection/byte-pipe.ts";
import { realClock } from "../src/flow/clock.ts";
import { WebSocketPipe } from "../src/node/web-socket/web-socket-pipe.ts";
import { stillAt, until } from "./support/gate.ts";
import { certs } from "./support/tls.ts";

/** A pipe over a WebSocket, with its client, and what its listener was called with. */
async function pipe({ isEncrypted = false, abuseBudget = 1000 } = {}) {
  const server: Server = isEncrypted ? https.createServer(certs.server) : createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const webSockets = new WebSocketServer({ server, autoPong: false });
  const accepted = once(webSockets, "connection");
  const scheme = isEncrypted ? "wss" : "ws";
  const client = new WebSocket(`${scheme}://127.0.0.1:${port}`, { ca: certs.ca });
  client.on("error", () => {});
  const [webSocket, { socket }] = (await accepted) as [WebSocket, { socket: Socket }];
  await until("the client knows", () => client.readyState === WebSocket.OPEN);
  const log: string[] = [];
  const received: Uint8Array[] = [];
  const made = new WebSocketPipe(webSocket, { socket, clock: realClock, abuseBudget });
  const listener: PipeListener = {
    onReceived: (bytes) => {
      received.push(bytes);
      log.push(`received ${bytes.length}`);
    },
    onWritten: () => log.push(`holds ${made.waitingBytes}`),
    onEnd: (error) => log.push(`end ${(error as Error | undefined)?.message}`),
    onClosed: () => log.push("closed"),
  };
  made.start(listener);
  return {
    ...{ pipe: made, client, log, received },
    async [Symbol.asyncDispose]() {
      client.terminate();
      webSocket.terminate();
      webSockets.close();
      server.close();
      await once(server, "close");
    },
  };
}

const bytes = (length: number, value: number) => new Uint8Array(length).fill(value);

test("a pipe delivers the messages of a turn together, in order, and counts what its socket has received", async () => {
  await using world = await pipe();
  for (let n = 0; n < 100; n++) world.client.send(bytes(20, n));
  await until("all were received", () => Buffer.concat(world.received).length === 2000);
  expect(world.log.length).toBeLessThan(10);
  expect(Buffer.concat(world.received)).toEqual(
    Buffer.concat(Array.from({ length: 100 }, (_, n) => bytes(20, n))),
  );
  expect(world.pipe.bytesRead).toBeGreaterThan(2000);
});

test("a pipe that is not read delivers nothing, and no end; when it is read again, it delivers all in order", async () => {
  await using world = await pipe();
  world.pipe.pauseReading();
  world.client.send(bytes(1000, 1));
  world.client.close();
  expect(await stillAt(() => world.log.length, 50)).toBe(0);
  world.pipe.resumeReading();
  expect(world.log).toEqual([]);
  await until("the end was reported", () => world.log.includes("closed"));
  expect(world.log).toEqual(["received 1000", "end undefined", "closed"]);
});

test("what is written leaves in messages of 64 KiB at most, in order", async () => {
  await using world = await pipe();
  const got: Buffer[] = [];
  world.client.on("message", (message: Buffer) => got.push(message));
  const written = Buffer.concat([bytes(64 * 1024, 1), bytes(64 * 1024, 2), bytes(10, 3)]);
  world.pipe.write(written);
  world.pipe.write(bytes(10, 4));
  await until("all has arrived", () => got.length === 4);
  expect(got.map(({ length }) => length)).toEqual([64 * 1024, 64 * 1024, 10, 10]);
  expect(Buffer.concat(got)).toEqual(Buffer.concat([written, bytes(10, 4)]));
});

test("a pipe holds nothing of what the kernel took immediately, and reports nothing of it", async () => {
  await using world = await pipe();
  world.pipe.write(bytes(1000, 1));
  expect(world.pipe.waitingBytes).toBe(0);
  await new Promise((resolve) => setImmediate(resolve));
  expect(world.log).toEqual([]);
});

test.each([
  ["cleartext", false],
  ["TLS", true],
])(
  "over %s, a pipe holds at least what a peer does not read, and says when it holds nothing any more",
  async (_, isEncrypted) => {
    await using world = await pipe({ isEncrypted });
    const { pipe: held, client, log } = world;
    client.pause();
    const MiB = 1 << 20;
    let written = 0;
    // Over TLS a socket holds what it was given until a later turn.
    for (let turn = 0; turn < 100 && held.waitingBytes === 0; turn++) {
      held.write(bytes(MiB, 1));
      written++;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const atLeast = held.waitingBytes;
    expect(atLeast).toBeGreaterThan(0);
    held.write(bytes(10, 2));
    expect(held.waitingBytes).toBeGreaterThanOrEqual(atLeast + 10);
    let got = 0;
    client.on("message", ({ length }: Buffer) => {
      got += length;
    });
    client.resume();
    await until("all has left", () => log.at(-1) === "holds 0");
    await until("all has arrived", () => got === written * MiB + 10);
  },
);

test("a peer that pings and does not read gets no further answers, once the pipe holds as much as it may", async () => {
  await using world = await pipe({ abuseBudget: Number.MAX_SAFE_INTEGER });
  const { client, pipe: held } = world;
  client.pause();
  const payload = Buffer.alloc(125);
  while (held.waitingBytes < held.maxWaitingBytes) {
    for (let n = 0; n < 5000; n++) client.ping(payload);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  for (let n = 0; n < 50_000; n++) client.ping(payload);
  const { bytesRead } = held;
  await until("more pings have arrived", () => held.bytesRead > bytesRead + 1_000_000);
  expect(held.waitingBytes).toBeLessThan(held.maxWaitingBytes + 1000);
});

test("a pipe whose peer closes the WebSocket, or loses it, ends and is closed once", async () => {
  for (const leave of ["close", "terminate"] as const) {
    await using world = await pipe();
    world.client.send(bytes(1000, 1), () => world.client[leave]());
    await until("it is closed", () => world.log.includes("closed"));
    expect(world.log).toEqual(["received 1000", "end undefined", "closed"]);
    expect(world.pipe.write(bytes(1, 1))).toBe(false);
  }
});

test("a pipe that is ended sends what was written, and a close frame", async () => {
  await using world = await pipe();
  const got: number[] = [];
  world.client.on("message", ({ length }: Buffer) => got.push(length));
  world.pipe.write(bytes(1000, 1));
  world.pipe.end();
  const [code] = (await once(world.client, "close")) as [number];
  expect(code).toBe(1001);
  expect(got).toEqual([1000]);
  await until("it is closed", () => world.log.includes("closed"));
  expect(world.log).toEqual(["end undefined", "closed"]);
});

test("a peer that does not answer the end, and continues to send, is no longer read", async () => {
  await using world = await pipe();
  const { client, pipe: ended } = world;
  client.pause();
  ended.end();
  const MiB = 1 << 20;
  for (let n = 0; n < 32; n++) client.send(bytes(64 * 1024, n));
  await until("it has read what it reads", () => ended.bytesRead > 128 * 1024);
  expect(await stillAt(() => ended.bytesRead, 100)).toBeLessThan(MiB);
});

test("a pipe that is destroyed delivers nothing any more", async () => {
  await using world = await pipe();
  world.client.send(bytes(1000, 1));
  world.pipe.destroy();
  await until("it is closed", () => world.log.includes("closed"));
  expect(world.log).toEqual(["end undefined", "closed"]);
});
