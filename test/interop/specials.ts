/** Scenarios for our client that need a transport or a server of their own. */
import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { SessionService } from "../../gen/hawser/v1/session_pb.js";
import { Code, ConnectError, createClient, type TransportOptions } from "../../src/index.ts";
import { countingRelay } from "./counting-relay.ts";
import type { PeerServer } from "./programs.ts";
import { echo, numbered, read, rejects, type World } from "./world.ts";

export interface Special {
  readonly name: string;
  /** Arguments of the peer's server; times are in milliseconds. */
  readonly flags?: readonly string[];
  readonly run: (world: World, server: PeerServer) => Promise<void>;
  readonly options?: Partial<TransportOptions>;
}

/** In what the servers of peers are different. */
export interface ServerFeatures {
  /** It sends keepalive pings more often than once a second. */
  readonly frequentPings: boolean;
  /** When it shuts down, it cancels the calls that have arrived but not begun. */
  readonly cancelsAtShutdown: boolean;
}

/** They need no server of their own. */
export const WITH_ANY_SERVER: readonly Special[] = [
  { name: "it keeps no sessions, and sees nothing of them", run: noSessions },
  { name: "gzip both ways is smaller on the wire", run: gzipBothWays },
];

export function specials({ cancelsAtShutdown }: ServerFeatures): readonly Special[] {
  return [
    {
      name: "graceful shutdown (GOAWAY) while a chat runs",
      run: (world, server) => drain(world, server, cancelsAtShutdown),
    },
    {
      name: "connections retired by age, no call fails",
      flags: ["-max-age", "300"],
      run: retiredConnections,
    },
    { name: "killed while a chat runs", run: killed },
    {
      name: "1,500 calls, 100 streams a connection",
      flags: ["-max-streams", `${MAX_STREAMS}`],
      run: limitedStreams,
    },
  ];
}

/** They mostly wait. */
export function pings({ frequentPings }: ServerFeatures): readonly Special[] {
  return [
    {
      name: "pings at the shortest interval it permits",
      flags: ["-min-ping", "200"],
      run: permittedPings,
      options: { keepalive: { intervalMs: 220 } },
    },
    {
      name: "too_many_pings doubles the interval",
      run: tooManyPings,
      options: { keepalive: { intervalMs: 100 } },
    },
    ...(frequentPings
      ? [{ name: "its pings are answered", flags: ["-ping", "200"], run: answersPings }]
      : []),
  ];
}

/** The server shuts down gracefully while a chat runs: the chat continues to its end, new calls are refused. */
async function drain(
  { greeter }: World,
  server: PeerServer,
  cancelsAtShutdown: boolean,
): Promise<void> {
  const chat = greeter.chat({ headers: { "x-drain": "yes" } });
  const calling = (async () => {
    for (;;) {
      await greeter.sayHello({}).catch((error: unknown) => {
        const { code } = ConnectError.from(error);
        if (!cancelsAtShutdown || code !== Code.Canceled) throw error;
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
async function permittedPings(world: World, server: PeerServer): Promise<void> {
  await using relay = await countingRelay(server.address);
  await using relayed = world.another({ baseUrl: relay.url });
  const chat = relayed.greeter.chat();
  const replies = chat[Symbol.asyncIterator]();
  for (const content of ["before", "after"]) {
    await chat.send({ content });
    assert.equal((await replies.next()).value?.reply, `Received: ${content}`);
    if (content === "before") await setTimeout(3000);
  }
  const { up, down, connections } = relay.counts();
  assert(up.pings >= 8 && down.answers >= 8, `${up.pings} pings in 3 s, ${down.answers} answers`);
  assert.equal(connections, 1);
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

/** The server's pings, every 200 ms, are answered in time while the call is silent. */
async function answersPings(world: World, server: PeerServer): Promise<void> {
  await using relay = await countingRelay(server.address);
  await using relayed = world.another({ baseUrl: relay.url });
  const chat = relayed.greeter.chat();
  const replies = chat[Symbol.asyncIterator]();
  await chat.send({ content: "one" });
  await replies.next();
  await setTimeout(2000);
  const { up, down } = relay.counts();
  assert(down.pings >= 5 && up.answers >= 5, `${down.pings} pings in 2 s, ${up.answers} answers`);
  await chat.send({ content: "two" });
  assert.equal((await replies.next()).value?.reply, "Received: two");
}

/** The streams that the server takes on a connection. */
const MAX_STREAMS = 100;

/** More calls at a time than the server takes on one connection: they wait, or get another connection. */
async function limitedStreams(world: World, server: PeerServer): Promise<void> {
  await using relay = await countingRelay(server.address);
  await using relayed = world.another({ baseUrl: relay.url });
  const { greeter } = relayed;
  const open = 3 * MAX_STREAMS;
  const chats = Array.from({ length: open }, () => greeter.chat());
  const first = chats.map(async (chat) => {
    await chat.send({ content: "here" });
    const { value } = await chat[Symbol.asyncIterator]().next();
    assert.equal(value?.reply, "Received: here");
  });
  await Promise.all(first);
  // All of them are open now, and fill the connections.
  assert.equal(relay.counts().connections, open / MAX_STREAMS);
  for (const chat of chats) chat.closeSend();
  await Promise.all(chats.map(read));
  await Promise.all(
    Array.from({ length: 1500 }, async (_, i) => {
      assert.equal((await greeter.sayHello({ content: `${i}` })).reply, `Hello, ${i}`);
    }),
  );
  const { connections } = relay.counts();
  assert(connections <= 1500 / MAX_STREAMS, `${connections} connections`);
}

/** Requests and responses take less than a tenth of their bytes on the wire, and as they are only if asked for. */
async function gzipBothWays(world: World, server: PeerServer): Promise<void> {
  await using relay = await countingRelay(server.address);
  await using relayed = world.another({ baseUrl: relay.url });
  const text = "compress me ".repeat(10_000);
  const cost = async (options: Parameters<typeof echo>[2]) => {
    const before = relay.counts();
    await echo(relayed.greeter, [text, text], options);
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
