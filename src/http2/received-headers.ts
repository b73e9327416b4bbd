import type { AbuseBudget } from "./abuse.ts";
import { ConnectionError } from "./errors.ts";
import {
  contentLengthOf,
  type FieldsKind,
  fieldOf,
  findInvalid,
  joinCookies,
  REQUEST,
  RESPONSE,
  statusOf,
  TRAILERS,
} from "./fields.ts";
import { ENHANCE_YOUR_CALM, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED } from "./frames.ts";
import type { ReceivedHeaders } from "./header-blocks.ts";
import type { DecodedBlock } from "./hpack/decoder.ts";
import type { FieldList } from "./hpack/field-list.ts";
import { Stream, type StreamHost } from "./stream.ts";
import type { StreamTable } from "./stream-table.ts";
import type { ConnectionListener } from "./types.ts";

/** A connection does not keep a larger list of fields. */
const KEPT_LIST_BYTES = 2048;

/** What received headers act on: the connection. */
export interface HeadersHost extends StreamHost {
  readonly listener: ConnectionListener;
  readonly streams: StreamTable;
  readonly budget: AbuseBudget;
  readonly maxConcurrentStreams: number;
  readonly maxHeaderListBytes: number;
  /** A server: false after the last GOAWAY. */
  readonly acceptsStreams: boolean;
  /** Calls the listener's onRequest(), and gives the stream the listener that it returns. */
  callOnRequest(stream: Stream, fields: FieldList, endStream: boolean): void;
}

/** Handles decoded header blocks: requests, responses, trailers. */
export class HeadersReceiver {
  readonly #host: HeadersHost;
  /** The fields of the last valid request, unless they were many. */
  #validRequest: FieldList | undefined;

  constructor(host: HeadersHost) {
    this.#host = host;
  }

  receive(headers: ReceivedHeaders): void {
    const stream = this.#host.streams.find(headers.stream);
    if (stream === undefined) this.#receiveWithoutStream(headers);
    else if (!stream.canReceive) this.fail(stream, STREAM_CLOSED, "HEADERS after END_STREAM");
    else {
      stream.hasReceivedEnd = headers.endStream;
      if (stream.headersReceived) this.#receiveTrailers(stream, headers);
      else this.#receiveResponse(stream, headers);
    }
  }

  /** Ends the peer's side of a stream. */
  receiveEnd(stream: Stream): void {
    if (stream.isClosed) return;
    if (stream.contentLeft > 0) {
      this.fail(stream, PROTOCOL_ERROR, `content-length: ${stream.contentLeft} bytes are missing`);
    } else stream.receiveEnd();
  }

  /** Resets a stream because the peer broke the protocol or a limit on it. The peer spends a unit of its budget. */
  fail(stream: Stream, code: number, reason: string): void {
    stream.fail(code, reason);
    this.#host.budget.spend("too_many_stream_errors");
  }

