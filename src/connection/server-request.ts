import type { ConnectError } from "@connectrpc/connect";
import type { HeaderList, ServerStreamListener } from "../call-stream.ts";
import { HEADERS_MAX_FIELDS } from "../failure.ts";
import { runtime } from "../flow/runtime.ts";
import { CallFields } from "../grpc/call-fields.ts";
import type { KnownCaller } from "../grpc/caller.ts";
import { headerListBytes, trailersLimit } from "../grpc/header-limits.ts";
import { statusTrailers } from "../grpc/status.ts";
import { HTTP_1_1_REQUIRED, REFUSED_STREAM } from "../http2/frames.ts";
import type { FieldList } from "../http2/hpack/field-list.ts";
import type { Http2Stream, StreamEnd, StreamListener } from "../http2/types.ts";
import type { Party } from "../sharing/parties.ts";
import type { ConnectionMemory } from "./connection-memory.ts";
import { toFields, toHeaderList } from "./fields.ts";
import { HttpExchange } from "./http-exchange.ts";
import type { BodyKind } from "./message-meter.ts";
import type { ServedConnection } from "./served-connection.ts";
import { GrpcServerStream, type GrpcServerStreamInit } from "./server-stream.ts";
import { stopReadingSoon } from "./stop-reading.ts";
import { WaitingBody } from "./waiting-body.ts";

/**
 * A request of a client, whose headers have arrived and which nothing serves yet. Exactly one of openCallStream(),
 * openExchange(), answer(), refuseCall() and refuse() is called: immediately, or when it is known who the caller is. Until
 * then at most a window of its body waits here.
 */
export class ServerRequest implements StreamListener {
  readonly connection: ServedConnection;
  /** Those that decide how a gRPC call is served. */
  readonly fields: CallFields;
  /** Names and values in turn, pseudo-headers included. */
  readonly rawHeaders: FieldList;
  #headers: HeaderList | undefined;
  readonly #stream: Http2Stream;
  #target: StreamListener | undefined;
  /** What arrived while it was not known what serves the request. */
  #waiting: WaitingBody | undefined;
  /** Whether what arrives is dropped. */
  #isDropping = false;
  /** Whether the request is served in the call in which it arrived: the engine then calls `#target` itself. */
  #isNew = true;
  /** Whether what waits was passed on, so that what arrives follows immediately. */
  #isPassingOn = false;
  #isClosed = false;
  #caller: KnownCaller | undefined;
  #memory: ConnectionMemory | undefined;
  /** Called if the stream is closed before anything serves the request. */
  onClosedUnserved: (() => void) | undefined;

  constructor(stream: Http2Stream, connection: ServedConnection, fields: FieldList) {
    this.#stream = stream;
    this.connection = connection;
    this.rawHeaders = fields;
    this.fields = new CallFields(fields);
  }

  /** All headers, by name. */
  get headers(): HeaderList {
    this.#headers ??= toHeaderList(this.rawHeaders);
    return this.#headers;
  }

  /** The listener for the engine, after the request was shown to the server. */
  takeListener(): StreamListener {
    this.#isNew = false;
    return this.#target ?? this;
  }

  /** The caller: that of the connection, until the server has authenticated another one. */
  get caller(): KnownCaller {
    return this.#caller ?? this.connection.caller;
  }

  set caller(caller: KnownCaller) {
    this.#caller = caller;
  }

  /**
   * Counts for this caller what the stream will hold. Returns whether it may have another stream; if not, tells of that, and
   * the request is to be refused by refuse().
   */
  countFor(party: Party): boolean {
    const { connection } = this;
    const memory = connection.memoryOf(party);
    this.#memory = memory;
    // That of the connection has admitted the request already.
    if (memory === connection.memory || memory.admits) return true;
    memory.onRefused();
    return false;
  }

  /** Whether the stream is closed: the client has cancelled the request, or its connection was lost. */
  get isClosed(): boolean {
    return this.#stream.isClosed;
  }

