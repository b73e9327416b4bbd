/** Messages of a WebSocket that are not complete: what a server holds of them counts in its budgets. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FrameScanner } from "../src/node/web-socket/frame-scanner.ts";
import { UnfinishedMessage } from "../src/node/web-socket/unfinished-message.ts";
import type { ServerOptions } from "../src/server.ts";
import { stillAt, until } from "./support/gate.ts";
import {
  BINARY,
  closeCodeIn,
  frame,
  PING,
  type RawClient,
  rawWebSocket,
} from "./support/raw-web-socket.ts";
import { frame as http2Frame, PREFACE, settings } from "./support/wire.ts";
import { start, type World } from "./support/world.ts";

const KIB = 1024;

/** A frame of HTTP/2 of an unknown type, which says nothing. */
const NOTHING = http2Frame(0xfa, 0, 0, Buffer.alloc(16_000));

/** What begins HTTP/2, and then nothing that matters. */
const CONTENT = Buffer.concat([PREFACE, settings(), NOTHING, NOTHING, NOTHING, NOTHING, NOTHING]);

const WHOLE = frame({ opcode: BINARY, payload: CONTENT });

async function server(more: Partial<ServerOptions> = {}): Promise<World> {
  return await start({ server: { webSocket: {}, ...more } });
}

const unreadBytes = ({ server }: World) => server.stats().unreadBytes;

describe("a message that is not complete", () => {
  test("counts until it is complete", async () => {
    await using world = await server();
    using client = await rawWebSocket(world.url);
    client.socket.write(WHOLE.subarray(0, -1));
    await until("it counts", () => unreadBytes(world) >= WHOLE.length - 1);
    expect(unreadBytes(world)).toBeLessThan(2 * WHOLE.length);
    client.socket.write(WHOLE.subarray(-1));
    await until("it does not count", () => unreadBytes(world) === 0);
    client.socket.write(frame({ opcode: PING }));
    await until("the WebSocket is open", () => client.received.at(-2) === (0x80 | 0xa));
  });

  test("counts until its client leaves, or closes the WebSocket", async () => {
    await using world = await server();
    for (const leave of [
      ({ socket }: RawClient) => void socket.destroy(),
      ({ socket }: RawClient) => void socket.end(),
    ]) {
      using client = await rawWebSocket(world.url);
      client.socket.write(WHOLE.subarray(0, -1));
      await until("it counts", () => unreadBytes(world) > 0);
      leave(client);
      await until("it does not count", () => unreadBytes(world) === 0);
    }
    await until("no connection is left", () => world.server.stats().connections === 0);
  });

  test("counts with all its fragments, also if control frames stand between them", async () => {
    await using world = await server();
    using client = await rawWebSocket(world.url);
    for (let n = 0; n < 4; n++) {
      const payload = Buffer.alloc(20 * KIB);
      client.socket.write(frame({ opcode: n === 0 ? BINARY : 0, payload, fin: false }));
      client.socket.write(frame({ opcode: PING }));
    }
    await until("all of it counts", () => unreadBytes(world) > 80 * KIB);
  });

  test("ends with its WebSocket if a caller has too many of them, and others are served", async () => {
    const serverBudgetBytes = 512 * KIB;
    await using world = await server({ readMaxBytes: 1000, serverBudgetBytes });
    const clients: RawClient[] = [];
    for (let n = 0; n < 12; n++) {
      const client = await rawWebSocket(world.url);
      clients.push(client);
      client.socket.write(WHOLE.subarray(0, -1));
    }
    await until("some have ended", () => world.server.stats().connections < 12);
    await until("the budget is kept", () => unreadBytes(world) < serverBudgetBytes);
    const closed = clients.filter(({ socket }) => socket.closed);
    const codes = new Set(
      await Promise.all(closed.map(async ({ closed }) => closeCodeIn(await closed))),
    );
    expect(codes).toEqual(new Set([1013]));
    expect(world.server.stats().limits.serverBudgetBytes?.refused).toBeGreaterThan(0);
    for (const client of clients) client[Symbol.dispose]();
    await until("nothing counts", () => unreadBytes(world) === 0);
    expect((await world.greeter.sayHello({ content: "Ada" })).reply).toBe("Hello, Ada");
  });
});

