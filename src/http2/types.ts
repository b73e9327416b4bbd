/**
 * HTTP/2 (RFC 9113) without I/O: the interfaces between the engine and the code around it.
 *
 *     bytes of the pipe ──> receive()  ─┐                ┌─> StreamListener      headers, data, end
 *                                    Http2Connection ────┼─> ConnectionListener  requests, GOAWAY, output
 *     bytes to the pipe <── take()     ─┘                └── Http2Stream         headers, messages, reset
 *
 * One connection is one Http2Connection. It never waits, and it never throws because of received bytes: what breaks the
 * protocol ends the stream, or the connection. It keeps the order of the peer's frames: what it reports, it reports
 * during receive(). Listeners may call all methods of streams and connections, but receive(), from within.
 *
 * Input is always read. So two peers that both write as much as they can never wait for each other; what bounds memory
 * is flow control (streams), and the abuse budget (everything else).
 */
import type { SentFields } from "./fixed-fields.ts";
import type { FieldList } from "./hpack/field-list.ts";

/** Time and timers, given in: an engine has none of its own. */
export interface EngineClock {
  /** Milliseconds since some time; never decreases. */
  now(): number;
  /** Runs `run` after `ms`, unless disposed before. */
  startTimer(ms: number, run: () => void): Disposable;
}

/** Memory for output. A pool is shared by all connections of a process; an idle connection holds none of it. */
export interface OutputBuffers {
  /** The size of the largest buffers: 32 KiB or more. */
  readonly maxBytes: number;
  /** Returns an empty buffer of at least `bytes`, which are no more than `maxBytes`. */
  take(bytes: number): Uint8Array<ArrayBuffer>;
  /** Returns a buffer that take() of a connection has handed out, when the pipe no longer needs its bytes. */
  giveBack(buffer: Uint8Array): void;
}

export interface ConnectionOptions {
  readonly role: "client" | "server";
  readonly clock: EngineClock;
  readonly buffers: OutputBuffers;
  /** SETTINGS_INITIAL_WINDOW_SIZE: the bytes that each stream may send at first; 2^31-1 at most. Default: 65 535. */
  readonly streamWindowBytes?: number;
  /** The window of the connection, which is extended at receipt: 65 535 to 2^31-1 bytes. Default: 32 MiB. */
  readonly connectionWindowBytes?: number;
  /** SETTINGS_MAX_CONCURRENT_STREAMS of a server. Default: no limit. A stream over it is refused (REFUSED_STREAM). */
  readonly maxConcurrentStreams?: number;
  /** SETTINGS_MAX_HEADER_LIST_SIZE, in bytes as HPACK counts them. Default: 64 KiB. */
  readonly maxHeaderListBytes?: number;
  /** The most bytes of the HPACK table that headers are encoded with; 0: none. Default: 4096. */
  readonly encoderTableBytes?: number;
  /** How many units the peer may cost more than it was useful for (abuse.ts). Default: 1000. */
  readonly abuseBudget?: number;
  /** A server: the least interval of pings without data between them, in milliseconds (gRPC A8). Default: 5000; 0: no limit. */
  readonly minPingIntervalMs?: number;
  /** How long the peer may take for its preface and first SETTINGS, to acknowledge ours, and to end a header block. Default: 10 000 ms. */
  readonly peerTimeoutMs?: number;
  /**
   * Calls `step` until it returns `true`, at first now or later, and with other work in between. When a connection is lost, or
   * fails, each step closes a few of its streams. Default: they are all closed at once, as by close().
   */
  readonly inTurns?: (step: () => boolean) => void;
}

/** What the peer announced by SETTINGS, or their initial values (RFC 9113, 6.5.2). */
export interface PeerSettings {
  readonly maxConcurrentStreams: number;
  readonly maxHeaderListBytes: number;
}

/** Why a connection has ended. */
export interface ConnectionEnd {
  /**
   * "closed": close() here, after all streams. "failed": the peer broke the protocol, or is over a limit: GOAWAY with
   * `code` is in the output. "lost": endOfInput() without a GOAWAY before it. "goaway": endOfInput() after the peer's GOAWAY.
   */
  readonly by: "closed" | "failed" | "lost" | "goaway";
  readonly code: number;
  /** What the peer did, for a log: "HEADERS with an even stream id". Empty if nothing. */
  readonly reason: string;
}