  #receiveWithoutStream(headers: ReceivedHeaders): void {
    const { streams, isServer, budget } = this.#host;
    const id = headers.stream;
    if (isServer && id % 2 === 0) {
      throw new ConnectionError(PROTOCOL_ERROR, "HEADERS with an even stream id");
    }
    if (!streams.isIdle(id)) {
      if (!streams.mayReceive(id)) {
        throw new ConnectionError(STREAM_CLOSED, "HEADERS for a closed stream");
      }
      if (!streams.closed.takeBlock()) budget.spend("too_many_frames_for_closed_streams");
    } else if (!isServer) {
      throw new ConnectionError(PROTOCOL_ERROR, "HEADERS for a stream that was not opened");
    } else {
      streams.highestPeerId = id;
      this.#receiveRequest(headers);
    }
  }

  #receiveRequest(headers: ReceivedHeaders): void {
    const host = this.#host;
    if (!host.acceptsStreams) {
      // RFC 9113, 6.8: what comes after the last GOAWAY is ignored; a body and trailers may follow.
      host.streams.closed.allow({ blocks: 1, bytes: host.initialReceiveWindow });
      host.budget.spend("too_many_refused_streams");
      return;
    }
    host.streams.lastAcceptedId = headers.stream;
    if (host.streams.size >= host.maxConcurrentStreams) {
      this.#refuse(headers.stream, REFUSED_STREAM);
      host.budget.spend("too_many_refused_streams");
      return;
    }
    if (headers.block.isTooLarge) {
      this.#receiveTooLargeRequest(headers);
      return;
    }
    const { block, endStream } = headers;
    const contentLength = contentLengthOf(block.fields);
    if (
      this.#findInvalidRequest(block) !== undefined ||
      contentLength === undefined ||
      (endStream && contentLength > 0)
    ) {
      this.#refuse(headers.stream, PROTOCOL_ERROR);
      host.budget.spend("too_many_stream_errors");
      return;
    }
    this.#open(headers, contentLength);
  }

  /** Resets a request that was not accepted; a body may follow it. */
  #refuse(id: number, code: number): void {
    const bytes = this.#host.initialReceiveWindow;
    this.#host.writeReset(id, code, { blocks: 0, bytes });
  }

  #open({ stream: id, block, endStream }: ReceivedHeaders, contentLength: number): void {
    const host = this.#host;
    const { fields } = block;
    const stream = this.#add(id);
    stream.hasReceivedEnd = endStream;
    stream.contentLeft = contentLength;
    if (fieldOf(fields, ":method") === "CONNECT") {
      // CONNECT asks a proxy for a tunnel, and an engine is not a proxy: 501 (RFC 9110, 15.6.2).
      this.#answer(stream, "501", endStream);
      return;
    }
    host.callOnRequest(stream, joinCookies(fields), endStream);
    if (endStream) stream.receiveEnd();
  }

  #receiveTooLargeRequest({ stream: id, block, endStream }: ReceivedHeaders): void {
    const { listener, budget } = this.#host;
    const stream = this.#add(id);
    stream.hasReceivedEnd = endStream;
    if (listener.onTooLargeRequest === undefined) this.#answer(stream, "431", endStream);
    else {
      listener.onTooLargeRequest(stream, block.fields);
      stream.stopReading();
      if (endStream) stream.receiveEnd();
    }
    budget.spendOnTooLargeList(block.listBytes);
  }

  #add(id: number): Stream {
    const stream = new Stream(id, this.#host);
    this.#host.streams.add(stream);
    this.#host.budget.onStream();
    return stream;
  }

  #answer(stream: Stream, status: string, endStream: boolean): void {
    stream.sendHeaders([":status", status], true);
    stream.stopReading();
    if (endStream) stream.receiveEnd();
  }

  #receiveResponse(stream: Stream, headers: ReceivedHeaders): void {
    const { block, endStream } = headers;
    const { fields } = block;
    const reason = this.#findInvalid(block, RESPONSE);
    if (reason !== undefined) {
      this.fail(stream, reason.code, reason.text);
      return;
    }
    const status = statusOf(fields);
    if (status.startsWith("1")) {
      this.#receiveInformational(stream, endStream);
      return;
    }
    const contentLength = contentLengthOf(fields);
    if (contentLength === undefined) {
      this.fail(stream, PROTOCOL_ERROR, "content-length is not a number");
      return;
    }
    // Such responses have no content, whatever content-length says (RFC 9110, 6.4.1).
    stream.contentLeft = hasNoContent(stream, status) ? 0 : contentLength;
    if (endStream && stream.contentLeft > 0) this.receiveEnd(stream);
    else {
      stream.receiveHeaders(fields, endStream);
      if (endStream) this.receiveEnd(stream);
    }
  }

  #receiveInformational(stream: Stream, endStream: boolean): void {
    if (endStream) this.fail(stream, PROTOCOL_ERROR, "informational headers with END_STREAM");
    else this.#host.budget.spend("too_many_informational_headers");
  }

  #receiveTrailers(stream: Stream, headers: ReceivedHeaders): void {
    if (!headers.endStream) {
      this.fail(stream, PROTOCOL_ERROR, "HEADERS after the headers, without END_STREAM");
      return;
    }
    const reason = this.#findInvalid(headers.block, TRAILERS);
    if (reason !== undefined) this.fail(stream, reason.code, reason.text);
    else if (stream.contentLeft > 0) this.receiveEnd(stream);
    else {
      stream.receiveTrailers(headers.block.fields);
      this.receiveEnd(stream);
    }
  }

  /** Most fields of a request are equal to those of the request before it, which were checked. */
  #findInvalidRequest(block: DecodedBlock): string | undefined {
    const reason = findInvalidBlock(block, REQUEST, this.#validRequest);
    if (reason === undefined && block.listBytes <= KEPT_LIST_BYTES) {
      this.#validRequest = block.fields;
    }
    return reason;
  }

  #findInvalid(
    block: DecodedBlock,
    kind: FieldsKind,
  ): { readonly code: number; readonly text: string } | undefined {
    if (block.isTooLarge) {
      const text = `${kind.name}: a header list of ${block.listBytes} bytes is over maxHeaderListBytes ${this.#host.maxHeaderListBytes}`;
      return { code: ENHANCE_YOUR_CALM, text };
    }
    const text = findInvalidBlock(block, kind);
    return text === undefined ? undefined : { code: PROTOCOL_ERROR, text };
  }
}

/** As findInvalid(); a block that is repeated is checked once. */
function findInvalidBlock(
  block: DecodedBlock,
  kind: FieldsKind,
  valid?: FieldList,
): string | undefined {
  if (block.note === kind) return undefined;
  const reason = findInvalid(block.fields, kind, valid);
  if (reason === undefined) block.note = kind;
  return reason;
}

function hasNoContent(stream: Stream, status: string): boolean {
  return stream.isHead || status === "204" || status === "304";
}
