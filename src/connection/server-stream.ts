import { Code, type ConnectError } from "@connectrpc/connect";
import {
  type End,
  type HeaderList,
  IN_NO_RUN,
  type Outcome,
  type ServerStreamListener,
  type SharedFrame,
} from "../call-stream.ts";
import { failure, toWire } from "../failure.ts";
import { startTimer } from "../flow/wait.ts";
import type { FrameRules } from "../grpc/framing.ts";
import { trailersLimit } from "../grpc/header-limits.ts";
import { statusTrailers } from "../grpc/status.ts";
import { CANCEL, INTERNAL_ERROR } from "../http2/frames.ts";
import type { Http2Stream, StreamEnd, StreamListener } from "../http2/types.ts";
import type { ServerAttachment } from "../session/attachment.ts";
import type { ConnectionMemory } from "./connection-memory.ts";
import { toResponseFields, toTrailerFields } from "./fields.ts";
import { MessageStream } from "./message-stream.ts";
import type { ServedConnection } from "./served-connection.ts";
import { stopReadingSoon } from "./stop-reading.ts";

/** The error of writes to a stream whose call ended with OK. */
const ENDED = failure(Code.Canceled, "the call is over");

/** More bytes of messages do not wait for the headers of other streams. */
const MAX_HELD_BYTES = 16 * 1024;

/** The options of a stream. With `controlFrames` it belongs to a session, and has no window of its own. */
export interface GrpcServerStreamInit extends FrameRules {
  /** For this time after the server has ended the stream, the client may still send. Default: 0. */
  readonly lingerMs?: number;
}

/** The HTTP/2 stream of a gRPC call at the server: headers first and trailers at the end. */
export class GrpcServerStream extends MessageStream implements ServerAttachment, StreamListener {
  readonly ownTrailerBytes = 0;
  protected readonly listener: ServerStreamListener;
  readonly #connection: ServedConnection;
  readonly #lingerMs: number;
  #timer: Disposable | undefined;
  #end: End | undefined;
  /** The first messages, until the headers of this turn are sent (ServedConnection.afterHeaders()); else `undefined`. */
  #held: { readonly flags: number; readonly payload: Uint8Array }[] | undefined;
  #heldBytes = 0;
  /** Whether onClosed() was called, or the listener has reset the stream. */
  #isClosed = false;

  constructor(
    stream: Http2Stream,
    connection: ServedConnection,
    init: GrpcServerStreamInit & {
      readonly listener: ServerStreamListener;
      readonly memory: ConnectionMemory;
    },
  ) {
    const { readMaxBytes, controlFrames, memory } = init;
    super({ readMaxBytes, controlFrames, memory });
    this.attach(stream);
    this.#connection = connection;
    this.listener = init.listener;
    this.#lingerMs = init.lingerMs ?? 0;
  }

  get announcedHeaderBytes(): number {
    return this.#connection.announcedHeaderBytes;
  }

  sendHeaders(headers: HeaderList): void {
    if (this.native.headersSent) return;
    this.#guard(() => this.native.sendHeaders(toResponseFields(headers)));
    // The messages of a session need not wait: it ends its stream much later.
    if (!this.#connection.isEncrypted || this.#lingerMs > 0 || this.#isClosed) return;
    this.#held = [];
    this.#connection.afterHeaders(() => this.#sendHeld());
  }

  override write(
    flags: number,
    payload: Uint8Array,
    shared?: SharedFrame,
  ): Promise<void> | undefined {
    if (this.#held === undefined) return super.write(flags, payload, shared);
    if (this.#end !== undefined) throw errorAfter(this.#end);
    this.#held.push({ flags, payload: shared === undefined ? new Uint8Array(payload) : payload });
    this.#heldBytes += payload.length;
    return this.#heldBytes <= MAX_HELD_BYTES ? undefined : this.#sendHeld();
  }

  /** Sends the messages that waited for the headers of other streams, and the end. Returns as write() does. */
  #sendHeld(): Promise<void> | undefined {
    const held = this.#held;
    this.#held = undefined;
    if (held === undefined || this.#isClosed) return undefined;
    let waiting: Promise<void> | undefined;
    for (const { flags, payload } of held) waiting = super.write(flags, payload, IN_NO_RUN);
    if (this.#end !== undefined) this.#sendEnd(this.#end);
    return waiting;
  }

  endSend(end: End): void {
    this.#end = end;
    if (this.#lingerMs === 0) this.isDiscarding = true;
    if (this.#held === undefined) this.#sendEnd(end);
  }

  #sendEnd(end: End): void {
    const stream = this.native;
    if (!stream.isClosed) {
      this.writeRest();
      const { trailers } = end;
      this.#guard(() => {
        if (stream.headersSent) stream.end(toTrailerFields(trailers));
        else stream.sendHeaders(toResponseFields(trailers), true);
      });
      if (this.#lingerMs === 0) stopReadingSoon(stream);
      else if (!stream.isClosed) {
        this.#timer?.[Symbol.dispose]();
        this.#timer = startTimer(this.#lingerMs, () => this.#stopLingering());
      }
    }
    this.failWrites(errorAfter(end));
  }

  protected refuseInput(error: unknown): void {
    this.isDiscarding = true;
    if (!this.#isClosed) this.listener.onInvalid(toWire(error), this);
  }

  refuse(error: ConnectError): void {
    this.release();
    const budget = { limitBytes: trailersLimit(this.announcedHeaderBytes), usedBytes: 0 };
    this.endSend({ status: error, trailers: statusTrailers(error, undefined, budget) });
    if (this.native.isClosed) return;
    // A client that does not read would keep the stream for ever.
    this.#timer?.[Symbol.dispose]();
    this.#timer = startTimer(this.#lingerMs, () => this.reset(error));
  }

  reset(reason: ConnectError): void {
    this.#isClosed ||= this.#end === undefined;
    this.#held = undefined;
    this.isDiscarding = true;
    this.failWrites(reason);
    this.native.reset(CANCEL);
  }

  // StreamListener: called by the engine. MessageStream has the others.

  onHeaders(): void {}

  onTrailers(): void {}

  onEnd(): void {
    if (!this.isDiscarding) this.listener.onHalfClose(!this.reader.isPartial, this);
  }

  onClosed(end: StreamEnd): void {
    this.#held = undefined;
    this.#timer?.[Symbol.dispose]();
    try {
      if (this.#end === undefined) {
        this.#close({ is: "lost", error: this.#connection.lossOf(end), unprocessed: false });
      } else this.#close({ is: "ended", ...this.#end });
    } finally {
      // Also if the listener throws: the budgets outlive the connection.
      this.closed(this.#end !== undefined);
      this.#connection.onStreamClosed();
    }
  }

  #stopLingering(): void {
    this.isDiscarding = true;
    this.native.stopReading();
  }

  #close(outcome: Outcome): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.isDiscarding = true;
    if (outcome.is !== "ended") this.refuseWrites(outcome.error);
    this.listener.onClosed(outcome, this);
    // After onClosed(): there a session calls release(), so that its call continues to write, to the next stream.
    if (outcome.is !== "ended") this.failWrites(outcome.error);
  }

  /** Sends metadata. If HTTP/2 does not allow it, ends the stream, so that the client does not wait for ever. */
  #guard(send: () => void): void {
    try {
      send();
    } catch (error) {
      this.#close({ is: "unsendable", error });
      this.native.reset(INTERNAL_ERROR);
    }
  }
}

/** The error of writes after the end of the call. */
function errorAfter({ status }: End): ConnectError {
  return status === "ok" ? ENDED : status;
}
