/**
 * The interface beneath a call, at both ends: the stream of its messages, and
 * the listener that the stream calls. A plain HTTP/2 stream implements
 * CallStream, and so does a session over many HTTP/2 streams; a call cannot see
 * which of the two it has. A session is the CallStream of its call, and the
 * listener of its own HTTP/2 stream.
 *
 * The order, at either end:
 *
 *     client   onStream, onOpen, onHeaders?, onMessage*, onClosed
 *     server   onMessage*, onHalfClose?, onClosed
 *
 * onInvalid may be called in place of any of these except onClosed. Nothing is
 * called after it, and the listener ends the stream with the error. onClosed is
 * called once, and nothing after it; nothing is called after reset(), and no
 * onMessage after the server's endSend(). No constructor calls its listener.
 * Each callback is given the stream that calls: a listener that has had several
 * compares it with its current one.
 */
import type { ConnectError } from "@connectrpc/connect";

/** Headers or trailers: names in lower case. A frozen list is sent by many calls: a stream may keep what it makes of it. */
export type HeaderList = Record<string, number | string | string[] | undefined>;

/** The status with which a server ended a call. */
export type Status = "ok" | ConnectError;

/** One message as received, not copied: `bytes` from `start` up to `end`. */
export interface Received {
  readonly flags: number;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** Whether the memory of `bytes` is used again after decoding. Default: false; other messages may be in it. */
  readonly isReusable?: boolean;
}

/** The end of a stream. */
export type Outcome =
  /** The server ended the call. At the client all messages before the end were read; at the server they were sent. */
  | { readonly is: "ended"; readonly status: Status; readonly trailers: HeaderList }
  /** The stream ended in any other way. */
  | {
      readonly is: "lost";
      readonly error: ConnectError;
      /** Whether the server certainly did nothing for the call: it may be made again. */
      readonly unprocessed: boolean;
    }
  /** HTTP/2 does not allow the headers or trailers of the application: a bug there. */
  | { readonly is: "unsendable"; readonly error: unknown };

/**
 * Where a message that many calls send stands, with its prefix, in a run of such messages. A stream that sends several
 * messages of a run, one after the other, can send them as one piece.
 */
export interface SharedFrame {
  readonly run: FrameRun;
  readonly start: number;
  readonly end: number;
}

/** Messages with their prefixes, one after the other. */
export interface FrameRun {
  /** `undefined` if the run is old: most calls have sent its messages, and the others send them one by one. */
  readonly bytes: Uint8Array | undefined;
}

/** For a message that is in no run. */
export const IN_NO_RUN: SharedFrame = { run: { bytes: undefined }, start: 0, end: 0 };

/** The stream of a call's messages. */
export interface CallStream {
  /**
   * Sends a message. Returns `undefined` if there is capacity for more, else a promise that resolves when there is.
   * Throws, or rejects, once the stream is closed, reset, or ended by the server. The memory of the payload is used again
   * when write() has returned: a stream that keeps the payload copies it, unless it is shared. These are several parameters
   * because an object for each message would cost time.
   *
   * @param shared given if many calls send the same bytes, which never change
   */
  write(flags: number, payload: Uint8Array, shared?: SharedFrame): Promise<void> | undefined;
  /** Called when the application took or dropped a message of `bytes`: the other side may send as many more. */
  taken(bytes: number): void;
  /**
   * Counts bytes of a message that was taken, and waits to be decompressed, as held; if negative, no longer. The other side
   * may send as many meanwhile.
   */
  hold(bytes: number): void;
  /**
   * Ends the stream now, in both directions. The listener is no longer called, except for onClosed if the server has
   * ended the call. Waiting and later writes fail with `reason`.
   */
  reset(reason: ConnectError): void;
}

/** The stream of a call at the client. */
export interface ClientCallStream extends CallStream {
  /** Half-closes, after all that was written. */
  endSend(): void;
}

/** The stream of a call at the server. */
export interface ServerCallStream extends CallStream {
  /** The SETTINGS_MAX_HEADER_LIST_SIZE that the client announced. */
  readonly announcedHeaderBytes: number;
  /** The size of the trailers that the stream itself adds, as HPACK counts it. */
  readonly ownTrailerBytes: number;
  /** Sends the response headers: at most once, before the first message. */
  sendHeaders(headers: HeaderList): void;
  /**
   * Ends the call, after all that was written. Of the listener only onClosed is still called; waiting and later writes
   * fail.
   */
  endSend(end: End): void;
}

/** The end of a call, as a server sends it. */
export interface End {
  readonly status: Status;
  /** All trailers, with the status. If no response headers were sent, those are included too. */
  readonly trailers: HeaderList;
}

/** Listens to a stream: a call, or a session. */
export interface CallStreamListener<Stream extends CallStream> {
  /** Called with each message. If the listener throws, the stream calls onInvalid() with that error. */
  onMessage(message: Received, from: Stream): void;
  /** Called if the input is not gRPC, or over a limit. Nothing is called after it, and the listener ends the stream. */
  onInvalid(error: ConnectError, from: Stream): void;
  /**
   * Called when the stream is closed, before a write that waits fails: a session releases the stream in this call, and
   * its call then continues to write, to the next stream.
   */
  onClosed(outcome: Outcome, from: Stream): void;
}

/** Listens to a stream at the client. */
export interface ClientStreamListener extends CallStreamListener<ClientCallStream> {
  /** Called with the response headers, unless they end the call. From now on `from` is the stream to use. */
  onHeaders(headers: HeaderList, from: ClientCallStream): void;
}

/** A call at the client. It is given its stream when it is known whether that is a session. */
export interface ClientCallListener extends ClientStreamListener {
  /** Whether the call has ended, and needs no stream any more. */
  readonly isOver: boolean;
  /** Gives the call its stream; or, before onHeaders, another one, which has sent what the call has written before. */
  onStream(stream: ClientCallStream): void;
  /** Called when a stream to a server is open: from now on messages may be written. */
  onOpen(): void;
  /** Called if no stream to a server can be opened. */
  onFailed(error: ConnectError): void;
}

/** Listens to a stream at the server. */
export interface ServerStreamListener extends CallStreamListener<ServerCallStream> {
  /**
   * Called when the client half-closes.
   *
   * @param isWhole `false` if the last message was cut off
   */
  onHalfClose(isWhole: boolean, from: ServerCallStream): void;
}
