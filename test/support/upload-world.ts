import type { CallStream, CallStreamListener, Received } from "../../src/call-stream.ts";
import type { ConnectionMemory } from "../../src/connection/connection-memory.ts";
import { MessageStream } from "../../src/connection/message-stream.ts";
import type { ControlFrames } from "../../src/grpc/framing.ts";
import { createOutputBuffers } from "../../src/http2/buffers.ts";
import { createConnection } from "../../src/http2/connection.ts";
import type {
  ConnectionListener,
  Http2Connection,
  Http2Stream,
  StreamListener,
} from "../../src/http2/types.ts";
import { request } from "../http2/support/pair.ts";
import { budgetWorld } from "./budget-world.ts";

const KB = 1024;
const MB = 1024 * KB;

/** About two packets of an Ethernet. */
const PACKET_BYTES = 3000;

/** What happens on a stream or a connection that a test does not look at. */
const ignored = {
  onHeaders() {},
  onTrailers() {},
  onEnd() {},
  onDrain() {},
  onData() {},
  onClosed() {},
  onOutput() {},
  onFull() {},
  onSettings() {},
  onGoaway() {},
};

interface Packet {
  readonly dueAtMs: number;
  readonly bytes: Uint8Array;
}

/** One direction of the link: bytes arrive in order, at its speed, and after its delay. */
class Direction {
  readonly #delayMs: number;
  readonly #bytesPerMs: number;
  readonly #underWay: Packet[] = [];
  #freeAtMs = 0;

  constructor(delayMs: number, bytesPerMs: number) {
    this.#delayMs = delayMs;
    this.#bytesPerMs = bytesPerMs;
  }

  send(from: Http2Connection, now: number): void {
    for (let bytes = from.take(); bytes !== undefined; bytes = from.take()) {
      for (let at = 0; at < bytes.length; at += PACKET_BYTES) {
        const packet = bytes.subarray(at, at + PACKET_BYTES);
        this.#freeAtMs = Math.max(this.#freeAtMs, now) + packet.length / this.#bytesPerMs;
        this.#underWay.push({ dueAtMs: this.#freeAtMs + this.#delayMs, bytes: packet });
      }
    }
  }

  deliver(to: Http2Connection, now: number): void {
    let count = 0;
    for (const { dueAtMs, bytes } of this.#underWay) {
      if (dueAtMs > now) break;
      to.receive(bytes);
      count++;
    }
    this.#underWay.splice(0, count);
  }
}

/** A stream at the client: sends as much as it may, or as much as it is offered. */
class Sender {
  readonly #stream: Http2Stream;
  readonly #message: Uint8Array;
  #offeredBytes = 0;
  isPaused = false;

  constructor(connection: Http2Connection, messageBytes: number) {
    this.#message = new Uint8Array(messageBytes);
    this.#stream = connection.open(request(), ignored);
  }

  offer(bytes: number): void {
    this.#offeredBytes = bytes === Number.POSITIVE_INFINITY ? bytes : this.#offeredBytes + bytes;
    const { length } = this.#message;
    while (!this.isPaused && this.#offeredBytes >= length && this.#stream.waitingBytes === 0) {
      this.#offeredBytes -= length;
      this.#stream.writeMessage(0, this.#message);
    }
  }
}

/** A stream at the server, whose application takes each message at once. */
class Receiver extends MessageStream implements StreamListener {
  readonly #isPaced: boolean;
  received = 0;
  windowBytes = 65_535;
  protected readonly listener: CallStreamListener<CallStream> = {
    onMessage: ({ start, end }: Received) => {
      this.received += end - start;
      if (this.#isPaced) this.taken(end - start);
    },
    onInvalid() {},
    onClosed() {},
  };

  constructor(stream: Http2Stream, memory: ConnectionMemory, controlFrames?: ControlFrames) {
    super({ memory, readMaxBytes: MB, controlFrames });
    this.#isPaced = controlFrames === undefined;
    const setWindow = stream.setWindow.bind(stream);
    stream.setWindow = (bytes) => {
      this.windowBytes = bytes;
      setWindow(bytes);
    };
    this.attach(stream);
  }

  protected refuseInput(error: unknown): void {
    throw error;
  }

  reset(): void {}

  readonly onHeaders = ignored.onHeaders;
  readonly onTrailers = ignored.onTrailers;
  readonly onEnd = ignored.onEnd;
  readonly onClosed = ignored.onClosed;
}

export interface UploadOptions {
  readonly roundTripMs: number;
  /** The speed of the link. */
  readonly bytesPerMs: number;
  /** What each stream has to send. Default: more than the link takes. */
  readonly offeredPerMs?: number;
  /** Of a session. */
  readonly controlFrames?: ControlFrames | undefined;
  /** Default: 64 KiB. */
  readonly messageBytes?: number;
  /** The budget of the server's connection. Default: 16 MiB. */
  readonly budgetBytes?: number;
  /** Default: 1. */
  readonly streams?: number;
}

/** A client that uploads to a server over a link with a delay: two engines without sockets, and a clock of their own. */
export function upload({
  roundTripMs,
  bytesPerMs,
  controlFrames,
  offeredPerMs = Number.POSITIVE_INFINITY,
  messageBytes = 64 * KB,
  budgetBytes = 16 * MB,
  streams = 1,
}: UploadOptions) {
  const { clock, connect } = budgetWorld(budgetBytes);
  const { memory } = connect();
  const receivers: Receiver[] = [];
  const senders: Sender[] = [];
  let pings = 0;
  const serverListener: ConnectionListener = {
    ...ignored,
    onRequest(stream) {
      const receiver = new Receiver(stream, memory, controlFrames);
      receivers.push(receiver);
      return receiver;
    },
  };
  const shared = { clock, buffers: createOutputBuffers() };
  const clientListener: ConnectionListener = { ...ignored, onRequest: () => undefined };
  const client = createConnection({ role: "client", ...shared }, clientListener);
  const server = createConnection({ role: "server", ...shared }, serverListener);
  const ping = server.ping.bind(server);
  server.ping = (onAnswer) => {
    pings++;
    ping(onAnswer);
  };
  const up = new Direction(roundTripMs / 2, bytesPerMs);
  const down = new Direction(roundTripMs / 2, bytesPerMs);
  const open = () => void senders.push(new Sender(client, messageBytes));
  for (let n = 0; n < streams; n++) open();
  const windows = () => receivers.map(({ windowBytes }) => windowBytes);
  return {
    open,
    windows,
    /** The windows of all streams together. */
    windowBytes: () => windows().reduce((sum, bytes) => sum + bytes, 0),
    received: () => receivers.reduce((sum, { received }) => sum + received, 0),
    pings: () => pings,
    /** The streams that are open send no more. */
    pause() {
      for (const sender of senders) sender.isPaused = true;
    },
    /** Lets time pass, in steps of a quarter of a millisecond. */
    pass(ms: number) {
      for (let step = 0; step < ms * 4; step++) {
        for (const sender of senders) sender.offer(offeredPerMs / 4);
        up.send(client, clock.now());
        down.send(server, clock.now());
        clock.pass(0.25);
        up.deliver(server, clock.now());
        down.deliver(client, clock.now());
      }
    },
  };
}
