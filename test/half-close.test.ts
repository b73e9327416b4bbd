import { once } from "node:events";
import { createServer } from "node:http2";
import { expect, test } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import {
  Code,
  ConnectError,
  createClient,
  createTransport,
  readSessionLost,
  SessionLostReason,
} from "../src/index.ts";
import type { HandlerContext } from "../src/server.ts";
import { census } from "./support/census.ts";
import { aborted, gate, settles, stillAt, until } from "./support/gate.ts";
import { sessions } from "./support/mode.ts";
import { all, failureOf, next } from "./support/read.ts";
import { start } from "./support/world.ts";

const KIB_64 = { content: "x".repeat(64 * 1024) };

const noStreams = () =>
  until(
    "no stream is open on either side",
    () => census.clientStreams + census.serverStreams === 0,
  );

test("replies continue to come after the client has half-closed", async () => {
  const halfClosed = gate();
  const mayReply = gate();
  await using world = await start({
    greeter: {
      async *chat(requests) {
        const heard = await all(requests);
        halfClosed.open();
        await mayReply.opened;
        for (const { content } of heard) yield { reply: content };
        yield { reply: "goodbye" };
      },
    },
  });
  const chat = world.greeter.chat();
  await chat.send({ content: "a" });
  await chat.send({ content: "b" });
  chat.closeSend();
  await halfClosed.opened;
  mayReply.open();
  expect((await all(chat)).map(({ reply }) => reply)).toEqual(["a", "b", "goodbye"]);
});

test("send() rejects with FAILED_PRECONDITION after closeSend(), and the call continues", async () => {
  await using world = await start();
  const chat = world.greeter.chat();
  await chat.send({ content: "x" });
  chat.closeSend();
  expect((await failureOf(chat.send({ content: "y" }))).code).toBe(Code.FailedPrecondition);
  chat.closeSend();
  expect(await all(chat)).toMatchObject([{ reply: "Received: x" }]);
});

test("messages that were sent before closeSend() arrive, although no send() was awaited", async () => {
  await using world = await start();
  const sink = world.greeter.collect();
  for (let n = 0; n < 100; n++) void sink.send(KIB_64);
  expect(await sink.finish()).toMatchObject({ count: 100, bytes: 100n * 65_536n });
});

test("a handler's requests end cleanly at half-close, with the signal not aborted", async () => {
  const seen = gate<boolean>();
  await using world = await start({
    greeter: {
      async *chat(requests, { signal }) {
        yield* (await all(requests)).slice(1).map(() => ({}));
        seen.open(signal.aborted);
      },
    },
  });
  const chat = world.greeter.chat();
  void chat.send({});
  chat.closeSend();
  expect(await all(chat)).toEqual([]);
  expect(await seen.opened).toBe(false);
});

/** A handler that reads all its requests, and a promise of how they ended. */
function listener() {
  const heard = gate();
  const ended = gate<{ error: unknown; abortedThen: boolean }>();
  async function* chat(requests: AsyncIterable<unknown>, { signal }: HandlerContext) {
    let error: unknown = "they ended cleanly";
    try {
      for await (const _ of requests) heard.open();
    } catch (thrown) {
      error = thrown;
    }
    ended.open({ error, abortedThen: signal.aborted });
    yield* [];
  }
  return { heard, ended, chat };
}

test("a handler's requests never end cleanly when the client cancels: they throw, and the signal is aborted before", async () => {
  const { chat, heard, ended } = listener();
  await using world = await start({ greeter: { chat } });
  const call = world.greeter.chat();
  await call.send({});
  await heard.opened;
  call.cancel();
  const { error, abortedThen } = await ended.opened;
  expect(error).toBeInstanceOf(ConnectError);
  expect((error as ConnectError).code).toBe(Code.Canceled);
  expect(abortedThen).toBe(true);
});

test.each(["fin", "rst"] as const)(
  "a handler's requests never end cleanly when the connection of a plain call is lost (%s)",
  async (kind) => {
    const { chat, heard, ended } = listener();
    await using world = await start({
      greeter: { chat },
      linked: true,
      transport: { sessions: false },
    });
    const call = world.greeter.chat();
    await call.send({});
    await heard.opened;
    world.link.cut(kind);
    const { error, abortedThen } = await ended.opened;
    expect(error).toBeInstanceOf(ConnectError);
    expect(abortedThen).toBe(true);
    expect((await failureOf(call)).code).toBe(Code.Unavailable);
  },
);

