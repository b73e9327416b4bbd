/** HAProxy before two servers that are killed in turn, and HAProxy that cuts what is silent. */
import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { RoomService } from "../../gen/chat/v1/room_pb.js";
import {
  type Client,
  Code,
  ConnectError,
  createClient,
  SessionLostReason,
  type TransportOptions,
} from "../../src/index.ts";
import { FROM_SOURCE } from "../support/child.ts";
// The servers start in half the time.
import "../support/compile-cache.ts";
import { until } from "../support/gate.ts";
import { Chatter } from "./chatter.ts";
import { type HaproxyOptions, startHaproxy } from "./haproxy-process.ts";
import { type Peer, type PeerServer, startServer } from "./programs.ts";
import { numbered, rejects, type World, worldOf } from "./world.ts";

type Rooms = Client<typeof RoomService>;

const program = new URL("./proxied-server.ts", import.meta.url).pathname;
const hawser: Peer = {
  name: "Hawser",
  client: [],
  server: [process.execPath, FROM_SOURCE, program],
};

/** A server behind HAProxy, with its port and its name, which stay when it is killed and started again. */
class Backend {
  readonly name: string;
  readonly port: number;
  #server: PeerServer;

  private constructor(name: string, server: PeerServer) {
    this.name = name;
    this.port = Number(server.address.split(":")[1]);
    this.#server = server;
  }

  static async start(name: string): Promise<Backend> {
    return new Backend(name, await startServer(hawser, "0", name));
  }

  async kill(): Promise<void> {
    this.#server.kill();
    await this.#server.exited;
  }

  async startAgain(): Promise<void> {
    this.#server = await startServer(hawser, String(this.port), this.name);
  }
}

export interface BehindHaproxy extends AsyncDisposable {
  readonly backends: readonly [Backend, Backend];
  readonly greeter: World["greeter"];
  readonly rooms: Rooms;
  another(options: Partial<TransportOptions>): World;
}

export async function behindHaproxy(
  directory: string,
  options?: HaproxyOptions,
): Promise<BehindHaproxy> {
  const backends = await Promise.all([Backend.start("first"), Backend.start("second")]);
  const [first, second] = backends;
  const proxy = await startHaproxy(directory, [first.port, second.port], options);
  const world = worldOf({ baseUrl: `http://127.0.0.1:${proxy.port}` });
  return {
    backends,
    greeter: world.greeter,
    rooms: createClient(RoomService, world.transport),
    another: world.another,
    async [Symbol.asyncDispose]() {
      await world[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
      for (const backend of backends) await backend.kill();
    },
  };
}

/** Makes unary calls until it is told to stop. */
class Caller {
  made = 0;
  /** Calls that ended with UNAVAILABLE: the server, or HAProxy in its place, did not answer. */
  unavailable = 0;
  /** Calls that ended with INTERNAL: the server died after the first bytes of its answer. Nothing is made again then. */
  cut = 0;
  readonly #ended: Promise<void>;
  #failure: unknown;
  #stopped = false;

  constructor(call: () => Promise<unknown>) {
    this.#ended = this.#run(call);
    this.#ended.catch((error) => {
      this.#failure = error;
    });
  }

  /** How many calls have ended; throws if one ended in a way that no caller expects. */
  get progress(): number {
    if (this.#failure !== undefined) throw this.#failure;
    return this.made;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#ended;
  }

  async #run(call: () => Promise<unknown>): Promise<void> {
    for (; !this.#stopped; this.made++) {
      try {
        await call();
      } catch (error) {
        const { code } = ConnectError.from(error);
        if (code === Code.Unavailable) this.unavailable++;
        else if (code === Code.Internal) this.cut++;
        else throw error;
      }
      await setTimeout(5);
    }
  }
}

/** A push that continues at any server. Counts its responses, each of which must come once and in order. */
class Watcher {
  got = 0;
  resumes = 0;
  readonly #push;
  readonly #reading: Promise<void>;

  constructor(rooms: Rooms, intervalMs: number) {
    this.#push = rooms.watch({ room: `${Date.now()}/${intervalMs}` });
    this.#push.onState((state) => {
      if (state === "resuming") this.resumes++;
    });
    this.#reading = this.#read();
    this.#reading.catch(() => {});
  }

  async #read(): Promise<void> {
    for await (const { event } of this.#push) {
      if (event.case !== "message") continue;
      assert.equal(event.value.text, `${++this.got}`);
    }
  }

  async stop(): Promise<void> {
    this.#push.cancel();
    await rejects(this.#reading, Code.Canceled);
  }
}

/** How many chats each server has when one of the two is killed. */
const CHATS = 5;

/** Starts chats until each server has CHATS of them: HAProxy chooses the server by the id of the session. */
async function fill(chatters: Chatter[], { backends, greeter }: BehindHaproxy): Promise<void> {
  while (chatters.length < CHATS * backends.length) {
    const chatter = await start(greeter);
    const beside = chatters.filter(({ server }) => server === chatter.server);
    if (beside.length < CHATS) chatters.push(chatter);
    else await chatter.stop();
  }
}