  /** Whether there are more fields than HEADERS_MAX_FIELDS. */
  get hasTooManyFields(): boolean {
    return this.rawHeaders.length > 2 * HEADERS_MAX_FIELDS;
  }

  /** Serves the request as a gRPC call. */
  openCallStream(init: GrpcServerStreamInit, listener: ServerStreamListener): GrpcServerStream {
    const { connection } = this;
    const memory = this.#memory ?? connection.memory;
    const stream = new GrpcServerStream(this.#stream, connection, { ...init, listener, memory });
    this.#serveBy(stream);
    return stream;
  }

  /** Serves the request as plain HTTP. */
  openExchange(kind: BodyKind): HttpExchange {
    const { connection } = this;
    const memory = this.#memory ?? connection.memory;
    const exchange = new HttpExchange(this.#stream, connection, { kind, memory });
    this.#serveBy(exchange);
    return exchange;
  }

  /** Answers without a body, and frees the stream: the request's body is not read. */
  answer(headers: HeaderList): void {
    this.#isDropping = true;
    this.#waiting?.take();
    this.#stream.sendHeaders(toFields(headers), true);
    this.#stream.returnCredit(this.#stream.unreturnedBytes);
    stopReadingSoon(this.#stream);
  }

  /** Answers a gRPC call that gets no handler with its status, and these trailers, and frees the stream. */
  refuseCall(error: ConnectError, trailers: HeaderList = {}): void {
    const head = { ":status": 200, "content-type": "application/grpc", ...trailers };
    const budget = {
      limitBytes: trailersLimit(this.connection.announcedHeaderBytes),
      usedBytes: headerListBytes(head),
    };
    this.answer({ ...head, ...statusTrailers(error, undefined, budget) });
  }

  /** Refuses the request, so that the client may make it again at another server. */
  refuse(): void {
    this.#stream.reset(REFUSED_STREAM);
  }

  /** Refuses the request, so that the client makes it again over HTTP/1.1 (RFC 9113, 7: HTTP_1_1_REQUIRED). */
  requireHttp1(): void {
    this.#stream.reset(HTTP_1_1_REQUIRED);
  }

  #serveBy(target: StreamListener): void {
    this.#target = target;
    if (!this.#isNew) runtime.afterMicrotasks(() => this.#passOn(target));
  }

  /** Passes on what waits, when the target is ready: it was made in the same turn. */
  #passOn(target: StreamListener): void {
    this.#isPassingOn = true;
    for (const one of this.#waiting?.take() ?? []) {
      if (this.#isClosed) return;
      if (one === "end") target.onEnd();
      else if (one instanceof Uint8Array) target.onData(one, 0, one.length);
      else target.onTrailers(one);
    }
  }

  // StreamListener: called by the engine while the request waits, and after that.

  onHeaders(): void {}

  onData(bytes: Uint8Array, start: number, end: number): void {
    if (this.#isPassingOn) {
      this.#target?.onData(bytes, start, end);
      return;
    }
    if (start === end) return;
    if (this.#isDropping) this.#stream.returnCredit(end - start);
    else this.#waitingBody().putData(bytes.subarray(start, end));
  }

  #waitingBody(): WaitingBody {
    this.#waiting ??= new WaitingBody(this.#stream, this.connection.memory);
    return this.#waiting;
  }

  onTrailers(fields: FieldList): void {
    if (this.#isPassingOn) this.#target?.onTrailers(fields);
    else if (!this.#isDropping) this.#waitingBody().put(fields);
  }

  onEnd(): void {
    if (this.#isPassingOn) this.#target?.onEnd();
    else if (!this.#isDropping) this.#waitingBody().put("end");
  }

  onDrain(): void {
    this.#target?.onDrain();
  }

  onClosed(end: StreamEnd): void {
    this.#isClosed = true;
    this.#waiting?.take();
    if (this.#target !== undefined) this.#target.onClosed(end);
    else {
      this.onClosedUnserved?.();
      this.connection.onStreamClosed();
    }
  }
}