test.each(["fin", "rst"] as const)(
  "a handler's requests never end cleanly when a session is lost (%s), and continue while it may be resumed",
  async (kind) => {
    const { chat, heard, ended } = listener();
    await using world = await start({
      greeter: { chat },
      linked: true,
      transport: { sessions: true },
      server: { sessions: { graceMs: 300 } },
    });
    const call = world.greeter.chat();
    await call.send({});
    await heard.opened;
    world.link.refuse();
    world.link.cut(kind);
    const cutAt = performance.now();
    const { error, abortedThen } = await ended.opened;
    expect(performance.now() - cutAt).toBeGreaterThan(290);
    expect(readSessionLost(error)?.reason).toBe(SessionLostReason.EXPIRED);
    expect(abortedThen).toBe(true);
    const lost = await failureOf(call);
    expect(lost.code).toBe(Code.Aborted);
    expect(readSessionLost(lost)?.reason).toBe(SessionLostReason.UNREACHABLE);
  },
);

test.each([
  ["having read nothing", 0],
  ["having read one request", 1],
])(
  "if the handler ends first, %s, the loop ends, the next send rejects, and no stream is left",
  async (_, reads) => {
    await using world = await start({
      greeter: {
        async *chat(requests) {
          for (let n = 0; n < reads; n++) await next(requests);
          yield { reply: "that is all" };
        },
      },
    });
    const chat = world.greeter.chat();
    void chat.send({ content: "x" });
    expect(await all(chat)).toMatchObject([{ reply: "that is all" }]);
    expect((await failureOf(chat.send({ content: "y" }))).code).toBe(Code.FailedPrecondition);
    await chat.trailers;
    await noStreams();
  },
);

test("a send() that waits for the window rejects if the handler ends first", async () => {
  const end = gate();
  await using world = await start({
    greeter: {
      async *chat() {
        await end.opened;
        yield* [];
      },
    },
  });
  const chat = world.greeter.chat();
  const offering = (async () => {
    for (;;) await chat.send(KIB_64);
  })();
  const failed = failureOf(offering);
  await until("the call has reached the server", () => census.serverStreams === 1);
  end.open();
  expect(await all(chat)).toEqual([]);
  expect((await failed).code).toBe(Code.FailedPrecondition);
  await noStreams();
});

test("if the handler throws first, the loop throws, sends reject with the same code, and no stream is left", async () => {
  await using world = await start({
    greeter: {
      async *chat(requests) {
        yield { reply: (await next(requests))?.content };
        throw new ConnectError("enough", Code.ResourceExhausted);
      },
    },
  });
  const chat = world.greeter.chat();
  await chat.send({ content: "x" });
  expect(await next(chat)).toMatchObject({ reply: "x" });
  const error = await failureOf(chat);
  expect(error.code).toBe(Code.ResourceExhausted);
  expect(error.rawMessage).toBe("enough");
  expect((await failureOf(chat.send({ content: "y" }))).code).toBe(Code.ResourceExhausted);
  await noStreams();
});

