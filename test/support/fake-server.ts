import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import * as tls from "node:tls";
import { expect } from "vitest";
import { Greeter } from "../../gen/example/greeter_pb.js";
import {
  type Client,
  type ConnectError,
  createClient,
  createTransport,
  type TransportOptions,
} from "../../src/index.ts";
import { census } from "./census.ts";
import { until } from "./gate.ts";
import type { Header } from "./hpack.ts";
import { certs } from "./tls.ts";
import { data, headers, type Incoming, Peer, type PeerOptions } from "./wire.ts";

/** A call as the fake server sees it: the test writes the bytes of its answer. */
export interface FakeCall {
  readonly peer: Peer;
  readonly stream: number;
  readonly request: Incoming;
}

/**
 * A server that writes bytes, and our client connected to it. The script answers calls with the header `x-case`; all
 * others are served well: each message comes back as it is, and the status is OK. Calls have no sessions, so the first
 * stream of a connection is that of the first call.
 */
export interface FakeServer extends AsyncDisposable {
  readonly url: string;
  readonly client: Client<typeof Greeter>;
  /** The accepted connections, the oldest first. */
  readonly peers: Peer[];
  /** The calls that the script answers. */
  readonly calls: FakeCall[];
  /** Starts a Chat, which must continue while other calls of its connection fail. */
  otherCall(): Promise<{ stillWorks(): Promise<void>; fails(): Promise<ConnectError> }>;
  /** Expects that a new call is served. */
  expectServed(): Promise<void>;
  /** Resolves when our client has no stream open. */
  idle(): Promise<void>;
}

/** The call options for a call that the script answers. */
export const scripted = { headers: { "x-case": "1" } };

export interface FakeOptions {
  /** Whether connections use TLS. */
  readonly secure?: boolean;
  /** Whether the script answers every call, Negotiate included. */
  readonly every?: boolean;
}

export async function fakeServer(
  script: (call: FakeCall) => unknown,
  options: Partial<TransportOptions> & PeerOptions & FakeOptions = {},
): Promise<FakeServer> {
  const { settings, mute, secure = false, every = false, ...transportOptions } = options;
  const peers: Peer[] = [];
  const calls: FakeCall[] = [];
  const failed: unknown[] = [];
  const openBefore = census.clientStreams;

  const listener = await (secure ? listenSecurely : listen)((socket) => {
    const peer = new Peer(socket, "server", { settings, mute });
    peers.push(peer);
    peer.onStream = (stream, request) => {
      const call: FakeCall = { peer, stream, request };
      const asked = every || request.headers?.["x-case"] !== undefined;
      if (asked) calls.push(call);
      void (async () => {
        try {
          await (asked ? script : echo)(call);
        } catch (error) {
          // A script that the end of its connection interrupts has not failed.
          if (!peer.socket.destroyed) failed.push(error);
        }
      })();
    };
  });
  const transport = createTransport({
    baseUrl: listener.url,
    sessions: false,
    tls: secure ? { ca: certs.ca } : undefined,
    ...transportOptions,
  });

  const world: FakeServer = {
    url: listener.url,
    client: createClient(Greeter, transport),
    peers,
    calls,
    async otherCall() {
      const chat = world.client.chat();
      const replies = chat[Symbol.asyncIterator]();
      await chat.send({ content: "before" });
      expect(await replies.next()).toMatchObject({ value: { reply: "before" } });
      return {
        async stillWorks() {
          await chat.send({ content: "after" });
          chat.closeSend();
          expect(await replies.next()).toMatchObject({ value: { reply: "after" } });
          expect(await replies.next()).toMatchObject({ done: true });
        },
        async fails() {
          return await replies.next().then(
            () => expect.unreachable("the loop continued"),
            (error: ConnectError) => error,
          );
        },
      };
    },
    async expectServed() {
      expect(await world.client.sayHello({ content: "again" })).toMatchObject({ reply: "again" });
    },
    async idle() {
      await until("our client has no stream open", () => census.clientStreams <= openBefore);
    },
    async [Symbol.asyncDispose]() {
      await transport.close();
      for (const peer of peers) await peer[Symbol.asyncDispose]();
      await listener[Symbol.asyncDispose]();
      await world.idle();
      expect(failed).toEqual([]);
    },
  };
  return world;
}

type Listening = { url: string; port: number } & AsyncDisposable;

/** Listens on a free port of 127.0.0.1; `serve` gets every socket. */
export async function listen(serve: (socket: Socket) => void): Promise<Listening> {
  return await listening("http", createServer, serve);
}

/** Listens over TLS, with the certificate of the tests. */
export async function listenSecurely(serve: (socket: Socket) => void): Promise<Listening> {
  const options = { ...certs.server, ALPNProtocols: ["h2"] };
  return await listening("https", (onSocket) => tls.createServer(options, onSocket), serve);
}

async function listening(
  scheme: string,
  create: (onSocket: (socket: Socket) => void) => ReturnType<typeof createServer>,
  serve: (socket: Socket) => void,
): Promise<Listening> {
  const sockets = new Set<Socket>();
  const server = create((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    serve(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  return {
    url: `${scheme}://127.0.0.1:${port}`,
    port,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, "close");
    },
  };
}

/** The response headers of a gRPC call that does not end with them; `but` replaces and adds. */
export function responseHeaders(
  stream: number,
  but: Readonly<Record<string, string>> = {},
  end = false,
): Buffer {
  const list = { ":status": "200", "content-type": "application/grpc+proto", ...but };
  return headers(stream, Object.entries(list), end);
}

/** Trailers that end a call. */
export function trailers(stream: number, status: number | string = 0, message?: string): Buffer {
  const list: Header[] = [["grpc-status", String(status)]];
  if (message !== undefined) list.push(["grpc-message", message]);
  return headers(stream, list, true);
}

/** Serves a call: a request and a reply look the same on the wire, so the bytes are sent back unchanged. */
async function echo({ peer, stream, request }: FakeCall): Promise<void> {
  peer.write(responseHeaders(stream));
  for (let sent = 0; !request.ended || sent < request.chunks.length; ) {
    const chunk = request.chunks[sent];
    if (chunk === undefined) {
      await peer.until(() => request.ended || request.chunks.length > sent);
      if (request.reset !== undefined) return;
      continue;
    }
    sent++;
    if (chunk.length > 0) peer.write(data(stream, chunk));
  }
  peer.write(trailers(stream));
}

/** The outcome of a call: its replies, and its error if it failed. */
export interface Outcome {
  readonly replies: string[];
  readonly error: ConnectError | undefined;
}

/** Makes a call that the script answers, and waits for its end. */
export const outcomeOf = {
  async unary({ client }: FakeServer): Promise<Outcome> {
    return await client.sayHello({ content: "hello" }, scripted).then(
      ({ reply }) => ({ replies: [reply], error: undefined }),
      (error) => ({ replies: [], error }),
    );
  },
  /** A Chat whose client sends one message, and half-closes only if asked to. */
  async chat({ client }: FakeServer, half?: "half-close"): Promise<Outcome> {
    const replies: string[] = [];
    const chat = client.chat(scripted);
    chat.send({ content: "hello" }).catch(() => {});
    if (half) chat.closeSend();
    try {
      for await (const { reply } of chat) replies.push(reply);
      return { replies, error: undefined };
    } catch (error) {
      return { replies, error: error as ConnectError };
    }
  },
} as const;
