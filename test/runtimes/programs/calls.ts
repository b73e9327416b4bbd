/** Scenarios of calls on a network without faults. */
import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { type Client, Code, type ConnectError } from "hawser";
import type { Greeter } from "hawser/gen/example/greeter_pb.js";
import { greeterAt, type Peer, type Scenario } from "./scenario.ts";

const AT_ONCE = create(DurationSchema);
const MIB = 2 ** 20;

async function unary({ http }: Peer): Promise<void> {
  await using client = greeterAt(http);
  const { reply } = await client.greeter.sayHello({ content: "Ada" });
  assert.equal(reply, "Hello, Ada");
}

async function serverStreaming({ http }: Peer): Promise<void> {
  await using client = greeterAt(http);
  let sequence = 0n;
  for await (const notification of client.greeter.subscribe({ count: 100, interval: AT_ONCE })) {
    assert.equal(notification.sequence, ++sequence);
  }
  assert.equal(sequence, 100n);
}

async function clientStreaming({ http }: Peer): Promise<void> {
  await using client = greeterAt(http);
  await using sink = client.greeter.collect();
  for (let i = 0; i < 1000; i++) await sink.send({ content: "grüße" });
  const { count, bytes } = await sink.finish();
  assert.equal(count, 1000);
  assert.equal(bytes, 7000n);
}

/** Sends each message when the reply to the one before has come. */
export async function pingPong(greeter: Client<typeof Greeter>, count: number): Promise<void> {
  await using chat = greeter.chat();
  const replies = chat[Symbol.asyncIterator]();
  for (let i = 0; i < count; i++) {
    await chat.send({ content: `Message ${i}` });
    const { value } = await replies.next();
    assert.equal(value?.reply, `Received: Message ${i}`);
  }
  chat.closeSend();
  assert.equal((await replies.next()).done, true);
}

async function bidirectional({ http }: Peer): Promise<void> {
  await using client = greeterAt(http);
  await pingPong(client.greeter, 100);
}

async function thousandCalls({ http }: Peer): Promise<void> {
  await using client = greeterAt(http);
  const replies = await Promise.all(
    Array.from({ length: 1000 }, (_, i) => client.greeter.sayHello({ content: `${i}` })),
  );
  for (const [i, { reply }] of replies.entries()) assert.equal(reply, `Hello, ${i}`);
}

async function largeMessages({ http }: Peer): Promise<void> {
  await using client = greeterAt(http);
  const chat = client.greeter.chat();
  const content = "x".repeat(3 * MIB);
  const sending = (async () => {
    for (let i = 0; i < 5; i++) await chat.send({ content });
    chat.closeSend();
  })();
  let bytes = 0;
  for await (const { reply } of chat) bytes += reply.length;
  await sending;
  assert.equal(bytes, 5 * (content.length + "Received: ".length));
}

/** Windows and socket buffers of both ends hold about 18 of these messages. */
const HELD = { messages: 32, atMost: 28 };

async function backpressure({ http }: Peer): Promise<void> {
  await using client = greeterAt(http);
  const chat = client.greeter.chat();
  const content = "x".repeat(MIB);
  const held = Promise.withResolvers<void>();
  let sent = 0;
  const sending = (async () => {
    for (; sent < HELD.messages; sent++) {
      const timer = setTimeout(held.resolve, 300);
      await chat.send({ content });
      clearTimeout(timer);
    }
    chat.closeSend();
  })();
  sending.then(held.resolve, held.reject);
  await held.promise;
  assert.ok(sent < HELD.atMost, `${sent} MiB were sent to a peer that reads nothing`);
  let received = 0;
  for await (const { reply } of chat) received += reply.length > MIB ? 1 : 0;
  await sending;
  assert.equal(received, HELD.messages);
}

async function errors({ http }: Peer): Promise<void> {
  await using client = greeterAt(http);
  const negative = create(DurationSchema, { seconds: -1n });
  const call = client.greeter.subscribe({ count: 2, interval: negative });
  await assert.rejects(call[Symbol.asyncIterator]().next(), (error: ConnectError) => {
    assert.equal(error.code, Code.InvalidArgument);
    assert.match(error.rawMessage, /^interval of -1 s and 0 ns is out of range/);
    return true;
  });
}