test("the client frees the stream of a server that ends the call and keeps its stream", async () => {
  const server = createServer();
  server.on("stream", (stream) => {
    stream.on("error", () => {}).resume();
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.respond({ "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  await using transport = createTransport({
    baseUrl: `http://127.0.0.1:${port}`,
    sessions,
  });
  for (let n = 0; n < 5; n++) {
    const chat = createClient(Greeter, transport).chat();
    void chat.send({});
    expect(await all(chat)).toEqual([]);
  }
  await noStreams();
  await transport.close();
  server.close();
});

test("if a client-streaming handler answers early, finish() resolves with the answer, send() rejects, and no stream is left", async () => {
  await using world = await start({
    greeter: { collect: async (requests) => ({ count: (await next(requests)) ? 1 : 0 }) },
  });
  const sink = world.greeter.collect();
  const offering = (async () => {
    for (;;) await sink.send(KIB_64);
  })();
  expect((await failureOf(offering)).code).toBe(Code.FailedPrecondition);
  expect(await sink.finish()).toMatchObject({ count: 1 });
  await noStreams();
});

test("a handler's signal aborts when it has ended", async () => {
  const signals: AbortSignal[] = [];
  await using world = await start({
    greeter: {
      sayHello(_request, { signal }) {
        signals.push(signal);
        return {};
      },
      async *chat(_requests, { signal }) {
        signals.push(signal);
        yield {};
      },
    },
  });
  await world.greeter.sayHello({});
  await all(world.greeter.chat());
  await Promise.all(signals.map(aborted));
});

test("200 calls whose handlers end first leave no stream open", async () => {
  await using world = await start({
    greeter: {
      async *chat(requests) {
        yield { reply: (await next(requests))?.content };
      },
    },
  });
  for (let n = 0; n < 200; n++) {
    const chat = world.greeter.chat();
    await chat.send({ content: `${n}` });
    expect(await all(chat)).toMatchObject([{ reply: `${n}` }]);
  }
  await noStreams();
  await until("the server counts none", () => world.server.openCalls === 0);
});

test("calls whose handlers end first, while others fill the connection, end with OK", async () => {
  await using world = await start({
    linked: true,
    greeter: {
      async *subscribe(_request, { signal }) {
        while (!signal.aborted) yield { content: KIB_64.content };
      },
      async *chat(requests, { responseTrailer }) {
        const request = await next(requests);
        yield { reply: request?.content };
        responseTrailer.set("x-ended", "well");
      },
    },
  });
  // Narrow enough that the server's socket is always full.
  world.link.down.bytesPerSecond = 20_000_000;
  const pushes = Array.from({ length: 30 }, () => world.greeter.subscribe({}));
  const flood = pushes.map((push) => failureOf(push));
  await Promise.all(pushes.map(({ headers }) => headers));
  for (let round = 0; round < 5; round++) {
    const chats = Array.from({ length: 10 }, () => world.greeter.chat());
    await Promise.all(
      chats.map(async (chat, n) => {
        void chat.send({ content: `${n}` });
        expect(await all(chat)).toMatchObject([{ reply: `${n}` }]);
        expect((await chat.trailers).get("x-ended")).toBe("well");
      }),
    );
  }
  for (const push of pushes) push.cancel();
  for (const failed of flood) expect((await failed).code).toBe(Code.Canceled);
});

/** A handler whose responses fit into the window of a client that does not read them, with trailers. */
const talker = {
  async *chat(_requests: unknown, { responseTrailer }: HandlerContext) {
    for (let n = 0; n < 250; n++) yield { reply: `${n} ${"=".repeat(200)}` };
    responseTrailer.set("x-said", "250");
  },
};

/** The server has closed its connections, and the client has had time to notice; its socket may wait for the reader. */
async function connectionEnds(): Promise<void> {
  await until("the server has closed it", () => census.serverSockets === 0);
  await settles(() => census.clientSockets === 0, 100);
}

test("a slow reader gets every message and then the trailers", async () => {
  await using world = await start({ greeter: talker });
  const chat = world.greeter.chat();
  expect((await next(chat))?.reply).toMatch(/^0 /);
  await until("the handler is done", () => census.serverStreams === 0);
  expect(await all(chat)).toHaveLength(249);
  expect((await chat.trailers).get("x-said")).toBe("250");
});

test("a slow reader gets every message and then the trailers, when the server closed right after", async () => {
  await using world = await start({ greeter: talker });
  const chat = world.greeter.chat();
  expect((await next(chat))?.reply).toMatch(/^0 /);
  await world.server.close();
  await connectionEnds();
  expect(await all(chat)).toHaveLength(249);
  expect((await chat.trailers).get("x-said")).toBe("250");
});

test("a slow reader gets every message and then the trailers, when the connection was reset right after", async () => {
  await using world = await start({ greeter: talker, linked: true });
  const chat = world.greeter.chat();
  expect((await next(chat))?.reply).toMatch(/^0 /);
  await stillAt(() => world.link.down.delivered);
  world.link.cut("rst");
  await until("both sides have closed their streams", () => census.http2Connections === 0);
  expect(await all(chat)).toHaveLength(249);
  expect((await chat.trailers).get("x-said")).toBe("250");
});

test("a slow reader gets every message and then the error, when the server closed right after", async () => {
  await using world = await start({
    greeter: {
      async *chat(...call) {
        yield* talker.chat(...call);
        throw new ConnectError("that was it", Code.DataLoss);
      },
    },
  });
  const chat = world.greeter.chat();
  expect((await next(chat))?.reply).toMatch(/^0 /);
  await world.server.close();
  await connectionEnds();
  for (let n = 1; n < 250; n++) expect((await next(chat))?.reply).toMatch(new RegExp(`^${n} `));
  expect((await failureOf(chat)).code).toBe(Code.DataLoss);
});
