/**
 * The table "How it differs" of README.md, row by row: Hawser, connect-node and grpc-js, each with its defaults.
 * The servers are called by a peer that speaks frames, or by Hawser's client; the clients call Hawser's server.
 */
import * as http2 from "node:http2";
import { create } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { afterEach, expect, test } from "vitest";
import { MessageSchema, RoomService, WatchResponseSchema } from "../gen/chat/v1/room_pb.js";
import { Greeter } from "../gen/example/greeter_pb.js";
import { Code, ConnectError, createClient, createTransport } from "../src/index.ts";
import { createServer, encodedOnce } from "../src/server.ts";
import { openLink } from "../src/testing/link.ts";
import { aborted, gate, stillAt } from "./support/gate.ts";
import { next } from "./support/read.ts";
import { tableOf } from "./support/readme.ts";
import { ofConnect, ofGrpcJs, ofHawser } from "./support/three-clients.ts";
import {
  closeAll,
  connectNode,
  grpcJs,
  type Handlers,
  hawser,
  open,
  type Routes,
  type Server,
} from "./support/three-servers.ts";
import { textOf, toyRoom } from "./support/toy-room.ts";
import { request } from "./support/watched-server.ts";
import { data, dial, envelope, type Fields, type Peer, Type } from "./support/wire.ts";

afterEach(closeAll);

type Chat = grpc.ServerDuplexStream<{ content: string }, { reply: string }>;
type Hello = [
  call: grpc.ServerUnaryCall<{ content: string }, { reply: string }>,
  answer: grpc.sendUnaryData<{ reply: string }>,
];

/** gRPC's OK; Connect's Code has only what is an error. */
const OK = 0;

const AHOY = envelope(Buffer.from([0x0a, 4, ...Buffer.from("ahoy")]));
const DEADLINE = { headers: { "grpc-timeout": "100m" } };

/** Opens a call by hand, with one request; its stream is 1. */
async function call(
  { port }: Server,
  method: string,
  { headers = {}, halfClosed = false }: { headers?: Fields; halfClosed?: boolean } = {},
): Promise<Peer> {
  const peer = await dial(port);
  open.push(() => peer[Symbol.asyncDispose]());
  peer.write(request(1, method, headers), data(1, AHOY, halfClosed));
  return peer;
}

/** Expects that no more frames arrive on the stream after the server has read all that was written to it. */
async function staysQuiet(peer: Peer): Promise<void> {
  await peer.ping();
  const count = () => peer.frames.filter(({ stream }) => stream === 1).length;
  const before = count();
  expect(await stillAt(count)).toBe(before);
}

const rows = {
  leaving: "break in the loop over responses",
  ending: "A handler that ends before the client half-closes",
  ignoring: "A deadline that the handler ignores",
  waiting: "A handler that waits for a request at the deadline",
  losing: "A connection that is lost in the middle of a stream",
  pushing: "A server that closes during a push whose method declares a cursor",
  encoding: "A message that goes to many calls",
  headers: "Response headers before the first response",
  throwing: "A handler throws an unexpected error",
  size: "The longest request",
  streams: "Open calls on one connection",
  unknown: "An unknown method, over gRPC",
  browsers: "gRPC-Web and Connect, over HTTP/1.1 too and beside gRPC on one cleartext port",
};

test("the table has a test for each row", () => {
  expect(tableOf("What").map(([what]) => what)).toEqual(Object.values(rows));
});

test(rows.leaving, async () => {
  const signals: AbortSignal[] = [];
  const server = await hawser({
    async *subscribe(_, { signal }) {
      signals.push(signal);
      yield { sequence: 1n };
      await aborted(signal);
    },
  });
  for await (const _ of ofHawser(Greeter, server).subscribe({})) break;
  await aborted(signals[0] as AbortSignal);
  for await (const _ of ofConnect(Greeter, server).subscribe({})) break;
  await aborted(signals[1] as AbortSignal);
  const throughGrpcJs = ofGrpcJs(Greeter, server).subscribe({});
  for await (const _ of throughGrpcJs.on("error", () => {})) break;

  expect(await stillAt(() => signals.filter((signal) => signal.aborted).length)).toBe(2);
  expect(signals).toHaveLength(3);
});

test(rows.ending, async () => {
  const handlers: Handlers = {
    async *chat(requests) {
      for await (const _ of requests) {
        yield { reply: "that is all" };
        return;
      }
    },
  };
  for (const server of [await hawser(handlers), await connectNode(handlers)]) {
    const peer = await call(server, "Chat");
    expect((await peer.ended(1)).status).toBe(OK);
    expect(await peer.reset(1)).toBe(http2.constants.NGHTTP2_NO_ERROR);
  }

  const js = await grpcJs({
    chat: (chat: Chat) => void chat.once("data", () => chat.end()),
  });
  const peer = await call(js, "Chat");
  expect((await peer.ended(1)).status).toBe(OK);
  await staysQuiet(peer);
  expect(peer.stream(1).reset).toBeUndefined();
});

