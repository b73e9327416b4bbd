import type { Socket } from "node:net";
import type { WebSocket } from "ws";
import type { PipeListener } from "../../connection/byte-pipe.ts";
import { AbuseBudget, type Flood } from "../../http2/abuse.ts";
import type { EngineClock } from "../../http2/types.ts";
import { maxWaitingBytesOf, NOTHING } from "../socket-pipe.ts";
import {
  type CountedPipe,
  type CountingConnection,
  UnfinishedMessage,
} from "./unfinished-message.ts";

/** What is received in a turn of the event loop is delivered as soon as it is this many bytes, or this many messages. */
const DELIVERED_BYTES = 64 * 1024;
const DELIVERED_MESSAGES = 512;

/** The largest message that is sent. A page gets a message when it is whole: over a slow link that takes long. */
const SENT_BYTES = 64 * 1024;

/** A message with fewer bytes cannot hold a frame of HTTP/2, whose head has nine. */
const LEAST_MESSAGE_BYTES = 9;

/** After the end of this side this much is read, for the peer's answer. The rest is left in the network, as is that of a flood. */
const LATE_BYTES = 256 * 1024;

// Codes of close frames (RFC 6455, 7.4.1).
const GOING_AWAY = 1001;
const UNSUPPORTED_DATA = 1003;
const POLICY_VIOLATION = 1008;
const TRY_AGAIN_LATER = 1013;

/** The reason in a close frame has at most 123 bytes. */
const OVER_BUDGET = "a message is not complete, and the budget of unread bytes is used up";

/** The value of WebSocket.readyState while bytes may be sent. */
const OPEN = 1;

const BINARY = { binary: true };

/** What a pipe needs beside its WebSocket. */
export interface WebSocketPipeInit {
  /** The socket of the WebSocket. */
  readonly socket: Socket;
  readonly clock: EngineClock;
  /**
   * How many units of work without use the peer may cause, beside those that HTTP/2 counts (src/http2/abuse.ts): a PING, a PONG,
   * an empty message, and a fragment with less than nine bytes that is not the last one are one unit each, a message with less
   * than nine bytes two.
   */
  readonly abuseBudget: number;
}

/**
 * An open WebSocket as a BytePipe. Its binary messages are the bytes of HTTP/2, in order; where one ends means nothing. A text
 * message closes it.
 */
export class WebSocketPipe implements CountedPipe {
  readonly #webSocket: WebSocket;
  readonly #socket: Socket;
  readonly #budget: AbuseBudget;
  readonly #unfinished = new UnfinishedMessage(this);
  readonly maxWaitingBytes: number;
  #listener: PipeListener | undefined;
  /** The messages that were received in this turn of the event loop, and are not delivered yet. */
  #messages: Uint8Array[] = [];
  #messageBytes = 0;
  #isDeliveryScheduled = false;
  #hasEnded = false;
  /** Whether this side has ended the WebSocket, and the bytes that have come since. */
  #isEnding = false;
  #lateBytes = 0;
  #isClosed = false;
  /** Whether destroy() was called: nothing is delivered any more. */
  #isDestroyed = false;
  readonly #onWritten = (): void => this.#listener?.onWritten();

  constructor(webSocket: WebSocket, { socket, clock, abuseBudget }: WebSocketPipeInit) {
    this.#webSocket = webSocket;
    this.#socket = socket;
    this.#budget = new AbuseBudget(clock, abuseBudget);
    this.maxWaitingBytes = maxWaitingBytesOf(socket);
  }

  get bytesRead(): number {
    return this.#socket.bytesRead;
  }

  /** The heads of messages count too: so it is never less than the bytes that write() was given. */
  get waitingBytes(): number {
    return this.#isClosed ? 0 : this.#socket.writableLength;
  }

  countIn(connection: CountingConnection): void {
    this.#unfinished.countIn(connection);
  }

