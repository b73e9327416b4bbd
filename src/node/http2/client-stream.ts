import {
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
} from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import type { ClientStreamListener, Outcome, Status } from "../../call-stream.ts";
import type { OpenStream, StreamRepeater } from "../../connection/connection.ts";
import {
  asFailure,
  failure,
  HEADERS_MAX_FIELDS,
  markCutOff,
  tooManyFields,
} from "../../failure.ts";
import { countFields, requestRefused } from "../../grpc/header-limits.ts";
import { toHeaders } from "../../grpc/metadata.ts";
import { checkResponse } from "../../grpc/response.ts";
import { readStatus } from "../../grpc/status.ts";
import type { ClientAttachment } from "../../session/attachment.ts";
import { MESSAGES, MessageStream } from "./message-stream.ts";
import { catchUp } from "./receive.ts";
import { destroyReset, readReset, reset } from "./reset.ts";

/** The connection of a stream, as the stream sees it. */
export interface StreamConnection {
  /** As errors name it. */
  readonly name: string;
  /** Why it is gone, if it is. */
  readonly lost: ConnectError | undefined;
  /** Whether the server certainly did nothing for the stream. */
  neverProcessed(stream: ClientHttp2Stream): boolean;
}

type ClientNative = ClientHttp2Stream & { [MESSAGES]: GrpcClientStream };

/**
 * The HTTP/2 stream of a gRPC call, seen from the client: headers, messages, and
 * the status that the end means. All streams share the listeners of node:http2's
 * events, as those of a GrpcServerStream.
 *
 * Response headers, messages and the end reach the listener in the order in which
 * the server sent them. node:http2 does not keep that order: it emits 'response'
 * in a tick of its own but gives DATA at once, so DATA comes first wherever it
 * reads several frames without a tick in between (over TLS while a write is
 * under way; always on Deno). DATA that comes early is kept until the headers are
 * here. The stream's window bounds it, since no more of the window is given
 * back meanwhile.
 */
export class GrpcClientStream extends MessageStream<ClientHttp2Stream> implements ClientAttachment {
  protected readonly listener: ClientStreamListener;
  /** Until the response headers. */
  #repeater: StreamRepeater | undefined;
  readonly #connection: StreamConnection;
  /** How many request headers were sent, where the application set some of them. */
  readonly #fields: number;
  #head: IncomingHttpHeaders | undefined;
  #tail: IncomingHttpHeaders | undefined;
  #status: Status | undefined;
  /** Whether 'end' came before 'response'. */
  #endedEarly = false;

