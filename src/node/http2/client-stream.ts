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
  ownCopy,
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

/** What a stream needs from its connection. */
export interface StreamConnection {
  /** The address in errors. */
  readonly name: string;
  /** Why it was lost; `undefined` if it was not. */
  readonly lossReason: ConnectError | undefined;
  /** Whether the server certainly did nothing for the stream. */
  neverProcessed(stream: ClientHttp2Stream): boolean;
}

type ClientNative = ClientHttp2Stream & { [MESSAGES]: GrpcClientStream };

/**
 * The HTTP/2 stream of a gRPC call at the client: headers, messages, and the
 * status at the end. All streams share the listeners of node:http2's events, as
 * those of GrpcServerStream do.
 *
 * The listener is called in the order in which the server sent response headers,
 * messages and the end. node:http2 does not keep that order: it emits 'response'
 * in a later tick but delivers DATA immediately. DATA therefore comes first if
 * node:http2 reads several frames without a tick between them (over TLS during a
 * write; always on Deno). The stream keeps such early DATA until 'response', and
 * the flow-control window limits its size, since it is not extended meanwhile.
 */
export class GrpcClientStream extends MessageStream<ClientHttp2Stream> implements ClientAttachment {
  protected readonly listener: ClientStreamListener;
  /** Asked when the stream closes; `undefined` after the response headers. */
  #repeater: StreamRepeater | undefined;
  readonly #connection: StreamConnection;
  /** The number of request headers, if the application set some of them; else 0. */
  readonly #fields: number;
  #head: IncomingHttpHeaders | undefined;
  #tail: IncomingHttpHeaders | undefined;
  #status: Status | undefined;
  /** Whether 'end' was emitted before 'response'. */
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
    // If the status arrived before the client half-closed, the stream is freed without CANCEL.
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
    // node:http2 passes this parameter; @types/node does not declare it.
    rawTrailers: string[] = [],
  ): void {
    const self = (this as ClientNative)[MESSAGES];
    self.#tail ??= trailers;
    self.#status ??= self.#tooMany(rawTrailers, "trailers");
    if (!self.awaitsHeaders) self.#status ??= self.#readStatus(self.#tail);
  };

  static readonly #onEnd = function (this: ClientHttp2Stream): void {
    // 'end' is emitted after a reset too; then #onClose reads the error code.
    const self = (this as ClientNative)[MESSAGES];
    if (self.awaitsHeaders) self.#endedEarly = !this.closed;
    else if (self.#status !== undefined || !this.closed) self.#ended();
    destroyReset(this);
  };

  static readonly #onClose = function (this: ClientHttp2Stream): void {
    catchUp();
    (this as ClientNative)[MESSAGES].#onLost();
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

  /** Reads the status. The metadata of an error includes the response headers, as in Connect. */
  #readStatus(trailers: IncomingHttpHeaders): Status | undefined {
    const status = readStatus(trailers);
    if (status instanceof ConnectError && this.#head !== undefined) {
      for (const [name, value] of toHeaders(this.#head)) status.metadata.append(name, value);
    }
    return status;
  }

  /** Reports the end: the server has ended the stream, and everything was read. */
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

  /** Reports the loss of the stream, unless its status is known. */
  #onLost(): void {
    if (this.isDiscarding) return;
    if (this.#status !== undefined) {
      this.#ended();
      return;
    }
    const rstCode = this.native.rstCode ?? 0;
    const { lossReason, name } = this.#connection;
    if (
      lossReason === undefined &&
      rstCode === constants.NGHTTP2_ENHANCE_YOUR_CALM &&
      this.#fields > HEADERS_MAX_FIELDS
    ) {
      // The call is not retried: another attempt would have as many headers.
      this.#refuse(requestRefused(this.#fields, name));
      return;
    }
    const cause = readReset(rstCode, name);
    const unprocessed = this.#connection.neverProcessed(this.native) || cause.refused;
    this.#lost(lossReason === undefined ? cause.error : ownCopy(lossReason), unprocessed);
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
