import { ConnectionError } from "./errors.ts";
import type { SentFields } from "./fixed-fields.ts";
import { DEFAULT_WINDOW_BYTES, FLOW_CONTROL_ERROR, MAX_WINDOW_BYTES } from "./frames.ts";
import { type Output, PREFIX_BYTES } from "./output.ts";
import type { BytesPart } from "./types.ts";
import { BYTES, END, FIELDS, WaitingOutput } from "./waiting-output.ts";

/** How many bytes of a stream are sent before the next one's turn, if several wait. */
const QUANTUM_BYTES = 32 * 1024;

/** Bytes, or a message with its prefix, up to this size are written in one piece if nothing waits and the windows allow it. */
const SMALL_BYTES = 8 * 1024;

/** What the sender needs from a stream. */
export interface SendingStream {
  readonly id: number;
  /** The bytes of DATA that the peer takes; below 0 after its SETTINGS have lowered it (RFC 9113, 6.9.2). */
  sendWindow: number;
  /** Undefined if nothing waits. */
  waiting: WaitingOutput | undefined;
  /** Writes headers to the output now. */
  writeFields(fields: SentFields): void;
  /** Writes the end of this side to the output now. */
  writeEnd(trailers: SentFields | undefined): void;
  /** All that waited is in the output. */
  onDrained(): void;
}

/**
 * Sends what streams are given, as far as the windows and the pipe allow. Streams that wait for the pipe or for the
 * connection's window take turns; a stream that waits for a window of its own is resumed by its WINDOW_UPDATE. Headers
 * and ends wait for the pipe alone.
 */
export class DataSender {
  /** The bytes of DATA that the peer takes on this connection. */
  window = DEFAULT_WINDOW_BYTES;
  readonly #output: Output;
  /** The streams that wait for their turn; the first one is next. */
  readonly #turns = new Set<SendingStream>();
  #isTakingTurns = false;
  /** The sum of the windows that the peer has given the connection. */
  #grantedBytes = DEFAULT_WINDOW_BYTES;

  constructor(output: Output) {
    this.#output = output;
  }

  /** How many DATA frames were sent. A message that extends a frame makes no new one. */
  get dataFrames(): number {
    return this.#output.dataFrames;
  }

  /** The bytes of DATA that were sent. */
  get dataBytes(): number {
    return this.#grantedBytes - this.window;
  }

  /** Sends a gRPC message. Returns false if it waits. */
  sendMessage(stream: SendingStream, flags: number, payload: Uint8Array): boolean {
    const length = payload.length + PREFIX_BYTES;
    if (length > SMALL_BYTES || length > stream.sendWindow || !this.#isFree(stream, length)) {
      return this.#add(stream, flags, payload);
    }
    stream.sendWindow -= length;
    this.window -= length;
    this.#output.message(stream.id, flags, payload);
    return true;
  }

  /** Sends a part of bytes now. Returns false, and does nothing, if it is large or would wait. */
  sendPart(stream: SendingStream, bytes: Uint8Array, part: BytesPart): boolean {
    const length = part.end - part.start;
    if (length > SMALL_BYTES || length > stream.sendWindow || !this.#isFree(stream, length)) {
      return false;
    }
    stream.sendWindow -= length;
    this.window -= length;
    this.#output.part(stream.id, bytes, part);
    return true;
  }

  /** Sends bytes. Returns false if some of them wait. */
  sendBytes(stream: SendingStream, bytes: Uint8Array): boolean {
    if (bytes.length > 0) return this.#add(stream, BYTES, bytes);
    if (stream.waiting === undefined) return true;
    stream.waiting.needsDrain = true;
    return false;
  }

