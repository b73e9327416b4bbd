import { AbuseBudget, PingStrikes } from "./abuse.ts";
import type { InFlight } from "./closed-streams.ts";
import { ConnectionWindow } from "./connection-window.ts";
import { DataSender } from "./data-sender.ts";
import { ConnectionError, ConnectionUnusableError } from "./errors.ts";
import { checkSentFields, fieldOf, REQUEST } from "./fields.ts";
import { FrameReader } from "./frame-reader.ts";
import {
  DEFAULT_WINDOW_BYTES,
  ENHANCE_YOUR_CALM,
  INTERNAL_ERROR,
  NO_ERROR,
  PREFACE,
  PROTOCOL_ERROR,
  REFUSED_STREAM,
  SETTINGS_TIMEOUT,
} from "./frames.ts";
import { Hold } from "./hold.ts";
import { HpackEncoder } from "./hpack/encoder.ts";
import type { FieldList } from "./hpack/field-list.ts";
import { Output } from "./output.ts";
import { PendingPings } from "./pings.ts";
import { type FramesHost, FramesReceiver } from "./received-frames.ts";
import { SettingsExchange } from "./settings-exchange.ts";
import { Shutdown } from "./shutdown.ts";
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
const DEFAULT_HOLD_TIMEOUT_MS = 10_000;

/** How much debug data a GOAWAY has, and how much of the peer's is reported. */
const MAX_DEBUG_BYTES = 1024;

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
class Connection implements Http2Connection, FramesHost {
  readonly isServer: boolean;
  readonly listener: ConnectionListener;
  readonly maxConcurrentStreams: number;
  readonly maxHeaderListBytes: number;
  readonly streamWindowBytes: number;
  readonly output: Output;
  readonly sender: DataSender;
  readonly streams: StreamTable;
  readonly budget: AbuseBudget;
  readonly #clock: EngineClock;
  readonly #encoder: HpackEncoder;
  readonly #window: ConnectionWindow;
  readonly #settings: SettingsExchange;
  readonly #pings: PendingPings;
  readonly #shutdown: Shutdown;
  readonly #frames: FramesReceiver;
  readonly #reader: FrameReader;
  readonly #holdTimeoutMs: number;
  readonly #greeting: Hold;
  readonly #block: Hold;
  /** Counts the header blocks that were complete when #block began. */
  #blockNumber = 0;
  #strikes: PingStrikes | undefined;
  /** The peer's last GOAWAY. */
  #goaway: { readonly code: number; readonly debugData: string } | undefined;
  #end: ConnectionEnd | undefined;
  /** Whether onRequest() is being called: the new stream has no listener yet. */
  #isInRequest = false;
  #isEndReported = false;