  constructor(stream: ClientHttp2Stream, connection: StreamConnection, init: OpenStream) {
    super(stream, init);
    this.awaitsHeaders = true;
    const { head, listener, repeater } = init;
    this.listener = listener;
    this.#repeater = repeater;
    this.#fields = head.hasMetadata ? countFields(head.fields) : 0;
    this.#connection = connection;
    stream.on("response", GrpcClientStream.#onResponse);
    stream.on("trailers", GrpcClientStream.#onTrailers);
    stream.on("end", GrpcClientStream.#onEnd);
    stream.on("error", ignore);
    stream.on("close", GrpcClientStream.#onClose);
  }

  endSend(): void {
    this.flush();
    this.native.end();
  }

  reset(reason: ConnectError): void {
    this.isDiscarding = true;
    this.failWrites(reason);
    const stream = this.native;
    if (stream.closed) return;
    // The server's status may have come before the client's half-close; the stream is freed all the same.
    if (this.#status === undefined) reset(stream, constants.NGHTTP2_CANCEL);
    else if (!stream.writableEnded) reset(stream, constants.NGHTTP2_NO_ERROR);
  }

  protected refuseInput(error: unknown): void {
    this.#refuse(asFailure(error));
  }

  static readonly #onResponse = function (
    this: ClientHttp2Stream,
    headers: IncomingHttpHeaders & IncomingHttpStatusHeader,
    flags: number,
    rawHeaders: string[],
  ): void {
    const self = (this as ClientNative)[MESSAGES];
    self.awaitsHeaders = false;
    if (!self.isDiscarding) {
      const refusal = self.#tooMany(rawHeaders, "response headers");
      if (refusal !== undefined) self.#refuse(refusal);
      else self.#answered(headers, (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0);
    }
    self.takeEarlyData();
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
    const self = (this as ClientNative)[MESSAGES];
    self.#tail ??= trailers;
    self.#status ??= self.#tooMany(rawTrailers, "trailers");
    if (!self.awaitsHeaders) self.#status ??= self.#readStatus(self.#tail);
  };

  static readonly #onEnd = function (this: ClientHttp2Stream): void {
    // 'end' also comes after a reset: then 'close' knows more.
    const self = (this as ClientNative)[MESSAGES];
    if (self.awaitsHeaders) self.#endedEarly = !this.closed;
    else if (self.#status !== undefined || !this.closed) self.#ended();
    destroyReset(this);
  };

  static readonly #onClose = function (this: ClientHttp2Stream): void {
    catchUp();
    (this as ClientNative)[MESSAGES].#gone();
  };

  /** @param raw names and values in turn */
  #tooMany(
    raw: readonly string[],
    what: "response headers" | "trailers",
  ): ConnectError | undefined {
    return tooManyFields(raw.length / 2, what, this.#connection.name);
  }

  #answered(headers: IncomingHttpHeaders & IncomingHttpStatusHeader, ended: boolean): void {
    const refusal = checkResponse(headers, ended, this.#connection.name);
    if (refusal !== undefined) {
      if (refusal.isWireError) this.#status = refusal;
      else this.#refuse(refusal);
    } else if (ended) this.#status = "ok";
    else {
      this.#head = headers;
      this.#repeater = undefined;
      this.listener.onHeaders(headers, this);
    }
    if (!ended) return;
    this.#tail = headers;
    this.#ended();
  }

  /** The status of the trailers. The metadata of an error has the response headers too, as Connect's errors do. */
  #readStatus(trailers: IncomingHttpHeaders): Status | undefined {
    const status = readStatus(trailers);
    if (status instanceof ConnectError && this.#head !== undefined) {
      for (const [name, value] of toHeaders(this.#head)) status.metadata.append(name, value);
    }
    return status;
  }

  /** The server has ended the stream, and all is read. */
  #ended(): void {
    if (this.isDiscarding) return;
    if (this.#status === undefined) {
      const what = `${this.#connection.name} ended the call without a gRPC status`;
      this.#lost(failure(Code.Internal, what), false);
    } else if (this.#status === "ok" && this.reader.isPartial) {
      this.#refuse(failure(Code.Internal, "protocol error: the last message was cut off"));
    } else {
      this.isDiscarding = true;
      const outcome: Outcome = { is: "ended", status: this.#status, trailers: this.#tail ?? {} };
      this.listener.onClosed(outcome, this);
    }
  }

  /** The stream is gone, before its end was read or without one. */
  #gone(): void {
    if (this.isDiscarding) return;
    if (this.#status !== undefined) {
      this.#ended();
      return;
    }
    const rstCode = this.native.rstCode ?? 0;
    const { lost, name } = this.#connection;
    if (
      lost === undefined &&
      rstCode === constants.NGHTTP2_ENHANCE_YOUR_CALM &&
      this.#fields > HEADERS_MAX_FIELDS
    ) {
      // Another attempt would have as many.
      this.#refuse(requestRefused(this.#fields, name));
      return;
    }
    const cause = readReset(rstCode, name);
    const unprocessed = this.#connection.neverProcessed(this.native) || cause.refused;
    this.#lost(lost ?? cause.error, unprocessed);
  }

  #lost(error: ConnectError, unprocessed: boolean): void {
    if (this.isDiscarding) return;
    markCutOff(error);
    this.isDiscarding = true;
    if (unprocessed && this.#repeater?.onUnprocessed(error) === true) return;
    this.listener.onClosed({ is: "lost", error, unprocessed }, this);
  }

  #refuse(error: ConnectError): void {
    if (this.isDiscarding) return;
    this.isDiscarding = true;
    this.listener.onInvalid(error, this);
  }
}

function ignore(): void {}
