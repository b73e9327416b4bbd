import { LEAST_DATA_BYTES } from "./abuse.ts";
import { NONE_IN_FLIGHT } from "./closed-streams.ts";
import { ConnectionError } from "./errors.ts";
import type { FrameHandler, ReceivedFrame } from "./frame-reader.ts";
import {
  ACK,
  CONTINUATION,
  DATA,
  ENHANCE_YOUR_CALM,
  FLOW_CONTROL_ERROR,
  FRAME_SIZE_ERROR,
  frameName,
  GOAWAY,
  HEADERS,
  MAX_WINDOW_BYTES,
  PING,
  PRIORITY,
  PROTOCOL_ERROR,
  PUSH_PROMISE,
  RST_STREAM,
  readUint31,
  readUint32,
  SETTINGS,
  STREAM_CLOSED,
  WINDOW_UPDATE,
} from "./frames.ts";
import { checkDependency, HeaderBlocks, type ReceivedHeaders } from "./header-blocks.ts";
import { type HeadersHost, HeadersReceiver } from "./received-headers.ts";
import { SETTING_BYTES } from "./settings.ts";
import type { Stream } from "./stream.ts";

/** What received frames act on: the connection. */
export interface FramesHost extends HeadersHost {
  readonly isClosed: boolean;
  /** DATA came: counts it against the connection's window. */
  onDataReceived(bytes: number): void;
  onSettings(bytes: Uint8Array, start: number, end: number): void;
  /** Returns false if none is expected. */
  onSettingsAck(): boolean;
  onPing(bytes: Uint8Array, start: number): void;
  onPingAnswer(bytes: Uint8Array, start: number): boolean;
  onGoaway(code: number, lastStream: number, debugData: Uint8Array): void;
}

/** The lengths that frames must have. */
const LENGTHS: readonly (number | undefined)[] = [
  // DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE
  ...[undefined, undefined, 5, 4, undefined, undefined, 8, undefined, 4],
];

/** What each type of frame is about. */
const STREAM = 1;
const CONNECTION = 2;
const SCOPES: readonly number[] = [
  // DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION
  ...[STREAM, STREAM, STREAM, STREAM, CONNECTION],
  ...[STREAM, CONNECTION, CONNECTION, STREAM | CONNECTION, STREAM],
];

/** A GOAWAY has at least an id and a code. */
const GOAWAY_BYTES = 8;

/** Handles the frames that the peer sends, in their order. */
export class FramesReceiver implements FrameHandler {
  readonly #host: FramesHost;
  readonly #blocks: HeaderBlocks;
  readonly #headers: HeadersReceiver;
  /** Whether the peer's first frame came, which is SETTINGS. */
  #hasSettings = false;
  /** Counts the header blocks that are complete. */
  blocks = 0;
  /** The stream of the DATA frame that is being read. */
  #dataStream: Stream | undefined;

  constructor(host: FramesHost) {
    this.#host = host;
    this.#blocks = new HeaderBlocks(host.maxHeaderListBytes, host.budget);
    this.#headers = new HeadersReceiver(host);
  }

  get isClosed(): boolean {
    return this.#host.isClosed;
  }

  /** Whether a header block has begun and not ended. */
  get isInBlock(): boolean {
    return this.#blocks.openStream !== undefined;
  }

  // ---- DATA

