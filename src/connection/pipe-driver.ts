import { runtime } from "../flow/runtime.ts";
import { slices } from "../flow/slice.ts";
import { startTimer } from "../flow/wait.ts";
import type { ConnectionEnd, Http2Connection, OutputBuffers } from "../http2/types.ts";
import type { BytePipe, PipeListener } from "./byte-pipe.ts";
import { pullAll } from "./scheduled-pulls.ts";
import { UnreadInput } from "./unread-input.ts";

/** After this side has ended, the peer may take this long to end its side. Then the pipe is destroyed. */
const LINGER_MS = 1000;

/** After a connection was closed in order, a slow peer may take this long for what was written before: 13 KB/s suffice. */
const LEAVE_MS = 10_000;

/** At most this many frames are handled before the microtasks that they cause. A call with one small request has two. */
const MAX_FRAMES_AT_ONCE = 128;

/** The same at first: the first frames of a connection may begin many calls and sessions. */
const FIRST_FRAMES_AT_ONCE = 16;

/** If the frames that were handled at once took longer than this, with their microtasks, the next time they are fewer. */
const LONGEST_MS = 2;

/**
 * After how much of the slice input waits for a later turn. It is more than that of pumps, because each pause costs: with
 * 4 ms, a server of 100 calls that send messages of 15 B took about a tenth more CPU, and with 8 ms nothing.
 */
const INPUT_SLICE_MS = 8;

/** The same while several connections receive: a peer that asks for little waits for the input of all others. */
const CROWDED_SLICE_MS = 3;

/** A chunk up to this size is handled when it arrives, also after the slice: a client that asks for little does not wait. */
const SMALL_BYTES = 512;

/** A chunk of this size may have thousands of messages in few frames, so it is measured how long they take. */
const LARGE_BYTES = 16 * 1024;

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
 * Moves bytes between one HTTP/2 connection and its pipe. Received bytes go to the connection at once, a number of frames
 * with their microtasks at a time, while the slice of this turn lasts. The rest waits for a later slice, with what other
 * connections have received, and meanwhile the pipe is not read.
 *
 * What is to be sent is written once in a turn of the event loop, after its microtasks: the answers of all streams to what
 * was handled in the turn are one write. While the pipe holds an earlier write, what is to be sent collects in the output. A
 * full output buffer is written immediately.
 */