/** Listens to a connection. A listener must not throw; if it does, the connection fails with INTERNAL_ERROR. */
export interface ConnectionListener {
  /**
   * A server: called with a request, whose fields are valid. Returns the listener of the stream; `undefined` if the stream
   * was answered, or reset, in this call and needs no listener.
   */
  onRequest(stream: Http2Stream, fields: FieldList, endStream: boolean): StreamListener | undefined;
  /** A server: called instead of onRequest() if the header list is over maxHeaderListBytes; default: 431 is answered. */
  onTooLargeRequest?(stream: Http2Stream, fields: FieldList): void;
  /**
   * There is output, and there was none: call take() before this turn of the event loop ends. Called for the first time by
   * createConnection(), before it returns.
   */
  onOutput(): void;
  /**
   * The output buffer is full: call take() now, and write it. Then, if the pipe takes no more, call block(): DATA waits in
   * the streams until unblock(). Not called while the connection is blocked.
   */
  onFull(): void;
  /** Called with the peer's first SETTINGS, and when they change. */
  onSettings(settings: PeerSettings): void;
  /** Called with a GOAWAY. Streams of ours after `lastStreamId` were not processed; those that are open are closed next. */
  onGoaway(code: number, lastStreamId: number, debugData: string): void;
  /** Called once, after all streams were closed (see inTurns): take() what is left, write it, and end the pipe. Nothing is called after it. */
  onClosed(end: ConnectionEnd): void;
}

/** Why a stream has ended. */
export interface StreamEnd {
  /**
   * "ended": both sides have sent END_STREAM, or this side has and the peer was asked to stop (stopReading()). "reset": this
   * side called reset(). "peer": the peer sent RST_STREAM, or a GOAWAY that excludes the stream (code REFUSED_STREAM). "invalid": the peer broke the protocol or a limit on this stream,
   * which the engine has reset with `code`. "connection": the connection has ended.
   */
  readonly by: "ended" | "reset" | "peer" | "invalid" | "connection";
  /** The HTTP/2 error code. */
  readonly code: number;
  /** If "invalid": what was wrong. If "connection": the reason of its ConnectionEnd. Else empty. */
  readonly reason: string;
  /** Client: whether the server certainly did nothing for the stream: REFUSED_STREAM, or after the last id of a GOAWAY. */
  readonly unprocessed: boolean;
}

/** The bytes from `start` up to `end`. */
export interface BytesPart {
  readonly start: number;
  readonly end: number;
}

/** Listens to a stream, in the order in which the peer sent. Must not throw. */
export interface StreamListener {
  /** A client: the response headers. Informational ones (1xx) are not reported. */
  onHeaders(fields: FieldList, endStream: boolean): void;
  /** Data: `bytes` from `start` up to `end`, which are not changed later. The peer may send as much again after returnCredit(). */
  onData(bytes: Uint8Array, start: number, end: number): void;
  /** Trailers; onEnd() follows. */
  onTrailers(fields: FieldList): void;
  /** The peer has ended its side (END_STREAM). Follows also after headers with `endStream`. */
  onEnd(): void;
  /** Called after write() has returned false, when all that waited is in the output. */
  onDrain(): void;
  /** Called once, last: also in reset(). Nothing may be written any more. */
  onClosed(end: StreamEnd): void;
}