  onDataFrame(id: number, length: number): boolean {
    this.#checkOrder(DATA, id);
    if (id === 0) throw new ConnectionError(PROTOCOL_ERROR, "DATA without a stream");
    this.#host.onDataReceived(length);
    const stream = this.#host.streams.find(id);
    if (stream === undefined) {
      this.#dropData(id, length);
      return false;
    }
    if (!this.#mayReceiveData(stream, length)) return false;
    stream.receiveWindow -= length;
    this.#dataStream = stream;
    return true;
  }

  onDataLength(dataBytes: number, paddingBytes: number, endStream: boolean): void {
    const stream = this.#dataStream as Stream;
    stream.hasReceivedEnd = endStream;
    if (dataBytes < LEAST_DATA_BYTES && !endStream) this.#host.budget.spendOnTinyData(dataBytes);
    else if (paddingBytes > dataBytes) this.#host.budget.spend("too_much_padding");
    if (stream.contentLeft >= 0) {
      if (dataBytes > stream.contentLeft) {
        this.#headers.fail(stream, PROTOCOL_ERROR, "more DATA than content-length says");
        return;
      }
      stream.contentLeft -= dataBytes;
    }
    if (paddingBytes > 0) stream.receivePadding();
  }

  onData(bytes: Uint8Array, start: number, end: number): void {
    const stream = this.#dataStream as Stream;
    if (!stream.isClosed) stream.receiveData(bytes, start, end);
  }

  onDataEnd(endStream: boolean): void {
    const stream = this.#dataStream as Stream;
    this.#dataStream = undefined;
    if (endStream) this.#headers.receiveEnd(stream);
  }

  #mayReceiveData(stream: Stream, length: number): boolean {
    if (!stream.canReceive) this.#headers.fail(stream, STREAM_CLOSED, "DATA after END_STREAM");
    else if (!stream.headersReceived) {
      this.#headers.fail(stream, PROTOCOL_ERROR, "DATA before the response's headers");
    } else if (length > stream.receiveWindow) {
      this.#headers.fail(stream, FLOW_CONTROL_ERROR, "DATA over the stream's window");
    } else return true;
    return false;
  }