  sendFields(stream: SendingStream, fields: SentFields): void {
    if (stream.waiting === undefined && !this.#output.isBlocked) stream.writeFields(fields);
    else this.#add(stream, FIELDS, fields);
  }

  sendEnd(stream: SendingStream, trailers: SentFields | undefined): void {
    if (stream.waiting === undefined && !this.#output.isBlocked) stream.writeEnd(trailers);
    else this.#add(stream, END, trailers);
  }

  /** The stream is closed. */
  remove(stream: SendingStream): void {
    if (this.#turns.size > 0) this.#turns.delete(stream);
  }

  /** The window of a stream has grown. */
  resume(stream: SendingStream): void {
    if (stream.waiting === undefined || stream.sendWindow <= 0) return;
    if (this.#turns.size === 0) this.#send(stream, stream.waiting, Number.POSITIVE_INFINITY);
    else this.#turns.add(stream);
  }

  /** A WINDOW_UPDATE for the connection came. */
  growWindow(bytes: number): void {
    if (this.window + bytes > MAX_WINDOW_BYTES) {
      throw new ConnectionError(
        FLOW_CONTROL_ERROR,
        "WINDOW_UPDATE: the connection's window is over 2^31-1",
      );
    }
    this.window += bytes;
    this.#grantedBytes += bytes;
    this.takeTurns();
  }

  /** The pipe takes more again. */
  unblock(): void {
    this.#output.isBlocked = false;
    this.#output.checkFull();
    this.takeTurns();
    if (this.window <= 0) this.#sendFirstFields();
  }

  /** Sends what waits, in turns. */
  takeTurns(): void {
    if (this.#isTakingTurns || this.#turns.size === 0) return;
    this.#isTakingTurns = true;
    try {
      // A stream that still waits is added again, at the end: the loop comes to it once more.
      for (const stream of this.#turns) {
        if (this.window <= 0 || this.#output.isBlocked) return;
        this.#turns.delete(stream);
        if (stream.waiting !== undefined) this.#send(stream, stream.waiting, QUANTUM_BYTES);
      }
    } finally {
      this.#isTakingTurns = false;
    }
  }

  /** Sends headers and ends that waited for the pipe alone, although the connection has no window. */
  #sendFirstFields(): void {
    for (const stream of [...this.#turns]) {
      if (this.#output.isBlocked) return;
      const { waiting } = stream;
      if (waiting !== undefined && (waiting.kind === FIELDS || waiting.kind === END)) {
        this.#send(stream, waiting, QUANTUM_BYTES);
      }
    }
  }

  /** Whether a message of `length` bytes of data may be written now, without overtaking anything. */
  #isFree(stream: SendingStream, length: number): boolean {
    return (
      length <= this.window &&
      stream.waiting === undefined &&
      this.#turns.size === 0 &&
      !this.#output.isBlocked
    );
  }

  /** Sends an item after what waits already. Returns false if it, or a part of it, waits. */
  #add(stream: SendingStream, kind: number, item: Uint8Array | SentFields | undefined): boolean {
    const isFirst = stream.waiting === undefined;
    stream.waiting ??= new WaitingOutput();
    const { waiting } = stream;
    waiting.add(kind, item);
    if (isFirst) {
      // While others wait, a stream must not take more than its turn.
      if (this.#turns.size > 0) this.#turns.add(stream);
      else this.#send(stream, waiting, Number.POSITIVE_INFINITY);
      if (stream.waiting === undefined) return true;
    }
    if (kind >= BYTES) waiting.needsDrain = true;
    return false;
  }

  /** Sends what waits on a stream, `quantum` bytes of data at most. */
  #send(stream: SendingStream, waiting: WaitingOutput, quantum: number): void {
    this.#turns.delete(stream);
    let left = quantum;
    while (!waiting.isEmpty) {
      if (this.#output.isBlocked) {
        this.#turns.add(stream);
        return;
      }
      const { kind } = waiting;
      if (kind === FIELDS || kind === END) this.#sendFields(stream, waiting, kind);
      else if (stream.sendWindow <= 0) return;
      else if (left <= 0 || this.window <= 0) {
        this.#turns.add(stream);
        return;
      } else left -= this.#sendData(stream, waiting);
      // Closed, by a listener of the output.
      if (stream.waiting !== waiting) return;
    }
    stream.waiting = undefined;
    if (waiting.needsDrain) stream.onDrained();
  }

  #sendFields(stream: SendingStream, waiting: WaitingOutput, kind: number): void {
    const { fields } = waiting;
    waiting.shift();
    if (kind === END) stream.writeEnd(fields);
    else stream.writeFields(fields as SentFields);
  }

  /** Sends a frame of the first item that waits. Returns its length. */
  #sendData(stream: SendingStream, waiting: WaitingOutput): number {
    const window = Math.min(stream.sendWindow, this.window);
    const length = Math.min(waiting.left, window, this.#output.dataCapacity);
    stream.sendWindow -= length;
    this.window -= length;
    this.#output.data(stream.id, waiting, length);
    waiting.advance(length);
    this.#output.checkFull();
    return length;
  }
}
