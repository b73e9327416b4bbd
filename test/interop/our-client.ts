/** Our client against the Go server. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { SessionService } from "../../gen/hawser/v1/session_pb.js";
import { Code, createClient, type TransportOptions } from "../../src/index.ts";
import { certFile, certs } from "../support/tls.ts";
import { go, type PeerServer, startServer } from "./programs.ts";
import { check } from "./report.ts";
import { scenarios } from "./scenarios.ts";
import { echo, numbered, read, rejects, type World, worldOf } from "./world.ts";

const BASICS = [
  "unary",
  "chat of 5, another loop receives",
  "leading and trailing metadata, ascii and binary",
  "3 MiB messages, all four kinds",
];

/** Runs scenarios with one transport, all by default. */
async function basics(what: string, options: TransportOptions, names?: string[]): Promise<void> {
  await using world = worldOf(options);
  for (const { name, run } of scenarios()) {
    if (names !== undefined && !names.includes(name)) continue;
    await check(`Go server, ${what}: ${name}`, () => run(world));
  }
}

/** A scenario with its own server and transport. */
async function special(
  name: string,
  flags: string[],
  run: (world: World, server: PeerServer) => Promise<void>,
  options?: Partial<TransportOptions>,
): Promise<void> {
  await check(`Go server: ${name}`, async () => {
    await using server = await startServer(go, ...flags);
    await using world = worldOf({ baseUrl: `http://${server.address}`, ...options });
    await run(world, server);
  });
}

/** The server shuts down gracefully while a chat runs: the chat continues to its end, new calls are refused. */
async function drain({ greeter }: World, server: PeerServer): Promise<void> {
  const chat = greeter.chat({ headers: { "x-drain": "yes" } });
  const calling = (async () => {
    for (;;) await greeter.sayHello({});
  })();
  await rejects(calling, Code.Unavailable);
  const replies = read(chat);
  for (const content of numbered(100)) await chat.send({ content });
  chat.closeSend();
  assert.equal((await replies).length, 100);
  assert.equal(await server.exited, 0);
}

/** The server retires each connection after 300 ms: running calls continue on it, new calls get another connection. */
async function retiredConnections({ greeter }: World): Promise<void> {
  const chat = greeter.chat();
  const replies = read(chat);
  const peers = new Set<string>();
  const until = performance.now() + 2500;
  const messages: string[] = [];
  const caller = async (writes: boolean) => {
    while (performance.now() < until) {
      const { reply } = await greeter.sayHello({}, { headers: { "x-peer": "yes" } });
      peers.add(reply);
      if (!writes) continue;
      messages.push(reply);
      await chat.send({ content: reply });
    }
  };
  await Promise.all([caller(true), ...Array.from({ length: 7 }, () => caller(false))]);
  chat.closeSend();
  assert.equal((await replies).length, messages.length);
  assert(peers.size >= 4, `only ${peers.size} connections in 2.5 s`);
}

async function killed({ greeter }: World, server: PeerServer): Promise<void> {
  const chat = greeter.chat();
  await chat.send({ content: "one" });
  const replies = chat[Symbol.asyncIterator]();
  await replies.next();
  const start = performance.now();
  server.kill();
  const error = await rejects(replies.next(), Code.Unavailable);
  assert(error.message.includes(server.address), `the address is not in "${error.message}"`);
  assert(performance.now() - start < 1000, "took 1 s or longer");
  await rejects(chat.send({ content: "two" }), Code.Unavailable);
}

/** A server without sessions: the question for them is UNIMPLEMENTED, and calls of every kind are plain. */
async function noSessions({ greeter, transport }: World): Promise<void> {
  await rejects(createClient(SessionService, transport).negotiate({}), Code.Unimplemented);
  const chat = await echo(greeter, numbered(100), { headers: { "x-names": "yes" } });
  assert.equal(chat.resumable, false);
  const names = (await chat.trailers).get("x-names")?.split(", ") ?? [];
  assert(names.includes("user-agent"), `the server had ${names}`);
  assert(!names.some((name) => name.startsWith("hawser-")), `the server had ${names}`);
  await using sink = greeter.collect();
  await sink.send({ content: "one" });
  await sink.finish();
  assert.equal(sink.resumable, false);
  const push = greeter.subscribe({ count: 1, interval: create(DurationSchema) });
  for await (const _ of push) assert.equal(push.resumable, false);
}