export class PipeDriver implements PipeListener {
  readonly #pipe: BytePipe;
  readonly #buffers: OutputBuffers;
  readonly #owner: PipeOwner;
  #connection!: Http2Connection;
  /** What was written in buffers that the pipe still needs, and how many bytes that is. */
  readonly #held: Uint8Array[] = [];
  #heldBytes = 0;
  /** What was received and not handled, if there is something. */
  #unread: UnreadInput | undefined;
  #framesAtOnce = FIRST_FRAMES_AT_ONCE;
  /** The latest turn of the event loop in which this connection was counted as one that receives. */
  #latestTurn = -1;
  /** Whether #afterMicrotasks() is scheduled. */
  #isScheduled = false;
  #isBlocked = false;
  /** Whether the HTTP/2 connection is closed: nothing is received or written any more. */
  #isFinished = false;
  #isClosed = false;
  #destroysWhenWritten = false;
  #linger: Disposable | undefined;
  readonly #afterMicrotasks = (): void => {
    const unread = this.#unread;
    if (unread !== undefined && this.#mayContinue(unread)) {
      this.#handle(unread);
      runtime.afterMicrotasks(this.#afterMicrotasks);
      return;
    }
    // What streams wait to write goes into the same write.
    pullAll();
    this.#isScheduled = false;
    if (this.#pipe.waitingBytes === 0) this.writeNow();
    if (unread?.isEmpty) this.#endUnread();
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
    if (!this.#isFinished) this.#schedule();
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
    if (this.#isClosed) {
      this.#owner.onPipeClosed();
      return;
    }
    this.#endUnread();
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

  /** Closes the pipe now: nothing more is handled. */
  destroy(): void {
    this.#endUnread();
    this.#pipe.destroy();
  }

  /** Whether something was received that waits for its turn. */
  get hasUnread(): boolean {
    return this.#unread !== undefined;
  }

  // PipeListener: called by the pipe.

  onReceived(bytes: Uint8Array): void {
    if (this.#isFinished) return;
    if (this.#unread !== undefined) this.#unread.push(bytes);
    else if (bytes.length <= SMALL_BYTES) this.#connection.receive(bytes);
    else if (!slices.admitsInput) this.#connection.receive(bytes);
    else if (this.#hasSliceEnded()) this.#wait(this.#keep(bytes, 0));
    else {
      const beganMs = slices.elapsedMs;
      const at = this.#connection.receive(bytes, 0, this.#framesAtOnce);
      if (this.#isFinished || (at === bytes.length && at < LARGE_BYTES)) return;
      this.#keep(bytes, at).beganMs = beganMs;
      this.#schedule();
    }
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
    if (this.#unread !== undefined) this.#unread.onEnd = () => this.#endInput(error);
    else this.#endInput(error);
  }

  onClosed(): void {
    if (this.#unread !== undefined) {
      this.#unread.onClosed = () => this.onClosed();
      return;
    }
    this.#isClosed = true;
    this.#linger?.[Symbol.dispose]();
    this.#giveBackBuffers(0);
    // The streams of a connection that has ended may be closed in turns: then finish() reports the pipe after them.
    if (this.#isFinished || !this.#connection.isClosed) this.#owner.onPipeClosed();
  }

  #endInput(error: unknown): void {
    this.#owner.onPipeEnd(error);
    if (!this.#isFinished) this.#connection.endOfInput();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    runtime.afterMicrotasks(this.#afterMicrotasks);
  }

  #keep(bytes: Uint8Array, at: number): UnreadInput {
    this.#unread = new UnreadInput(bytes, at);
    return this.#unread;
  }

  /** Whether more input is to be handled in this turn. If the slice has ended, the input waits for a later one. */
  #mayContinue(unread: UnreadInput): boolean {
    if (unread.isWaiting) return false;
    const hasEnded = this.#hasSliceEnded();
    this.#adapt(slices.elapsedMs - unread.beganMs);
    if (unread.isEmpty) return false;
    if (hasEnded || slices.isAwaited) this.#wait(unread);
    return !unread.isWaiting;
  }

  /** Handles some of the input; #afterMicrotasks() must follow. */
  #handle(unread: UnreadInput): void {
    unread.beganMs = slices.elapsedMs;
    unread.read(this.#connection, this.#framesAtOnce);
  }

  #hasSliceEnded(): boolean {
    if (this.#latestTurn !== slices.turn) {
      this.#latestTurn = slices.turn;
      slices.countReceiver();
    }
    return slices.hasLasted(slices.isCrowded ? CROWDED_SLICE_MS : INPUT_SLICE_MS);
  }

  #wait(unread: UnreadInput): void {
    unread.isWaiting = true;
    // Otherwise what the peer sends meanwhile would collect in memory.
    if (!unread.isPaused) this.#pipe.pauseReading();
    unread.isPaused = true;
    slices.waitWithInput(() => {
      if (this.#unread !== unread) return;
      unread.isWaiting = false;
      this.#handle(unread);
      this.#schedule();
    });
  }

  #adapt(tookMs: number): void {
    const frames = this.#framesAtOnce;
    if (tookMs > LONGEST_MS)
      this.#framesAtOnce = Math.max(1, Math.floor((frames * LONGEST_MS) / tookMs));
    else this.#framesAtOnce = Math.min(2 * frames, MAX_FRAMES_AT_ONCE);
  }

  /** Nothing is unread any more, or nothing more is to be handled: continues with what the pipe has reported meanwhile. */
  #endUnread(): void {
    const unread = this.#unread;
    if (unread === undefined) return;
    this.#unread = undefined;
    if (unread.isPaused) this.#pipe.resumeReading();
    unread.onEnd?.();
    unread.onClosed?.();
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
