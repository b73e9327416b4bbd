/** A client that writes frames to a socket, and reads as little as it can of the answers. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout } from "node:timers/promises";
import { type Frame, FrameSplitter } from "../support/frame-splitter.ts";
import {
  BINARY,
  MessageSplitter,
  requestText,
  upgradeHeaders,
  frame as webSocketFrame,
} from "../support/raw-web-socket.ts";
import { Flag, frame, PREFACE, settings, Type } from "../support/wire.ts";

const ACK = frame(Type.SETTINGS, Flag.ACK, 0);

const GREETING: readonly Uint8Array[] = [PREFACE, settings(), ACK];

export class RawClient implements AsyncDisposable {
  readonly #socket: Socket;
  readonly #splitter = new FrameSplitter();
  readonly #answered = new Set<number>();
  /** Set if the connection is a WebSocket. */
  #messages: MessageSplitter | undefined;
  /** The code of the server's GOAWAY. */
  goaway: number | undefined;
  /** How many streams the server has ended, or reset. */
  ended = 0;
  resets = 0;
  sentBytes = 0;
  /** Bytes of data that have arrived, padding included. */
  dataBytes = 0;
  pingAnswers = 0;
  settingsAnswers = 0;
  /** Called with each frame of data. */
  onData: (stream: number, payload: Buffer) => void = () => {};
  /** Called when the server takes more data on a stream, or, for stream 0, on the connection. */
  onWindow: (stream: number, bytes: number) => void = () => {};
  /** Called when the server has ended a stream, or has reset it. */
  onEnd: (stream: number) => void = () => {};
  /** Called when the connection is closed. */
  onClosed: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("error", () => {});
    socket.on("close", () => this.onClosed());
    socket.on("data", (chunk) => {
      for (const bytes of this.#messages?.read(chunk) ?? [chunk]) {
        for (const frame of this.#splitter.read(bytes)) this.#take(frame);
      }
    });
  }

  /** @param localAddress a loopback address of the client. Default: the system chooses it */
  static async connect(
    port: number,
    greeting: readonly Uint8Array[] = GREETING,
    localAddress?: string,
  ) {
    const socket = connect({
      ...{ port, host: "127.0.0.1", noDelay: true },
      ...(localAddress !== undefined && { localAddress }),
    });
    await once(socket, "connect");
    const client = new RawClient(socket);
    if (greeting.length > 0) client.write(...greeting);
    return client;
  }

  /** Asks for a WebSocket at "/hawser", and sends the greeting in it, without waiting for the answer. */
  static async openWebSocket(
    port: number,
    greeting: readonly Uint8Array[] = GREETING,
    localAddress?: string,
  ) {
    const asking = Buffer.from(requestText("/hawser", upgradeHeaders()));
    const client = await RawClient.connect(port, [asking], localAddress);
    client.#messages = new MessageSplitter();
    if (greeting.length > 0) client.write(...greeting);
    return client;
  }

  /** Whether the server has answered the request for a WebSocket. */
  get hasWebSocketAnswer(): boolean {
    return this.#messages?.hasAnswer ?? false;
  }

  /** On how many streams the server has sent headers. */
  get answers(): number {
    return this.#answered.size;
  }

  get isClosed(): boolean {
    return this.#socket.closed || this.#socket.readableEnded;
  }

  /** Resolves when the server has closed the connection; with false if it has not after `ms`. */
  async closed(ms: number): Promise<boolean> {
    const until = performance.now() + ms;
    while (!this.isClosed && performance.now() < until) await setTimeout(5);
    return this.isClosed;
  }

  /** Writes bytes of HTTP/2: in a WebSocket, each part in a message of its own. */
  write(...parts: readonly Uint8Array[]): void {
    if (this.#messages === undefined) this.writeRaw(...parts);
    else this.writeRaw(...parts.map((payload) => webSocketFrame({ opcode: BINARY, payload })));
  }

  /** Writes bytes as they are. */
  writeRaw(...parts: readonly Uint8Array[]): void {
    if (!this.#socket.writable) return;
    const bytes = Buffer.concat(parts);
    this.sentBytes += bytes.length;
    this.#socket.write(bytes);
  }

  /** Resolves when the kernel has taken all that was written. */
  async flushed(): Promise<void> {
    while (this.#socket.writableLength > 0 && !this.isClosed) await setTimeout(1);
  }

  async until(condition: () => boolean, ms = 60_000): Promise<boolean> {
    const end = performance.now() + ms;
    while (!condition()) {
      if (this.isClosed || performance.now() > end) return false;
      await setTimeout(1);
    }
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#socket.closed) return;
    const closed = once(this.#socket, "close");
    this.#socket.destroy();
    await closed;
  }

  #take({ type, flags, stream, payload }: Frame): void {
    if (type === Type.GOAWAY) this.goaway = payload.readUInt32BE(4);
    else if (type === Type.WINDOW_UPDATE) this.onWindow(stream, payload.readUInt32BE(0));
    else if (type === Type.RST_STREAM) {
      this.resets++;
      this.onEnd(stream);
    } else if (type === Type.SETTINGS && (flags & Flag.ACK) !== 0) this.settingsAnswers++;
    else if (type === Type.PING && (flags & Flag.ACK) !== 0) this.pingAnswers++;
    else if (type === Type.DATA) {
      this.dataBytes += payload.length;
      this.onData(stream, payload);
    }
    if (type === Type.HEADERS) this.#answered.add(stream);
    const endsStream = type === Type.DATA || type === Type.HEADERS;
    if (!endsStream || (flags & Flag.END_STREAM) === 0) return;
    this.ended++;
    this.onEnd(stream);
  }
}
