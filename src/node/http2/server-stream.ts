import {
  constants,
  type Http2Session,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { Code, type ConnectError } from "@connectrpc/connect";
import type { End, HeaderList, Outcome, ServerStreamListener } from "../../call-stream.ts";
import { failure, toWire } from "../../failure.ts";
import { startTimer } from "../../flow/wait.ts";
import type { FrameRules } from "../../grpc/framing.ts";
import { trailersLimit } from "../../grpc/header-limits.ts";
import { statusTrailers } from "../../grpc/status.ts";
import type { ServerAttachment } from "../../session/attachment.ts";
import { announcedHeaderBytes } from "./announced.ts";
import { MESSAGES, MessageStream } from "./message-stream.ts";
import { catchUp, endedByPeer } from "./receive.ts";
import { destroyReset, free, reset } from "./reset.ts";

type ServerNative = ServerHttp2Stream & { [MESSAGES]: GrpcServerStream };

const losses = new WeakMap<Http2Session, string>();

/** Notes why a connection is destroyed, for the errors of its calls. */
export function noteLoss(connection: Http2Session, reason: string): void {
  losses.set(connection, reason);
}

/** The error of writes to a stream whose call ended with OK. */
const ENDED = failure(Code.Canceled, "the call is over");

/** The options of a stream. With `controlFrames` it belongs to a session, and has no window of its own. */
export interface GrpcServerStreamInit extends FrameRules {
  /** For this time after the server has ended the stream, the client may still send. Default: 0. */
  readonly lingerMs?: number;
}

/**
 * The HTTP/2 stream of a gRPC call at the server: headers first and trailers at
 * the end. All streams share the listeners of node:http2's events: closures for
 * each stream would be a tenth of the memory of an idle stream.
 */
export class GrpcServerStream extends MessageStream<ServerHttp2Stream> implements ServerAttachment {
  readonly ownTrailerBytes = 0;
  protected readonly listener: ServerStreamListener;
  readonly #lingerMs: number;
  #timer: Disposable | undefined;
  #end: End | undefined;
  /** Whether onClosed() was called, or the listener has reset the stream. */
  #isClosed = false;

  constructor(
    stream: ServerHttp2Stream,
    init: GrpcServerStreamInit,
    listener: ServerStreamListener,
  ) {
    super(stream, init);
    this.listener = listener;
    this.#lingerMs = init.lingerMs ?? 0;
    stream.on("end", GrpcServerStream.#onEnd);
    stream.on("aborted", GrpcServerStream.#onLost);
    stream.on("error", GrpcServerStream.#onLost);
    stream.on("close", GrpcServerStream.#onClose);
    stream.on("frameError", GrpcServerStream.#onFrameError);
    stream.on("wantTrailers", GrpcServerStream.#onWantTrailers);
  }

  get announcedHeaderBytes(): number {
    return announcedHeaderBytes(this.native);
  }

  sendHeaders(headers: HeaderList): void {
    const stream = this.native;
    if (stream.headersSent || stream.destroyed || stream.closed) return;
    this.#guard(() => stream.respond(headers as OutgoingHttpHeaders, { waitForTrailers: true }));
  }

  endSend(end: End): void {
    const stream = this.native;
    this.#end = end;
    if (this.#lingerMs === 0) this.isDiscarding = true;
    if (!stream.destroyed && !stream.closed) {
      this.flush();
      if (stream.headersSent) stream.end();
      else {
        this.#guard(() => stream.respond(end.trailers as OutgoingHttpHeaders, { endStream: true }));
        free(stream);
      }
    }
    this.failWrites(end.status === "ok" ? ENDED : end.status);
  }

  protected refuseInput(error: unknown): void {
    this.isDiscarding = true;
    if (!this.#isClosed) this.listener.onInvalid(toWire(error), this);
  }

  refuse(error: ConnectError): void {
    this.release();
    const budget = { limitBytes: trailersLimit(this.announcedHeaderBytes), usedBytes: 0 };
    this.endSend({ status: error, trailers: statusTrailers(error, undefined, budget) });
    // A client that does not read would keep the stream for ever.
    this.#timer = startTimer(this.#lingerMs, () => this.reset(error));
  }

  reset(reason: ConnectError): void {
    this.#isClosed ||= this.#end === undefined;
    this.isDiscarding = true;
    this.failWrites(reason);
    reset(this.native, constants.NGHTTP2_CANCEL);
  }

  static readonly #onEnd = function (this: ServerHttp2Stream): void {
    // 'end' is emitted after a reset too; only without a reset it is the client's half-close.
    const self = (this as ServerNative)[MESSAGES];
    if (!endedByPeer(this)) destroyReset(this);
    if (self.isDiscarding || this.aborted || !endedByPeer(this)) return;
    self.listener.onHalfClose(!self.reader.isPartial, self);
  };

  static readonly #onLost = function (this: ServerHttp2Stream): void {
    catchUp();
    (this as ServerNative)[MESSAGES].#lost();
  };

  static readonly #onClose = function (this: ServerHttp2Stream): void {
    const self = (this as ServerNative)[MESSAGES];
    self.#timer?.[Symbol.dispose]();
    catchUp();
    if (self.#end === undefined) self.#lost();
    else self.#close({ is: "ended", ...self.#end });
  };

  static readonly #onFrameError = function (
    this: ServerHttp2Stream,
    _type: number,
    code: number,
  ): void {
    const what = `its headers or trailers are more than HTTP/2 allows (error ${code})`;
    (this as ServerNative)[MESSAGES].#close({ is: "unsendable", error: new Error(what) });
  };

  static readonly #onWantTrailers = function (this: ServerHttp2Stream): void {
    const self = (this as ServerNative)[MESSAGES];
    self.#guard(() => this.sendTrailers(self.#end?.trailers as OutgoingHttpHeaders));
    if (self.#lingerMs === 0) free(this);
    else {
      self.#timer?.[Symbol.dispose]();
      self.#timer = startTimer(self.#lingerMs, () => self.#stopLingering());
    }
  };

  #stopLingering(): void {
    this.isDiscarding = true;
    free(this.native);
  }

  /**
   * Reports that the client reset the stream, or the connection was lost; not after the server has ended the stream.
   */
  #lost(): void {
    if (this.#end !== undefined || this.#isClosed) return;
    const { session } = this.native;
    const isConnectionLost = session === undefined || session.destroyed || session.socket.destroyed;
    const reason = session && losses.get(session);
    const lost = `the connection to the client was lost${reason === undefined ? "" : ` (${reason})`}`;
    const error = failure(Code.Canceled, isConnectionLost ? lost : "the client cancelled the call");
    this.#close({ is: "lost", error, unprocessed: false });
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

  /** Sends metadata. If node:http2 refuses it, ends the stream, so that the client does not wait for ever. */
  #guard(send: () => void): void {
    try {
      send();
    } catch (error) {
      this.#close({ is: "unsendable", error });
      reset(this.native, constants.NGHTTP2_INTERNAL_ERROR);
    }
  }
}
