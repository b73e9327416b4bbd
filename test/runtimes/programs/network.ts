/** Scenarios of sessions on a network with faults, and of rooms in SQLite whose server is killed. */
import assert from "node:assert/strict";
import { createClient, createTransport, type Duplex } from "hawser";
import { RoomService, Start } from "hawser/gen/chat/v1/room_pb.js";
import { Greeter } from "hawser/gen/example/greeter_pb.js";
import { startWorld } from "hawser/testing";
import { greeterAt, type Peer, type Scenario } from "./scenario.ts";

/** Chats through the link, with three faults; each reply must come once, in order. */
async function chatThroughFaults({ link }: Peer, fault: () => Promise<unknown>): Promise<void> {
  await using client = greeterAt(link);
  const chat = client.greeter.chat();
  const replies = chat[Symbol.asyncIterator]();
  let sent = 0;
  let received = 0;
  const exchange = async (count: number) => {
    for (let i = 0; i < 10; i++) await chat.send({ content: `${sent++}` });
    for (let i = 0; i < count; i++) {
      const { value } = await replies.next();
      assert.equal(value?.reply, `Received: ${received++}`);
    }
  };
  for (let faults = 0; faults < 3; faults++) {
    // At each fault there are replies that the client has not read.
    await exchange(8);
    const resumed = resumption(chat);
    await fault();
    await resumed;
  }
  await exchange(16);
  chat.closeSend();
  assert.equal((await replies.next()).done, true);
}

/** Resolves when a call has lost its connection, and is open again. */
async function resumption(chat: Pick<Duplex<never, never>, "onState">): Promise<void> {
  for (const awaited of ["resuming", "open"]) {
    const changed = Promise.withResolvers<void>();
    using _listening = chat.onState((state) => {
      if (state === awaited) changed.resolve();
    });
    await changed.promise;
  }
}

const cut = (kind: "rst" | "fin") => (peer: Peer) => chatThroughFaults(peer, () => peer.ask(kind));

/** Cuts while messages of 1 MiB are on their way in both directions. */
async function cutInMessage(peer: Peer): Promise<void> {
  await using client = greeterAt(peer.link);
  const chat = client.greeter.chat();
  const content = "x".repeat(2 ** 20);
  const replies = chat[Symbol.asyncIterator]();
  await chat.send({ content: `0 ${content}` });
  await replies.next();
  const sending = (async () => {
    for (let i = 1; i < 20; i++) {
      await chat.send({ content: `${i} ${content}` });
      if (i % 5 === 4) await peer.ask("rst");
    }
    chat.closeSend();
  })();
  sending.catch(() => {});
  let received = 1;
  for await (const { reply } of { [Symbol.asyncIterator]: () => replies }) {
    assert.equal(reply.length, `Received: ${received} `.length + content.length);
    assert.ok(reply.startsWith(`Received: ${received} `));
    received++;
  }
  await sending;
  assert.equal(received, 20);
}

/** Neither end sees an end of the connection: the client's ping finds it. */
async function silentConnection(peer: Peer): Promise<void> {
  await using client = greeterAt(peer.link, { keepalive: { intervalMs: 300, timeoutMs: 300 } });
  const chat = client.greeter.chat();
  const resuming = Promise.withResolvers<void>();
  using _listening = chat.onState((state) => {
    if (state === "resuming") resuming.resolve();
  });
  const replies = chat[Symbol.asyncIterator]();
  await chat.send({ content: "before" });
  assert.equal((await replies.next()).value?.reply, "Received: before");
  await peer.ask("stall");
  await chat.send({ content: "after" });
  await resuming.promise;
  await peer.ask("resume");
  assert.equal((await replies.next()).value?.reply, "Received: after");
  chat.closeSend();
  assert.equal((await replies.next()).done, true);
}

async function world(): Promise<void> {
  await using world = await startWorld((router) =>
    router.service(Greeter, {
      async *chat(requests) {
        for await (const { content } of requests) yield { reply: content };
      },
    }),
  );
  const chat = world.client(Greeter).chat();
  const replies = chat[Symbol.asyncIterator]();
  for (const kind of ["rst", "fin"] as const) {
    await chat.send({ content: kind });
    assert.equal((await replies.next()).value?.reply, kind);
    assert.equal(await world.link.cut(kind), 1);
  }
  await world.server.restart();
  await assert.rejects(replies.next());
  const next = world.client(Greeter).chat();
  await next.send({ content: "again" });
  assert.equal((await next[Symbol.asyncIterator]().next()).value?.reply, "again");
}

async function sqliteRooms(peer: Peer): Promise<void> {
  await using transport = createTransport({ baseUrl: await peer.ask("rooms") });
  const rooms = createClient(RoomService, transport);
  let sequence = 0n;
  const post = (text: string) =>
    rooms.post({ room: "lobby", name: "ada", text, producer: "p", sequence: ++sequence });
  for (let i = 0; i < 20; i++) await post(`${i}`);
  const texts: string[] = [];
  for await (const { event } of rooms.watch({ room: "lobby", start: Start.OLDEST })) {
    if (event.case !== "message") continue;
    texts.push(event.value.text);
    if (texts.length === 10) {
      await peer.ask("restart rooms");
      await post("20");
    }
    if (texts.length === 21) break;
  }
  assert.deepEqual(
    texts,
    Array.from({ length: 21 }, (_, i) => `${i}`),
  );
}

export const networkScenarios: readonly Scenario[] = [
  { name: "a session continues after its connection was reset", run: cut("rst") },
  { name: "a session continues after its connection was closed", run: cut("fin") },
  { name: "a session continues after a cut inside messages of 1 MiB", run: cutInMessage },
  { name: "a session continues after its connection went silent", run: silentConnection },
  { name: "hawser/testing cuts connections and restarts a server", run: world, on: "itself" },
  { name: "rooms in SQLite continue after a kill of their server", run: sqliteRooms },
];
