import {
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
} from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  asFailure,
  failure,
  HEADERS_MAX_FIELDS,
  markCutOff,
  tooManyFields,
} from "../../failure.ts";
import { type Frame, FrameReader } from "../../grpc/framing.ts";
import { countFields, requestRefused } from "../../grpc/header-limits.ts";
import { toHeaders } from "../../grpc/metadata.ts";
import type { RequestHead } from "../../grpc/request-headers.ts";
import { checkResponse } from "../../grpc/response.ts";
import { readStatus } from "../../grpc/status.ts";
import type { Connection } from "./connection.ts";
import { Outbox, type Source } from "./outbox.ts";
import { readOn, receive } from "./receive.ts";
import { destroyReset, readReset, reset } from "./reset.ts";
import { catchUp } from "./turns.ts";

/** How a stream ended without a status from the server. */
export interface Broken {
  readonly error: ConnectError;
  /** Whether it was this side that refused what came. */
  readonly refused: boolean;
  /** Whether the server certainly did nothing for the call: it may be made again. */
  readonly unprocessed: boolean;
  /** The HTTP/2 error code, where the stream was reset. */
  readonly rstCode: number;
}

/** Who has a ClientStream, and hears of it: of one of the last two, once. */
export interface ClientStreamOwner {
  /** The response headers came, and more will. */
  onHead(headers: IncomingHttpHeaders): void;
  /** A message came whole. `false` holds the server back until readOn(); a throw is a protocol error. */
  onFrame(frame: Frame): boolean;
  /** The server ended the call with this status, and all before it was read. */
  onStatus(status: "ok" | ConnectError, trailers: IncomingHttpHeaders): void;
  /** The stream ended in any other way. */
  onBroken(broken: Broken): void;
}

const SELF = Symbol("client stream");

type Owned = ClientHttp2Stream & { [SELF]: ClientStream };

/**
 * The HTTP/2 stream of a gRPC call, seen from the client: frames out, frames
 * in, and at the end what it means. Its listeners are shared by all streams,
 * as a ServerStream's are.
 *
 * Response headers, messages and the end reach the owner in the order in which
 * the server sent them. node:http2 does not keep it: it emits 'response' in a
 * tick of its own but hands over DATA at once, so DATA comes first wherever it
 * reads several frames without a tick in between (over TLS while a write is
 * under way; always on Deno). What comes early is held until the headers are
 * here. The stream's window bounds it, since no more of the window is given
 * back meanwhile.
 */
export class ClientStream {
  readonly #stream: ClientHttp2Stream;
  readonly #connection: Connection;
  readonly #owner: ClientStreamOwner;
  readonly #reader: FrameReader;
  readonly #outbox: Outbox;
  /** How many request headers left, where the application set some. */
  readonly #fields: number;
  #head: IncomingHttpHeaders | undefined;
  #tail: IncomingHttpHeaders | undefined;
  #status: "ok" | ConnectError | undefined;
  #room = true;
  #over = false;
  /** Whether 'response' was emitted. */
  #responded = false;
  /** The DATA that came before 'response'. */
  #early: Uint8Array[] | undefined;
  /** Whether 'end' came before 'response'. */
  #endedEarly = false;

