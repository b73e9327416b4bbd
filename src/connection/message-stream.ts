import type { ConnectError } from "@connectrpc/connect";
import type { CallStream, CallStreamListener, Received, SharedFrame } from "../call-stream.ts";
import { handled } from "../failure.ts";
import { PREFIX_BYTES } from "../flow/length-prefix.ts";
import { FrameReader, type FrameRules } from "../grpc/framing.ts";
import { EARNED_BY_CALL, EARNED_BY_MESSAGE } from "../http2/abuse.ts";
import { ENHANCE_YOUR_CALM } from "../http2/frames.ts";
import type { Http2Stream } from "../http2/types.ts";
import type { FramedSource } from "../session/spool.ts";
import type { ConnectionMemory } from "./connection-memory.ts";
import { type BudgetedStream, ENTRY_BYTES } from "./receive-budget.ts";
import { ReceiveWindow, type WindowOwner } from "./receive-window.ts";
import { RunPart } from "./run-part.ts";
import { schedulePull } from "./scheduled-pulls.ts";

/** Made once: the stack of an error would cost more than all else when many sessions lose their streams. */
const RELEASED = { error: new Error("this stream was released") };

/** The connection earns for this many messages of a stream at once. */
const EARNED_TOGETHER = 16;

/** What the application takes is counted, and its credit returned, in steps of this many bytes, and when it has taken all. */
const TAKEN_STEP_BYTES = 2048;

/** What a MessageStream needs beside its HTTP/2 stream. With `controlFrames` it belongs to a session. */
export interface MessageStreamInit extends FrameRules {
  /** The memory that the streams of the connection hold. */
  readonly memory: ConnectionMemory;
  /** Whether this is the client's end. Default: false. */
  readonly isClient?: boolean;
}

/**
 * The messages of an HTTP/2 stream in both directions: the common part of its two ends.
 *
 * What is written goes into the output of the connection immediately, as far as the windows and the pipe allow; write()
 * returns a promise while some of it waits. Of the small messages of a session, which pull() gets, and of those of a run, only
 * the first one is written immediately. While the output has data of this stream, the others wait for the end of the turn, or
 * for the connection's write, and are written together.
 *
 * The peer may send again as many bytes as the application took. The bytes of an incomplete message are returned as
 * they arrive, since the application cannot take them: so a message may be larger than the window. The stream of a
 * session is always read, because the window of the session limits the peer.
 */
export abstract class MessageStream implements CallStream, BudgetedStream, WindowOwner {
  /** Set by attach(). */
  protected native!: Http2Stream;
  protected readonly reader: FrameReader;
  /** The call, or the session. */
  protected abstract readonly listener: CallStreamListener<CallStream>;
  /** If true, received data is dropped. */
  protected isDiscarding = false;
  readonly memory: ConnectionMemory;
  readonly #window: ReceiveWindow;
  readonly #isPaced: boolean;
  #source: FramedSource | undefined;
  /** Undefined until there was one. */
  #part: RunPart | undefined;
  #isPullScheduled = false;
  #drained: PromiseWithResolvers<void> | undefined;
  #failure: { error: unknown } | undefined;
  /** Whether received data is being read: then the credit is returned when all of it was read. */
  #isReading = false;
  /** The messages that the listener was given and the application has not taken; their bytes with prefixes. */
  #untaken = 0;
  #untakenBytes = 0;
  /** The bytes of the message that waits to be decompressed. */
  #inflatingBytes = 0;
  /** The bytes that the application took since settle(). */
  #takenBytes = 0;
  /** The part of `heldBytes` that was counted, and the part of that which waits to be sent. */
  #countedBytes = 0;
  countedWaitingBytes = 0;
  #isIncomplete = false;
  #isClosed = false;
  /** The messages for which the connection has not earned yet. */
  #unearned = 0;
  /** Changes whenever the application takes a message, and when all that waited was sent. */
  progress = 0;
  rosterIndex = -1;

  constructor(init: MessageStreamInit) {
    this.reader = new FrameReader(init, this);
    this.#isPaced = init.controlFrames === undefined;
    this.memory = init.memory;
    this.#window = new ReceiveWindow(this, init.isClient);
    this.memory.add(this);
  }

  /** Sets the HTTP/2 stream: to be called by the subclass, before anything is written or received. */
  protected attach(native: Http2Stream): void {
    this.native = native;
    this.#window.attach(native);
  }

