import { AbuseBudget, PingStrikes } from "./abuse.ts";
import type { InFlight } from "./closed-streams.ts";
import { ConnectionWindow } from "./connection-window.ts";
import { DataSender } from "./data-sender.ts";
import { ConnectionError, ConnectionUnusableError, decodeDebug, encodeDebug } from "./errors.ts";
import { REQUEST } from "./fields.ts";
import { checkSent, encodeFields, pseudoFieldOf, type SentFields } from "./fixed-fields.ts";
import { FrameReader } from "./frame-reader.ts";
import {
  DEFAULT_WINDOW_BYTES,
  ENHANCE_YOUR_CALM,
  MAX_WINDOW_BYTES,
  NO_ERROR,
  PREFACE,
  PROTOCOL_ERROR,
  REFUSED_STREAM,
  SETTINGS_TIMEOUT,
} from "./frames.ts";
import { HeadersDeadline } from "./headers-deadline.ts";
import { HpackEncoder } from "./hpack/encoder.ts";
import type { FieldList } from "./hpack/field-list.ts";
import { Output, type OutputListener } from "./output.ts";
import { isOwnPing, PendingPings } from "./pings.ts";
import { type FramesHost, FramesReceiver } from "./received-frames.ts";
import { SettingsExchange, type SettingsHost } from "./settings-exchange.ts";
import { Shutdown, type ShutdownHost } from "./shutdown.ts";
import { Stream } from "./stream.ts";
import { StreamTable } from "./stream-table.ts";
import type {
  ConnectionEnd,
  ConnectionListener,
  ConnectionOptions,
  EngineClock,
  Http2Connection,
  PeerSettings,
  StreamListener,
} from "./types.ts";

const DEFAULT_HEADER_LIST_BYTES = 64 * 1024;
const DEFAULT_PING_INTERVAL_MS = 5000;
const DEFAULT_PEER_TIMEOUT_MS = 10_000;

/**
 * Makes an HTTP/2 connection. The listener's onOutput() is called before this returns: what a side sends first is in the
 * output.
 */
export function createConnection(
  options: ConnectionOptions,
  listener: ConnectionListener,
): Http2Connection {
  return new Connection(options, listener);
}

