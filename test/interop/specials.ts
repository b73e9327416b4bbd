/** Scenarios for our client that need a peer's server of their own, and what is in common between them. */
import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { SessionService } from "../../gen/hawser/v1/session_pb.js";
import { Code, ConnectError, createClient, type TransportOptions } from "../../src/index.ts";
import { countingRelay } from "./counting-relay.ts";
import { type Peer, type PeerServer, startServer } from "./programs.ts";
import { check } from "./report.ts";
import { echo, numbered, read, rejects, type World, worldOf } from "./world.ts";

export interface Special {
  readonly name: string;
  /** Arguments of the peer's server. */
  readonly flags?: readonly string[];
  readonly run: (world: World, server: PeerServer) => Promise<void>;
  readonly options?: Partial<TransportOptions>;
}

/** Runs a scenario with its own server and transport. */
export async function special(peer: Peer, one: Special) {
  await using server = await startServer(peer, ...(one.flags ?? []));
  await check(`${peer.name} server: ${one.name}`, () => onServer(server, one));
}

/** Runs a scenario that needs no flags with its own transport. */
export async function onServer(server: PeerServer, { run, options }: Special): Promise<void> {
  await using world = worldOf({ baseUrl: `http://${server.address}`, ...options });
  await run(world, server);
}

/** The server shuts down gracefully while a chat runs: the chat continues to its end, new calls are refused. */
export async function drain(world: World, server: PeerServer): Promise<void> {
  await drains(world, server, () => false);
}

/** grpcio cancels what had arrived but had not begun; what comes later is refused. */
export async function drainOfPython(world: World, server: PeerServer): Promise<void> {
  await drains(world, server, ({ code }) => code === Code.Canceled);
}

async function drains(
  { greeter }: World,
  server: PeerServer,
  inTransition: (error: ConnectError) => boolean,
): Promise<void> {
  const chat = greeter.chat({ headers: { "x-drain": "yes" } });
  const calling = (async () => {
    for (;;) {
      await greeter.sayHello({}).catch((error: unknown) => {
        if (!inTransition(ConnectError.from(error))) throw error;
      });
    }
  })();
  await rejects(calling, Code.Unavailable);
  const replies = read(chat);
  for (const content of numbered(100)) await chat.send({ content });
  chat.closeSend();
  assert.equal((await replies).length, 100);
  assert.equal(await server.exited, 0);
}

/** The server retires each connection after about 300 ms: running calls continue on it, new calls get another connection. */
export async function retiredConnections({ greeter }: World): Promise<void> {
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

export async function killed({ greeter }: World, server: PeerServer): Promise<void> {
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
export async function noSessions({ greeter, transport }: World): Promise<void> {
  await rejects(createClient(SessionService, transport).negotiate({}), Code.Unimplemented);
  const chat = await echo(greeter, numbered(100), { headers: { "x-names": "yes" } });
  assert.equal(chat.resumable, false);
  const names = (await chat.trailers).get("x-names")?.split(/, ?/) ?? [];
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
export async function permittedPings({ greeter }: World): Promise<void> {
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

export async function tooManyPings(world: World): Promise<void> {
  const first = await silence(world);
  const second = await silence(world);
  assert(second > 780, `silent for ${first} ms, then ${second} ms: the interval did not double`);
  await echo(world.greeter, numbered(5));
}

/** The server's pings, every 200 ms, are answered in time while the call is silent. */
export async function answersPings(_: World, server: PeerServer): Promise<void> {
  await using relay = await countingRelay(server.address);
  await using world = worldOf({ baseUrl: relay.url });
  const chat = world.greeter.chat();
  const replies = chat[Symbol.asyncIterator]();
  await chat.send({ content: "one" });
  await replies.next();
  await setTimeout(2000);
  const { up, down } = relay.counts();
  assert(down.pings >= 5 && up.answers >= 5, `${down.pings} pings in 2 s, ${up.answers} answers`);
  await chat.send({ content: "two" });
  assert.equal((await replies.next()).value?.reply, "Received: two");
}

/** More calls at a time than the server takes on one connection. */
export async function limitedStreams({ greeter }: World): Promise<void> {
  await Promise.all(
    Array.from({ length: 1500 }, async (_, i) => {
      assert.equal((await greeter.sayHello({ content: `${i}` })).reply, `Hello, ${i}`);
    }),
  );
  await Promise.all(Array.from({ length: 300 }, () => echo(greeter, numbered(5))));
}

/** Requests and responses take less than a tenth of their bytes on the wire, and as they are only if asked for. */
export async function gzipBothWays(_: World, server: PeerServer): Promise<void> {
  await using relay = await countingRelay(server.address);
  await using world = worldOf({ baseUrl: relay.url });
  const text = "compress me ".repeat(10_000);
  const cost = async (options: Parameters<typeof echo>[2]) => {
    const before = relay.counts();
    await echo(world.greeter, [text, text], options);
    const after = relay.counts();
    return {
      up: after.up.bytes - before.up.bytes,
      down: after.down.bytes - before.down.bytes,
    };
  };
  const plain = await cost({});
  assert(plain.up > 2 * text.length && plain.down > 2 * text.length, JSON.stringify(plain));
  const both = await cost({ compress: true, headers: { "x-gzip": "yes" } });
  assert(both.up < text.length / 5 && both.down < text.length / 5, JSON.stringify(both));
}
