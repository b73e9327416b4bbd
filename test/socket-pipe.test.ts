import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import * as tls from "node:tls";
import { expect, test } from "vitest";
import type { PipeListener } from "../src/connection/byte-pipe.ts";
import { SocketPipe } from "../src/node/socket-pipe.ts";
import { stillAt, until } from "./support/gate.ts";
import { certs } from "./support/tls.ts";

/** Returns a function that closes both ends of a connection, and its server. */
function closing(server: Server, ...ends: Socket[]): () => Promise<void> {
  return async () => {
    for (const end of ends) end.destroy();
    server.close();
    await once(server, "close");
  };
}

/** A pipe over a TCP connection, with the other end of the connection, and what its listener was called with. */
async function pipe() {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "connection");
  const { port } = server.address() as { port: number };
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  const [other] = (await accepted) as [Socket];
  other.on("error", () => {});
  const log: string[] = [];
  const listener: PipeListener = {
    onReceived: ({ length }) => log.push(`received ${length}`),
    onWritten: () => log.push(`holds ${pipe.waitingBytes}`),
    onEnd: (error) => log.push(`end ${(error as NodeJS.ErrnoException | undefined)?.code}`),
    onClosed: () => log.push("closed"),
  };
  const pipe = new SocketPipe(socket);
  pipe.start(listener);
  return {
    pipe,
    socket,
    other,
    log,
    [Symbol.asyncDispose]: closing(server, socket, other),
  };
}

test("a pipe delivers what its socket receives, and counts it", async () => {
  await using world = await pipe();
  world.other.write("hello");
  await until("it was received", () => world.log.length > 0);
  expect(world.log).toEqual(["received 5"]);
  expect(world.pipe.bytesRead).toBe(5);
});

test("a pipe that is not read delivers nothing, and no end; when it is read again, it delivers all in order", async () => {
  await using world = await pipe();
  world.pipe.pauseReading();
  world.other.write("hello");
  await until("it has arrived", () => world.pipe.bytesRead === 5);
  world.other.end();
  expect(await stillAt(() => world.log.length, 50)).toBe(0);
  world.pipe.resumeReading();
  expect(world.log).toEqual([]);
  await until("the end was reported", () => world.log.length >= 2);
  expect(world.log.slice(0, 2)).toEqual(["received 5", "end undefined"]);
});

test("a pipe holds nothing of what the kernel took immediately, and reports nothing of it", async () => {
  await using world = await pipe();
  world.pipe.write(new Uint8Array(1000));
  expect(world.pipe.waitingBytes).toBe(0);
  await new Promise((resolve) => setImmediate(resolve));
  expect(world.log).toEqual([]);
});

/** Writes until the kernel takes no more of what the peer does not read. */
async function fill({ pipe }: { readonly pipe: SocketPipe }) {
  for (let n = 0; n < 100 && pipe.waitingBytes === 0; n++) pipe.write(new Uint8Array(1 << 20));
  expect(pipe.waitingBytes).toBe(1 << 20);
}

test("a pipe holds what a peer does not read, and says when it holds nothing any more", async () => {
  await using world = await pipe();
  const { pipe: held, log } = world;
  await fill(world);
  held.write(new Uint8Array(10));
  expect(held.waitingBytes).toBe((1 << 20) + 10);
  await new Promise((resolve) => setImmediate(resolve));
  expect(log).toEqual([]);
  world.other.resume();
  await until("all has left", () => log.includes("holds 0"));
  expect(held.waitingBytes).toBe(0);
});

/** A pipe over TLS, with the other end of the connection, and what its listener was called with. */
async function tlsPipe() {
  const server = tls.createServer(certs.server).listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "secureConnection");
  const { port } = server.address() as { port: number };
  const socket = tls.connect({ port, host: "127.0.0.1", ca: certs.ca });
  await once(socket, "secureConnect");
  const [other] = (await accepted) as [tls.TLSSocket];
  other.on("error", () => {}).resume();
  const log: string[] = [];
  const pipe = new SocketPipe(socket);
  const world = { onReceived() {} };
  pipe.start({
    onReceived: ({ length }) => {
      log.push(`received ${length}`);
      queueMicrotask(() => log.push("microtask"));
      world.onReceived();
    },
    onWritten: () => log.push(`holds ${pipe.waitingBytes}`),
    onEnd: () => log.push("end"),
    onClosed: () => log.push("closed"),
  });
  return Object.assign(world, {
    pipe,
    other,
    log,
    [Symbol.asyncDispose]: closing(server, socket, other),
  });
}

