import { BLOCKS_IN_FLIGHT, type InFlight } from "./closed-streams.ts";
import type { DataSender, SendingStream } from "./data-sender.ts";
import { InvalidFieldsError } from "./errors.ts";
import { RESPONSE, TRAILERS } from "./fields.ts";
import { checkSent, pseudoFieldOf, type SentFields } from "./fixed-fields.ts";
import { DEFAULT_WINDOW_BYTES, MAX_WINDOW_BYTES, NO_ERROR, REFUSED_STREAM } from "./frames.ts";
import type { FieldList } from "./hpack/field-list.ts";
import type { Output } from "./output.ts";
import {
  CLOSED,
  HALF_CLOSED_LOCAL,
  OPEN,
  RECEIVED_END,
  RESET,
  SENT_END,
  type StreamEvent,
  type StreamState,
  TRANSITIONS,
} from "./stream-state.ts";
import type {
  BytesPart,
  Http2Connection,
  Http2Stream,
  StreamEnd,
  StreamListener,
} from "./types.ts";
import type { WaitingOutput } from "./waiting-output.ts";

/** What a stream needs from its connection. */
export interface StreamHost {
  readonly connection: Http2Connection;
  readonly isServer: boolean;
  readonly output: Output;
  readonly sender: DataSender;
  /** The peer's SETTINGS_INITIAL_WINDOW_SIZE. */
  readonly initialSendWindow: number;
  /** The bytes that the peer may send on a stream at first. */
  readonly initialReceiveWindow: number;
  /** The window that a stream keeps up until setWindow(). */
  readonly streamWindowBytes: number;
  /** Encodes a header block, and writes it. */
  writeFields(stream: number, fields: SentFields, endStream: boolean): void;
  /** Sends RST_STREAM. */
  writeReset(stream: number, code: number, inFlight: InFlight): void;
  /** Called before the stream's listener hears that it is closed. */
  onStreamClosed(stream: Stream): void;
  /** Called after that. */
  afterStreamClosed(): void;
  onListenerError(error: unknown): void;
}

/** A WINDOW_UPDATE of a large window is sent before half of it is used up: the peer would have to wait for it. */
const LARGEST_STEP_BYTES = 256 * 1024;

const ENDED: StreamEnd = { by: "ended", code: NO_ERROR, reason: "", unprocessed: false };

/** One stream of an engine. The application calls the methods of Http2Stream; the engine calls the others. */
export class Stream implements Http2Stream, SendingStream {
  readonly id: number;
  state: StreamState = OPEN;
  sendWindow: number;
  waiting: WaitingOutput | undefined = undefined;
  /** The bytes that the peer may send; below 0 after our SETTINGS have lowered it. */
  receiveWindow: number;
  /** The rest of the content-length that was received; -1: there was none. */
  contentLeft = -1;
  unreturnedBytes = 0;
  /** A server: response headers other than 1xx were sent. A client: the request was. */
  headersSent: boolean;
  /** A client: response headers other than 1xx were received. A server: the request was. */
  headersReceived: boolean;
  /** A client: the request was HEAD, so the response has no content. */
  isHead = false;
  /** A frame with END_STREAM came, which is still being reported. */
  hasReceivedEnd = false;
  /** Undefined as long as the stream is not closed. */
  closedBy: StreamEnd | undefined = undefined;
  /** Undefined while there is no listener, and after the stream's end. */
  listener: StreamListener | undefined = undefined;
  isLocalEnded = false;
  readonly #host: StreamHost;
  /** `takes` of the output when data was last written. */
  #writtenBeforeTake = -1;
  /** The window that returnCredit() keeps up. */
  #windowBytes: number;
  /** Whether what is received is dropped. */
  #isDropping = false;
  /** Whether reading stopped before the peer's END_STREAM, which is then dropped like its data. */
  #isEndDropped = false;

  constructor(id: number, host: StreamHost) {
    this.id = id;
    this.#host = host;
    this.sendWindow = host.initialSendWindow;
    this.receiveWindow = host.initialReceiveWindow;
    this.#windowBytes = host.streamWindowBytes;
    this.headersSent = !host.isServer;
    this.headersReceived = host.isServer;
  }

