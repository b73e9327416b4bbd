import { Code, ConnectError } from "@connectrpc/connect";
import type { ClientStreamListener, HeaderList, Outcome, Status } from "../call-stream.ts";
import {
  asFailure,
  HEADERS_MAX_FIELDS,
  markCutOff,
  ownCopy,
  peerFailure,
  tooManyFields,
} from "../failure.ts";
import { requestRefused } from "../grpc/header-limits.ts";
import { toHeaders } from "../grpc/metadata.ts";
import { checkResponse } from "../grpc/response.ts";
import { readStatus } from "../grpc/status.ts";
import type { SentFields } from "../http2/fixed-fields.ts";
import { CANCEL, ENHANCE_YOUR_CALM, NO_ERROR } from "../http2/frames.ts";
import type { FieldList } from "../http2/hpack/field-list.ts";
import type { Http2Connection, StreamEnd, StreamListener } from "../http2/types.ts";
import type { ClientAttachment } from "../session/attachment.ts";
import type { OpenStream, StreamRepeater } from "./connection.ts";
import type { ConnectionMemory } from "./connection-memory.ts";
import { toHeaderList } from "./fields.ts";
import { MessageStream } from "./message-stream.ts";
import { resetMeaning } from "./reset-meaning.ts";

/** What a stream needs from its connection. */
export interface StreamConnection {
  /** The address in errors. */
  readonly name: string;
  readonly memory: ConnectionMemory;
  /** Why it was lost; `undefined` if it was not, or if that is not known yet. */
  readonly lossReason: ConnectError | undefined;
  /** Calls `run` when `lossReason` is known: the connection is lost. */
  whenLost(run: () => void): void;
  /** Called when the stream is closed. */
  onStreamClosed(): void;
}

/** The HTTP/2 stream of a gRPC call at the client: headers, messages, and the status at the end. */
export class GrpcClientStream extends MessageStream implements ClientAttachment, StreamListener {
  protected readonly listener: ClientStreamListener;
  /** Asked when the stream closes; `undefined` after the response headers. */
  #repeater: StreamRepeater | undefined;
  readonly #connection: StreamConnection;
  /** The number of request headers, if the application set some of them; else 0. */
  readonly #fieldCount: number;
  #head: HeaderList | undefined;
  #tail: HeaderList | undefined;
  #status: Status | undefined;

  constructor(connection: StreamConnection, init: OpenStream) {
    const { head, listener, repeater, readMaxBytes, controlFrames } = init;
    super({ readMaxBytes, controlFrames, memory: connection.memory, isClient: true });
    this.listener = listener;
    this.#repeater = repeater;
    const { fields, more } = head;
    this.#fieldCount = fields.hasMetadata ? fields.count + more.length / 2 : 0;
    this.#connection = connection;
  }

  /** Opens the stream. Throws if HTTP/2 does not allow the headers, or the connection takes no more streams. */
  open(http2: Http2Connection, fields: SentFields): void {
    try {
      this.attach(http2.open(fields, this));
    } catch (error) {
      this.closed();
      throw error;
    }
  }

  endSend(): void {
    this.writeRest();
    this.native.end();
  }

  reset(reason: ConnectError): void {
    this.failWrites(reason);
    this.#free();
  }

  /** Also frees the stream: a server that has ended only its side would keep it open for ever. */
  override release(): void {
    super.release();
    this.#free();
  }

  #free(): void {
    this.isDiscarding = true;
    const stream = this.native;
    // If the status arrived before the client half-closed, the stream is freed without CANCEL.
    if (this.#status === undefined) stream.reset(CANCEL);
    else if (!stream.isLocalEnded) stream.reset(NO_ERROR);
  }

  protected refuseInput(error: unknown): void {
    this.#refuse(asFailure(error));
  }

  // StreamListener: called by the HTTP/2 connection. MessageStream has onData() and onDrain().

  onHeaders(fields: FieldList, isEnd: boolean): void {
    if (this.isDiscarding) return;
    const refusal = this.#tooMany(fields, "response headers");
    if (refusal !== undefined) this.#refuse(refusal);
    else this.#answered(toHeaderList(fields), isEnd);
  }

  onTrailers(fields: FieldList): void {
    this.#tail = toHeaderList(fields);
    this.#status ??= this.#tooMany(fields, "trailers") ?? this.#readStatus(this.#tail);
  }

  onEnd(): void {
    if (this.isDiscarding) return;
    if (this.#status === undefined) {
      const what = `${this.#connection.name} ended the call without a gRPC status`;
      this.#lost(peerFailure(Code.Internal, what), false);
    } else if (this.#status === "ok" && this.reader.isPartial) {
      this.#refuse(peerFailure(Code.Internal, "protocol error: the last message was cut off"));
    } else this.#ended(this.#status);
  }

  onClosed(end: StreamEnd): void {
    try {
      if (this.isDiscarding) return;
      if (this.#status !== undefined) this.#ended(this.#status);
      else if (end.by === "connection") this.#connection.whenLost(() => this.#onLost(end));
      else this.#onLost(end);
    } finally {
      // Also if the listener throws: the budgets outlive the connection.
      this.closed(this.#status !== undefined);
      this.#connection.onStreamClosed();
    }
  }

  #tooMany(fields: FieldList, what: "response headers" | "trailers"): ConnectError | undefined {
    return tooManyFields(fields.length / 2, what, this.#connection.name);
  }

  #answered(headers: HeaderList & { readonly ":status"?: number }, isEnd: boolean): void {
    const refusal = checkResponse(headers, isEnd, this.#connection.name);
    if (isEnd) this.#tail = headers;
    if (refusal !== undefined) {
      if (refusal.isWireError) this.#status = refusal;
      else this.#refuse(refusal);
    } else if (isEnd) this.#status = "ok";
    else {
      this.#head = headers;
      this.#repeater = undefined;
      this.listener.onHeaders(headers, this);
    }
  }

  /** Reads the status. The metadata of an error includes the response headers, as in Connect. */
  #readStatus(trailers: HeaderList): Status | undefined {
    const status = readStatus(trailers);
    if (status instanceof ConnectError && this.#head !== undefined) {
      for (const [name, value] of toHeaders(this.#head)) status.metadata.append(name, value);
    }
    return status;
  }

  /** Reports the end of the call: the server has ended the stream, and everything was read. */
  #ended(status: Status): void {
    this.isDiscarding = true;
    const outcome: Outcome = { is: "ended", status, trailers: this.#tail ?? {} };
    this.listener.onClosed(outcome, this);
  }

  /** Reports that the stream was closed without a status. */
  #onLost({ by, code, reason, unprocessed }: StreamEnd): void {
    const { lossReason, name } = this.#connection;
    if (by === "peer" && code === ENHANCE_YOUR_CALM) {
      if (this.#fieldCount > HEADERS_MAX_FIELDS) {
        // The call is not retried: another attempt would have as many headers.
        this.#refuse(requestRefused(this.#fieldCount, name));
        return;
      }
    }
    if (by === "invalid") {
      const isTooLarge = code === ENHANCE_YOUR_CALM;
      this.#refuse(
        isTooLarge
          ? peerFailure(
              Code.ResourceExhausted,
              `${name} sent too many headers: ${reason}; send fewer`,
            )
          : peerFailure(Code.Internal, `protocol error of ${name}: ${reason}`),
      );
    } else if (lossReason !== undefined) this.#lost(ownCopy(lossReason), unprocessed);
    else this.#lost(resetMeaning(code, name), unprocessed);
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