  /**
   * Throws as Connection.request() does.
   *
   * @param flags the flags that a frame of the server may have
   */
  constructor(
    connection: Connection,
    head: RequestHead,
    readMaxBytes: number,
    owner: ClientStreamOwner,
    flags?: number,
  ) {
    const stream = connection.request(head);
    this.#stream = stream;
    this.#fields = head.hasMetadata ? countFields(head.fields) : 0;
    this.#connection = connection;
    this.#owner = owner;
    this.#reader = new FrameReader(readMaxBytes, this, flags);
    this.#outbox = new Outbox(stream);
    (stream as Owned)[SELF] = this;
    receive(stream, this);
    stream.on("response", ClientStream.#onResponse);
    stream.on("trailers", ClientStream.#onTrailers);
    stream.on("drain", ClientStream.#onDrain);
    stream.on("end", ClientStream.#onEnd);
    stream.on("error", ignore);
    stream.on("close", ClientStream.#onClose);
  }

  /** `undefined`: there is room for more. A promise: there will be when it resolves. */
  write(flags: number, payload: Uint8Array): Promise<void> | undefined {
    return this.#outbox.write(flags, payload);
  }

  /** As write(), of `bytes` more that `source` has; they leave before what write() was given. */
  pull(source: Source, bytes: number): Promise<void> | undefined {
    return this.#outbox.pull(source, bytes);
  }

  /** Half-close, behind all that was written. */
  halfClose(): void {
    this.#outbox.end();
  }

  /** Reads on after onFrame() said `false`. */
  readOn(): void {
    this.#room = true;
    readOn(this.#stream);
  }

  /** Lets go of who waits for room, and of what waits to be written: another stream goes on. */
  release(): void {
    this.#outbox.release();
  }

  /** Ends the stream, unless it has ended: its owner hears no more of it. Waiting and later writes fail with `error`. */
  stop(error: ConnectError): void {
    this.#over = true;
    this.#outbox.fail(error);
    const stream = this.#stream;
    if (stream.closed) return;
    // The server's status may have come before the client's half-close; the stream is freed all the same.
    if (this.#status === undefined) reset(stream, constants.NGHTTP2_CANCEL);
    else if (!stream.writableEnded) reset(stream, constants.NGHTTP2_NO_ERROR);
  }

  /** Whether the peer may go on sending; where nothing is read any more, it may. */
  get hasRoom(): boolean {
    return (this.#room && this.#early === undefined) || this.#over;
  }

  onData(chunk: Uint8Array): void {
    if (this.#over) return;
    if (!this.#responded) {
      this.#early ??= [];
      this.#early.push(chunk);
      return;
    }
    try {
      this.#reader.push(chunk);
    } catch (error) {
      this.#refuse(asFailure(error));
    }
  }

  onFrame(frame: Frame): void {
    if (!this.#over) this.#room = this.#owner.onFrame(frame);
  }

  static readonly #onResponse = function (
    this: ClientHttp2Stream,
    headers: IncomingHttpHeaders & IncomingHttpStatusHeader,
    flags: number,
    rawHeaders: string[],
  ): void {
    const self = (this as Owned)[SELF];
    self.#responded = true;
    if (!self.#over) {
      const refusal = self.#tooMany(rawHeaders, "response headers");
      if (refusal !== undefined) self.#refuse(refusal);
      else self.#answered(headers, (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0);
    }
    if (self.#early !== undefined) self.#takeEarly();
    if (self.#tail !== undefined) self.#status ??= self.#readStatus(self.#tail);
    if (self.#endedEarly) self.#ended();
  };

  static readonly #onTrailers = function (
    this: ClientHttp2Stream,
    trailers: IncomingHttpHeaders,
    _flags: number,
    // node:http2 gives them, and @types/node does not know.
    rawTrailers: string[] = [],
  ): void {
    const self = (this as Owned)[SELF];
    self.#tail ??= trailers;
    self.#status ??= self.#tooMany(rawTrailers, "trailers");
    if (self.#responded) self.#status ??= self.#readStatus(self.#tail);
  };

  static readonly #onDrain = function (this: ClientHttp2Stream): void {
    (this as Owned)[SELF].#outbox.drained();
  };

  static readonly #onEnd = function (this: ClientHttp2Stream): void {
    // 'end' also comes after a reset: then 'close' knows more.
    const self = (this as Owned)[SELF];
    if (!self.#responded) self.#endedEarly = !this.closed;
    else if (self.#status !== undefined || !this.closed) self.#ended();
    destroyReset(this);
  };

  static readonly #onClose = function (this: ClientHttp2Stream): void {
    catchUp();
    (this as Owned)[SELF].#closed();
  };

  /** @param raw names and values in turn */
  #tooMany(
    raw: readonly string[],
    what: "response headers" | "trailers",
  ): ConnectError | undefined {
    return tooManyFields(raw.length / 2, what, this.#connection.target.name);
  }

  #answered(headers: IncomingHttpHeaders & IncomingHttpStatusHeader, ended: boolean): void {
    const refusal = checkResponse(headers, ended, this.#connection.target.name);
    if (refusal !== undefined) {
      if (refusal.isWireError) this.#status = refusal;
      else this.#refuse(refusal);
    } else if (ended) this.#status = "ok";
    else {
      this.#head = headers;
      this.#owner.onHead(headers);
    }
    if (!ended) return;
    this.#tail = headers;
    this.#ended();
  }

  /** Takes what came before the headers, and lets the server send on. */
  #takeEarly(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const chunk of early) this.onData(chunk);
    if (this.hasRoom && !this.#stream.destroyed) readOn(this.#stream);
  }

  /** The status of the trailers; an error brings the response headers along, as Connect's errors do. */
  #readStatus(trailers: IncomingHttpHeaders): "ok" | ConnectError | undefined {
    const status = readStatus(trailers);
    if (status instanceof ConnectError && this.#head !== undefined) {
      for (const [name, value] of toHeaders(this.#head)) status.metadata.append(name, value);
    }
    return status;
  }

  /** The server has said all, and all is read. */
  #ended(): void {
    if (this.#over) return;
    if (this.#status === undefined) {
      const what = `${this.#connection.target.name} ended the call without a gRPC status`;
      const error = failure(Code.Internal, what);
      this.#break({ error, refused: false, unprocessed: false, rstCode: 0 });
    } else if (this.#status === "ok" && this.#reader.partial) {
      this.#refuse(failure(Code.Internal, "protocol error: the last message was cut off"));
    } else {
      this.#over = true;
      this.#owner.onStatus(this.#status, this.#tail ?? {});
    }
  }

  /** The stream is gone, before its end was read or without one. */
  #closed(): void {
    if (this.#status !== undefined) {
      this.#ended();
      return;
    }
    const rstCode = this.#stream.rstCode ?? 0;
    const { lost, target } = this.#connection;
    if (
      lost === undefined &&
      rstCode === constants.NGHTTP2_ENHANCE_YOUR_CALM &&
      this.#fields > HEADERS_MAX_FIELDS
    ) {
      // Another attempt would have as many.
      this.#refuse(requestRefused(this.#fields, target.name));
      return;
    }
    const cause = readReset(rstCode, target.name);
    this.#break({
      error: lost ?? cause.error,
      refused: false,
      unprocessed: this.#connection.neverProcessed(this.#stream) || cause.refused,
      rstCode,
    });
  }

  #refuse(error: ConnectError): void {
    this.#break({ error, refused: true, unprocessed: false, rstCode: 0 });
  }

  #break(broken: Broken): void {
    if (this.#over) return;
    this.#over = true;
    if (!broken.refused) markCutOff(broken.error);
    this.#owner.onBroken(broken);
  }
}

function ignore(): void {}