  get connection(): Http2Connection {
    return this.#host.connection;
  }

  get isClosed(): boolean {
    return this.state === CLOSED;
  }

  get isRemoteEnded(): boolean {
    return this.hasReceivedEnd || !this.canReceive;
  }

  /** Whether the peer may send HEADERS and DATA (RFC 9113, 5.1). */
  get canReceive(): boolean {
    return this.state === OPEN || this.state === HALF_CLOSED_LOCAL;
  }

  get waitingBytes(): number {
    return this.waiting === undefined ? 0 : this.waiting.bytes;
  }

  get hasDataInOutput(): boolean {
    return this.#writtenBeforeTake === this.#host.output.takes;
  }

  // ---- Sending

  sendHeaders(fields: SentFields, endStream = false): void {
    if (this.isClosed || this.isLocalEnded) return;
    if (this.headersSent) throw new Error("the headers of the stream have been sent already");
    checkSent(fields, RESPONSE);
    if (pseudoFieldOf(fields, ":status")?.startsWith("1")) {
      if (endStream) throw new InvalidFieldsError("informational headers do not end a stream");
      this.#host.sender.sendFields(this, fields);
      return;
    }
    this.headersSent = true;
    this.isLocalEnded = endStream;
    if (endStream) this.#host.sender.sendEnd(this, fields);
    else this.#host.sender.sendFields(this, fields);
  }

  write(bytes: Uint8Array, part?: BytesPart): boolean {
    if (this.isLocalEnded || this.isClosed) return true;
    if (!this.headersSent) throw noHeaders();
    const { sender, output } = this.#host;
    this.#writtenBeforeTake = output.takes;
    if (part !== undefined && sender.sendPart(this, bytes, part)) return true;
    const all = part === undefined ? bytes : bytes.subarray(part.start, part.end);
    const isSent = sender.sendBytes(this, all);
    // A small part would keep a large buffer in memory while it waits.
    if (!isSent && all.length * 4 < all.buffer.byteLength) this.waiting?.copyRest(all);
    return isSent;
  }

  writeMessage(flags: number, payload: Uint8Array, isStable = false): boolean {
    if (this.isLocalEnded || this.isClosed) return true;
    if (!this.headersSent) throw noHeaders();
    const { sender, output } = this.#host;
    this.#writtenBeforeTake = output.takes;
    const isSent = sender.sendMessage(this, flags, payload);
    if (!isSent && !isStable) this.waiting?.copyRest(payload);
    return isSent;
  }

  end(trailers?: SentFields): void {
    if (this.isLocalEnded || this.isClosed) return;
    if (!this.headersSent) throw noHeaders();
    if (trailers !== undefined) checkSent(trailers, TRAILERS);
    this.isLocalEnded = true;
    this.#host.sender.sendEnd(this, trailers);
  }

  reset(code: number): void {
    if (this.isClosed) return;
    this.#writeReset(code, BLOCKS_IN_FLIGHT);
    this.close({ by: "reset", code, reason: "", unprocessed: false });
  }

  /** For the sender. */
  writeFields(fields: SentFields): void {
    this.#host.writeFields(this.id, fields, false);
  }

  /** For the sender. */
  writeEnd(fields: SentFields | undefined): void {
    if (fields !== undefined) this.#host.writeFields(this.id, fields, true);
    else this.#host.output.endStream(this.id);
    this.#change(SENT_END);
    if (this.isClosed) this.close(ENDED);
    else this.#askToStop();
  }

  /** For the sender. */
  onDrained(): void {
    try {
      this.listener?.onDrain();
    } catch (error) {
      this.#host.onListenerError(error);
    }
  }

  // ---- Receiving

  /** Attaches the listener of a request; the stream may have ended already. Without a listener what comes is dropped. */
  listen(listener: StreamListener | undefined): void {
    if (listener === undefined) this.stopReading();
    else if (this.closedBy === undefined) this.listener = listener;
    else this.#callOnClosed(listener, this.closedBy);
  }