async function metadata({ http }: Peer): Promise<void> {
  await using client = greeterAt(http);
  let leading = new Headers();
  let trailing = new Headers();
  await client.greeter.sayHello(
    { content: "Ada" },
    {
      headers: { "x-echo": "ahoy", "x-echo-bin": "AQID" },
      onHeader: (headers) => {
        leading = headers;
      },
      onTrailer: (trailers) => {
        trailing = trailers;
      },
    },
  );
  assert.equal(leading.get("x-echo"), "ahoy");
  assert.equal(trailing.get("x-echo-bin"), "AQID");
}

async function compression({ http }: Peer): Promise<void> {
  await using client = greeterAt(http, { sendCompression: "gzip" });
  // The larger one is inflated in a thread.
  for (const length of [10_000, 3 * MIB]) {
    const content = "x".repeat(length);
    const { reply } = await client.greeter.sayHello({ content });
    assert.equal(reply, `Hello, ${content}`);
  }
}

async function deadline({ http }: Peer): Promise<void> {
  await using client = greeterAt(http);
  // The time of a program's start and of the connection is not a part of the deadline.
  await client.greeter.sayHello({});
  const chat = client.greeter.chat({ timeoutMs: 3_000, headers: { "x-call": "deadline" } });
  const replies = chat[Symbol.asyncIterator]();
  await chat.send({ content: "ahoy" });
  assert.equal((await replies.next()).value?.reply, "Received: ahoy");
  await assert.rejects(replies.next(), { code: Code.DeadlineExceeded });
  await ended(client.greeter, "deadline");
}

async function cancel({ http }: Peer): Promise<void> {
  await using client = greeterAt(http);
  const headers = { "x-call": "cancel" };
  for await (const { sequence } of client.greeter.subscribe(
    { count: 0, interval: AT_ONCE },
    { headers },
  )) {
    if (sequence === 10n) break;
  }
  await ended(client.greeter, "cancel");
}

/** Waits until the handler of a streaming call has ended. */
async function ended(greeter: Client<typeof Greeter>, call: string): Promise<void> {
  const headers = { "x-ask-call": call };
  while ((await greeter.sayHello({}, { headers })).reply === "runs");
}

async function asyncContext({ http }: Peer): Promise<void> {
  await using client = greeterAt(http);
  const headers = { "x-context": "yes" };
  const { reply } = await client.greeter.sayHello({}, { headers });
  assert.equal(reply, "from the interceptor");
}

async function overUnixSocket({ unix }: Peer): Promise<void> {
  await using client = greeterAt(unix);
  await pingPong(client.greeter, 20);
}

async function unreachable(): Promise<void> {
  // Port 1 of a machine has no server.
  await using client = greeterAt("http://127.0.0.1:1", { connectTimeoutMs: 1000 });
  await assert.rejects(client.greeter.sayHello({}), { code: Code.Unavailable });
}

export const callScenarios: readonly Scenario[] = [
  { name: "a unary call", run: unary },
  { name: "a server-streaming call of 100 messages", run: serverStreaming },
  { name: "a client-streaming call of 1,000 messages", run: clientStreaming },
  { name: "a bidirectional call of 100 messages each way", run: bidirectional },
  { name: "1,000 unary calls at the same time", run: thousandCalls },
  { name: "5 messages of 3 MiB each way", run: largeMessages },
  { name: "send() waits while the peer reads nothing", run: backpressure },
  { name: "a handler's error has its code and message", run: errors },
  { name: "headers and trailers", run: metadata },
  { name: "gzip", run: compression },
  { name: "a deadline ends a call at both ends", run: deadline, waits: true },
  { name: "leaving the loop ends a call at both ends", run: cancel },
  { name: "a handler sees the AsyncLocalStorage of an interceptor", run: asyncContext },
  { name: "calls over a Unix socket", run: overUnixSocket },
  { name: "a server that cannot be reached is UNAVAILABLE", run: unreachable, on: "itself" },
];