test(rows.ignoring, async () => {
  const handlers: Handlers = {
    // The handler ignores the deadline; it listens only so that the test knows when the deadline has passed.
    async sayHello(_, { signal }) {
      await aborted(signal);
      await new Promise((resolve) => setImmediate(resolve));
      return { reply: "late" };
    },
  };
  const js = await grpcJs({
    sayHello: (...[hello, answer]: Hello) =>
      void hello.once("cancelled", () => answer(null, { reply: "late" })),
  });
  const statusOf = async (server: Server) => {
    const peer = await call(server, "SayHello", { ...DEADLINE, halfClosed: true });
    return (await peer.ended(1)).status;
  };
  expect(await statusOf(await hawser(handlers))).toBe(Code.DeadlineExceeded);
  expect(await statusOf(await connectNode(handlers))).toBe(OK);
  expect(await statusOf(js)).toBe(Code.DeadlineExceeded);
});

test(rows.waiting, async () => {
  const timesUp = gate();
  let outcome = "waits";
  const handlers: Handlers = {
    async *chat(requests, { signal }) {
      void aborted(signal).then(timesUp.open);
      try {
        for await (const { content } of requests) yield { reply: content };
        outcome = "ended";
      } catch {
        outcome = "thrown";
      }
    },
  };
  await (await call(await hawser(handlers), "Chat", DEADLINE)).ended(1);
  expect(outcome).toBe("thrown");

  outcome = "waits";
  const connect = await call(await connectNode(handlers), "Chat", DEADLINE);
  await timesUp.opened;
  await staysQuiet(connect);
  expect(outcome).toBe("waits");

  const cancelled = gate();
  const js = await grpcJs({
    chat: (chat: Chat) => void chat.on("data", () => {}).on("cancelled", cancelled.open),
  });
  await call(js, "Chat", DEADLINE);
  await cancelled.opened;
});

test(rows.losing, async () => {
  let runs = 0;
  const server = await hawser({
    async *chat(requests) {
      runs++;
      for await (const { content } of requests) yield { reply: content };
    },
  });
  const link = await openLink({ port: server.port, host: "127.0.0.1" });
  open.push(() => link[Symbol.asyncDispose]());

  const chat = ofHawser(Greeter, link).chat();
  const heard: string[] = [];
  await chat.send({ content: "before" });
  for await (const { reply } of chat) {
    heard.push(reply);
    if (reply === "after") break;
    link.cut();
    await chat.send({ content: "after" });
  }
  expect(heard).toEqual(["before", "after"]);
  expect(runs).toBe(1);

  const requests = async function* () {
    yield { content: "before" };
    await gate().opened;
  };
  const throughConnect = async () => {
    for await (const _ of ofConnect(Greeter, link).chat(requests())) link.cut();
  };
  await expect(throughConnect()).rejects.toThrow();

  const call = ofGrpcJs(Greeter, link).chat();
  call.write({ content: "before" });
  const throughGrpcJs = async () => {
    for await (const _ of call) link.cut();
  };
  await expect(throughGrpcJs()).rejects.toThrow();
});

test(rows.pushing, async () => {
  const room = toyRoom();
  const routes: Routes = (router) => router.service(RoomService, room.service);
  const servers = [createServer({ routes }), createServer({ routes })] as const;
  for (const server of servers) open.push(() => server.close({ graceMs: 0 }));
  const [first, second] = [
    await servers[0].listen({ port: 0 }),
    await servers[1].listen({ port: 0 }),
  ];

  const throughHawser = ofHawser(RoomService, first, second).watch({ room: "lobby" });
  const throughConnect = ofConnect(RoomService, first).watch({ room: "lobby" });
  const throughGrpcJs = ofGrpcJs(RoomService, first).watch({ room: "lobby" });
  room.post(1);
  for (const call of [throughHawser, throughConnect, throughGrpcJs]) {
    await next(call);
    expect(textOf((await next(call)) as never)).toBe("1");
  }

  await servers[0].close();
  room.post(1);
  await next(throughHawser);
  expect(textOf((await next(throughHawser)) as never)).toBe("2");
  await expect(next(throughConnect)).rejects.toThrow(/closing/);
  await expect(next(throughGrpcJs)).rejects.toThrow(/closing/);
});

test(rows.encoding, async () => {
  let reads = 0;
  const value = Object.defineProperty(create(MessageSchema), "text", {
    enumerable: true,
    get: () => `${++reads}`,
  });
  const message = create(WatchResponseSchema, { event: { case: "message", value } });
  const watching = (response: typeof message): Routes => {
    const watch = async function* () {
      yield response;
    };
    return (router) => router.service(RoomService, { watch });
  };
  /** How often the message is read for the first call, and for the second. */
  const readsOf = async (server: Server) => {
    const client = ofHawser(RoomService, server);
    const counts = [];
    for (let call = 0; call < 2; call++) {
      reads = 0;
      for await (const _ of client.watch({ room: "lobby" })) counts.push(reads);
    }
    return counts;
  };

  const [first, second] = await readsOf(
    await hawser(watching(encodedOnce(WatchResponseSchema, message))),
  );
  expect(first).toBeGreaterThan(0);
  expect(second).toBe(0);
  const watch = (call: grpc.ServerWritableStream<unknown, typeof message>) => {
    call.write(message);
    call.end();
  };
  const others = [await connectNode(watching(message)), await grpcJs({ watch }, RoomService)];
  for (const server of others) {
    const [first, second] = await readsOf(server);
    expect(first).toBeGreaterThan(0);
    expect(second).toBe(first);
  }
});