/** One stream. All methods do nothing once it is closed, or its side has ended. */
export interface Http2Stream {
  readonly id: number;
  readonly connection: Http2Connection;
  readonly isClosed: boolean;
  /** Whether sendHeaders() was called. */
  readonly headersSent: boolean;
  /** Whether this side has ended: END_STREAM is in the output, or waits behind data. */
  readonly isLocalEnded: boolean;
  readonly isRemoteEnded: boolean;
  /** Bytes of data that were written and wait for a window, or for the pipe. */
  readonly waitingBytes: number;
  /** Whether data of this stream was written since the output was last taken. */
  readonly hasDataInOutput: boolean;
  /** Bytes of data that onData() was called with and returnCredit() was not. */
  readonly unreturnedBytes: number;
  /**
   * A server: sends response headers, once, and before them informational ones (1xx). Throws InvalidFieldsError if HTTP/2
   * does not allow them, and an Error if response headers were sent already.
   */
  sendHeaders(fields: SentFields, endStream?: boolean): void;
  /**
   * Sends bytes: all, or a part. Returns false if some of them wait: then onDrain() is called. What is written meanwhile waits too, so the
   * writer should stop. The bytes must not change until they are in the output. Throws an Error before sendHeaders(), as
   * writeMessage() and end() do.
   */
  write(bytes: Uint8Array, part?: BytesPart): boolean;
  /**
   * As write(), of a gRPC message: five bytes of prefix (flags, length), then the payload. No buffer is made for the prefix.
   *
   * @param isStable whether the payload does not change until it is in the output. Default: false; it may change when
   * writeMessage() has returned, and what waits of it is a copy
   */
  writeMessage(flags: number, payload: Uint8Array, isStable?: boolean): boolean;
  /** Ends this side, after all that was written; with trailers or without. Throws InvalidFieldsError. */
  end(trailers?: SentFields): void;
  /**
   * Drops what the peer sends from now on, its end included, and returns its credit. A server: when this side has ended, a
   * peer that has not is asked to stop by RST_STREAM(NO_ERROR), after all that was written (RFC 9113, 8.1).
   */
  stopReading(): void;
  /** Ends the stream now, in both directions; what waits is dropped. */
  reset(code: number): void;
  /** To be called with the number of bytes of onData() that the application took: the peer may send as many more. WINDOW_UPDATEs are sent in larger steps. */
  returnCredit(bytes: number): void;
  /** Sets the window that returnCredit() keeps up: larger at once, smaller as bytes come. At least 65 535. */
  setWindow(bytes: number): void;
}

export interface Http2Connection {
  readonly peer: PeerSettings;
  /** The number of streams that are not closed. After the end of the connection there may be some for a while: see inTurns. */
  readonly openStreams: number;
  /** Whether take() would return something. */
  readonly hasOutput: boolean;
  readonly isClosed: boolean;
  /** The bytes of DATA that came, with its padding. */
  readonly receivedBytes: number;
  /**
   * Handles bytes of the pipe, from `start`: all, or those of at most `maxFrames` frames. Returns the index of the first byte
   * that was not handled, with which the next call must begin; the length of the chunk if none is left. Never throws. The
   * engine keeps no view of `chunk`.
   */
  receive(chunk: Uint8Array, start?: number, maxFrames?: number): number;
  /** Returns what is to be written now. The caller gives the buffer back when the pipe no longer needs it (OutputBuffers). */
  take(): Uint8Array | undefined;
  /**
   * The pipe takes no more for now: no DATA, and no headers of a server, go to the output. Control frames still do. They
   * should stay there until unblock(): over 1 MiB of them, the connection fails (the peer provokes them, and does not read).
   */
  block(): void;
  unblock(): void;
  /** The pipe has ended or is lost: closes all streams (see inTurns), then reports the end of the connection. */
  endOfInput(): void;
  /** A client: opens a stream. Throws InvalidFieldsError; ConnectionUnusableError if isUsable is false. */
  open(fields: SentFields, listener: StreamListener, endStream?: boolean): Http2Stream;
  /** A client: whether streams may be opened: no GOAWAY came or was sent, and ids are left. It does not count streams. */
  readonly isUsable: boolean;
  /** Sends a PING; `onAnswer` is called with its answer, never if the connection ends before. */
  ping(onAnswer: () => void): void;
  /** Work that the peer was useful for: a message that came or was sent, a call that has completed. Units: abuse.ts. */
  earn(units: number): void;
  /**
   * Takes no more streams: GOAWAY in two steps (RFC 9113, 6.8), the second after a round trip. The connection closes when the
   * streams that it has have ended. Streams that come between the steps are served.
   */
  goaway(debugData?: string): void;
  /** Closes now: GOAWAY with `code`, if the connection has not ended, and all streams are closed. */
  close(code: number, debugData?: string): void;
}
