/** What the HTTP/2 stream of a call does when its listener throws, or ends it, while the engine calls it. */
import { Code, type ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import type {
  CallStreamListener,
  ClientCallStream,
  ClientStreamListener,
  Outcome,
  ServerCallStream,
} from "../src/call-stream.ts";
import { ClientConnection } from "../src/connection/client-connection.ts";
import type { GrpcClientStream } from "../src/connection/client-stream.ts";
import { ConnectionMemory } from "../src/connection/connection-memory.ts";
import { ReceiveBudget } from "../src/connection/receive-budget.ts";
import { RequestFields } from "../src/connection/request-headers.ts";
import type { ServedConnection } from "../src/connection/served-connection.ts";
import { GrpcServerStream } from "../src/connection/server-stream.ts";
import { failure } from "../src/failure.ts";
import { realClock } from "../src/flow/clock.ts";
import { createOutputBuffers } from "../src/http2/buffers.ts";
import type { Http2Stream, StreamEnd } from "../src/http2/types.ts";
import { Alone, bytesOf, framesOf, headersOf, request, response } from "./http2/support/pair.ts";
import { FakePipe } from "./support/fake-pipe.ts";
import { data, envelope, Http2Code, PREFACE, settings, Type } from "./support/wire.ts";

const budgetOf = () =>
  new ReceiveBudget({ bytes: 1e6, of: "the test", limit: "none", factor: 2 }, realClock);

/** A listener that writes down what it is told, and does `acts` at each of it. */
function listening(acts: Partial<ClientStreamListener> = {}) {
  const heard: string[] = [];
  const lost: ConnectError[] = [];
  const listener: ClientStreamListener = {
    onHeaders(headers, from) {
      heard.push("headers");
      acts.onHeaders?.(headers, from);
    },
    onMessage(message, from) {
      heard.push("message");
      acts.onMessage?.(message, from);
    },
    onInvalid(error, from) {
      heard.push("invalid");
      acts.onInvalid?.(error, from);
    },
    onClosed(outcome: Outcome, from) {
      heard.push(outcome.is);
      if (outcome.is === "lost") lost.push(outcome.error);
      acts.onClosed?.(outcome, from);
    },
  };
  return { listener, heard, lost };
}

function throws(): never {
  throw new Error("a bug");
}

/** A client's connection without a socket. */
function client() {
  const pipe = new FakePipe();
  const budget = budgetOf();
  const none = () => {};
  const watch = { onBusy: none, useHawserKeepalive: none, [Symbol.dispose]: none };
  const connection = new ClientConnection({
    target: { name: "the server", authority: "here", connect: { port: 1, host: "here" } } as never,
    pipe,
    buffers: createOutputBuffers(),
    budget,
    owner: {
      keepalive: { watch: () => watch, slowDown: none } as never,
      closing: new AbortController().signal,
      onChange: none,
      onDrain: none,
      isAwaited: () => false,
    },
  });
  const receive = (...frames: Buffer[]) => pipe.listener.onReceived(Buffer.concat(frames));
  receive(settings());
  const open = (listener: ClientStreamListener) => {
    const own = { ":method": "POST", ":scheme": "http", ":path": "/a", ":authority": "" };
    const fields = new RequestFields(own, undefined);
    return connection.open({
      head: { fields, more: [], reserveBytes: 0 },
      listener,
      readMaxBytes: 1000,
    });
  };
  /** The codes of the RST_STREAMs that were sent. */
  const resets = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    return framesOf(Buffer.concat(pipe.written).subarray(PREFACE.length))
      .filter(({ type }) => type === Type.RST_STREAM)
      .map(({ stream, payload }) => [stream, payload.readUInt32BE()]);
  };
  return { pipe, budget, connection, receive, open, resets };
}

const half = envelope(Buffer.alloc(100)).subarray(0, 50);

describe("at a client", () => {
  test("a listener that throws ends the connection: its other calls learn that, and no budget counts their bytes any more", () => {
    const { budget, connection, receive, open } = client();
    const bad = listening({ onHeaders: throws, onClosed: throws });
    const good = listening();
    open(bad.listener);
    open(good.listener);
    receive(headersOf(3, response()), data(3, half));
    expect(budget.usedBytes).toBe(50);
    receive(headersOf(1, response()));
    expect([bad.heard, good.heard]).toEqual([
      ["headers", "lost"],
      ["headers", "lost"],
    ]);
    expect(good.lost[0]).toMatchObject({
      code: Code.Unavailable,
      rawMessage: "the connection to the server was lost (a listener threw: a bug)",
    });
    expect([budget.usedBytes, connection.active]).toEqual([0, 0]);
  });

  test("a stream that its session releases is freed, although the server has ended only its own side", async () => {
    const { connection, receive, open, resets } = client();
    const release = (_: Outcome, from: ClientCallStream) => {
      (from as GrpcClientStream).release();
    };
    open(listening({ onClosed: release }).listener);
    open(listening({ onClosed: release }).listener);
    receive(headersOf(1, response()), data(1, new Uint8Array(), true));
    receive(headersOf(3, response()), headersOf(3, ["grpc-status", "14"], true));
    expect(connection.active).toBe(0);
    expect(await resets()).toEqual([
      [1, Http2Code.CANCEL],
      [3, Http2Code.NO_ERROR],
    ]);
  });
});

