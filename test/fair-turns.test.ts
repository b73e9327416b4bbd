/**
 * A connection that keeps the server busy delays neither the calls of others nor timers for longer than some turns of the
 * event loop. What is counted is how much of the busy connection's work was done by then, not the time: each piece of work
 * takes as long on every machine.
 */
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { createServer, type HandlerContext } from "../src/server.ts";
import { createHub, memoryLog } from "../src/topics.ts";
import { gate, until } from "./support/gate.ts";
import { message, request, text } from "./support/request.ts";
import { certs } from "./support/tls.ts";
import { data, dial, dialSecurely, envelope, type Peer } from "./support/wire.ts";

type Connect = (port: number) => Promise<Peer>;

const cleartext: Connect = (port) => dial(port);
const securely: Connect = (port) => dialSecurely(port, certs.ca);

/** Works for this long. */
function spend(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/**
 * A server on which pieces of work are counted, and a client that makes a call as soon as the first of them is done. The
 * content of that call is "calm"; a timer starts with it.
 */
async function busyServer({ isSecure = false, connect = cleartext } = {}) {
  const world = {
    done: 0,
    /** How much was done when the call was served, and when the timer fired; -1 before. */
    atCall: -1,
    atTimer: -1,
  };
  const together = gate();
  const log = memoryLog();
  const hub = createHub(log);
  const countWork = (ms: number) => {
    if (world.done++ === 0) {
      calm.write(request(1, "SayHello"), data(1, message("calm"), true));
      setTimeout(() => {
        world.atTimer = world.done;
      }, 1);
    }
    spend(ms);
  };
  const server = createServer({
    ...(isSecure && { tls: certs.server }),
    routes: (router) =>
      router.service(Greeter, {
        async sayHello({ content }) {
          if (content === "calm") world.atCall = world.done;
          else if (content === "together") {
            waiting++;
            await together.opened;
            return {
              // Read when the response is encoded.
              get reply() {
                countWork(0.1);
                return content;
              },
            };
          } else countWork(0.1);
          return { reply: content };
        },
        async *chat(requests) {
          try {
            for await (const { content } of requests) yield { reply: content };
          } finally {
            countWork(0.1);
          }
        },
        async collect(requests) {
          for await (const _ of requests) countWork(0);
          return {};
        },
        subscribe(_, { signal }: HandlerContext) {
          const shape = ({ kind }: { kind: string }) => {
            if (kind !== "record") return undefined;
            countWork(0.02);
            return { content: kind };
          };
          const subscription = hub.subscribe("news", { shape }, signal);
          void subscription.placed.then(() => placed++);
          return subscription;
        },
      }),
  });
  let placed = 0;
  let waiting = 0;
  const { port } = await server.listen({ host: "127.0.0.1", port: 0 });
  const calm = await connect(port as number);
  const busy = await connect(port as number);
  const more = () => connect(port as number);
  await Promise.all([calm.ping(), busy.ping()]);
  return {
    ...{ world, busy, more },
    openCalls: () => server.openCalls,
    connections: () => server.stats().connections,
    close: () => server.close({ graceMs: 0 }),
    placed: () => placed,
    waiting: () => waiting,
    together,
    post: () => log.append("news", [{ data: new Uint8Array(1) }]),
    async served() {
      await until("the other call was served", () => world.atCall >= 0 && world.atTimer >= 0);
      expect((await calm.ended(1)).status).toBe(0);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([calm[Symbol.asyncDispose](), busy[Symbol.asyncDispose]()]);
      await server[Symbol.asyncDispose]();
      await hub[Symbol.asyncDispose]();
      await log[Symbol.asyncDispose]();
    },
  };
}

test.each([
  ["", false, cleartext],
  [" over TLS", true, securely],
])("a thousand unary calls that arrive together%s", async (_, isSecure, connect) => {
  await using server = await busyServer({ isSecure, connect });
  const { world, busy } = server;
  const streams = Array.from({ length: 1000 }, (_, n) => 2 * n + 1);
  busy.write(
    ...streams.flatMap((id) => [request(id, "SayHello"), data(id, message("busy"), true)]),
  );
  await server.served();
  expect(world.atCall).toBeLessThan(300);
  expect(world.atTimer).toBeLessThan(300);
  const ends = await Promise.all(streams.map((id) => busy.ended(id)));
  expect(ends.every(({ status }) => status === 0)).toBe(true);
  expect(world.done).toBe(1000);
});

test("thousands of tiny messages in each of some calls", async () => {
  await using server = await busyServer();
  const { world, busy } = server;
  // As much as the window of a call takes, in DATA frames of less than 16 KiB.
  const frames = [2300, 2300, 2300, 2300];
  const streams = Array.from({ length: 16 }, (_, n) => 2 * n + 1);
  for (const id of streams) busy.write(request(id, "Collect"));
  await busy.ping();
  busy.write(
    ...streams.flatMap((id) =>
      frames.map((count, n) => data(id, Buffer.alloc(7 * count, message("")), n === 3)),
    ),
  );
  await server.served();
  const count = streams.length * 9200;
  expect(world.atCall).toBeLessThan(count / 3);
  expect(world.atTimer).toBeLessThan(count / 3);
  const ends = await Promise.all(streams.map((id) => busy.ended(id)));
  expect(ends.every(({ status }) => status === 0)).toBe(true);
  expect(world.done).toBe(count);
});

test("many messages that inflate to 16 KB", async () => {
  await using server = await busyServer();
  const { world, busy } = server;
  const compressed = envelope(gzipSync(text("x".repeat(16_000)), { level: 9 }), 1);
  const count = Math.floor(60_000 / compressed.length);
  busy.write(request(1, "Collect", { "grpc-encoding": "gzip" }));
  await busy.flow(1, Buffer.concat(new Array(count).fill(compressed)));
  await server.served();
  expect(world.atCall).toBeLessThan(count / 2);
  expect(world.atTimer).toBeLessThan(count / 2);
  busy.write(data(1, undefined, true));
  expect((await busy.ended(1)).status).toBe(0);
  expect(world.done).toBe(count);
});

test("a record for thousands of watchers", async () => {
  await using server = await busyServer();
  const { world, busy } = server;
  const watchers = 1000;
  for (let n = 0; n < watchers; n++) {
    busy.write(request(2 * n + 1, "Subscribe"), data(2 * n + 1, envelope(Buffer.alloc(0)), true));
  }
  await until("all watch", () => server.placed() === watchers);
  await busy.ping();
  await server.post();
  await server.served();
  expect(world.atCall).toBeLessThan(watchers / 2);
  expect(world.atTimer).toBeLessThan(watchers / 2);
  await until("all have the record", () => world.done === watchers);
});

test("connections that are lost together, with a hundred calls each", async () => {
  await using server = await busyServer();
  const { world } = server;
  const peers = await Promise.all(Array.from({ length: 10 }, server.more));
  for (const peer of peers) {
    peer.write(...Array.from({ length: 100 }, (_, n) => request(2 * n + 1, "Chat")));
  }
  await until("all calls are open", () => server.openCalls() === 1000);
  for (const peer of peers) peer.socket.destroy();
  await server.served();
  expect(world.atCall).toBeLessThan(500);
  expect(world.atTimer).toBeLessThan(500);
  await until("all calls have ended", () => world.done === 1000);
});

test.each<[string, (peer: Peer) => void]>([
  ["that is lost", ({ socket }) => void socket.destroy()],
  ["that breaks the protocol", (peer) => peer.write(data(0, text("no stream has this id")))],
])("a connection %s, with a thousand calls", async (_, lose) => {
  await using server = await busyServer();
  const { world, busy } = server;
  const streams = Array.from({ length: 1000 }, (_, n) => 2 * n + 1);
  busy.write(...streams.map((id) => request(id, "Chat")));
  await until("all calls are open", () => server.openCalls() === 1000);
  lose(busy);
  await server.served();
  expect(world.atCall).toBeLessThan(300);
  expect(world.atTimer).toBeLessThan(300);
  await until("all calls have ended", () => world.done === 1000);
});

test("a server that is closed while it ends the calls of a lost connection leaves none open", async () => {
  await using server = await busyServer();
  const { world, busy } = server;
  const streams = Array.from({ length: 1000 }, (_, n) => 2 * n + 1);
  busy.write(...streams.map((id) => request(id, "Chat")));
  await until("all calls are open", () => server.openCalls() === 1000);
  busy.socket.destroy();
  await until("some have ended", () => server.openCalls() < 1000);
  expect(server.openCalls()).toBeGreaterThan(0);
  await server.close();
  expect([server.openCalls(), server.connections()]).toEqual([0, 0]);
  expect(world.done).toBe(1000);
});

test("a thousand responses of handlers that waited for the same thing", async () => {
  await using server = await busyServer();
  const { world, busy } = server;
  const streams = Array.from({ length: 1000 }, (_, n) => 2 * n + 1);
  busy.write(
    ...streams.flatMap((id) => [request(id, "SayHello"), data(id, message("together"), true)]),
  );
  await until("all wait", () => server.waiting() === 1000);
  server.together.open();
  await server.served();
  expect(world.atCall).toBeLessThan(500);
  expect(world.atTimer).toBeLessThan(500);
  const ends = await Promise.all(streams.map((id) => busy.ended(id)));
  expect(ends.every(({ status }) => status === 0)).toBe(true);
  expect(world.done).toBe(1000);
});
