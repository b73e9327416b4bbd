import {
  constants,
  type Http2Session,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { Code, type ConnectError } from "@connectrpc/connect";
import { failure, toWire } from "../../failure.ts";
import { startTimer } from "../../flow/wait.ts";
import { type Frame, FrameReader } from "../../grpc/framing.ts";
import { DATE_BYTES, headerListBytes } from "../../grpc/header-limits.ts";
import { announcedHeaderBytes } from "./announced.ts";
import { Outbox, type Source } from "./outbox.ts";
import { endedByPeer, readOn, receive } from "./receive.ts";
import { destroyReset, free, reset } from "./reset.ts";
import { catchUp } from "./turns.ts";

/** Who has a ServerStream, and hears of it. */
export interface StreamOwner {
  /** A message came whole. `false` holds the client back until readOn(); a throw is a protocol error. */
  onFrame(frame: Frame): boolean;
  /** The client says that no more messages come. */
  onHalfClose(): void;
  /** The same, in the middle of a message. */
  onCutOff(): void;
  /** What came is no gRPC, or over a limit; nothing more is read. */
  onProtocolError(error: ConnectError): void;
  /** The client reset the stream, or its connection is gone. Not told once end() was called. */
  onLost(error: ConnectError): void;
  /** The stream is closed, however it ended. */
  onClosed(): void;
  /** The headers of the response are about to be needed: respond() must be called. */
  onHeadersNeeded(): void;
  /**
   * What the stream is to be ended with: asked for when all messages are written.
   *
   * @param usedBytes what headers in the same block take, as HPACK counts them
   */
  trailers(usedBytes: number): OutgoingHttpHeaders;
  /** node:http2 refused what was to be sent: a bug of the one who made it. */
  onUnsendable(error: unknown): void;
}

const SELF = Symbol("server stream");

type Owned = ServerHttp2Stream & { [SELF]: ServerStream };

const losses = new WeakMap<Http2Session, string>();

/** Says why a connection is about to be destroyed: the calls on it are told. */
export function noteLoss(connection: Http2Session, reason: string): void {
  losses.set(connection, reason);
}

/**
 * The HTTP/2 stream of a gRPC call, seen from the server: frames in, frames
 * out, headers first and trailers last. Its listeners are shared by all
 * streams: closures of their own would be a tenth of what an idle one costs.
 */
export class ServerStream {
  readonly #stream: ServerHttp2Stream;
  readonly #owner: StreamOwner;
  readonly #reader: FrameReader;
  readonly #outbox: Outbox;
  readonly #lingerMs: number;
  #lingering: Disposable | undefined;
  #room = true;
  #deaf = false;
  #over = false;

  /**
   * @param flags the flags that a frame of the client may have
   * @param lingerMs how long the client may still send when the server has said all
   */
  constructor(
    stream: ServerHttp2Stream,
    readMaxBytes: number,
    owner: StreamOwner,
    flags?: number,
    lingerMs = 0,
  ) {
    this.#stream = stream;
    this.#owner = owner;
    this.#lingerMs = lingerMs;
    this.#reader = new FrameReader(readMaxBytes, this, flags);
    this.#outbox = new Outbox(stream, owner);
    (stream as Owned)[SELF] = this;
    receive(stream, this);
    stream.on("drain", ServerStream.#onDrain);
    stream.on("end", ServerStream.#onEnd);
    stream.on("aborted", ServerStream.#onLost);
    stream.on("error", ServerStream.#onLost);
    stream.on("close", ServerStream.#onClose);
    stream.on("frameError", ServerStream.#onFrameError);
    stream.on("wantTrailers", ServerStream.#onWantTrailers);
  }

  get headersSent(): boolean {
    return this.#stream.headersSent;
  }

  get announcedHeaderBytes(): number {
    return announcedHeaderBytes(this.#stream);
  }

  /** Sends the response headers. */
  respond(headers: OutgoingHttpHeaders): void {
    const stream = this.#stream;
    if (stream.headersSent || stream.destroyed || stream.closed) return;
    this.#guard(() => stream.respond(headers, { waitForTrailers: true }));
  }

  /** `undefined`: there is room for more. A promise: there will be when it resolves. */
  write(flags: number, payload: Uint8Array): Promise<void> | undefined {
    return this.#outbox.write(flags, payload);
  }

  /** As write(), of `bytes` more that `source` has; they leave before what write() was given. */
  pull(source: Source, bytes: number): Promise<void> | undefined {
    return this.#outbox.pull(source, bytes);
  }

  /** Writes what waits, now. */
  flush(): void {
    this.#outbox.flush();
  }

  /**
   * Ends the stream behind all that was written: with the owner's trailers,
   * or, where no headers were sent, with `headers` and the trailers in one.
   */
  end(headers: () => OutgoingHttpHeaders): void {
    const stream = this.#stream;
    this.#over = true;
    if (stream.destroyed || stream.closed) return;
    this.#outbox.flush();
    if (stream.headersSent) {
      stream.end();
      return;
    }
    this.#guard(() => {
      const head = headers();
      const trailers = this.#owner.trailers(headerListBytes(head) + DATE_BYTES);
      stream.respond({ ...head, ...trailers }, { endStream: true });
    });
    free(stream);
  }

  /** Every waiting and later write() fails with `error`. */
  fail(error: ConnectError): void {
    this.#outbox.fail(error);
  }

  /** Lets go of who waits for room; what waits to be written is dropped. */
  release(): void {
    this.#outbox.release();
  }

  /** The owner took a message: of no interest to a stream of its own. */
  taken(_bytes: number): void {}

  /** Takes no more of what comes; the client may go on sending. */
  stopReading(): void {
    this.#deaf = true;
  }

  /** Reads on after onFrame() said `false`. */
  readOn(): void {
    this.#room = true;
    readOn(this.#stream);
  }

  /** Resets the stream, and drops what waits to be sent. */
  reset(rstCode: number): void {
    this.#over = true;
    reset(this.#stream, rstCode);
  }

  /** Whether the peer may go on sending; where nothing is read any more, it may. */
  get hasRoom(): boolean {
    return this.#room || this.#deaf;
  }

  onData(chunk: Uint8Array): void {
    if (this.#deaf) return;
    try {
      this.#reader.push(chunk);
    } catch (error) {
      this.#deaf = true;
      this.#owner.onProtocolError(toWire(error));
    }
  }

  onFrame(frame: Frame): void {
    this.#room = this.#owner.onFrame(frame);
  }

  static readonly #onDrain = function (this: ServerHttp2Stream): void {
    (this as Owned)[SELF].#outbox.drained();
  };

  static readonly #onEnd = function (this: ServerHttp2Stream): void {
    // 'end' also comes after a reset; only without one is it the client's half-close.
    const self = (this as Owned)[SELF];
    if (!endedByPeer(this)) destroyReset(this);
    if (self.#deaf || this.aborted || !endedByPeer(this)) return;
    if (self.#reader.partial) self.#owner.onCutOff();
    else self.#owner.onHalfClose();
  };

  static readonly #onLost = function (this: ServerHttp2Stream): void {
    catchUp();
    (this as Owned)[SELF].#lost();
  };

  static readonly #onClose = function (this: ServerHttp2Stream): void {
    const self = (this as Owned)[SELF];
    self.#lingering?.[Symbol.dispose]();
    catchUp();
    self.#lost();
    self.#owner.onClosed();
  };

  static readonly #onFrameError = function (
    this: ServerHttp2Stream,
    _type: number,
    code: number,
  ): void {
    (this as Owned)[SELF].#owner.onUnsendable(
      new Error(`its headers or trailers are more than HTTP/2 carries (error ${code})`),
    );
  };

  static readonly #onWantTrailers = function (this: ServerHttp2Stream): void {
    const self = (this as Owned)[SELF];
    self.#guard(() => this.sendTrailers(self.#owner.trailers(0)));
    if (self.#lingerMs === 0) free(this);
    else self.#lingering = startTimer(self.#lingerMs, () => self.#stopLingering());
  };

  #stopLingering(): void {
    this.#deaf = true;
    free(this.#stream);
  }

  #lost(): void {
    if (this.#over) return;
    this.#over = true;
    this.#deaf = true;
    const { session } = this.#stream;
    const gone = session === undefined || session.destroyed || session.socket.destroyed;
    const reason = session && losses.get(session);
    const lost = `the connection to the client was lost${reason === undefined ? "" : ` (${reason})`}`;
    this.#owner.onLost(failure(Code.Canceled, gone ? lost : "the client cancelled the call"));
  }

  /** Metadata that node:http2 refuses must not end the process, and the client must not wait for ever. */
  #guard(send: () => void): void {
    try {
      send();
    } catch (error) {
      this.#owner.onUnsendable(error);
      reset(this.#stream, constants.NGHTTP2_INTERNAL_ERROR);
    }
  }
}
