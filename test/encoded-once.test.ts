import { clone, create, type DescMessage, toBinary } from "@bufbuild/protobuf";
import { createClient as createStockClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { Greeter, NotificationSchema } from "../gen/example/greeter_pb.js";
import type { SharedFrame } from "../src/call-stream.ts";
import { MessageWriter } from "../src/grpc/message.ts";
import { Code, type Interceptor } from "../src/index.ts";
import { nodeGzip } from "../src/node/gzip.ts";
import { encodedOnce } from "../src/server.ts";
import { gate } from "./support/gate.ts";
import { all, failureOf } from "./support/read.ts";
import { start } from "./support/world.ts";

interface Sent {
  flags: number;
  payload: Uint8Array;
}

/** A writer of one call, and what it sent. */
function writerOf(desc: DescMessage, compressFromBytes?: number, writeMaxBytes = 1 << 20) {
  const sent: Sent[] = [];
  const sink = {
    write(flags: number, payload: Uint8Array, shared?: SharedFrame) {
      sent.push({ flags, payload: shared === undefined ? new Uint8Array(payload) : payload });
      return undefined;
    },
  };
  const messages = { readMaxBytes: 1, writeMaxBytes, compression: nodeGzip };
  const options = { messages, compressFromBytes };
  return { sent, writer: new MessageWriter(desc, options, { outgoing: () => sink }) };
}

test("every call sends the same bytes", () => {
  const message = encodedOnce(NotificationSchema, { content: "to all" });
  const [one, two] = [writerOf(NotificationSchema), writerOf(NotificationSchema)];
  one.writer.write(message);
  one.writer.write(message);
  two.writer.write(message);
  const [{ payload }] = one.sent as [Sent];
  expect(payload).toEqual(toBinary(NotificationSchema, message));
  for (const again of [...one.sent, ...two.sent]) expect(again.payload).toBe(payload);
});

test("calls learn that others send the same bytes, and the bytes have a buffer of their own", () => {
  const shared: boolean[] = [];
  const sink = {
    write(_flags: number, { length, buffer }: Uint8Array, frame?: SharedFrame) {
      if (frame !== undefined) expect(buffer.byteLength).toBe(length);
      shared.push(frame !== undefined);
      return undefined;
    },
  };
  const messages = { readMaxBytes: 1, writeMaxBytes: 1 << 20, compression: nodeGzip };
  const options = { messages, compressFromBytes: 1000 };
  const writer = new MessageWriter(NotificationSchema, options, { outgoing: () => sink });
  for (const content of ["to all", "a".repeat(2000)]) {
    writer.write(encodedOnce(NotificationSchema, { content }));
    writer.write(create(NotificationSchema, { content }));
  }
  expect(shared).toEqual([true, false, true, false]);
});

test.each([
  ["small", 2000],
  ["large, in a thread", 50_000],
])("a %s message is compressed once, for the calls that compress", async (_, length) => {
  const message = encodedOnce(NotificationSchema, { content: "a".repeat(length) });
  const [one, two] = [writerOf(NotificationSchema, 1000), writerOf(NotificationSchema, 1000)];
  const plain = writerOf(NotificationSchema);
  // Both begin before the first has come to its end.
  await Promise.all([one.writer.write(message), two.writer.write(message)]);
  await one.writer.write(message);
  plain.writer.write(message);
  const [{ payload, flags }] = one.sent as [Sent];
  expect(flags).toBe(1);
  for (const again of [...one.sent, ...two.sent]) expect(again.payload).toBe(payload);
  expect(plain.sent).toEqual([{ flags: 0, payload: toBinary(NotificationSchema, message) }]);
  // A hub holds thousands of them.
  expect(payload.buffer.byteLength).toBe(payload.length);
});

test("each call checks a message of encodedOnce against its own writeMaxBytes", () => {
  const message = encodedOnce(NotificationSchema, { content: "a".repeat(100) });
  writerOf(NotificationSchema).writer.write(message);
  const { writer, sent } = writerOf(NotificationSchema, undefined, 64);
  expect(() => writer.write(message)).toThrow(/over writeMaxBytes 64 B/);
  expect(sent).toEqual([]);
});

test("a message of encodedOnce is frozen; the caller's message and copies are not, and have bytes of their own", () => {
  const own = create(NotificationSchema, { content: "first" });
  const message = encodedOnce(NotificationSchema, own);
  expect(() => {
    message.content = "second";
  }).toThrow(TypeError);
  expect(encodedOnce(NotificationSchema, message)).toBe(message);
  expect(message).toEqual(own);

  const { writer, sent } = writerOf(NotificationSchema);
  writer.write(message);
  const cloned = clone(NotificationSchema, message);
  own.content = "second";
  cloned.content = "third";
  for (const other of [own, cloned, { ...message, content: "fourth" }]) writer.write(other);
  const contents = ["first", "second", "third", "fourth"];
  expect(sent.map(({ payload }) => payload)).toEqual(
    contents.map((content) => toBinary(NotificationSchema, { ...message, content })),
  );
});

const stock: Record<string, (baseUrl: string) => Transport> = {
  gRPC: (baseUrl) => createGrpcTransport({ baseUrl }),
  "gRPC-Web": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
  "Connect, as JSON": (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
};

test("clients of every protocol get a message of encodedOnce, through interceptors, compressed, and with sessions", async () => {
  const content = "to all ".repeat(300);
  const message = encodedOnce(NotificationSchema, { content });
  let passed: unknown;
  const passing: Interceptor = (next) => async (request) => {
    const response = await next(request);
    if (!response.stream) return response;
    const look = async function* (messages: AsyncIterable<object>) {
      for await (const one of messages) {
        passed = one;
        yield one;
      }
    };
    return { ...response, message: look(response.message) } as typeof response;
  };
  await using world = await start({
    greeter: {
      async *subscribe() {
        yield message;
        yield message;
      },
    },
    server: { interceptors: [passing] },
  });
  const clients = Object.values(stock).map((to) => createStockClient(Greeter, to(world.url)));
  for (const client of [world.greeter, ...clients]) {
    for (const options of [{}, { sessions: false }, { compress: true }]) {
      const got = await all(client.subscribe({}, options));
      expect(got).toMatchObject([{ content }, { content }]);
      expect(passed).toBe(message);
    }
  }
});

test("calls that write the same messages in one turn, and calls that differ in one message, each send their own", async () => {
  const shared = Array.from({ length: 40 }, (_, n) =>
    encodedOnce(NotificationSchema, { sequence: BigInt(n), content: "shared".repeat(n * 5) }),
  );
  // All the handlers write in one turn, one after the other.
  const ready = gate();
  await using world = await start({
    greeter: {
      async *subscribe({ count }) {
        await ready.opened;
        yield* shared.slice(0, 20);
        if (count % 3 === 0) yield { sequence: 1000n, content: `of ${count}` };
        if (count % 4 !== 0) yield* shared.slice(20);
        else yield* shared.slice(20).reverse();
      },
    },
    // In a session, written messages pass through the session's spool.
    transport: { sessions: false },
  });
  const calls = Array.from({ length: 24 }, (_, count) =>
    all(world.greeter.subscribe({ count }, { compress: count % 5 === 0 })),
  );
  ready.open();
  const sequences = (await Promise.all(calls)).map((got) =>
    got.map(({ sequence, content }) => {
      if (sequence < 1000n) expect(content).toBe("shared".repeat(Number(sequence) * 5));
      return sequence === 1000n ? content : Number(sequence);
    }),
  );
  const numbers = Array.from({ length: 40 }, (_, n) => n);
  const [first, second] = [numbers.slice(0, 20), numbers.slice(20)];
  for (const [n, got] of sequences.entries()) {
    const own = n % 3 === 0 ? [`of ${n}`] : [];
    expect(got).toEqual([...first, ...own, ...(n % 4 === 0 ? second.toReversed() : second)]);
  }
});

test("writeMaxBytes of the server applies to a message of encodedOnce", async () => {
  const message = encodedOnce(NotificationSchema, { content: "a".repeat(100) });
  await using world = await start({
    greeter: {
      async *subscribe() {
        yield message;
      },
    },
    server: { writeMaxBytes: 64 },
  });
  const { code } = await failureOf(world.greeter.subscribe({}));
  expect(code).toBe(Code.ResourceExhausted);
});
