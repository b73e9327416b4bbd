/** Hostile clients, each of which uses as much of a server as it can, until it is disposed. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { SubscribeRequestSchema } from "../../gen/example/greeter_pb.js";
import { FrameSplitter } from "./frame-splitter.ts";
import { request, text } from "./request.ts";
import { end, newId, sessionPeer } from "./session-peer.ts";
import { data, dial, envelope, Flag, type Peer, PREFACE, settings, Type } from "./wire.ts";

/** A connection that counts the streams that the server has ended, and drops all other bytes. */
class Connection implements AsyncDisposable {
  readonly #socket: Socket;
  #ended = 0;
  readonly #splitter = new FrameSplitter();
  #onEnded: (() => void) | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("error", () => this.#onEnded?.());
    socket.on("close", () => this.#onEnded?.());
    socket.on("data", (chunk) => this.#read(chunk));
    this.write(PREFACE, settings(), settings());
  }

  write(...parts: Uint8Array[]): void {
    if (!this.#socket.destroyed) this.#socket.write(Buffer.concat(parts));
  }

  /** Resolves when the server has ended `count` streams, or the connection. */
  async ended(count: number): Promise<void> {
    while (this.#ended < count && !this.#socket.destroyed) {
      await new Promise<void>((resolve) => {
        this.#onEnded = resolve;
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#socket.closed) return;
    const closed = once(this.#socket, "close");
    this.#socket.destroy();
    await closed;
  }

  #read(chunk: Buffer): void {
    for (const { type, flags } of this.#splitter.read(chunk)) {
      const isEnd = (flags & Flag.END_STREAM) !== 0;
      if ((type === Type.HEADERS || type === Type.DATA) && isEnd) this.#ended++;
    }
    this.#onEnded?.();
  }
}

async function open(port: number): Promise<Connection> {
  const socket = connect({ port, host: "127.0.0.1" });
  await once(socket, "connect");
  return new Connection(socket);
}

/** The headers of the first attachment of a session, with the server's settings. */
async function sessionHeaders(port: number): Promise<Record<string, string>> {
  await using peer = await sessionPeer(port);
  return {
    "hawser-received": "0",
    "hawser-window": "1048576,16384",
    "hawser-epoch": peer.terms.epoch,
    "hawser-opened": `${peer.serverNowMs}`,
  };
}

/** Subscribes to messages without end and without a pause, in sessions; takes no more than HTTP/2 has it take. */
export async function subscribe(
  port: number,
  { calls, connections }: { calls: number; connections: number },
): Promise<AsyncDisposable> {
  const session = await sessionHeaders(port);
  const asked = toBinary(SubscribeRequestSchema, create(SubscribeRequestSchema, { interval: {} }));
  const frames = Buffer.concat([envelope(asked), end(1)]);
  const opened = await Promise.all(Array.from({ length: connections }, () => open(port)));
  for (let n = 0; n < calls; n++) {
    const stream = 1 + 2 * Math.floor(n / connections);
    const headers = { ...session, "hawser-session": newId(), "hawser-attach": "1" };
    opened[n % connections]?.write(request(stream, "Subscribe", headers), data(stream, frames));
  }
  return all(opened);
}

/** Cancels sessions that never existed, on one connection. */
export async function cancelInventedSessions(port: number, count: number): Promise<void> {
  const session = { ...(await sessionHeaders(port)), "hawser-attach": "2", "hawser-cancel": "1" };
  await using connection = await open(port);
  const atOnce = 500;
  for (let n = 0; n < count; n++) {
    if (n % atOnce === 0) await connection.ended(n);
    const headers = { ...session, "hawser-session": newId() };
    connection.write(request(1 + 2 * n, "Chat", headers, true));
  }
  await connection.ended(count);
}

/** A gzip message of Collect that inflates to `bytes`. */
export function bomb(bytes: number): Buffer {
  return envelope(gzipSync(text("x".repeat(bytes - 5)), { level: 9 }), 1);
}

/** Sends `message` again and again, `bytes` in all, as fast as flow control lets it; each stream is a call of Collect. */
export async function flood(
  port: number,
  message: Buffer,
  { bytes, connections, streams }: { bytes: number; connections: number; streams: number },
): Promise<{ answered: Promise<unknown> } & AsyncDisposable> {
  const peers: Peer[] = [];
  const answered: Promise<void>[] = [];
  const each = Math.ceil(bytes / connections / streams / message.length);
  const content = Buffer.concat(new Array(each).fill(message));
  for (let n = 0; n < connections; n++) {
    const peer = await dial(port);
    peers.push(peer);
    for (let stream = 1; stream < 2 * streams; stream += 2) {
      peer.write(request(stream, "Collect", { "grpc-encoding": "gzip" }));
      answered.push(send(peer, stream, content));
    }
  }
  // The client may be disposed while it sends.
  return { answered: Promise.allSettled(answered), ...all(peers) };
}

async function send(peer: Peer, stream: number, content: Buffer): Promise<void> {
  await peer.flow(stream, content);
  peer.write(data(stream, undefined, true));
  await peer.ended(stream);
}

function all(connections: readonly AsyncDisposable[]): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      await Promise.all(connections.map((one) => one[Symbol.asyncDispose]()));
    },
  };
}