/** Starts a chat; resolves when its server has answered. */
async function start(greeter: World["greeter"]): Promise<Chatter> {
  const chatter = new Chatter(greeter, "a new chat");
  await chatter.receives(1);
  await until("its server is known", () => chatter.server !== undefined);
  return chatter;
}

/**
 * Three kills while sessions, pushes and unary calls run. A session of a server that is killed ends with SERVER_RESTARTED
 * after a gapless part; each session of the other server continues. Pushes miss and repeat nothing. Idempotent calls are
 * never UNAVAILABLE, others may be.
 */
export async function killedInTurn(world: BehindHaproxy): Promise<void> {
  const { backends, greeter, rooms } = world;
  let chatters: Chatter[] = [];
  const watchers = Array.from({ length: 4 }, () => new Watcher(rooms, 5));
  const idempotent = [0, 1].map(() => new Caller(() => rooms.post({ text: "now" })));
  const others = [0, 1].map(() => new Caller(() => greeter.sayHello({})));
  const all = () => [...idempotent, ...others];

  for (const index of [0, 1, 0]) {
    const victim = backends[index] as Backend;
    await fill(chatters, world);
    const were = {
      made: all().map(({ progress }) => progress),
      got: watchers.map(({ got }) => got),
    };
    await Promise.all([
      ...chatters.map((chatter) => chatter.receives(20)),
      until(
        "all made progress",
        () =>
          all().every(({ progress }, i) => progress >= (were.made[i] as number) + 30) &&
          watchers.every(({ got }, i) => got >= (were.got[i] as number) + 20),
        15_000,
      ),
    ]);
    await victim.kill();
    const lost = chatters.filter(({ server }) => server === victim.name);
    chatters = chatters.filter(({ server }) => server !== victim.name);
    assert.deepEqual([lost.length, chatters.length], [CHATS, CHATS]);
    for (const { ended } of lost) {
      assert.equal(SessionLostReason[(await ended)?.reason ?? 0], "SERVER_RESTARTED");
    }
    // Of the other server alone, until this one is back.
    const replacements = await Promise.all(lost.map(() => start(greeter)));
    await victim.startAgain();
    for (const chatter of replacements) await chatter.stop();
    // Those of the other server have noticed nothing.
    await Promise.all(chatters.map((chatter) => chatter.receives(20)));
  }

  for (const chatter of chatters) await chatter.stop();
  for (const one of all()) await one.stop();
  for (const one of watchers) await one.stop();
  for (const one of idempotent) assert.equal(one.unavailable, 0, "an idempotent call failed");
  for (const one of all()) assert(one.cut <= 3, `${one.cut} calls were cut by 3 kills`);
  const resumes = watchers.reduce((sum, one) => sum + one.resumes, 0);
  assert(resumes > 0, "no push was cut");
}

/**
 * HAProxy, with timeouts of a second, cuts each stream after a second of silence. Sessions and pushes with a cursor do
 * not notice, plain calls fail.
 */
export async function idleCuts(world: BehindHaproxy): Promise<void> {
  await Promise.all([
    silentSession(world),
    silentPush(world),
    silentPlainCalls(world),
    heldCalls(world),
  ]);
}

async function silentSession({ greeter }: BehindHaproxy): Promise<void> {
  const chat = greeter.chat();
  let resumes = 0;
  chat.onState((state) => {
    if (state === "resuming") resumes++;
  });
  const replies = chat[Symbol.asyncIterator]();
  for (const content of numbered(2)) {
    await chat.send({ content });
    assert.equal((await replies.next()).value?.reply, `Received: ${content}`);
    await setTimeout(3500);
  }
  chat.closeSend();
  assert.equal((await replies.next()).done, true);
  assert(resumes >= 4, `${resumes} resumes in 7 s`);
}

async function silentPush({ rooms }: BehindHaproxy): Promise<void> {
  const watcher = new Watcher(rooms, 2500);
  await until("three came", () => watcher.got === 3, 12_000);
  assert(watcher.resumes >= 3, `${watcher.resumes} resumes in 7.5 s`);
  await watcher.stop();
}

async function silentPlainCalls({ another }: BehindHaproxy): Promise<void> {
  await using world = another({ sessions: false });
  const push = world.greeter.subscribe({ interval: create(DurationSchema, { seconds: 5n }) });
  // The headers have not come: HAProxy answers 504.
  const answered = rejects(push[Symbol.asyncIterator]().next(), Code.Unavailable);
  const chat = world.greeter.chat();
  await chat.send({ content: "one" });
  const replies = chat[Symbol.asyncIterator]();
  await replies.next();
  // HAProxy ends the stream without trailers.
  await rejects(replies.next(), Code.Internal);
  await answered;
}

/** Of calls that HAProxy gave up, one that is idempotent is made again. */
async function heldCalls({ greeter, rooms }: BehindHaproxy): Promise<void> {
  const { cursor: attemptsBefore } = await rooms.post({ text: "hold" });
  assert.equal(attemptsBefore, "1");
  const start = performance.now();
  await rejects(greeter.sayHello({}, { headers: { "x-hold": "idle" } }), Code.Unavailable);
  const tookMs = performance.now() - start;
  assert(tookMs < 1900, `it was made again: it took ${Math.round(tookMs)} ms`);
}