  // Messages that this side sends.

  write(flags: number, payload: Uint8Array, shared?: SharedFrame): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#onMessageDone();
    const part = this.#part;
    if (
      shared !== undefined &&
      part !== undefined &&
      this.#source === part &&
      part.extend(shared)
    ) {
      return this.pull(part);
    }
    // They were given before this message.
    if (this.#source !== undefined) this.#writePieces(this.#source, true);
    if (
      shared?.run.bytes !== undefined &&
      this.#drained === undefined &&
      this.native.hasDataInOutput
    ) {
      this.#part ??= new RunPart();
      this.#part.begin(shared.run.bytes, shared);
      return this.pull(this.#part);
    }
    this.#window.onSend(payload.length);
    return this.#afterWrite(this.native.writeMessage(flags, payload, shared !== undefined));
  }

  pull(source: FramedSource): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#isPullScheduled && this.#source === source && source.isGrowing) {
      return this.#drained?.promise;
    }
    if (this.#drained === undefined && !(source.isGrowing && this.native.hasDataInOutput)) {
      return this.#afterWrite(this.#writePieces(source, false));
    }
    this.#source = source;
    if (this.#drained === undefined) this.#schedulePull();
    return this.#drained?.promise;
  }

  /** Writes the small messages of this turn of the event loop in one piece, at its end. */
  #schedulePull(): void {
    if (this.#isPullScheduled) return;
    this.#isPullScheduled = true;
    schedulePull(this);
  }

  /** Writes what the source has, at the end of the turn. */
  pullScheduled(): void {
    this.#isPullScheduled = false;
    if (this.#source === undefined || this.#drained !== undefined) return;
    this.#afterWrite(this.#writePieces(this.#source, false));
  }

  /**
   * Writes the pieces of a source while the stream takes them.
   *
   * @param isAll whether the rest is written too, and then waits in the stream
   */
  #writePieces(source: FramedSource, isAll: boolean): boolean {
    this.#source = undefined;
    let hasCapacity = true;
    for (let piece = source.next(); piece !== undefined; piece = source.next()) {
      this.#onMessageDone();
      this.#window.onSend(source.end - source.start);
      hasCapacity = this.native.write(piece, source);
      if (hasCapacity || isAll) continue;
      this.#source = source;
      break;
    }
    return hasCapacity;
  }