  constructor(options: ConnectionOptions, listener: ConnectionListener) {
    const { clock } = options;
    this.isServer = options.role === "server";
    this.listener = listener;
    this.maxConcurrentStreams = options.maxConcurrentStreams ?? Number.POSITIVE_INFINITY;
    this.maxHeaderListBytes = options.maxHeaderListBytes ?? DEFAULT_HEADER_LIST_BYTES;
    this.streamWindowBytes = options.streamWindowBytes ?? DEFAULT_WINDOW_BYTES;
    this.#clock = clock;
    this.#encoder = new HpackEncoder({ maxTableBytes: options.encoderTableBytes });
    this.output = new Output(options.buffers, {
      onOutput: () => this.#call(() => listener.onOutput()),
      onFull: () => this.#call(() => listener.onFull()),
    });
    this.sender = new DataSender(this.output);
    this.streams = new StreamTable(this.isServer);
    this.budget = new AbuseBudget(clock, options.abuseBudget);
    this.#window = new ConnectionWindow(this.output, options.connectionWindowBytes);
    this.#settings = new SettingsExchange(this, {
      output: this.output,
      encoder: this.#encoder,
      sender: this.sender,
      streams: this.streams,
    });
    this.#pings = new PendingPings(this.output);
    this.#shutdown = new Shutdown(
      {
        isServer: this.isServer,
        clock,
        output: this.output,
        pings: this.#pings,
        streams: this.streams,
      },
      () => this.afterStreamClosed(),
    );
    const minPingIntervalMs = options.minPingIntervalMs ?? DEFAULT_PING_INTERVAL_MS;
    if (this.isServer && minPingIntervalMs > 0) this.#strikes = new PingStrikes(minPingIntervalMs);
    this.#frames = new FramesReceiver(this);
    this.#reader = new FrameReader(this.#frames, this.isServer);
    this.#holdTimeoutMs = options.holdTimeoutMs ?? DEFAULT_HOLD_TIMEOUT_MS;
    this.#greeting = new Hold(clock, this.#holdTimeoutMs, () => this.#onGreetingExpired());
    this.#block = new Hold(clock, this.#holdTimeoutMs, () => this.#onBlockExpired());
    this.#greet();
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

  get isUsable(): boolean {
    return (
      !this.isServer &&
      !this.isClosed &&
      this.#goaway === undefined &&
      !this.#shutdown.isBegun &&
      this.streams.hasIds
    );
  }

  receive(chunk: Uint8Array): void {
    if (this.isClosed) return;
    try {
      this.#reader.read(chunk);
    } catch (error) {
      if (error instanceof ConnectionError) this.#fail(error);
      else this.onListenerError(error);
    }
    this.#holdBlock();
  }

  take(): Uint8Array | undefined {
    return this.output.take();
  }

  block(): void {
    this.output.isBlocked = true;
  }

  unblock(): void {
    if (this.output.isBlocked) this.sender.unblock();
  }

  endOfInput(): void {
    this.output.discard();
    const { code, debugData } = this.#goaway ?? { code: NO_ERROR, debugData: "" };
    this.#close({ by: this.#goaway === undefined ? "lost" : "goaway", code, reason: debugData });
  }

  open(fields: FieldList, listener: StreamListener, endStream = false): Stream {
    checkSentFields(fields, REQUEST);
    if (!this.isUsable) throw new ConnectionUnusableError();
    const stream = new Stream(this.streams.takeId(), this);
    stream.listener = listener;
    stream.isHead = fieldOf(fields, ":method") === "HEAD";
    this.streams.add(stream);
    this.budget.onStream();
    if (endStream) {
      stream.isLocalEnded = true;
      stream.writeEnd(fields);
    } else stream.writeFields(fields);
    return stream;
  }

  ping(onAnswer: () => void): void {
    if (!this.isClosed) this.#pings.send(onAnswer);
  }

  allowPings(): void {
    this.#strikes = undefined;
  }

  earn(units: number): void {
    this.budget.earn(units);
  }

  goaway(debugData = ""): void {
    if (!this.isClosed) this.#shutdown.begin(encodeDebug(debugData));
  }

  close(code: number, debugData = ""): void {
    this.#sendGoaway(code, debugData);
    this.#close({ by: "closed", code, reason: "" });
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

  writeFields(stream: number, fields: FieldList, endStream: boolean): void {
    this.output.headers(stream, this.#encoder.encode(fields), endStream);
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

  onListenerError(error: unknown): void {
    const reason = `a listener threw: ${error instanceof Error ? error.message : String(error)}`;
    this.#fail(new ConnectionError(INTERNAL_ERROR, reason, "internal error"));
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
    this.#endGreeting();
    if (hasChanged && !this.isClosed) this.listener.onSettings(this.peer);
  }

  onSettingsAck(): boolean {
    const isExpected = this.#settings.receiveAck();
    this.#endGreeting();
    return isExpected;
  }

  onPing(bytes: Uint8Array, start: number): void {
    const { output } = this;
    this.#strikes?.onPing(this.#clock.now(), output.dataFrames + output.headerBlocks);
    output.ping(true, bytes, start);
  }

  onPingAnswer(bytes: Uint8Array, start: number): boolean {
    return this.#pings.receiveAnswer(bytes, start);
  }

  onGoaway(code: number, lastStream: number, debugBytes: Uint8Array): void {
    const debugData = new TextDecoder().decode(debugBytes.subarray(0, MAX_DEBUG_BYTES));
    this.#goaway = { code, debugData };
    this.listener.onGoaway(code, lastStream, debugData);
    if (this.isServer) return;
    for (const stream of this.streams.all()) {
      if (stream.id > lastStream) stream.receiveReset(REFUSED_STREAM, true);
    }
  }

  // ---- The beginning and the end

  #greet(): void {
    if (!this.isServer) this.output.bytes(PREFACE);
    this.#settings.sendOwn();
    this.#window.extend();
    this.#greeting.begin();
  }

  #endGreeting(): void {
    if (this.#settings.isComplete) this.#greeting.end();
  }

  #onGreetingExpired(): void {
    const [code, what] = this.#settings.isReceived
      ? [SETTINGS_TIMEOUT, "no acknowledgement of SETTINGS"]
      : [PROTOCOL_ERROR, "no SETTINGS"];
    this.#fail(new ConnectionError(code, `${what} within holdTimeoutMs ${this.#holdTimeoutMs}`));
  }

  #onBlockExpired(): void {
    const reason = `a header block without an end within holdTimeoutMs ${this.#holdTimeoutMs}`;
    this.#fail(new ConnectionError(ENHANCE_YOUR_CALM, reason));
  }

  /** Sets a deadline for the end of a header block that has begun. */
  #holdBlock(): void {
    const isOpen = this.#frames.isInBlock || this.#reader.isInHeaders;
    const { blocks } = this.#frames;
    if (this.isClosed || !isOpen || blocks !== this.#blockNumber) this.#block.end();
    this.#blockNumber = blocks;
    if (isOpen && !this.isClosed) this.#block.begin();
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
    this.#greeting.end();
    this.#block.end();
    this.#shutdown.stop();
    this.#pings.clear();
    for (const stream of this.streams.all()) {
      stream.close({ by: "connection", code: end.code, reason: "", unprocessed: false });
    }
    this.#reportEnd();
  }

  /** Calls onClosed() once, after all listeners of streams have heard of the end. */
  #reportEnd(): void {
    if (this.#end === undefined || this.#isEndReported || this.#isInRequest) return;
    this.#isEndReported = true;
    try {
      this.listener.onClosed(this.#end);
    } catch {
      // The connection has ended: nothing is left that could fail.
    }
  }

  /** Calls the listener while something is written: its error ends the connection. */
  #call(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.onListenerError(error);
    }
  }
}

function encodeDebug(text: string): Uint8Array {
  return new TextEncoder().encode(text).subarray(0, MAX_DEBUG_BYTES);
}