/**
 * As the defaults of both sides are to each other, 1500 times as fast: an interval that is just permitted. A tenth is
 * added: the server counts from when it sees a ping, which on a busy machine it may see late.
 */
async function permittedPings({ greeter }: World): Promise<void> {
  const chat = greeter.chat();
  const replies = chat[Symbol.asyncIterator]();
  for (const content of ["before", "after"]) {
    await chat.send({ content });
    assert.equal((await replies.next()).value?.reply, `Received: ${content}`);
    if (content === "before") await setTimeout(3000);
  }
  chat.closeSend();
  assert.equal((await replies.next()).done, true);
}

/** How long a silent chat lasts before the server has had too many pings: four intervals. */
async function silence({ greeter }: World): Promise<number> {
  const chat = greeter.chat();
  const replies = chat[Symbol.asyncIterator]();
  await chat.send({ content: "one" });
  await replies.next();
  const start = performance.now();
  await rejects(replies.next(), Code.Unavailable);
  return performance.now() - start;
}

async function tooManyPings(world: World): Promise<void> {
  const first = await silence(world);
  const second = await silence(world);
  assert(second > 780, `silent for ${first} ms, then ${second} ms: the interval did not double`);
  await echo(world.greeter, numbered(5));
}

async function secure(): Promise<void> {
  const { ca } = certs;
  const keyPair = ["-cert", certFile("server.pem"), "-key", certFile("server.key")];
  {
    await using server = await startServer(go, ...keyPair);
    const baseUrl = `https://${server.address}`;
    await basics("TLS", { baseUrl, tls: { ca } });
    await check("Go server, TLS: a certificate of another CA is not trusted", async () => {
      await using world = worldOf({ baseUrl, tls: { ca: certs.otherCa } });
      await rejects(world.greeter.sayHello({}), Code.Unavailable);
    });
  }
  await using server = await startServer(go, ...keyPair, "-client-ca", certFile("ca.pem"));
  const baseUrl = `https://${server.address}`;
  await basics("mTLS", { baseUrl, tls: { ca, ...certs.client } });
  for (const [who, tls] of [
    ["without a client certificate", { ca }],
    ["with a certificate of another CA", { ca, ...certs.otherClient }],
  ] as const) {
    await check(`Go server, mTLS: refused ${who}`, async () => {
      await using world = worldOf({ baseUrl, tls });
      await rejects(world.greeter.sayHello({}), Code.Unavailable);
    });
  }
}

export async function oursAgainstGoServer(directory: string): Promise<void> {
  {
    await using server = await startServer(go);
    await basics("cleartext", { baseUrl: `http://${server.address}` });
  }
  {
    const path = join(directory, "go.sock");
    await using _server = await startServer(go, "-listen", `unix:${path}`);
    await basics("Unix socket", { baseUrl: `unix:${path}` }, BASICS);
  }
  await secure();
  await special("graceful shutdown (GOAWAY) while a chat runs", [], drain);
  await special(
    "connections retired by age, no call fails",
    ["-max-age", "300ms"],
    retiredConnections,
  );
  await special("it keeps no sessions, and sees nothing of them", [], noSessions);
  await special("killed while a chat runs", [], killed);
  await special(
    "pings at the shortest interval it permits",
    ["-min-ping", "200ms"],
    permittedPings,
    {
      keepalive: { intervalMs: 220 },
    },
  );
  await special("too_many_pings doubles the interval", [], tooManyPings, {
    keepalive: { intervalMs: 100 },
  });
}
