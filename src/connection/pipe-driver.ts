import { runtime } from "../flow/runtime.ts";
import { startTimer } from "../flow/wait.ts";
import type { ConnectionEnd, Http2Connection, OutputBuffers } from "../http2/types.ts";
import type { BytePipe, PipeListener } from "./byte-pipe.ts";
import { pullAll } from "./scheduled-pulls.ts";

/** After this side has ended, the peer may take this long to end its side. Then the pipe is destroyed. */
const LINGER_MS = 1000;

/** After a connection was closed in order, a slow peer may take this long for what was written before: 13 KB/s suffice. */
const LEAVE_MS = 10_000;

/** The client's or the server's connection, as its PipeDriver sees it. */
export interface PipeOwner {
  /**
   * Called when the pipe has ended or is lost, before the HTTP/2 connection learns of it: the errors of its streams can
   * so name the reason. `error` is `undefined` if the peer has ended the pipe.
   */
  onPipeEnd(error: unknown): void;
  /** Called once, last: the pipe is closed in both directions. */
  onPipeClosed(): void;
}

/**
 * Moves bytes between one HTTP/2 connection and its pipe. Received bytes go to the connection at once. What is to be
 * sent is written once in a turn of the event loop, after its microtasks: the answers of all streams to one received
 * chunk are one write. While the pipe holds an earlier write, what is to be sent collects in the output. A full output
 * buffer is written immediately.
 */
export class PipeDriver implements PipeListener {
  readonly #pipe: BytePipe;
  readonly #buffers: OutputBuffers;
  readonly #owner: PipeOwner;
  #connection!: Http2Connection;
  /** What was written in buffers that the pipe still needs, and how many bytes that is. */
  readonly #held: Uint8Array[] = [];
  #heldBytes = 0;
  #isWriteScheduled = false;
  #isBlocked = false;
  /** Whether the HTTP/2 connection is closed: nothing is received or written any more. */
  #isFinished = false;
  #isClosed = false;
  #destroysWhenWritten = false;
  #linger: Disposable | undefined;
  readonly #writeScheduled = (): void => {
    // What streams wait to write goes into the same write.
    pullAll();
    this.#isWriteScheduled = false;
    if (this.#pipe.waitingBytes === 0) this.writeNow();
  };

  constructor(pipe: BytePipe, buffers: OutputBuffers, owner: PipeOwner) {
    this.#pipe = pipe;
    this.#buffers = buffers;
    this.#owner = owner;
  }

  /** Begins to read. The listener of `connection` must call scheduleWrite(), writeNow() and finish(). */
  start(connection: Http2Connection): void {
    this.#connection = connection;
    this.#pipe.start(this);
    if (connection.hasOutput) this.scheduleWrite();
  }

  /**
   * Writes what there is to write after the microtasks of this turn, or as soon as the pipe holds nothing: to be called by
   * onOutput().
   */
  scheduleWrite(): void {
    if (this.#isWriteScheduled || this.#isFinished) return;
    this.#isWriteScheduled = true;
    runtime.afterMicrotasks(this.#writeScheduled);
  }

  /**
   * Writes what there is to write: to be called by onFull(). While the connection is blocked its control frames stay in
   * its output, which limits them: a peer that does not read may provoke any number.
   */
  writeNow(): void {
    if (!this.#isFinished && !this.#isBlocked) this.#write();
  }

  /** Writes what is left, and ends the pipe: to be called by onClosed(). */
  finish(by: ConnectionEnd["by"]): void {
    if (this.#isFinished) return;
    this.#write();
    this.#isFinished = true;
    this.#pipe.end();
    const mustLeave = by === "closed" && this.#pipe.waitingBytes > 0;
    this.#destroyAfter(mustLeave ? LEAVE_MS : LINGER_MS);
  }

  /** Closes the pipe as soon as it holds nothing that was written. To be called after finish(). */
  destroyWhenWritten(): void {
    this.#destroysWhenWritten = true;
    if (this.#pipe.waitingBytes === 0) this.#pipe.destroy();
    else this.#destroyAfter(LINGER_MS);
  }

  // PipeListener: called by the pipe.

  onReceived(bytes: Uint8Array): void {
    if (!this.#isFinished) this.#connection.receive(bytes);
  }

  onWritten(): void {
    const { waitingBytes } = this.#pipe;
    this.#giveBackBuffers(waitingBytes);
    if (waitingBytes > 0) return;
    if (this.#destroysWhenWritten) this.#pipe.destroy();
    else if (this.#isFinished) this.#destroyAfter(LINGER_MS);
    else if (this.#isBlocked) {
      this.#isBlocked = false;
      this.#connection.unblock();
      this.#write();
    } else if (this.#connection.hasOutput) this.scheduleWrite();
  }

  onEnd(error: unknown): void {
    this.#owner.onPipeEnd(error);
    if (!this.#isFinished) this.#connection.endOfInput();
  }

  onClosed(): void {
    this.#isClosed = true;
    this.#linger?.[Symbol.dispose]();
    this.#giveBackBuffers(0);
    this.#owner.onPipeClosed();
  }

  #destroyAfter(ms: number): void {
    this.#linger?.[Symbol.dispose]();
    if (!this.#isClosed) this.#linger = startTimer(ms, () => this.#pipe.destroy());
  }

  #write(): void {
    const connection = this.#connection;
    for (let bytes = connection.take(); bytes !== undefined; bytes = connection.take()) {
      this.#writeBytes(bytes);
    }
    const { waitingBytes } = this.#pipe;
    this.#giveBackBuffers(waitingBytes);
    if (waitingBytes >= this.#pipe.maxWaitingBytes && !this.#isBlocked) {
      this.#isBlocked = true;
      connection.block();
    }
  }

  #writeBytes(bytes: Uint8Array): void {
    if (!this.#pipe.write(bytes)) {
      this.#buffers.giveBack(bytes);
      return;
    }
    this.#held.push(bytes);
    this.#heldBytes += bytes.length;
  }

  /** Gives back the buffers of which the pipe holds nothing. It holds the last `waitingBytes` of what was written. */
  #giveBackBuffers(waitingBytes: number): void {
    const held = this.#held;
    let count = 0;
    for (; count < held.length; count++) {
      const bytes = held[count] as Uint8Array;
      if (this.#heldBytes - bytes.length < waitingBytes) break;
      this.#heldBytes -= bytes.length;
      this.#buffers.giveBack(bytes);
    }
    if (count === held.length) held.length = 0;
    else if (count > 0) held.splice(0, count);
  }
}