  #afterWrite(hasCapacity: boolean): Promise<void> | undefined {
    if (hasCapacity) return undefined;
    this.recount();
    this.#drained ??= Promise.withResolvers();
    return this.#drained.promise;
  }

  onDrain(): void {
    this.progress++;
    if (this.#source !== undefined && !this.#writePieces(this.#source, false)) return;
    this.recount();
    this.#resolveDrained();
  }

  /** Writes what a source still has: to be called before the end is written. */
  protected writeRest(): void {
    if (this.#source !== undefined) this.#writePieces(this.#source, true);
  }

  release(): void {
    this.#failure ??= RELEASED;
    this.#source = undefined;
    this.#resolveDrained();
  }

  /** Every later write fails with `error`. A write that waits continues to wait. */
  protected refuseWrites(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { error };
    this.#source = undefined;
  }

  /** Every waiting and later write fails with `error`, or the error of refuseWrites(). */
  protected failWrites(error: unknown): void {
    this.refuseWrites(error);
    if (this.#drained === undefined) return;
    handled(this.#drained.promise);
    this.#drained.reject(this.#failure?.error);
  }

  #resolveDrained(): void {
    this.#drained?.resolve();
    this.#drained = undefined;
  }

  abstract reset(reason: ConnectError): void;

  // Messages that this side receives.

  /** Called if the input is not gRPC or over a limit, or if the listener threw. */
  protected abstract refuseInput(error: unknown): void;

  onData(bytes: Uint8Array, start: number, end: number): void {
    if (!this.isDiscarding) {
      this.#isReading = true;
      try {
        this.reader.push(bytes, start, end);
      } catch (error) {
        // Nobody hears of what follows in the chunk after the listener has ended the stream.
        if (!this.isDiscarding) this.refuseInput(error);
      } finally {
        this.#isReading = false;
      }
    }
    this.settle();
  }

  onFrame(message: Received): void {
    if (this.isDiscarding) return;
    if (this.#isIncomplete) this.#completed();
    const bytes = message.end - message.start + PREFIX_BYTES;
    if (this.#isPaced) {
      this.#untaken++;
      this.#untakenBytes += bytes;
    } else this.progress++;
    this.#onMessageDone();
    this.listener.onMessage(message, this);
  }

  taken(bytes: number): void {
    this.#untaken--;
    this.#untakenBytes -= bytes + PREFIX_BYTES;
    this.#takenBytes += bytes + PREFIX_BYTES;
    this.progress++;
    if (this.#isReading) return;
    if (this.#untaken === 0 || this.#takenBytes >= TAKEN_STEP_BYTES) this.settle();
  }

  hold(bytes: number): void {
    this.#inflatingBytes += bytes;
    this.recount();
  }

  settle(): void {
    this.#takenBytes = 0;
    const { partialBytes } = this.reader;
    const isIncomplete = partialBytes > 0 && !this.isDiscarding && !this.#isClosed;
    this.recount();
    if (!isIncomplete && this.#isIncomplete) this.#completed();
    else if (isIncomplete && !this.#isIncomplete) {
      this.#isIncomplete = true;
      this.memory.onIncomplete(this);
    }
    const isAwaited = isIncomplete && this.#untaken === 0;
    this.#window.awaitRest(isAwaited ? this.reader.missingBytes : 0);
    let keptBytes = 0;
    if (this.#isPaced && !this.isDiscarding) {
      const keepsPartial = isIncomplete && !this.memory.mayComplete(this);
      keptBytes = this.#untakenBytes + (keepsPartial ? partialBytes : 0);
    }
    const bytes = this.native.unreturnedBytes - keptBytes;
    if (bytes > 0) this.#window.returnCredit(bytes);
  }

  #completed(): void {
    this.#isIncomplete = false;
    this.memory.onComplete(this);
  }

  // BudgetedStream: called by the budgets.

  get heldBytes(): number {
    const { partialBytes } = this.reader;
    if (!this.#isPaced) return partialBytes;
    const { waitingBytes } = this.native;
    const untakenBytes = this.#untakenBytes + this.#untaken * ENTRY_BYTES + this.#inflatingBytes;
    return untakenBytes + partialBytes + waitingBytes;
  }

  get untaken(): number {
    return this.#untaken;
  }

  get partialBytes(): number {
    return this.reader.partialBytes;
  }

  get waitingBytes(): number {
    return this.native.waitingBytes;
  }

  get hasCredit(): boolean {
    return this.#window.hasCredit;
  }

  recount(): void {
    const isCounted = !this.isDiscarding && !this.#isClosed;
    const bytes = isCounted ? this.heldBytes : 0;
    const waitingBytes = isCounted && this.#isPaced ? this.native.waitingBytes : 0;
    const more = bytes - this.#countedBytes;
    const moreWaiting = waitingBytes - this.countedWaitingBytes;
    if (more === 0 && moreWaiting === 0) return;
    this.#countedBytes = bytes;
    this.countedWaitingBytes = waitingBytes;
    this.memory.count(more, moreWaiting);
  }

  shrinkWindow(): void {
    this.#window.shrink();
  }

  shrinkIdleWindow(): void {
    this.#window.shrinkIdle();
  }

  endOverBudget(error: ConnectError): void {
    this.refuseInput(error);
    this.isDiscarding = true;
    // A status would wait for ever, as what the peer does not read.
    if (this.native.waitingBytes > 0) this.native.reset(ENHANCE_YOUR_CALM);
    this.settle();
  }

  /**
   * Ends the count of what this stream holds: to be called when the HTTP/2 stream is closed.
   *
   * @param hasCompleted whether the call has ended with a status
   */
  protected closed(hasCompleted = false): void {
    this.#isClosed = true;
    this.recount();
    if (this.#isIncomplete) this.#completed();
    this.#window.close();
    this.memory.remove(this);
    if (this.#unearned > 0) this.#earn();
    if (hasCompleted) this.native.connection.earn(EARNED_BY_CALL);
  }

  /** Counts a message that was received or sent, which makes up for what the peer's frames cost. */
  #onMessageDone(): void {
    if (++this.#unearned === EARNED_TOGETHER) this.#earn();
  }

  #earn(): void {
    this.native.connection.earn(this.#unearned * EARNED_BY_MESSAGE);
    this.#unearned = 0;
  }
}