/** A server's stream on an engine without a pipe. */
function server(acts: Partial<CallStreamListener<ServerCallStream>> = {}, isEncrypted = false) {
  const engine = new Alone();
  const budget = budgetOf();
  const memory = new ConnectionMemory([budget], realClock);
  const later: (() => void)[] = [];
  let closed = 0;
  const connection = {
    isEncrypted,
    memory,
    announcedHeaderBytes: Number.POSITIVE_INFINITY,
    afterHeaders: (send: () => void) => void later.push(send),
    lossOf: ({ by }: StreamEnd) => failure(Code.Canceled, by),
    onStreamClosed: () => void closed++,
  } as Partial<ServedConnection> as ServedConnection;
  const heard: string[] = [];
  let stream!: GrpcServerStream;
  engine.onRequest = (native: Http2Stream) => {
    stream = new GrpcServerStream(native, connection, {
      readMaxBytes: 1000,
      memory,
      listener: {
        onMessage(message, from) {
          heard.push("message");
          acts.onMessage?.(message, from);
        },
        onHalfClose: () => void heard.push("half-close"),
        onInvalid(error, from) {
          heard.push("invalid");
          acts.onInvalid?.(error, from);
        },
        onClosed(outcome, from) {
          heard.push(outcome.is);
          acts.onClosed?.(outcome, from);
        },
      },
    });
    return stream;
  };
  engine.receive(headersOf(1, request()));
  const sendLater = () => {
    for (const send of later.splice(0)) send();
  };
  return { engine, budget, stream, heard, sendLater, closed: () => closed };
}

const OK = { ":status": 200, "content-type": "application/grpc" };

describe("at a server", () => {
  test("a listener that throws ends the connection, and no budget counts the bytes of its stream any more", () => {
    const { engine, budget, heard, closed } = server({ onClosed: throws });
    engine.receive(data(1, half));
    expect(budget.usedBytes).toBe(50);
    engine.connection.endOfInput();
    expect([heard, budget.usedBytes, closed()]).toEqual([["lost"], 0, 1]);
  });

  test("nothing but onClosed() is called after endSend(), whatever follows in the chunk", () => {
    const { engine, heard } = server({
      onMessage: (_, from) => from.endSend({ status: "ok", trailers: { ...OK, "grpc-status": 0 } }),
    });
    const one = envelope(Buffer.from("one"));
    engine.receive(data(1, Buffer.concat([one, one, Buffer.alloc(9, 0xff)]), true));
    expect(heard).toEqual(["message", "ended"]);
  });

  test("with TLS, messages that wait for headers of other streams are kept, although their memory is used again", () => {
    const { engine, stream, sendLater } = server({}, true);
    stream.sendHeaders(OK);
    engine.take();
    const memory = Buffer.alloc(5);
    for (const content of ["hello", "again"]) {
      memory.write(content);
      stream.write(0, memory);
      memory.fill(0xdd);
    }
    expect(engine.frames()).toEqual([]);
    sendLater();
    const body = Buffer.concat(engine.frames().map(({ payload }) => payload));
    expect(body.toString("latin1")).toBe("\0\0\0\0\x05hello\0\0\0\0\x05again");
  });

  test("with TLS, a write after headers that cannot be sent, and one after the end, throw at once", () => {
    const unsendable = server({}, true);
    unsendable.stream.sendHeaders({ ...OK, "x-\n": "1" });
    expect(() => unsendable.stream.write(0, bytesOf("x"))).toThrow(/cannot be sent/);
    unsendable.sendLater();
    expect(unsendable.heard).toEqual(["unsendable"]);
    const ended = server({}, true);
    ended.stream.sendHeaders(OK);
    const full = failure(Code.ResourceExhausted, "full");
    ended.stream.endSend({ status: full, trailers: { "grpc-status": 8 } });
    expect(() => ended.stream.write(0, bytesOf("x"))).toThrow(full);
    ended.sendLater();
    expect(() => ended.stream.write(0, bytesOf("x"))).toThrow(full);
  });
});
