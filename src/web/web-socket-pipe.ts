import type { BytePipe, PipeListener } from "../connection/byte-pipe.ts";
import { runtime } from "../flow/runtime.ts";
import { startTimer } from "../flow/wait.ts";
import { writes } from "./runtime.ts";

/** The largest frame. Smaller ones cost more for each byte, and larger ones stop what follows for longer. */
const FRAME_BYTES = 64 * 1024;

/** The most bytes that the socket may hold. With a quarter of it, 16 streams of 1 KiB messages have half the rate. */
const FULL_BYTES = 1024 * 1024;

/** The interval in which the socket is asked whether it holds fewer bytes: there is no event. With 16 ms the rate is half. */
const LOOK_MS = 2;

/**
 * What answers a message up to this size leaves at once, unless more was written last: who sends much needs large frames, and
 * each small one would be answered by another small one.
 */
const SMALL_BYTES = 4 * 1024;

/** The codes of a peer that closes in order: normal, going away, and none (RFC 6455, 7.4.1). */
const IN_ORDER: readonly number[] = [1000, 1001, 1005];

/**
 * An open WebSocket as a BytePipe. A WebSocket cannot be paused: what it receives meanwhile is kept, and the windows of
 * HTTP/2 limit it.
 */
export class WebSocketPipe implements BytePipe {
  readonly maxWaitingBytes = FULL_BYTES;
  bytesRead = 0;
  readonly #socket: WebSocket;
  #listener!: PipeListener;
  /** Whether the socket holds so much that it is asked in intervals, until it holds less. */
  #isFull = false;
  #isTimerSet = false;
  #lastWrittenBytes = 0;
  #isPaused = false;
  /** What was received during a pause, and is not delivered yet. */
  #kept: Uint8Array[] = [];
  /** Whether #deliver() is scheduled. */
  #isDelivering = false;
  /** Set when no more can be received: why. */
  #end: { readonly error: unknown } | undefined;
  #isClosed = false;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
  }

  /** A WebSocket copies what it is given, so that only backpressure depends on what it holds. */
  get waitingBytes(): number {
    return this.#isFull ? this.#socket.bufferedAmount : 0;
  }

  start(listener: PipeListener): void {
    const socket = this.#socket;
    this.#listener = listener;
    socket.onmessage = ({ data }) => this.#onMessage(data);
    socket.onclose = ({ code, reason }) => {
      const why = `WebSocket closed with code ${code}${reason && `: ${reason}`}`;
      this.#onEnd(IN_ORDER.includes(code) ? undefined : new Error(why));
    };
  }

  #onMessage(data: unknown): void {
    if (!(data instanceof ArrayBuffer)) {
      this.#leave();
      this.#onEnd(new Error("the server sent text where HTTP/2 is bytes"));
      return;
    }
    const bytes = new Uint8Array(data);
    this.bytesRead += bytes.length;
    if (Math.max(bytes.length, this.#lastWrittenBytes) <= SMALL_BYTES) writes.expectAnswer();
    if (this.#isPaused || this.#kept.length > 0) this.#kept.push(bytes);
    else this.#listener.onReceived(bytes);
    // A hidden tab's timers run once a second.
    if (this.#isFull) this.#look();
  }

  #onEnd(error: unknown): void {
    this.#end ??= { error };
    this.#isFull = false;
    if (!this.#isPaused && this.#kept.length === 0) this.#deliver();
  }

  /** Delivers what was received during a pause, unless there is another; and then the end, if that has come. */
  readonly #deliver = (): void => {
    this.#isDelivering = false;
    while (!this.#isPaused && this.#kept.length > 0) {
      this.#listener.onReceived(this.#kept.shift() as Uint8Array);
    }
    if (this.#end === undefined || this.#isClosed || this.#isPaused) return;
    this.#isClosed = true;
    this.#listener.onEnd(this.#end.error);
    this.#listener.onClosed();
  };

  write(bytes: Uint8Array): boolean {
    const socket = this.#socket;
    if (socket.readyState !== WebSocket.OPEN) return false;
    this.#lastWrittenBytes = bytes.length;
    for (let at = 0; at < bytes.length; at += FRAME_BYTES) {
      // Hawser has no bytes in shared memory.
      socket.send(bytes.subarray(at, at + FRAME_BYTES) as Uint8Array<ArrayBuffer>);
    }
    if (!this.#isFull && socket.bufferedAmount >= FULL_BYTES) {
      this.#isFull = true;
      this.#setTimer();
    }
    return true;
  }

  #setTimer(): void {
    if (this.#isTimerSet) return;
    this.#isTimerSet = true;
    startTimer(LOOK_MS, this.#onTimer);
  }

  readonly #onTimer = (): void => {
    this.#isTimerSet = false;
    if (this.#isFull) this.#look();
    if (this.#isFull) this.#setTimer();
  };

  #look(): void {
    if (this.#socket.bufferedAmount > FULL_BYTES / 2) return;
    this.#isFull = false;
    this.#listener.onWritten();
  }

  pauseReading(): void {
    this.#isPaused = true;
  }

  resumeReading(): void {
    this.#isPaused = false;
    if (this.#isDelivering || (this.#kept.length === 0 && this.#end === undefined)) return;
    this.#isDelivering = true;
    runtime.inLaterTurn(this.#deliver);
  }

  end(): void {
    this.#socket.close();
  }

  /** The peer may be dead, and never answer the closing handshake: the socket is left to itself. */
  destroy(): void {
    if (this.#isClosed) return;
    this.#leave();
    this.#kept = [];
    this.#isPaused = false;
    queueMicrotask(() => this.#onEnd(undefined));
  }

  #leave(): void {
    const socket = this.#socket;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /** An open WebSocket always keeps a process of Node alive; in a page there is nothing to keep. */
  keepAlive(): void {}
}