/** Ties the parts of an engine together. What Http2Connection does not have is for those parts. */
class Connection
  implements Http2Connection, FramesHost, OutputListener, SettingsHost, ShutdownHost
{
  readonly isServer: boolean;
  readonly listener: ConnectionListener;
  readonly maxConcurrentStreams: number;
  readonly maxHeaderListBytes: number;
  readonly streamWindowBytes: number;
  readonly output: Output;
  readonly sender: DataSender;
  readonly streams: StreamTable;
  readonly budget: AbuseBudget;
  readonly clock: EngineClock;
  readonly encoder: HpackEncoder;
  readonly pings: PendingPings;
  readonly #window: ConnectionWindow;
  readonly #settings: SettingsExchange;
  readonly #shutdown: Shutdown;
  readonly #frames: FramesReceiver;
  readonly #reader: FrameReader;
  readonly #peerTimeoutMs: number;
  /** The deadline of the peer's SETTINGS, and of its acknowledgement of ours. */
  #settingsDeadline: Disposable | undefined;
  readonly #headersDeadline: HeadersDeadline;
  readonly #strikes: PingStrikes | undefined;
  /** The peer's last GOAWAY. */
  #goaway: { readonly code: number; readonly debugData: string } | undefined;
  #end: ConnectionEnd | undefined;
  /** Whether onRequest() is being called: the new stream has no listener yet. */
  #isInRequest = false;
  #isEndReported = false;
  readonly #inTurns: ConnectionOptions["inTurns"];

  constructor(options: ConnectionOptions, listener: ConnectionListener) {
    const { clock, inTurns } = options;
    this.#inTurns = inTurns;
    this.isServer = options.role === "server";
    this.listener = listener;
    this.maxConcurrentStreams = options.maxConcurrentStreams ?? Number.POSITIVE_INFINITY;
    this.maxHeaderListBytes = options.maxHeaderListBytes ?? DEFAULT_HEADER_LIST_BYTES;
    const { streamWindowBytes = DEFAULT_WINDOW_BYTES } = options;
    this.streamWindowBytes = Math.min(streamWindowBytes, MAX_WINDOW_BYTES);
    this.clock = clock;
    this.encoder = new HpackEncoder({ maxTableBytes: options.encoderTableBytes });
    this.output = new Output(options.buffers, this);
    this.sender = new DataSender(this.output);
    this.streams = new StreamTable(this.isServer);
    this.budget = new AbuseBudget(clock, options.abuseBudget);
    this.#window = new ConnectionWindow(this.output, options.connectionWindowBytes);
    this.#settings = new SettingsExchange(this);
    this.pings = new PendingPings(this.output);
    this.#shutdown = new Shutdown(this);
    const minPingIntervalMs = options.minPingIntervalMs ?? DEFAULT_PING_INTERVAL_MS;
    if (this.isServer && minPingIntervalMs > 0) this.#strikes = new PingStrikes(minPingIntervalMs);
    this.#frames = new FramesReceiver(this);
    this.#reader = new FrameReader(this.#frames, this.isServer);
    this.#peerTimeoutMs = options.peerTimeoutMs ?? DEFAULT_PEER_TIMEOUT_MS;
    this.#headersDeadline = new HeadersDeadline(clock, this.#peerTimeoutMs, () => {
      this.#onHeadersLate();
    });
    this.#sendPreface();
  }

  // ---- For the application

  get peer(): PeerSettings {
    return this.#settings.peer;
  }

  get openStreams(): number {
    return this.streams.size;
  }

  get hasOutput(): boolean {
    return !this.output.isEmpty;
  }

  get isClosed(): boolean {
    return this.#end !== undefined;
  }

  get receivedBytes(): number {
    return this.#window.receivedBytes;
  }

  get isUsable(): boolean {
    return (
      !this.isServer &&
      !this.isClosed &&
      this.#goaway === undefined &&
      !this.#shutdown.isBegun &&
      this.streams.hasIds
    );
  }

  receive(chunk: Uint8Array, start?: number, maxFrames?: number): number {
    let end = chunk.length;
    if (this.isClosed) return end;
    try {
      end = this.#reader.read(chunk, start, maxFrames);
    } catch (error) {
      this.#fail(ConnectionError.of(error));
    }
    const { isInBlock, blocks } = this.#frames;
    const isOpen = !this.isClosed && (isInBlock || this.#reader.isInHeaders);
    this.#headersDeadline.update(isOpen, blocks);
    return end;
  }

  take(): Uint8Array | undefined {
    return this.output.take();
  }

  block(): void {
    this.output.isBlocked = true;
  }

  unblock(): void {
    if (this.output.isBlocked && !this.isClosed) this.sender.unblock();
  }

  endOfInput(): void {
    this.output.discard();
    const { code, debugData } = this.#goaway ?? { code: NO_ERROR, debugData: "" };
    this.#close({ by: this.#goaway === undefined ? "lost" : "goaway", code, reason: debugData });
  }

  open(fields: SentFields, listener: StreamListener, endStream = false): Stream {
    checkSent(fields, REQUEST);
    if (!this.isUsable) throw new ConnectionUnusableError();
    const stream = new Stream(this.streams.takeId(), this);
    stream.listener = listener;
    stream.isHead = pseudoFieldOf(fields, ":method") === "HEAD";
    this.streams.add(stream);
    this.budget.onStream();
    stream.isLocalEnded = endStream;
    if (endStream) stream.writeEnd(fields);
    else stream.writeFields(fields);
    return stream;
  }

  ping(onAnswer: () => void): void {
    if (!this.isClosed) this.pings.send(onAnswer);
  }

  earn(units: number): void {
    this.budget.earn(units);
  }

  goaway(debugData = ""): void {
    if (!this.isClosed) this.#shutdown.begin(encodeDebug(debugData));
  }

  close(code: number, debugData = ""): void {
    this.#sendGoaway(code, debugData);
    const end = { by: "closed", code, reason: "" } as const;
    this.#close(end);
    // If it has ended before, some may be left.
    this.#closeStreams(this.#end ?? end);
  }

  // ---- For streams

  get connection(): Http2Connection {
    return this;
  }

  get initialSendWindow(): number {
    return this.#settings.initialSendWindow;
  }

  get initialReceiveWindow(): number {
    return this.#settings.initialReceiveWindow;
  }

  writeFields(stream: number, fields: SentFields, endStream: boolean): void {
    this.output.headers(stream, encodeFields(this.encoder, fields), endStream);
  }

  writeReset(stream: number, code: number, inFlight: InFlight): void {
    this.streams.closed.addReset(stream, inFlight);
    this.output.rstStream(stream, code);
  }

  onStreamClosed(stream: Stream): void {
    const by = stream.closedBy?.by;
    if (by === "ended" || by === "reset") this.streams.closed.countEnd();
    this.streams.remove(stream);
  }

  afterStreamClosed(): void {
    if (!this.#shutdown.isFinal || this.streams.size > 0) return;
    this.#close({ by: "closed", code: NO_ERROR, reason: "" });
  }

  /** For Output and Shutdown: called while something is written. */
  onOutput(): void {
    try {
      this.listener.onOutput();
    } catch (error) {
      this.onListenerError(error);
    }
  }

  /** As onOutput(). */
  onFull(): void {
    try {
      this.listener.onFull();
    } catch (error) {
      this.onListenerError(error);
    }
  }

  onListenerError(error: unknown): void {
    this.#fail(ConnectionError.of(error));
  }

  // ---- For received frames

  get acceptsStreams(): boolean {
    return !this.#shutdown.isFinal;
  }

  callOnRequest(stream: Stream, fields: FieldList, endStream: boolean): void {
    this.#isInRequest = true;
    try {
      stream.listen(this.listener.onRequest(stream, fields, endStream));
    } finally {
      this.#isInRequest = false;
      this.#reportEnd();
    }
  }

  onDataReceived(bytes: number): void {
    this.#window.receive(bytes);
  }

  onSettings(bytes: Uint8Array, start: number, end: number): void {
    const hasChanged = this.#settings.receive(bytes, start, end);
    this.#endSettingsDeadline();
    if (hasChanged && !this.isClosed) this.listener.onSettings(this.peer);
  }

  onSettingsAck(): boolean {
    const isExpected = this.#settings.receiveAck();
    this.#endSettingsDeadline();
    return isExpected;
  }

  onPing(bytes: Uint8Array, start: number): void {
    const { output } = this;
    if (!isOwnPing(bytes, start)) {
      this.#strikes?.onPing(this.clock.now(), output.dataFrames + output.headerBlocks);
    }
    output.ping(true, bytes, start);
  }

  onPingAnswer(bytes: Uint8Array, start: number): boolean {
    return this.pings.receiveAnswer(bytes, start);
  }

  onGoaway(code: number, lastStream: number, debugBytes: Uint8Array): void {
    const debugData = decodeDebug(debugBytes);
    this.#goaway = { code, debugData };
    this.listener.onGoaway(code, lastStream, debugData);
    if (this.isServer) return;
    for (const stream of this.streams.all()) {
      if (stream.id > lastStream) stream.receiveReset(REFUSED_STREAM, true);
    }
  }

  // ---- The beginning and the end

  #sendPreface(): void {
    if (!this.isServer) this.output.bytes(PREFACE);
    this.#settings.sendOwn();
    this.#window.extend();
    this.#settingsDeadline = this.clock.startTimer(this.#peerTimeoutMs, () => {
      this.#onSettingsLate();
    });
  }

  #endSettingsDeadline(): void {
    if (!this.#settings.isComplete) return;
    this.#settingsDeadline?.[Symbol.dispose]();
    this.#settingsDeadline = undefined;
  }

  #onSettingsLate(): void {
    const [code, what] = this.#settings.isReceived
      ? [SETTINGS_TIMEOUT, "no acknowledgement of SETTINGS"]
      : [PROTOCOL_ERROR, "no SETTINGS"];
    this.#fail(new ConnectionError(code, `${what} within peerTimeoutMs ${this.#peerTimeoutMs}`));
  }

  #onHeadersLate(): void {
    const reason = `a header block without an end within peerTimeoutMs ${this.#peerTimeoutMs}`;
    this.#fail(new ConnectionError(ENHANCE_YOUR_CALM, reason));
  }

  #fail({ code, message, debugData }: ConnectionError): void {
    this.#sendGoaway(code, debugData);
    this.#close({ by: "failed", code, reason: message });
  }

  #sendGoaway(code: number, debugData: string): void {
    if (this.isClosed) return;
    this.output.goaway(this.streams.lastAcceptedId, code, encodeDebug(debugData));
  }

  #close(end: ConnectionEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.output.end();
    // What streams write until they are closed would collect: it waits in them instead.
    this.output.isBlocked = true;
    this.#settingsDeadline?.[Symbol.dispose]();
    this.#headersDeadline.end();
    this.#shutdown.stop();
    this.pings.clear();
    this.#closeStreams(end, end.by === "closed" ? undefined : this.#inTurns);
  }

  /** Closes the streams that are left after the end, and then reports it. */
  #closeStreams({ code, reason }: ConnectionEnd, inTurns?: ConnectionOptions["inTurns"]): void {
    const end = { by: "connection", code, reason, unprocessed: false } as const;
    this.streams.closeAll(end, () => this.#reportEnd(), inTurns);
  }

  /** Calls onClosed() once, after all listeners of streams have heard of the end. */
  #reportEnd(): void {
    if (this.#end === undefined || this.#isEndReported || this.#isInRequest) return;
    if (this.streams.size > 0) return;
    this.#isEndReported = true;
    try {
      this.listener.onClosed(this.#end);
    } catch {
      // The connection has ended: nothing is left that could fail.
    }
  }
}