test("a pipe over TLS holds what was written until a later turn, and nothing then", async () => {
  await using world = await tlsPipe();
  const { pipe, log } = world;
  pipe.write(new Uint8Array(1000));
  expect(pipe.waitingBytes).toBe(1000);
  await until("it holds nothing", () => log.length > 0);
  expect(log).toEqual(["holds 0"]);
});

test("a pipe over TLS may hold four times as much as one over TCP: all that a turn writes", async () => {
  await using tcp = await pipe();
  await using world = await tlsPipe();
  expect([tcp.pipe.maxWaitingBytes, world.pipe.maxWaitingBytes]).toEqual([131_072, 524_288]);
});

test("a pipe over TLS delivers together the records that come together, and then their microtasks run", async () => {
  await using world = await tlsPipe();
  world.other.write(new Uint8Array(40_000));
  await until("they were received", () => world.log.includes("microtask"));
  // TLS has records of 16 KiB at most (RFC 8446, 5.1).
  const records = ["received 16384", "received 16384", "received 7232"];
  expect(world.log).toEqual([...records, "microtask", "microtask", "microtask"]);
});

test("a pipe over TLS keeps no more than 64 KiB of records until they are delivered", async () => {
  await using world = await tlsPipe();
  world.other.write(new Uint8Array(256 * 1024));
  const lengths = () => world.log.map((one) => Number(/^received (\d+)$/.exec(one)?.[1] ?? 0));
  const sum = (bytes: readonly number[]) => bytes.reduce((all, length) => all + length, 0);
  await until("they were received", () => sum(lengths()) === 256 * 1024);
  await until("their microtasks have run", () => world.log.at(-1) === "microtask");
  // Only microtasks tell one delivery from the next.
  const deliveries = world.log.join(" ").split(/(?: ?microtask)+ ?/);
  for (const delivery of deliveries) {
    expect(sum(delivery.match(/\d+/g)?.map(Number) ?? [])).toBeLessThanOrEqual(64 * 1024);
  }
});

test("a pipe over TLS delivers what came before the end, whose microtasks run before it ends", async () => {
  await using world = await tlsPipe();
  world.other.end(new Uint8Array(20_000));
  await until("it is closed", () => world.log.includes("closed"));
  const records = ["received 16384", "received 3616"];
  expect(world.log).toEqual([...records, "microtask", "microtask", "end", "closed"]);
});

test("a pipe over TLS delivers nothing after it was destroyed", async () => {
  await using world = await tlsPipe();
  world.onReceived = () => world.pipe.destroy();
  world.other.write(new Uint8Array(40_000));
  await until("it is closed", () => world.log.includes("closed"));
  expect(world.log.filter((one) => one.startsWith("received"))).toEqual(["received 16384"]);
});

test("a pipe that is destroyed holds what was written until it is closed", async () => {
  await using world = await pipe();
  await fill(world);
  world.pipe.write(new Uint8Array(10));
  world.pipe.destroy();
  expect(world.pipe.write(new Uint8Array(10))).toBe(false);
  await new Promise((resolve) => process.nextTick(resolve));
  expect(world.pipe.waitingBytes).toBe((1 << 20) + 10);
  await until("it is closed", () => world.log.includes("closed"));
  expect(world.pipe.waitingBytes).toBe(0);
});

test.each<[string, (world: Awaited<ReturnType<typeof pipe>>) => void, string]>([
  ["the peer ends its side", ({ other }) => void other.end(), "end undefined"],
  ["the peer resets the connection", ({ other }) => void other.resetAndDestroy(), "end ECONNRESET"],
  ["it is destroyed", ({ pipe }) => pipe.destroy(), "end undefined"],
])("a pipe reports its end once, and then that it is closed, when %s", async (_, end, expected) => {
  await using world = await pipe();
  end(world);
  await until("it is closed", () => world.log.includes("closed"));
  expect(world.log).toEqual([expected, "closed"]);
  expect(world.pipe.waitingBytes).toBe(0);
  world.pipe.write(new Uint8Array(10));
  world.pipe.end();
  world.pipe.destroy();
  await new Promise((resolve) => setImmediate(resolve));
  expect(world.log).toEqual([expected, "closed"]);
});

test("a pipe that ends sends all that was written before", async () => {
  await using world = await pipe();
  const { other } = world;
  world.pipe.write(Buffer.from("last words"));
  world.pipe.end();
  other.resume();
  const [chunk] = (await once(other, "data")) as [Buffer];
  expect(chunk.toString()).toBe("last words");
  await once(other, "end");
});

test("a pipe keeps the process alive only while it is asked to", async () => {
  await using world = await pipe();
  const handle = () => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap");
  const before = handle().length;
  world.pipe.keepAlive(false);
  expect(handle().length).toBe(before - 1);
  world.pipe.keepAlive(true);
  expect(handle().length).toBe(before);
});