  start(listener: PipeListener): void {
    const webSocket = this.#webSocket;
    this.#listener = listener;
    // After the listener of `ws`.
    this.#socket.on("data", (chunk) => this.#onRead(chunk));
    // `ws` reports neither the end of a socket nor the reason of its loss. It ends its own side when it has answered a close
    // frame: a peer need not close its socket then.
    this.#socket.on("end", () => this.#end());
    this.#socket.on("finish", () => this.#end());
    this.#socket.on("error", (error) => this.#end(error));
    webSocket.on("error", (error) => this.#end(error));
    webSocket.on("close", () => {
      this.#isClosed = true;
      this.#end();
      listener.onClosed();
    });
    webSocket.on("ping", (data) => {
      if (!this.#spend("too_many_pings")) return;
      // A peer that does not read gets no answer: it may ping as long as it likes.
      if (this.waitingBytes < this.maxWaitingBytes) webSocket.pong(data);
    });
    webSocket.on("pong", () => this.#spend("too_many_pings"));
    webSocket.on("message", (data: Buffer, isBinary) => {
      if (isBinary) this.#onMessage(data);
      else this.#fail(UNSUPPORTED_DATA, "a text message, and only binary ones are taken");
    });
  }

  #onRead(chunk: Uint8Array): void {
    if (this.#isEnding) this.#lateBytes += chunk.length;
    if (this.#lateBytes > LATE_BYTES) this.#webSocket.pause();
    if (this.#hasEnded) return;
    // After a close frame `ws` reads no more.
    if (this.#webSocket.readyState !== OPEN) this.#unfinished.drop();
    else {
      const tinyFragments = this.#unfinished.onRead(chunk);
      if (tinyFragments > 0) this.#spend("too_many_tiny_data_frames", tinyFragments);
    }
  }

  #onMessage(bytes: Uint8Array): void {
    if (this.#hasEnded) return;
    if (bytes.length < LEAST_MESSAGE_BYTES) {
      const isAllowed = this.#spend("too_many_tiny_data_frames", bytes.length === 0 ? 1 : 2);
      if (!isAllowed || bytes.length === 0) return;
    }
    this.#messages.push(bytes);
    this.#messageBytes += bytes.length;
    const isFull = this.#messages.length >= DELIVERED_MESSAGES;
    if (isFull || this.#messageBytes >= DELIVERED_BYTES) this.#deliver();
    else if (!this.#isDeliveryScheduled) {
      this.#isDeliveryScheduled = true;
      setImmediate(deliverScheduled, this);
    }
  }

  /** For deliverScheduled(). */
  deliverNow(): void {
    this.#isDeliveryScheduled = false;
    this.#deliver();
  }

  /** Delivers the messages of this turn as one piece: a read of the socket may bring thousands of small ones. */
  #deliver(): void {
    const messages = this.#messages;
    const [first] = messages;
    if (first === undefined) return;
    const bytes = messages.length === 1 ? first : Buffer.concat(messages, this.#messageBytes);
    this.#messages = [];
    this.#messageBytes = 0;
    if (!this.#isDestroyed) this.#listener?.onReceived(bytes);
  }

  /** Spends units of the budget for floods. Returns false, and closes the WebSocket, if none are left. */
  #spend(flood: Flood, units = 1): boolean {
    if (this.#hasEnded) return false;
    try {
      this.#budget.spend(flood, units);
      return true;
    } catch (error) {
      this.#fail(POLICY_VIOLATION, (error as Error).message);
      return false;
    }
  }

  #fail(code: number, reason: string): void {
    if (this.#hasEnded) return;
    this.#lateBytes = Number.POSITIVE_INFINITY;
    this.#webSocket.close(code, reason);
    // The WebSocket has failed: nothing more is read, and no answer is waited for (RFC 6455, 7.1.7).
    this.#webSocket.pause();
    this.#socket.end();
    this.#end(new Error(reason));
  }

  #end(error?: unknown): void {
    if (this.#hasEnded) return;
    this.#deliver();
    this.#hasEnded = true;
    this.#unfinished.drop();
    this.#listener?.onEnd(error);
  }

  write(bytes: Uint8Array): boolean {
    const webSocket = this.#webSocket;
    if (webSocket.readyState !== OPEN) return false;
    const socket = this.#socket;
    // One write for all.
    socket.cork();
    for (let at = 0; at < bytes.length; at += SENT_BYTES) {
      webSocket.send(bytes.subarray(at, at + SENT_BYTES), BINARY);
    }
    socket.uncork();
    // As SocketPipe: a callback of each write would cost a tick, also where the kernel has taken it already.
    if (socket.writableLength > 0) socket.write(NOTHING, this.#onWritten);
    return true;
  }

  /** For UnfinishedMessage. */
  endOverBudget(): void {
    this.#fail(TRY_AGAIN_LATER, OVER_BUDGET);
    this.destroy();
  }

  pauseReading(): void {
    this.#webSocket.pause();
  }

  resumeReading(): void {
    if (this.#lateBytes <= LATE_BYTES) this.#webSocket.resume();
  }

  end(): void {
    this.#isEnding = true;
    this.#webSocket.close(GOING_AWAY);
  }

  destroy(): void {
    this.#isDestroyed = true;
    this.#webSocket.terminate();
  }

  keepAlive(isNeeded: boolean): void {
    if (isNeeded) this.#socket.ref();
    else this.#socket.unref();
  }
}

/** One function for all pipes: an idle connection has no closure for it. */
function deliverScheduled(pipe: WebSocketPipe): void {
  pipe.deliverNow();
}
