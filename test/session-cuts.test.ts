import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { createClient, createTransport } from "../src/index.ts";
import { type CutKind, type Direction, openLink, type TcpLink } from "../src/testing/link.ts";
import { until } from "./support/gate.ts";
import { all, next } from "./support/read.ts";
import { type Run, type SessionWorld, sessionWorld } from "./support/session-world.ts";

// Connections are cut at every byte of a short Chat, in both directions. Each Chat must end as one without a cut does.

const SAID = ["one", "two", "three"];

/** How a Chat is made: reply by reply, or with all requests together. */
type Manner = "in turns" | "together";

interface Cut {
  readonly direction: Direction;
  /** How many bytes are still delivered, counted from the first of the Chat, Negotiate included. */
  readonly after: number;
  readonly kind: CutKind;
  readonly manner?: Manner;
  /** Cuts the connection on which the Chat resumes too, after this many bytes from the server. */
  readonly again?: number;
}

let world: SessionWorld;
let chats = 0;

/** Nagle's algorithm would add 40 ms to each turn. */
const disableNagle = (event: unknown) => void (event as { socket: Socket }).socket.setNoDelay(true);
const SOCKETS = ["net.client.socket", "net.server.socket"];

beforeAll(async () => {
  for (const channel of SOCKETS) subscribe(channel, disableNagle);
  world = await sessionWorld();
});
afterAll(async () => {
  for (const channel of SOCKETS) unsubscribe(channel, disableNagle);
  await world.transport.close();
  await world.server.close({ graceMs: 0 });
});

/** Makes a Chat through a link with these cuts, on a new transport; returns how often the link cut. */
async function chatThrough(link: TcpLink, cut: Cut | undefined): Promise<number> {
  await using transport = createTransport({ baseUrl: link.url });
  const greeter = createClient(Greeter, transport);
  await greeter.sayHello({});
  let cuts = 0;
  if (cut !== undefined) {
    const { direction, after, again, kind } = cut;
    link.armCut({ direction, bytes: after, kind }, () => {
      cuts++;
      if (again === undefined) return;
      link.armCut({ direction: "down", bytes: again, kind }, () => cuts++);
    });
  }
  const name = `${++chats}`;
  const chat = greeter.chat({ headers: { "x-chat": name } });
  const replies: (string | undefined)[] = [];
  if (cut?.manner === "together") {
    for (const content of SAID) void chat.send({ content });
    chat.closeSend();
  } else {
    for (const content of SAID) {
      await chat.send({ content });
      replies.push((await next(chat))?.reply);
    }
    chat.closeSend();
  }
  replies.push(...(await all(chat)).map(({ reply }) => reply));
  await chat.trailers;
  const where = JSON.stringify(cut);
  expect(replies, where).toEqual(SAID);
  expect(runsOf(name), where).toMatchObject([{ requests: SAID, end: "half-closed" }]);
  return cuts;
}

/** Returns the runs of the handler for the Chat of this name, and forgets them. */
function runsOf(name: string): Run[] {
  const isOfChat = ({ context }: Run) => context.requestHeader.get("x-chat") === name;
  const runs = world.runs.filter(isOfChat);
  world.runs.splice(0, Number.POSITIVE_INFINITY, ...world.runs.filter((run) => !isOfChat(run)));
  return runs;
}

/** Counts the bytes of an uncut Chat in each direction, up to the end of its responses. */
async function measure(link: TcpLink): Promise<Record<Direction, number>> {
  await using transport = createTransport({ baseUrl: link.url });
  const greeter = createClient(Greeter, transport);
  await greeter.sayHello({});
  const { up, down } = link;
  const before = { up: up.delivered, down: down.delivered };
  const chat = greeter.chat({ headers: { "x-chat": "0" } });
  for (const content of SAID) {
    await chat.send({ content });
    await next(chat);
  }
  chat.closeSend();
  await all(chat);
  runsOf("0");
  return { up: up.delivered - before.up, down: down.delivered - before.down };
}

/** Makes a Chat for each of the cuts, a few at a time; returns how many Chats had all their cuts. */
async function chatThroughAll(cuts: readonly Cut[]): Promise<number> {
  const { port } = new URL(world.url);
  const waiting = [...cuts];
  let fullyCut = 0;
  const lanes = Array.from({ length: 4 }, async () => {
    await using link = await openLink({ host: "127.0.0.1", port: Number(port) });
    for (let cut = waiting.shift(); cut !== undefined; cut = waiting.shift()) {
      if ((await chatThrough(link, cut)) > (cut.again === undefined ? 0 : 1)) fullyCut++;
      // Disarms a cut that this Chat did not reach.
      void link.cutAfter("up", Number.POSITIVE_INFINITY);
      void link.cutAfter("down", Number.POSITIVE_INFINITY);
    }
  });
  await Promise.all(lanes);
  return fullyCut;
}

const range = (from: number, to: number, step = 1) =>
  Array.from({ length: Math.ceil((to - from) / step) }, (_, n) => from + n * step);

describe.each(["up", "down"] as const)("cuts on the way %s", (direction) => {
  let bytes = 0;

  beforeAll(async () => {
    const { port } = new URL(world.url);
    await using link = await openLink({ host: "127.0.0.1", port: Number(port) });
    bytes = (await measure(link))[direction];
    expect(bytes).toBeGreaterThan(200);
  });

  test("a Chat survives a reset after every byte", { timeout: 30_000 }, async () => {
    const cuts = range(0, bytes).map((after): Cut => ({ direction, after, kind: "rst" }));
    // A Chat may end before its last bytes are delivered: no side waits for those. Its cut then does not happen.
    expect(await chatThroughAll(cuts)).toBeGreaterThan(bytes * 0.9);
  });

  test("a Chat survives an orderly end of its connection after every seventh byte", {
    timeout: 30_000,
  }, async () => {
    const cuts = range(3, bytes, 7).map((after): Cut => ({ direction, after, kind: "fin" }));
    expect(await chatThroughAll(cuts)).toBeGreaterThan(cuts.length * 0.8);
  });

  test("a Chat that sends all requests together survives a reset or an orderly end", {
    timeout: 30_000,
  }, async () => {
    const kinds: CutKind[] = ["rst", "fin"];
    const cuts = range(1, bytes, 5).map((after): Cut => {
      return { direction, after, kind: kinds[after % 2] as CutKind, manner: "together" };
    });
    expect(await chatThroughAll(cuts)).toBeGreaterThan(cuts.length * 0.6);
  });
});

test("a Chat survives a second cut, anywhere in the answer that resumes it", async () => {
  // Cuts only after byte 60: a connection cut earlier fails to open, and the next attempt waits a second.
  const cuts = range(60, 140).map((again, n): Cut => {
    return { direction: n % 2 === 0 ? "up" : "down", after: 150 + n, kind: "rst", again };
  });
  expect(await chatThroughAll(cuts)).toBeGreaterThan(cuts.length * 0.7);
});

test("every run of the handler belonged to a Chat, and none began after its Chat had ended", async () => {
  await until("all calls have ended on the server", () => world.server.openCalls === 0, 8_000);
  expect(world.runs).toEqual([]);
});
