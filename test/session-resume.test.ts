import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import {
  type CallOptions,
  type CallState,
  Code,
  ConnectError,
  createClient,
  createTransport,
  encodeBinaryHeader,
} from "../src/index.ts";
import { type HandlerContext, sendHeaders } from "../src/server.ts";
import { type Gate, gate, until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { noted, type Run, type SessionSetup, sessionWorld } from "./support/session-world.ts";

// Calls with a session continue across lost connections.

test("the state of a chat is connecting, open, resuming, open, closed", async () => {
  await using world = await sessionWorld({ linked: true });
  const chat = world.greeter.chat();
  const heard: CallState[] = [];
  const unheard: CallState[] = [];
  chat.onState((state) => {
    expect(chat.state).toBe(state);
    heard.push(state);
  });
  const listening = chat.onState((state) => unheard.push(state));
  expect(chat).toMatchObject({ state: "connecting", resumable: false });
  await chat.send({ content: "one" });
  await next(chat);
  expect(chat).toMatchObject({ state: "open", resumable: true });
  listening[Symbol.dispose]();
  for (const kind of ["rst", "fin"] as const) {
    world.link.stall();
    world.link.cut(kind);
    await until("it has noticed", () => chat.state === "resuming");
    world.link.resume();
    await until("the chat is open again", () => chat.state === "open");
  }
  chat.closeSend();
  await all(chat);
  expect(chat).toMatchObject({ state: "closed", resumable: true });
  expect(heard).toEqual(["open", "resuming", "open", "resuming", "open", "closed"]);
  expect(unheard).toEqual(["open"]);
});

test.each([
  ["the server", { sessions: false as const }],
  ["the transport", { transport: { sessions: false } }],
  ["the call", { call: { sessions: false } }],
] as [string, SessionSetup & { call?: CallOptions }][])(
  "a cut ends the call if %s wants no sessions",
  async (_, setup) => {
    await using world = await sessionWorld({ linked: true, ...setup });
    const chat = world.greeter.chat(setup.call);
    await chat.send({ content: "one" });
    await next(chat);
    expect(chat).toMatchObject({ state: "open", resumable: false });
    world.link.cut();
    expect(await failureOf(chat)).toMatchObject({ code: Code.Unavailable });
    expect(world.asked).toEqual([]);
  },
);

test("a session has the window that its call asks for, and the transport's values for those that the call leaves out", async () => {
  await using world = await sessionWorld({
    transport: { sessions: { windowBytes: 50_000, windowMessages: 50 } },
  });
  const options = [undefined, true, { windowBytes: 7000 }, { windowMessages: 7 }];
  for (const sessions of options) {
    const chat = world.greeter.chat({ sessions });
    await chat.send({ content: "one" });
    await next(chat);
    expect(chat.resumable).toBe(true);
    chat.cancel();
  }
  const windows = world.asked.filter(({ cancel }) => !cancel).map(({ window }) => window);
  expect(windows).toEqual(["50000,50", "50000,50", "7000,50", "50000,7"]);
});

test("a call may ask for a session, and for its window, if its transport asks for none", async () => {
  await using world = await sessionWorld({ transport: { sessions: false } });
  for (const sessions of [true, { windowMessages: 7 }, false, undefined]) {
    const chat = world.greeter.chat({ sessions });
    await chat.send({ content: "one" });
    await next(chat);
    chat.cancel();
  }
  const windows = world.asked.filter(({ cancel }) => !cancel).map(({ window }) => window);
  expect(windows).toEqual([`${1024 * 1024},16384`, `${1024 * 1024},7`]);
});

/** Metadata of every kind, with a gate before each part is sent. */
function corresponding(fails: boolean) {
  const gates = { headers: gate(), reply: gate(), trailers: gate() };
  return {
    gates,
    async *chat(requests: AsyncIterable<{ content: string }>, context: HandlerContext) {
      const { responseHeader, responseTrailer } = context;
      responseHeader.set("x-leading", "early, and late");
      responseHeader.append("x-twice", "one");
      responseHeader.append("x-twice", "two");
      responseHeader.set("x-leading-bin", encodeBinaryHeader(Uint8Array.of(0, 255, 7)));
      responseTrailer.set("x-trailing", "at the end");
      responseTrailer.append("x-many-bin", encodeBinaryHeader(Uint8Array.of(1)));
      responseTrailer.append("x-many-bin", encodeBinaryHeader(Uint8Array.of(2)));
      await gates.headers.opened;
      sendHeaders(context);
      await gates.reply.opened;
      for await (const { content } of requests) yield { reply: content };
      await gates.trailers.opened;
      if (fails)
        throw new ConnectError("at the end", Code.DataLoss, { "x-error": "of the handler" });
    },
  };
}

const sorted = (headers: Headers) => [...headers].filter(([name]) => name !== "date").sort();

/** Reads the headers, trailers and end of a Chat; `meanwhile` is called with each gate before it opens. */
async function metadataOf(
  fails: boolean,
  session: boolean,
  meanwhile: Partial<Record<keyof ReturnType<typeof corresponding>["gates"], "cut">>,
) {
  const handler = corresponding(fails);
  await using world = await sessionWorld({ linked: true, greeter: { chat: handler.chat } });
  const heard: [string, ...unknown[]][] = [];
  const chat = world.greeter.chat({
    sessions: session,
    onHeader: (headers) => heard.push(["headers", ...sorted(headers)]),
    onTrailer: (headers) => heard.push(["trailers", ...sorted(headers)]),
  });
  void chat.send({ content: "one" });
  chat.closeSend();
  await until("the call is open", () => world.server.openCalls === 1);
  const pass = async (name: keyof typeof handler.gates, opened: Gate) => {
    if (meanwhile[name] === "cut") {
      // The handler has 20 ms to send: what it sends while the link stalls is lost.
      world.link.stall("down");
      opened.open();
      await new Promise((turn) => setTimeout(turn, 20));
      world.link.cut();
      world.link.resume("down");
    } else opened.open();
  };
  await pass("headers", handler.gates.headers);
  await chat.headers;
  await pass("reply", handler.gates.reply);
  expect(await next(chat)).toMatchObject({ reply: "one" });
  await pass("trailers", handler.gates.trailers);
  const error = fails ? await failureOf(chat) : undefined;
  expect(await next(chat).catch(() => undefined)).toBeUndefined();
  if (error !== undefined)
    heard.push(["error", error.code, error.message, ...sorted(error.metadata)]);
  return heard;
}

test.each([
  ["ends with OK", false],
  ["fails", true],
])(
  "headers and trailers of a call that %s arrive once and complete, wherever a cut falls",
  async (_, fails) => {
    const plain = await metadataOf(fails, false, {});
    expect(plain).toHaveLength(fails ? 2 : 2);
    for (const cut of [
      {},
      { headers: "cut" },
      { reply: "cut" },
      { trailers: "cut" },
      { headers: "cut", reply: "cut", trailers: "cut" },
    ] as const) {
      expect(await metadataOf(fails, true, cut), JSON.stringify(cut)).toEqual(plain);
    }
  },
);

test.each(["identity", "gzip"] as const)(
  "messages of all sizes come through any number of cuts, %s",
  async (encoding) => {
    await using world = await sessionWorld({
      linked: true,
      transport: { sendCompression: encoding, sessions: { windowBytes: 60_000 } },
      server: { sendCompression: encoding },
    });
    const chat = world.greeter.chat();
    let resumes = 0;
    chat.onState((state) => {
      if (state === "resuming") resumes++;
    });
    const contents = Array.from({ length: 120 }, (_, n) => `${n} `.repeat((n * 37) % 1000) + n);
    const replies: (string | undefined)[] = [];
    for (let from = 0; from < contents.length; from += 15) {
      const sends = contents.slice(from, from + 15).map((content) => chat.send({ content }));
      for (let n = 0; n < 7; n++) replies.push((await next(chat))?.reply);
      await until("it is connected", () => chat.state === "open");
      const before = resumes;
      world.link.cut(from % 2 === 0 ? "rst" : "fin");
      await until("the chat has noticed", () => resumes > before);
      for (let n = 0; n < 8; n++) replies.push((await next(chat))?.reply);
      await Promise.all(sends);
    }
    chat.closeSend();
    expect(await all(chat)).toEqual([]);
    expect(replies).toEqual(contents);
    expect(world.runs).toMatchObject([{ requests: contents, end: "half-closed" }]);
  },
);

test("calls of every kind, with iterables and without, continue", async () => {
  await using world = await sessionWorld({ linked: true });
  const { greeter, link } = world;
  const cutAt = new Set([3, 9]);
  let cut = 0;
  async function* requests() {
    for (let n = 0; n < 12; n++) {
      if (cutAt.has(n)) {
        await until("there is a connection that was not cut", () => link.accepted > cut);
        cut = link.accepted;
        link.cut();
      }
      yield { content: `${n}` };
    }
  }
  expect(await greeter.collect(requests())).toMatchObject({ count: 12 });
  expect((await all(greeter.chat(requests()))).map(({ reply }) => reply)).toEqual(
    Array.from({ length: 12 }, (_, n) => `${n}`),
  );
  const push = greeter.subscribe({ count: 12 });
  const sequence: bigint[] = [];
  for await (const notification of push) {
    sequence.push(notification.sequence);
    if (cutAt.has(sequence.length)) link.cut();
  }
  expect(sequence).toEqual(Array.from({ length: 12 }, (_, n) => BigInt(n + 1)));
  expect(push.resumable).toBe(true);
  expect(world.runs).toHaveLength(3);
  expect(link.accepted).toBeGreaterThan(4);
});

test("a client finds a dead peer within its keepalive, and the chat continues on another connection", async () => {
  await using world = await sessionWorld({
    linked: true,
    transport: { keepalive: { intervalMs: 100, timeoutMs: 100 } },
  });
  const chat = world.greeter.chat();
  await chat.send({ content: "one" });
  await next(chat);
  world.link.up.dropping = true;
  world.link.down.dropping = true;
  const began = performance.now();
  await chat.send({ content: "two" });
  await until("it has noticed", () => chat.state === "resuming");
  expect(performance.now() - began).toBeLessThan(1_000);
  world.link.up.dropping = false;
  world.link.down.dropping = false;
  // What was on its way to a new connection is lost too.
  world.link.cut();
  expect(await next(chat)).toMatchObject({ reply: "two" });
  chat.closeSend();
  await all(chat);
  expect(world.runs).toMatchObject([{ requests: ["one", "two"], end: "half-closed" }]);
});

test("a server finds a dead peer within its keepalive: the session waits, then expires", async () => {
  await using world = await sessionWorld({
    linked: true,
    server: { keepalive: { intervalMs: 100, timeoutMs: 100 } },
    sessions: { graceMs: 200 },
  });
  const chat = world.greeter.chat();
  await chat.send({ content: "one" });
  await next(chat);
  const began = performance.now();
  world.link.stall();
  await until("the handler has ended", () => world.runs[0]?.end !== "running");
  expect(performance.now() - began).toBeGreaterThan(290);
  expect(performance.now() - began).toBeLessThan(1_200);
  expect(world.runs[0]?.end).toMatchObject({ code: Code.Aborted });
  expect(world.runs[0]?.context.signal.aborted).toBe(true);
  world.link.resume();
  await failureOf(chat);
});

test("messages that an old connection delivers late are dropped, whichever connection is first", async () => {
  await using world = await sessionWorld({
    linked: true,
    transport: { keepalive: { intervalMs: 40, timeoutMs: 40 } },
  });
  for (let n = 0; n < 5; n++) {
    const chat = world.greeter.chat();
    const replies = all(chat);
    await chat.send({ content: "first" });
    await until("it has arrived", () => world.runs[n]?.requests.length === 1);
    world.link.stall("up");
    const contents = Array.from({ length: 50 }, (_, m) => `${m}`);
    for (const content of contents) await chat.send({ content });
    chat.closeSend();
    await until("it has given the connection up", () => chat.state === "resuming");
    // Both the old connection's bytes and the new one's.
    world.link.resume("up");
    expect((await replies).map(({ reply }) => reply)).toEqual(["first", ...contents]);
    expect(world.runs[n]).toMatchObject({ requests: ["first", ...contents], end: "half-closed" });
  }
  expect(world.runs).toHaveLength(5);
});

test("the server sends its messages again after a cut with its answer to the resume, without waiting", async () => {
  await using world = await sessionWorld({ linked: true });
  const { link } = world;
  const chat = world.greeter.chat();
  await chat.send({ content: "one" });
  await next(chat);
  link.stall("down");
  await chat.send({ content: "two" });
  await until("the handler has it", () => world.runs[0]?.requests.length === 2);
  link.delay(100, "down");
  link.cut();
  link.resume("down");
  // The preface and SETTINGS are under 100 B, the headers of an attachment over 200 B.
  const before = link.up.delivered;
  await until("the server has the resume", () => link.up.delivered > before + 150);
  link.stall("up");
  expect(await next(chat)).toMatchObject({ reply: "two" });
  link.resume("up");
  chat.closeSend();
  await all(chat);
});

test("a call whose first attachment did not arrive begins with the second, and runs once", async () => {
  await using world = await sessionWorld({ linked: true });
  await world.greeter.sayHello({});
  await all(world.greeter.subscribe({ count: 1 }));
  world.link.stall("up");
  const chat = world.greeter.chat();
  void chat.send({ content: "one" });
  chat.closeSend();
  await until("it was sent", () => chat.state === "open");
  world.link.cut();
  world.link.resume("up");
  expect(await all(chat)).toMatchObject([{ reply: "one" }]);
  expect(world.asked.at(-1)).toMatchObject({ attach: 2 });
  expect(world.runs).toHaveLength(2);
});

test("many calls of one connection resume together, each whole", async () => {
  const runs: Run[] = [];
  await using world = await sessionWorld({
    linked: true,
    greeter: {
      async *chat(requests, context) {
        for await (const content of noted(runs, requests, context)) yield { reply: content };
      },
    },
  });
  const chats = Array.from({ length: 100 }, () => world.greeter.chat());
  const replies = chats.map((chat) => all(chat));
  for (let n = 0; n < 5; n++) {
    await Promise.all(chats.map((chat, c) => chat.send({ content: `${c}.${n}` })));
    world.link.cut();
  }
  for (const chat of chats) chat.closeSend();
  for (const [c, reply] of replies.entries()) {
    const contents = Array.from({ length: 5 }, (_, n) => `${c}.${n}`);
    expect((await reply).map(({ reply }) => reply)).toEqual(contents);
  }
  expect(runs).toHaveLength(100);
  expect(runs.every(({ end }) => end === "half-closed")).toBe(true);
});

test("two transports to one server resume each their own", async () => {
  await using world = await sessionWorld({ linked: true });
  await using other = createTransport({ baseUrl: world.link.url });
  const chats = [world.greeter.chat(), createClient(Greeter, other).chat()];
  for (const [n, chat] of chats.entries()) await chat.send({ content: `${n}` });
  world.link.cut();
  for (const [n, chat] of chats.entries()) {
    await chat.send({ content: `${n} again` });
    chat.closeSend();
    expect((await all(chat)).map(({ reply }) => reply)).toEqual([`${n}`, `${n} again`]);
  }
  await until("both calls have ended on the server", () => world.server.openCalls === 0);
});
