import { describe, expect, test } from "vitest";
import { Code, ConnectError } from "../src/index.ts";
import {
  type FakeCall,
  type FakeServer,
  fakeServer,
  responseHeaders,
  trailers,
} from "./support/fake-server.ts";
import { until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { Hosted, terms } from "./support/session-host.ts";
import { certs } from "./support/tls.ts";
import { message, request, watchedServer } from "./support/watched-server.ts";
import {
  data,
  dial,
  dialSecurely,
  envelope,
  frame,
  Http2Code,
  headers,
  messages,
  type Peer,
  rst,
  Type,
} from "./support/wire.ts";

// Frames of many streams that are read at once, while one of the reader's own writes is under way. Over TLS every write takes a
// turn of the event loop.

/** The size of a TLS record, in bytes. */
const RECORD_BYTES = 16 * 1024;

/** Has the client read frames while one of its writes is under way: they follow a frame that it answers immediately. */
async function readWhileWriting(server: FakeServer, ...frames: Buffer[]): Promise<void> {
  const before = server.calls.length;
  const chat = server.client.chat({ sessions: false });
  await until("the chat is there", () => server.calls.length > before);
  const { peer, stream, request } = server.calls[before] as FakeCall;
  void next(chat).then(() => chat.send({ content: "an answer" }));
  peer.write(
    ...[responseHeaders(stream), data(stream, message("a question"))],
    frame(Type.UNKNOWN, 0, 0, Buffer.alloc(RECORD_BYTES)),
    data(stream, message("another")),
    ...frames,
  );
  await peer.until(() => request.bytes > 0);
  chat.cancel();
  await peer.reset(stream);
}

/** A server whose calls the test answers, and the connection to it. */
async function start(secure: boolean, session = false): Promise<FakeServer> {
  return await fakeServer(() => {}, { secure, sessions: session, every: true });
}

/** Resolves with the calls, when `count` were made. */
async function callsOf(server: FakeServer, count: number): Promise<FakeCall[]> {
  await until(`${count} calls are there`, () => server.calls.length >= count);
  return server.calls.slice(-count);
}

const names = (count: number) => Array.from({ length: count }, (_, n) => `call ${n}`);

describe.each([
  ["TCP", false],
  ["TLS", true],
])("over %s, answers that are read while a write is under way", (_, secure) => {
  test.each([1, 2, 10, 100])(
    "answers to %i unary calls each reach their own call",
    async (count) => {
      await using server = await start(secure);
      const replies = names(count).map((content) => server.client.sayHello({ content }));
      const calls = await callsOf(server, count);
      await readWhileWriting(
        server,
        ...calls.flatMap(({ stream }, n) => [
          responseHeaders(stream),
          data(stream, message(`call ${n}`)),
          trailers(stream),
        ]),
      );
      expect((await Promise.all(replies)).map(({ reply }) => reply)).toEqual(names(count));
    },
  );

  test("answers may have their status in their headers, or be HTTP without gRPC", async () => {
    await using server = await start(secure);
    const chats = [chatOf(server), chatOf(server), chatOf(server)];
    const reply = next(chats[2] as Chat);
    const [one, two, three] = (await callsOf(server, 3)) as [FakeCall, FakeCall, FakeCall];
    await readWhileWriting(
      server,
      responseHeaders(one.stream, { "grpc-status": "5", "grpc-message": "none" }, true),
      headers(two.stream, [[":status", "502"]]),
      data(two.stream, Buffer.from("<html>"), true),
      responseHeaders(three.stream, { "x-mark": "here" }),
      data(three.stream, message("a reply")),
      trailers(three.stream, 5, "none"),
    );
    const [status, http, late] = chats as [Chat, Chat, Chat];
    expect(await failureOf(status)).toMatchObject({ code: Code.NotFound, rawMessage: "none" });
    expect(await failureOf(http)).toMatchObject({ code: Code.Unavailable });
    expect(await reply).toMatchObject({ reply: "a reply" });
    const error = await failureOf(late);
    expect(error).toMatchObject({ code: Code.NotFound, rawMessage: "none" });
    expect(error.metadata.get("x-mark")).toBe("here");
  });

  test("answers may have empty messages, many messages, a message in pieces, or none", async () => {
    await using server = await start(secure);
    const chats = names(4).map(() => server.client.chat());
    const replies = chats.map((chat) => all(chat));
    const streams = (await callsOf(server, 4)).map(({ stream }) => stream);
    const [empty, many, pieces, none] = streams as [number, number, number, number];
    const bytes = message("in pieces");
    await readWhileWriting(
      server,
      ...[responseHeaders(empty), data(empty, envelope(Buffer.alloc(0))), trailers(empty)],
      ...[responseHeaders(many), ...names(50).map((name) => data(many, message(name)))],
      ...[trailers(many), responseHeaders(pieces)],
      ...[...bytes].map((byte) => data(pieces, Buffer.of(byte))),
      ...[trailers(pieces), responseHeaders(none), data(none), trailers(none)],
    );
    const texts = (await Promise.all(replies)).map((list) => list.map(({ reply }) => reply));
    expect(texts).toEqual([[""], names(50), ["in pieces"], []]);
    for (const chat of chats) await chat.trailers;
  });

  test("answers may be followed by a reset, with a status or without", async () => {
    await using server = await start(secure);
    const chats = names(3).map(() => chatOf(server));
    const replies = chats.map((chat) => next(chat));
    replies[2]?.catch(() => {});
    const streams = (await callsOf(server, 3)).map(({ stream }) => stream);
    const [whole, cut, refused] = streams as [number, number, number];
    await readWhileWriting(
      server,
      ...[responseHeaders(whole), data(whole, message("whole")), trailers(whole)],
      rst(whole, Http2Code.NO_ERROR),
      ...[responseHeaders(cut), data(cut, message("cut")), rst(cut, Http2Code.CANCEL)],
      rst(refused, Http2Code.INTERNAL_ERROR),
    );
    const [first, second] = chats as [Chat, Chat, Chat];
    expect(await replies[0]).toMatchObject({ reply: "whole" });
    expect(await all(first)).toEqual([]);
    expect(await replies[1]).toMatchObject({ reply: "cut" });
    expect(await failureOf(second)).toMatchObject({ code: Code.Canceled });
    expect(await failureOf(replies[2] as Promise<unknown>)).toMatchObject({ code: Code.Internal });
  });

  test("answers may be those to Negotiate and to attachments", async () => {
    await using server = await start(secure, true);
    const chat = server.client.chat();
    const replies = all(chat);
    const [negotiate] = (await callsOf(server, 1)) as [FakeCall];
    expect(negotiate.request.headers?.[":path"]).toMatch(/Negotiate$/);
    await readWhileWriting(
      server,
      responseHeaders(negotiate.stream),
      data(negotiate.stream, envelope(terms())),
      trailers(negotiate.stream),
    );
    await until("it attaches", () => server.calls.length === 3);
    const { peer, stream, request } = server.calls[2] as FakeCall;
    const bytes: Buffer[] = [];
    const attachment = new Hosted(collecting(peer, bytes), stream, request);
    attachment.answer();
    attachment.send("one", "two");
    attachment.end({ "grpc-status": "0", "hawser-sent": "2" });
    await readWhileWriting(server, ...bytes);
    expect(await replies).toMatchObject([{ reply: "one" }, { reply: "two" }]);
    expect(chat.resumable).toBe(true);
  });
});

type Chat = ReturnType<typeof chatOf>;

/** A Chat whose requests come one by one. */
function chatOf({ client }: FakeServer) {
  return client.chat();
}

/** The peer, but what is written is kept. */
function collecting(peer: Peer, bytes: Buffer[]): Peer {
  return Object.create(peer, { write: { value: (...parts: Buffer[]) => bytes.push(...parts) } });
}

test("unary calls over TLS, ten at a time, are all answered", async () => {
  const script = async ({ peer, stream, request }: FakeCall) => {
    await peer.until(() => request.ended);
    peer.write(responseHeaders(stream), data(stream, request.body), trailers(stream));
  };
  await using server = await fakeServer(script, { secure: true, every: true });
  const worker = async () => {
    for (const content of names(25)) {
      expect(await server.client.sayHello({ content })).toMatchObject({ reply: content });
    }
  };
  await Promise.all(Array.from({ length: 10 }, worker));
});

describe.each([
  ["TCP", false],
  ["TLS", true],
])("over %s, requests that a server reads while a write is under way", (_, secure) => {
  test("requests are served, each by its own handler", async () => {
    await using server = await watchedServer({ tls: secure ? certs.server : undefined });
    await using peer = secure ? await dialSecurely(server.port, certs.ca) : await dial(server.port);
    peer.write(request(1, "Chat"), data(1, message("a question")));
    await peer.until(() => peer.stream(1).bytes > 0);
    const streams = names(20).map((_, n) => 2 * n + 3);
    peer.write(
      data(1, message("another")),
      frame(Type.UNKNOWN, 0, 0, Buffer.alloc(RECORD_BYTES)),
      data(1, message("the last"), true),
      ...streams.flatMap((id) => [
        request(id, id % 4 === 1 ? "SayHello" : "Chat"),
        data(id, message(`call ${id}`), true),
      ]),
    );
    for (const id of [1, ...streams]) expect(await peer.ended(id)).toMatchObject({ status: 0 });
    for (const id of streams) {
      expect(messages(peer.stream(id).body)).toEqual(messages(message(`call ${id}`)));
    }
    expect(messages(peer.stream(1).body)).toHaveLength(3);
  });

  test("requests are cancelled if a reset follows them", async () => {
    await using server = await watchedServer({ tls: secure ? certs.server : undefined });
    await using peer = secure ? await dialSecurely(server.port, certs.ca) : await dial(server.port);
    peer.write(request(1, "Chat"), data(1, message("a question")));
    await peer.until(() => peer.stream(1).bytes > 0);
    peer.write(
      data(1, message("another")),
      frame(Type.UNKNOWN, 0, 0, Buffer.alloc(RECORD_BYTES)),
      data(1, message("the last"), true),
      ...[request(3, "Chat"), data(3, message("cut")), rst(3, Http2Code.CANCEL)],
      ...[request(5, "Chat"), data(5, message("whole"), true)],
    );
    expect(await peer.ended(1)).toMatchObject({ status: 0 });
    expect(await peer.ended(5)).toMatchObject({ status: 0 });
    await server.idle();
    const ends = server.calls.map(({ end }) => (end instanceof ConnectError ? end.code : end));
    // A call may be reset before its handler begins.
    expect(ends.filter((end) => end !== Code.Canceled)).toEqual(["half-closed", "half-closed"]);
  });
});