test("what the clients of a trusted proxy have not completed counts for each of them", async () => {
  const options = {
    readMaxBytes: 1000,
    serverBudgetBytes: 512 * KIB,
    trustedProxies: ["loopback"],
  };
  await using world = await server(options);
  const open = async (address: string) => {
    const client = await rawWebSocket(world.url, { "x-forwarded-for": address });
    client.socket.write(WHOLE.subarray(0, -1));
    return client;
  };
  using one = await open("198.51.100.1");
  await until("it counts", () => unreadBytes(world) > 0);
  const many: RawClient[] = [];
  for (let n = 0; n < 12; n++) many.push(await open("198.51.100.2"));
  await until("some have ended", () => world.server.stats().connections < 13);
  await stillAt(() => world.server.stats().connections, 50);
  one.socket.write(WHOLE.subarray(-1));
  for (const client of many) client[Symbol.dispose]();
  await until("the others have left", () => world.server.stats().connections === 1);
  expect(one.socket.closed).toBe(false);
});

test("fragments without content are a flood", async () => {
  await using world = await server();
  const empty = frame({ opcode: 0, fin: false });
  const message = Buffer.concat([
    frame({ opcode: BINARY, payload: PREFACE, fin: false }),
    ...Array<Buffer>(100).fill(empty),
    frame({ opcode: 0, payload: settings() }),
  ]);
  const others = Buffer.concat([
    frame({ opcode: BINARY, payload: settings(), fin: false }),
    ...Array<Buffer>(100).fill(empty),
    frame({ opcode: 0 }),
  ]);
  using client = await rawWebSocket(world.url);
  client.socket.write(Buffer.concat([message, ...Array<Buffer>(15).fill(others)]));
  expect(closeCodeIn(await client.closed)).toBe(1008);
});

describe("a scanner", () => {
  const frames = fc.record({
    opcode: fc.constantFrom(BINARY, PING),
    size: fc.oneof(fc.nat(20), fc.nat(70_000)),
    isLast: fc.boolean(),
  });

  test("knows after each piece of the frames of a client whether one of them, or a message, is not complete", () => {
    fc.assert(
      fc.property(fc.array(frames, { maxLength: 8 }), fc.array(fc.nat(30_000)), (given, cuts) => {
        const scanner = new FrameScanner();
        /** The places at which nothing is incomplete. */
        const complete = new Set([0]);
        const parts: Buffer[] = [];
        let isFragmented = false;
        let at = 0;
        for (const { opcode, size, isLast } of given) {
          const isPing = opcode === PING;
          const one = frame({
            opcode: isPing ? PING : isFragmented ? 0 : BINARY,
            payload: Buffer.alloc(isPing ? size % 126 : size, 0xff),
            fin: isPing || isLast,
          });
          if (!isPing) isFragmented = !isLast;
          parts.push(one);
          at += one.length;
          if (!isFragmented) complete.add(at);
        }
        const bytes = Buffer.concat(parts);
        let begin = 0;
        for (const size of [...cuts, bytes.length]) {
          const end = Math.min(begin + size, bytes.length);
          const wasComplete = scanner.scan(bytes.subarray(begin, end));
          expect(scanner.isIncomplete).toBe(!complete.has(end));
          expect(wasComplete).toBe([...complete].some((at) => at >= begin && at <= end));
          begin = end;
        }
      }),
    );
  });

  test("counts fragments of less than nine bytes that others follow", () => {
    const scanner = new FrameScanner();
    for (const payload of [Buffer.alloc(8), Buffer.alloc(9), Buffer.alloc(0)]) {
      scanner.scan(frame({ opcode: 0, payload, fin: false }));
      scanner.scan(frame({ opcode: PING }));
    }
    scanner.scan(frame({ opcode: 0 }));
    expect(scanner.tinyFragments).toBe(2);
  });
});

test("a message that comes in reads of one byte costs what the reads cost", () => {
  const message = new UnfinishedMessage({ endOverBudget() {} });
  for (const byte of frame({ opcode: BINARY, payload: Buffer.alloc(100) }).subarray(0, -1)) {
    message.onRead(Uint8Array.of(byte));
  }
  expect(message.heldBytes).toBeGreaterThan(100 * 300);
  message.onRead(Uint8Array.of(0));
  expect(message.heldBytes).toBe(0);
});
