/** The frames of a WebSocket that no client of ours sends: none of them crashes a server, or leaves something there. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { until } from "./support/gate.ts";
import { measureLateness } from "./support/lateness.ts";
import {
  BINARY,
  CLOSE,
  closeCodeIn,
  type Frame,
  frame,
  framesIn,
  PING,
  PONG,
  rawWebSocket,
  requestText,
  TEXT,
  upgradeHeaders,
} from "./support/raw-web-socket.ts";
import { type Setup, start, type World } from "./support/world.ts";

/** The preface of HTTP/2 and an empty SETTINGS. */
const PREFACE = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);

const SETTINGS_ACK = Buffer.from([0, 0, 0, 4, 1, 0, 0, 0, 0]);
const PING_FRAME = Buffer.from([0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);

const binary = (payload: Uint8Array, more: Partial<Frame> = {}) =>
  frame({ opcode: BINARY, payload, ...more });
const repeated = (one: Buffer, times: number) => Buffer.concat(Array<Buffer>(times).fill(one));

async function server(more: Setup["server"] = {}): Promise<World> {
  return await start({ server: { webSocket: {}, ...more } });
}

/** Resolves when the server has no connection left, and serves others. */
async function expectNothingLeft(world: World): Promise<void> {
  await until("no connection is left", () => world.server.stats().connections === 0, 4000);
  expect((await world.greeter.sayHello({ content: "Ada" })).reply).toBe("Hello, Ada");
  expect(world.logged).toEqual([]);
}

describe("a WebSocket is closed", () => {
  const fragment = (payload: Uint8Array) => frame({ opcode: 0, payload, fin: false });
  const tiny = Buffer.alloc(1);

  test.each<[string, Buffer, number]>([
    ["after a text message", frame({ opcode: TEXT, payload: PREFACE }), 1003],
    [
      "after a text message that stands behind HTTP/2",
      Buffer.concat([binary(PREFACE), frame({ opcode: TEXT })]),
      1003,
    ],
    ["after a message of more than 128 KiB", binary(Buffer.alloc(128 * 1024 + 1)), 1009],
    [
      "after the head of a message of 2^40 bytes",
      Buffer.from([0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
      1009,
    ],
    [
      "after fragments of more than 128 KiB",
      Buffer.concat([
        binary(Buffer.alloc(100_000), { fin: false }),
        fragment(Buffer.alloc(100_000)),
      ]),
      1009,
    ],
    [
      "after a message of 129 fragments",
      Buffer.concat([binary(tiny, { fin: false }), repeated(fragment(tiny), 128)]),
      1008,
    ],
    [
      "after a message of empty fragments",
      Buffer.concat([binary(tiny, { fin: false }), repeated(fragment(Buffer.alloc(0)), 128)]),
      1008,
    ],
    ["after a frame without a mask", binary(PREFACE, { isMasked: false }), 1002],
    [
      "after a frame that says to be compressed",
      frame({ opcode: 0x40 | BINARY, payload: PREFACE }),
      1002,
    ],
    ["after a frame of an unknown kind", frame({ opcode: 3 }), 1002],
    ["after a fragment that belongs to nothing", frame({ opcode: 0 }), 1002],
    ["after a ping that is too long", frame({ opcode: PING, payload: Buffer.alloc(126) }), 1002],
    [
      "after bytes that are no HTTP/2",
      binary(Buffer.from("GET / HTTP/1.1\r\nhost: x\r\n\r\n")),
      1001,
    ],
    [
      "after a flood of empty messages",
      Buffer.concat([binary(PREFACE), repeated(binary(Buffer.alloc(0)), 2000)]),
      1008,
    ],
    [
      "after a flood of messages of one byte",
      Buffer.concat([binary(PREFACE), repeated(binary(tiny), 1000)]),
      1008,
    ],
    [
      "after a flood of pings",
      repeated(frame({ opcode: PING, payload: Buffer.alloc(125) }), 2000),
      1008,
    ],
    ["after a flood of pongs", repeated(frame({ opcode: PONG }), 2000), 1008],
    [
      "after a flood of pings of HTTP/2, each in a message",
      Buffer.concat([
        binary(Buffer.concat([PREFACE, SETTINGS_ACK])),
        repeated(binary(PING_FRAME), 3000),
      ]),
      1001,
    ],
  ])("%s", async (_, bytes, code) => {
    await using world = await server();
    const client = await rawWebSocket(world.url);
    client.socket.write(bytes);
    const received = await client.closed;
    expect(closeCodeIn(received)).toBe(code);
    const pongs = framesIn(received).filter(({ opcode }) => opcode === PONG);
    expect(pongs.length).toBeLessThan(1100);
    await expectNothingLeft(world);
  });

  test("`abuse` says after how many frames without use", async () => {
    await using world = await server({ abuse: { budget: 10 } });
    const client = await rawWebSocket(world.url);
    client.socket.write(repeated(frame({ opcode: PING }), 300));
    expect(closeCodeIn(await client.closed)).toBe(1008);
  });
});

/** Opens a WebSocket by hand, on a socket that stays open when the server has ended its side. */
async function openHalf(url: string): Promise<Socket> {
  const socket = connect({
    ...{ port: Number(new URL(url).port), host: "127.0.0.1", allowHalfOpen: true },
  });
  socket.on("error", () => {});
  socket.resume();
  socket.write(requestText("/hawser", upgradeHeaders()));
  await until("it is open", () => socket.bytesRead > 100);
  return socket;
}

test("a WebSocket that has failed is closed without waiting for an answer", async () => {
  await using world = await server();
  const socket = await openHalf(world.url);
  using late = measureLateness();
  const began = performance.now();
  socket.write(frame({ opcode: TEXT }));
  await once(socket, "end");
  expect(performance.now() - began).toBeLessThan(500 + late.ms);
  socket.destroy();
});

describe("a WebSocket stays open", () => {
  test("after pings, which are answered with their bytes, and pongs", async () => {
    await using world = await server();
    using client = await rawWebSocket(world.url);
    const payload = Buffer.from("are you there?");
    client.socket.write(frame({ opcode: PONG }));
    client.socket.write(repeated(frame({ opcode: PING, payload }), 100));
    const pongs = () => framesIn(client.received).filter(({ opcode }) => opcode === PONG);
    await until("all are answered", () => pongs().length === 100);
    for (const pong of pongs()) expect(pong.payload).toEqual(payload);
  });

  test("and HTTP/2 begins, if its preface comes in fragments, with pings between them", async () => {
    await using world = await server();
    using client = await rawWebSocket(world.url);
    const bytes = [...PREFACE].map((byte, at) =>
      frame({
        ...{ opcode: at === 0 ? BINARY : 0, payload: Buffer.from([byte]) },
        fin: at === PREFACE.length - 1,
      }),
    );
    for (const one of bytes) client.socket.write(Buffer.concat([one, frame({ opcode: PING })]));
    client.socket.write(Buffer.concat([binary(SETTINGS_ACK), binary(PING_FRAME)]));
    const answer = Buffer.from([0, 0, 8, 6, 1]);
    const http2 = () => Buffer.concat(framesIn(client.received).map(({ payload }) => payload));
    await until("the ping of HTTP/2 is answered", () => http2().includes(answer));
  });
});

describe("a client that leaves", () => {
  test.each<[string, (url: string) => Promise<void>]>([
    [
      "without a close frame",
      async (url) => {
        const { socket } = await rawWebSocket(url);
        socket.write(binary(PREFACE));
        socket.destroy();
      },
    ],
    [
      "by a reset",
      async (url) => {
        const { socket } = await rawWebSocket(url);
        socket.write(binary(PREFACE), () => socket.resetAndDestroy());
      },
    ],
    [
      "within a message",
      async (url) => {
        const { socket } = await rawWebSocket(url);
        socket.end(binary(PREFACE).subarray(0, 20));
      },
    ],
    [
      "with a close frame, and sends frames after it",
      async (url) => {
        const { socket } = await rawWebSocket(url);
        socket.write(Buffer.concat([binary(PREFACE), frame({ opcode: CLOSE })]));
        socket.write(repeated(binary(PING_FRAME), 100));
        socket.write(frame({ opcode: TEXT }));
      },
    ],
    [
      "with a close frame whose code does not exist",
      async (url) => {
        const { socket } = await rawWebSocket(url);
        socket.write(frame({ opcode: CLOSE, payload: Buffer.from([0, 0]) }));
      },
    ],
    [
      "immediately after its request",
      async (url) => {
        const socket = connect(Number(new URL(url).port), "127.0.0.1");
        socket.on("error", () => {});
        socket.end(requestText("/hawser", upgradeHeaders()) + binary(PREFACE).toString("latin1"));
        socket.resume();
        await once(socket, "close");
      },
    ],
  ])("%s leaves nothing at the server", async (_, leave) => {
    await using world = await server();
    await leave(world.url);
    await expectNothingLeft(world);
  });

  test("with a close frame, and keeps its socket open, is disconnected within two seconds", async () => {
    await using world = await server();
    const socket = await openHalf(world.url);
    socket.write(Buffer.concat([binary(PREFACE), frame({ opcode: CLOSE })]));
    await until("it is closed", () => world.server.stats().connections === 0, 2000);
    socket.destroy();
  });
});

test("HTTP/2 that comes with the request for the WebSocket is served", async () => {
  await using world = await server();
  const socket = connect(Number(new URL(world.url).port), "127.0.0.1");
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  const frames = Buffer.concat([binary(PREFACE), binary(SETTINGS_ACK), binary(PING_FRAME)]);
  socket.write(Buffer.concat([Buffer.from(requestText("/hawser", upgradeHeaders())), frames]));
  const answer = Buffer.from([0, 0, 8, 6, 1]);
  await until("the ping is answered", () => Buffer.concat(chunks).includes(answer));
  socket.destroy();
});
