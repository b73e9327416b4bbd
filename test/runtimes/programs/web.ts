/** Connect's own clients on Node: what a server on each runtime does with the protocols that are not gRPC. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { Greeter } from "hawser/gen/example/greeter_pb.js";
import type { Peer, Scenario } from "./scenario.ts";

const AT_ONCE = create(DurationSchema);

async function* contents(count: number) {
  for (let i = 0; i < count; i++) yield { content: `${i}` };
}

/** The kinds of call that a browser could make, too. */
async function callsOf(greeter: Client<typeof Greeter>): Promise<void> {
  // One after the other, so that they use the same connection.
  for (const name of ["Ada", "Grace", "Edsger"]) {
    assert.equal((await greeter.sayHello({ content: name })).reply, `Hello, ${name}`);
  }
  let notifications = 0;
  for await (const _ of greeter.subscribe({ count: 50, interval: AT_ONCE })) notifications++;
  assert.equal(notifications, 50);
  const content = "x".repeat(2 ** 20);
  assert.equal((await greeter.sayHello({ content })).reply.length, content.length + 7);
}

async function bidirectional(greeter: Client<typeof Greeter>): Promise<void> {
  assert.equal((await greeter.collect(contents(50))).count, 50);
  let replies = 0;
  for await (const { reply } of greeter.chat(contents(50))) {
    assert.equal(reply, `Received: ${replies++}`);
  }
  assert.equal(replies, 50);
}

async function withBoth(
  { http, https, ca }: Peer,
  run: (baseUrl: string, nodeOptions: { ca?: string }) => Promise<void>,
): Promise<void> {
  await run(http, {});
  await run(https, { ca });
}

/** Both protocols over HTTP/1.1, cleartext and TLS. */
async function overHttp1(peer: Peer): Promise<void> {
  await withBoth(peer, async (baseUrl, nodeOptions) => {
    for (const make of [createConnectTransport, createGrpcWebTransport]) {
      const transport: Transport = make({ baseUrl, nodeOptions, httpVersion: "1.1" });
      await callsOf(createClient(Greeter, transport));
    }
  });
}

/** Both protocols over HTTP/2, cleartext and TLS. */
async function overHttp2(peer: Peer): Promise<void> {
  await withBoth(peer, async (baseUrl, nodeOptions) => {
    for (const make of [createConnectTransport, createGrpcWebTransport]) {
      const transport: Transport = make({ baseUrl, nodeOptions, httpVersion: "2" });
      await callsOf(createClient(Greeter, transport));
      await bidirectional(createClient(Greeter, transport));
    }
  });
}

/**
 * Sends the beginning of a request, then a character each 200 ms, and resolves with all that the server answers until it
 * closes the connection.
 */
async function answerTo(unix: string, start: string, drips = ""): Promise<string> {
  const socket = connect(unix.slice("unix:".length));
  let answer = "";
  socket.setEncoding("latin1").on("data", (text: string) => {
    answer += text;
  });
  // A byte that arrives after the server has closed the connection resets it.
  socket.on("error", () => {});
  socket.write(start);
  let dripped = 0;
  const timer = setInterval(() => {
    if (dripped < drips.length) socket.write(drips.charAt(dripped++));
  }, 200);
  await new Promise((resolve) => socket.once("close", resolve));
  clearInterval(timer);
  return answer;
}

/** The server of the Unix socket has limits of 3 s. */
async function slowRequests({ unix }: Peer): Promise<void> {
  const headers =
    "POST /example.Greeter/SayHello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
  const body = '{"content":"Ada"}';
  const start = `${headers}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
  const answers = [
    answerTo(unix, headers),
    answerTo(unix, headers, "X-Slow: headers"),
    answerTo(unix, start),
    answerTo(unix, start, body),
  ] as const;
  assert.match(await answers[0], /^HTTP\/1\.1 408 /);
  assert.match(await answers[1], /^(HTTP\/1\.1 408 |$)/);
  assert.match(await answers[2], /^HTTP\/1\.1 408 /);
  assert.match(await answers[3], /^HTTP\/1\.1 200 .*Hello, Ada/s);
}

async function idleConnection({ unix }: Peer): Promise<void> {
  const request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
  assert.match(await answerTo(unix, request), /^HTTP\/1\.1 404 .*Keep-Alive: timeout=5/s);
}

export const webScenarios: readonly Scenario[] = [
  { name: "Connect and gRPC-Web over HTTP/1.1 on the port of gRPC", run: overHttp1, on: "Node" },
  { name: "Connect and gRPC-Web over HTTP/2", run: overHttp2, on: "Node" },
  {
    name: "a request of HTTP/1.1 that stops is answered with 408",
    run: slowRequests,
    on: "Node",
    waits: true,
  },
  {
    name: "a connection of HTTP/1.1 without a request is closed after 6 s",
    run: idleConnection,
    on: "Node",
    waits: true,
  },
];