  stopReading(): void {
    if (this.#isDropping || this.isClosed) return;
    this.#isDropping = true;
    this.#isEndDropped = !this.hasReceivedEnd;
    this.returnCredit(this.unreturnedBytes);
    this.#askToStop();
  }

  returnCredit(bytes: number): void {
    this.unreturnedBytes -= Math.min(bytes, this.unreturnedBytes);
    this.#extendWindow(Math.min(this.#windowBytes >>> 2, LARGEST_STEP_BYTES));
  }

  setWindow(bytes: number): void {
    const before = this.#windowBytes;
    this.#windowBytes = Math.min(Math.max(bytes, DEFAULT_WINDOW_BYTES), MAX_WINDOW_BYTES);
    if (this.#windowBytes > before) this.#extendWindow(1);
  }

  /** Data of the peer, for which there was window. */
  receiveData(bytes: Uint8Array, start: number, end: number): void {
    if (this.#isDropping || this.listener === undefined) {
      this.returnCredit(0);
      return;
    }
    this.unreturnedBytes += end - start;
    this.listener.onData(bytes, start, end);
  }

  /** Padding of the peer: it returns its credit itself. */
  receivePadding(): void {
    this.returnCredit(0);
  }

  receiveHeaders(fields: FieldList, endStream: boolean): void {
    this.headersReceived = true;
    if (!this.#isDropping) this.listener?.onHeaders(fields, endStream);
  }

  receiveTrailers(fields: FieldList): void {
    if (!this.#isDropping) this.listener?.onTrailers(fields);
  }

  /** END_STREAM of the peer. */
  receiveEnd(): void {
    if (!this.canReceive) return;
    this.#change(RECEIVED_END);
    if (!this.#isEndDropped) this.listener?.onEnd();
    if (this.isClosed) this.close(ENDED);
  }

  /** RST_STREAM of the peer, or, of a stream that it has not processed, GOAWAY. */
  receiveReset(code: number, unprocessed: boolean): void {
    const isRefused = unprocessed || (code === REFUSED_STREAM && !this.#host.isServer);
    this.close({ by: "peer", code, reason: "", unprocessed: isRefused });
  }

  // ---- The end

  /** Resets the stream, since the peer broke the protocol or a limit on it (RFC 9113, 5.4.2). */
  fail(code: number, reason: string): void {
    if (this.closedBy !== undefined) return;
    this.#writeReset(code, 0);
    this.close({ by: "invalid", code, reason, unprocessed: false });
  }

  /** Closes the stream; nothing is sent. */
  close(end: StreamEnd): void {
    if (this.closedBy !== undefined) return;
    this.closedBy = end;
    this.#change(RESET);
    const { listener } = this;
    this.listener = undefined;
    this.waiting = undefined;
    this.#host.sender.remove(this);
    this.#host.onStreamClosed(this);
    if (listener !== undefined) this.#callOnClosed(listener, end);
    this.#host.afterStreamClosed();
  }

  #callOnClosed(listener: StreamListener, end: StreamEnd): void {
    try {
      listener.onClosed(end);
    } catch (error) {
      this.#host.onListenerError(error);
    }
  }

  /** A server that has sent all and reads no more: the client need not continue (RFC 9113, 8.1). */
  #askToStop(): void {
    if (!this.#host.isServer || !this.#isDropping || this.hasReceivedEnd) return;
    if (this.state !== HALF_CLOSED_LOCAL) return;
    this.#writeReset(NO_ERROR, BLOCKS_IN_FLIGHT);
    this.close(ENDED);
  }

  /** Sends a WINDOW_UPDATE if it has at least this many bytes. */
  #extendWindow(leastBytes: number): void {
    if (this.isRemoteEnded) return;
    const bytes = this.#windowBytes - this.receiveWindow - this.unreturnedBytes;
    if (bytes <= 0 || bytes < leastBytes) return;
    this.receiveWindow += bytes;
    this.#host.output.windowUpdate(this.id, bytes);
  }

  /** @param blocks the header blocks that may be in flight without the peer being at fault */
  #writeReset(code: number, blocks: number): void {
    this.#host.writeReset(this.id, code, { blocks, bytes: this.receiveWindow });
  }

  #change(event: StreamEvent): void {
    this.state = (TRANSITIONS[this.state] as (typeof TRANSITIONS)[number])[event];
  }
}

function noHeaders(): Error {
  return new Error("data or the end of a stream before its headers: call sendHeaders() first");
}
