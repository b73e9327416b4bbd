/**
 * A gRPC client that uses little CPU: Hawser's HTTP/2 engine without Hawser's call layer, for calls of one method. It counts
 * messages and does not decode them.
 */
import { connect } from "node:net";
import { PipeDriver, type PipeOwner } from "../../../src/connection/pipe-driver.ts";
import { realClock } from "../../../src/flow/clock.ts";
import { createOutputBuffers } from "../../../src/http2/buffers.ts";
import { createConnection } from "../../../src/http2/connection.ts";
import type {
  ConnectionEnd,
  ConnectionListener,
  Http2Connection,
  Http2Stream,
  StreamListener,
} from "../../../src/http2/types.ts";
import { SocketPipe } from "../../../src/node/socket-pipe.ts";
import { CONTROL } from "../../../src/session/control.ts";
import "../../../src/node/runtime.ts";

const PREFIX_BYTES = 5;

/** The request of a call. */
export interface Request {
  /** The first message, if there is one. */
  readonly message?: Uint8Array;
  /** Whether the client half-closes after it. */
  readonly isLast: boolean;
  /** Names and values of headers, in addition to those of gRPC. */
  readonly headers?: readonly string[];
}

/** The listener of a call of a Connection. */
export interface CallOwner {
  /** Called when `count` more messages have become complete; the control frames of a session are none. */
  onMessages(count: number): void;
  /** Called with the received bytes, which are valid until it returns. */
  onBytes?(bytes: Uint8Array): void;
  /** Called when the server has ended the call. */
  onEnd?(): void;
}

export class Call implements StreamListener {
  stream!: Http2Stream;
  readonly #owner: CallOwner;
  readonly #onLost: (error: Error) => void;
  #prefix = 0;
  #flags = 0;
  #length = 0;

  constructor(owner: CallOwner, onLost: (error: Error) => void) {
    this.#owner = owner;
    this.#onLost = onLost;
  }

  send(request: Uint8Array): void {
    this.stream.writeMessage(0, request);
  }

  /** Sends a control frame of a session. */
  sendControl(control: Uint8Array): void {
    this.stream.writeMessage(CONTROL, control);
  }

  onHeaders(): void {}

  /** Counts the messages that end in these bytes. */
  onData(bytes: Uint8Array, start: number, end: number): void {
    this.stream.returnCredit(end - start);
    this.#owner.onBytes?.(bytes.subarray(start, end));
    let messages = 0;
    let at = start;
    while (at < end) {
      if (this.#prefix < PREFIX_BYTES) {
        const byte = bytes[at++] as number;
        if (this.#prefix++ === 0) this.#flags = byte;
        else this.#length = this.#length * 256 + byte;
        if (this.#prefix < PREFIX_BYTES) continue;
      }
      const taken = Math.min(this.#length, end - at);
      this.#length -= taken;
      at += taken;
      if (this.#length > 0) continue;
      this.#prefix = 0;
      if (this.#flags !== CONTROL) messages++;
    }
    if (messages > 0) this.#owner.onMessages(messages);
  }

  onTrailers(): void {}

  onEnd(): void {
    this.#owner.onEnd?.();
  }

  onDrain(): void {}

  onClosed({ by, reason }: { by: string; reason: string }): void {
    if (by !== "ended") this.#onLost(new Error(`a call was closed (${by}) ${reason}`));
  }
}

/** Output of all connections of the process. */
const buffers = createOutputBuffers();

export class Connection implements ConnectionListener, PipeOwner {
  readonly #engine: Http2Connection;
  readonly #driver: PipeDriver;
  readonly #pipe: SocketPipe;
  readonly #headers: readonly string[];
  readonly #onLost: (error: Error) => void;
  #closed = false;

  constructor(address: string, path: string, onLost: (error: Error) => void) {
    this.#onLost = (error) => {
      if (!this.#closed) onLost(new Error(`${path}: ${error.message}`));
      this.#closed = true;
    };
    this.#headers = [
      ...[":method", "POST", ":scheme", "http", ":path", path, ":authority", address],
      ...["content-type", "application/grpc", "te", "trailers"],
    ];
    const [host, port] = address.split(":");
    this.#pipe = new SocketPipe(connect({ host, port: Number(port), noDelay: true }));
    this.#driver = new PipeDriver(this.#pipe, buffers, this);
    // The window of Hawser's client for a stream that reads what it gets.
    const streamWindowBytes = 256 * 1024;
    this.#engine = createConnection(
      { role: "client", clock: realClock, buffers, streamWindowBytes },
      this,
    );
    this.#driver.start(this.#engine);
  }

  /** Opens a call. */
  open({ message, isLast, headers = [] }: Request, owner: CallOwner): Call {
    const call = new Call(owner, this.#onLost);
    call.stream = this.#engine.open([...this.#headers, ...headers], call);
    if (message !== undefined) call.send(message);
    if (isLast) call.stream.end();
    return call;
  }

  close(): void {
    this.#closed = true;
    this.#pipe.destroy();
  }

  onRequest(): undefined {}

  onOutput(): void {
    this.#driver.scheduleWrite();
  }

  onFull(): void {
    this.#driver.writeNow();
  }

  onSettings(): void {}

  onGoaway(): void {
    this.#onLost(new Error("the server sent GOAWAY"));
  }

  onClosed({ by, reason }: ConnectionEnd): void {
    this.#driver.finish(by);
    this.#onLost(new Error(`the connection was closed (${by}) ${reason}`));
  }

  onPipeEnd(): void {}

  onPipeClosed(): void {}
}