test(rows.headers, async () => {
  const silent: Handlers = {
    async *chat(requests) {
      for await (const _ of requests);
      yield* [];
    },
  };
  const server = await hawser(silent);
  const ours = await call(server, "Chat");
  await ours.until(() => ours.stream(1).headers);
  // Also to a client that sends no request before it has them.
  const patient = await dial(server.port);
  open.push(() => patient[Symbol.asyncDispose]());
  patient.write(request(1, "Chat"));
  await patient.until(() => patient.stream(1).headers);

  const connect = await call(await connectNode(silent), "Chat");
  await staysQuiet(connect);
  expect(connect.stream(1).headers).toBeUndefined();

  const send = gate();
  const waiting = await grpcJs({
    chat: (chat: Chat) => {
      chat.on("data", () => {});
      void send.opened.then(() => chat.sendMetadata(new grpc.Metadata()));
    },
  });
  const js = await call(waiting, "Chat");
  await staysQuiet(js);
  expect(js.stream(1).headers).toBeUndefined();
  send.open();
  await js.until(() => js.stream(1).headers);
});

test(rows.throwing, async () => {
  const fail = () => {
    throw new Error("a bug");
  };
  const outcome = async (server: Server) => {
    const { status } = await (await call(server, "SayHello", { halfClosed: true })).ended(1);
    return [Code[status ?? Number.NaN], server.logged()];
  };
  expect(await outcome(await hawser({ sayHello: fail }))).toEqual(["Internal", 1]);
  expect(await outcome(await connectNode({ sayHello: fail }))).toEqual(["Internal", 0]);
  expect(await outcome(await grpcJs({ sayHello: fail }))).toEqual(["Unknown", 0]);
});

test(rows.size, async () => {
  const handlers: Handlers = { sayHello: () => ({}) };
  const js = await grpcJs({ sayHello: (...[, answer]: Hello) => answer(null, { reply: "" }) });
  const accepts = async ({ url }: Server, bytes: number) => {
    await using transport = createTransport({ baseUrl: url, writeMaxBytes: 2 * bytes });
    const content = "x".repeat(bytes - 5);
    return await createClient(Greeter, transport)
      .sayHello({ content })
      .then(
        () => true,
        (error) => ConnectError.from(error).code !== Code.ResourceExhausted,
      );
  };
  const MiB = 1024 * 1024;
  for (const server of [await hawser(handlers), js]) {
    expect(await accepts(server, 4 * MiB)).toBe(true);
    expect(await accepts(server, 4 * MiB + 1)).toBe(false);
  }
  expect(await accepts(await connectNode(handlers), 16 * MiB)).toBe(true);
});

test(rows.streams, async () => {
  const limitOf = async (server: Server) => {
    const peer = await call(server, "SayHello");
    const { payload } = await peer.frame(Type.SETTINGS);
    for (let at = 0; at < payload.length; at += 6) {
      const MAX_CONCURRENT_STREAMS = 3;
      if (payload.readUInt16BE(at) === MAX_CONCURRENT_STREAMS) return payload.readUInt32BE(at + 2);
    }
    return "unlimited";
  };
  expect(await limitOf(await hawser({}))).toBe(1000);
  expect(await limitOf(await connectNode({}))).toBe("unlimited");
  expect(await limitOf(await grpcJs({}))).toBe("unlimited");
});

test(rows.unknown, async () => {
  const answer = async (server: Server) => {
    const incoming = await (await call(server, "Whistle", { halfClosed: true })).ended(1);
    return [incoming.headers?.[":status"], incoming.status];
  };
  expect(await answer(await hawser({}))).toEqual(["200", Code.Unimplemented]);
  expect(await answer(await connectNode({}))).toEqual(["404", undefined]);
  expect(await answer(await grpcJs({}))).toEqual(["200", Code.Unimplemented]);
});

test(rows.browsers, async () => {
  const handlers: Handlers = { sayHello: ({ content }) => ({ reply: `Hello, ${content}` }) };
  // fetch speaks HTTP/1.1; this is the Connect protocol.
  const outcome = async ({ url }: Server) =>
    await fetch(`${url}/example.Greeter/SayHello`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ content: "browser" }),
    }).then(
      (response) => response.json(),
      () => "no answer",
    );
  expect(await outcome(await hawser(handlers))).toEqual({ reply: "Hello, browser" });
  expect(await outcome(await connectNode(handlers))).toBe("no answer");
  expect(await outcome(await grpcJs({}))).toBe("no answer");
});