  #dropData(id: number, length: number): void {
    const { streams, budget } = this.#host;
    if (streams.isIdle(id)) {
      throw new ConnectionError(PROTOCOL_ERROR, "DATA for a stream that was not opened");
    }
    const isExpected = streams.mayReceive(id);
    if (!isExpected) this.#host.writeReset(id, STREAM_CLOSED, NONE_IN_FLIGHT);
    if (isExpected && length >= LEAST_DATA_BYTES && streams.closed.takeData(length)) return;
    budget.spend("too_many_frames_for_closed_streams");
  }

  // ---- Other frames

  isIgnored(type: number): boolean {
    return type > CONTINUATION;
  }

  onFrame(frame: ReceivedFrame): void {
    const { type, stream } = frame;
    this.#checkOrder(type, stream);
    checkHead(frame);
    if (type === HEADERS) this.#onHeaders(this.#blocks.begin(frame));
    else if (type === CONTINUATION) this.#onHeaders(this.#blocks.continue(frame));
    else this.#onControlFrame(frame);
    if (!this.#host.output.isOverControlLimit) return;
    const reason = "the peer provokes frames and does not read them";
    throw new ConnectionError(ENHANCE_YOUR_CALM, reason, "too_much_unread_output");
  }

  #onHeaders(headers: ReceivedHeaders | undefined): void {
    if (headers === undefined) return;
    this.blocks++;
    this.#headers.receive(headers);
  }

  #onControlFrame(frame: ReceivedFrame): void {
    const { budget } = this.#host;
    switch (frame.type) {
      case PRIORITY:
        checkDependency(frame.bytes, frame.start, frame.stream);
        budget.spend("too_many_priorities");
        return;
      case RST_STREAM:
        this.#onReset(frame.stream, readUint32(frame.bytes, frame.start));
        return;
      case SETTINGS:
        this.#onSettings(frame);
        return;
      case PUSH_PROMISE:
        // This side never allows push (RFC 9113, 8.4).
        throw new ConnectionError(PROTOCOL_ERROR, "PUSH_PROMISE, although push is not enabled");
      case PING:
        this.#onPing(frame);
        return;
      case GOAWAY:
        this.#onGoaway(frame);
        return;
      case WINDOW_UPDATE:
        this.#onWindowUpdate(frame.stream, readUint31(frame.bytes, frame.start));
        return;
      default:
        budget.spend("too_many_unknown_frames");
    }
  }

  #onReset(id: number, code: number): void {
    const { streams, budget, isServer } = this.#host;
    if (streams.isIdle(id)) {
      throw new ConnectionError(PROTOCOL_ERROR, "RST_STREAM for a stream that was not opened");
    }
    const stream = streams.find(id);
    if (stream === undefined) {
      if (!streams.closed.takeReset()) budget.spend("too_many_resets");
      return;
    }
    const isEarly = isServer && !stream.headersSent;
    stream.receiveReset(code, false);
    if (isEarly) budget.spend("too_many_resets");
  }

  #onSettings({ flags, bytes, start, end }: ReceivedFrame): void {
    const { budget } = this.#host;
    if ((flags & ACK) === 0) {
      this.#hasSettings = true;
      if ((end - start) % SETTING_BYTES !== 0) throw wrongSize(SETTINGS, end - start);
      budget.spendOnSettings((end - start) / SETTING_BYTES);
      this.#host.onSettings(bytes, start, end);
      return;
    }
    if (!this.#hasSettings) {
      throw new ConnectionError(PROTOCOL_ERROR, "an acknowledgement before the first SETTINGS");
    }
    if (end > start) throw wrongSize(SETTINGS, end - start);
    if (!this.#host.onSettingsAck()) budget.spend("too_many_settings");
  }

  #onPing({ flags, bytes, start }: ReceivedFrame): void {
    const { budget, sender } = this.#host;
    if ((flags & ACK) !== 0) {
      if (!this.#host.onPingAnswer(bytes, start)) budget.spend("too_many_pings");
      return;
    }
    budget.spendOnAnswer("too_many_pings", sender);
    this.#host.onPing(bytes, start);
  }

  #onGoaway({ bytes, start, end }: ReceivedFrame): void {
    if (end - start < GOAWAY_BYTES) throw wrongSize(GOAWAY, end - start);
    this.#host.budget.spend("too_many_goaways");
    const debugData = bytes.subarray(start + GOAWAY_BYTES, end);
    this.#host.onGoaway(readUint32(bytes, start + 4), readUint31(bytes, start), debugData);
  }

  #onWindowUpdate(id: number, bytes: number): void {
    const { streams, budget, sender } = this.#host;
    budget.spendOnAnswer("too_many_window_updates", sender);
    if (id === 0) {
      if (bytes === 0) throw new ConnectionError(PROTOCOL_ERROR, "WINDOW_UPDATE of 0 bytes");
      sender.growWindow(bytes);
      return;
    }
    if (streams.isIdle(id)) {
      throw new ConnectionError(PROTOCOL_ERROR, "WINDOW_UPDATE for a stream that was not opened");
    }
    const stream = streams.find(id);
    if (stream === undefined) return;
    if (bytes === 0) this.#headers.fail(stream, PROTOCOL_ERROR, "WINDOW_UPDATE of 0 bytes");
    else if (stream.sendWindow + bytes > MAX_WINDOW_BYTES) {
      this.#headers.fail(stream, FLOW_CONTROL_ERROR, "WINDOW_UPDATE: a window over 2^31-1");
    } else {
      stream.sendWindow += bytes;
      sender.resume(stream);
    }
  }

  /** The first frame is SETTINGS (RFC 9113, 3.4); nothing may come between the frames of a header block (4.3). */
  #checkOrder(type: number, stream: number): void {
    if (!this.#hasSettings && type !== SETTINGS) {
      throw new ConnectionError(PROTOCOL_ERROR, `${frameName(type)} before the first SETTINGS`);
    }
    const open = this.#blocks.openStream;
    if (open === undefined || (type === CONTINUATION && stream === open)) return;
    throw new ConnectionError(PROTOCOL_ERROR, `${frameName(type)} inside a header block`);
  }
}

function checkHead({ type, stream, start, end }: ReceivedFrame): void {
  const scope = SCOPES[type] ?? STREAM | CONNECTION;
  if ((scope & (stream === 0 ? CONNECTION : STREAM)) === 0) {
    const where = stream === 0 ? "without a stream" : "on a stream";
    throw new ConnectionError(PROTOCOL_ERROR, `${frameName(type)} ${where}`);
  }
  const length = LENGTHS[type];
  if (length !== undefined && length !== end - start) throw wrongSize(type, end - start);
}

function wrongSize(type: number, bytes: number): ConnectionError {
  return new ConnectionError(FRAME_SIZE_ERROR, `${frameName(type)} of ${bytes} bytes`);
}
