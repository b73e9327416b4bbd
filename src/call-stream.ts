/**
 * The interface beneath a call, at both ends: the stream of its messages, and
 * the listener that hears what the stream brings. A plain HTTP/2 stream
 * implements CallStream, and so does a session over many HTTP/2 streams; a call
 * cannot tell which it has. A session is the CallStream of its call, and the
 * listener of its own HTTP/2 stream.
 *
 * The order, at either end:
 *
 *     client   onStream, onOpen, onHeaders?, onMessage*, onClosed
 *     server   onMessage*, onHalfClose?, onClosed
 *
 * onInvalid may take the place of any of these but the last. After it no more
 * of the stream is told, and the call ends the stream with the error. onClosed
 * is called once, and nothing after it; nothing is called after reset(), and no
 * onMessage after the server's endSend(). No constructor calls its listener.
 * Each callback names the stream that it speaks of: a listener that has had
 * several compares it with its current one.
 */
import type { ConnectError } from "@connectrpc/connect";

/** Headers or trailers: names in lower case. */
export type HeaderList = Record<string, number | string | string[] | undefined>;

/** How a call ended, as its server says. */
export type Status = "ok" | ConnectError;

/** One message as it stood on the wire: `bytes` from `start` up to `end`. Nothing is copied. */
export interface Received {
  readonly flags: number;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** How a stream closed. */
export type Outcome =
  /** The server ended the call, and all that it sent before was read; at the server: was sent. */
  | { readonly is: "ended"; readonly status: Status; readonly trailers: HeaderList }
  /** In any other way. */
  | {
      readonly is: "lost";
      readonly error: ConnectError;
      /** Whether the server certainly did nothing for the call: it may be made again. */
      readonly unprocessed: boolean;
    }
  /** HTTP/2 does not allow the headers or trailers that were to be sent: a bug of the code that made them. */
  | { readonly is: "unsendable"; readonly error: unknown };

/** The stream of a call's messages. */
export interface CallStream {
  /**
   * Sends a message. `undefined`: there is capacity for more. A promise: there will be when it resolves. Throws, or
   * rejects, once the stream is closed, reset, or ended by the server. The caller must not change the payload
   * afterwards. Flags and payload are two parameters because an object for each message would cost time.
   */
  write(flags: number, payload: Uint8Array): Promise<void> | undefined;
  /** The application took a message of `bytes`, or dropped it: the other side may send as much more. */
  taken(bytes: number): void;
  /**
   * Ends the stream now, both ways. The listener is told nothing more, except onClosed where the server has ended the
   * call. Waiting and later writes fail with `reason`.
   */
  reset(reason: ConnectError): void;
}

/** The same, at the client. */
export interface ClientCallStream extends CallStream {
  /** Half-close, after all that was written. */
  endSend(): void;
}

/** The same, at the server. */
export interface ServerCallStream extends CallStream {
  /** The most that the client reads of a header list: the SETTINGS_MAX_HEADER_LIST_SIZE that it announced. */
  readonly announcedHeaderBytes: number;
  /** What the stream adds to the call's trailers, as HPACK counts it. */
  readonly ownTrailerBytes: number;
  /** The response headers: at most once, before the first message. */
  sendHeaders(headers: HeaderList): void;
  /**
   * Ends the call, after all that was written. The listener is told nothing more except onClosed; waiting and later
   * writes fail.
   */
  endSend(end: End): void;
}

/** What a server ends a call with. */
export interface End {
  readonly status: Status;
  /** All that is sent: the status is among them. Where no headers were sent, they are among them too. */
  readonly trailers: HeaderList;
}

/** Hears what a stream brings: a call, or a session. */
export interface CallStreamListener<Stream extends CallStream> {
  /** A message came. Where the listener throws, the stream calls onInvalid() with that error. */
  onMessage(message: Received, from: Stream): void;
  /** What came is not gRPC, or over a limit. The listener is told nothing more, and ends the stream. */
  onInvalid(error: ConnectError, from: Stream): void;
  /** The stream is closed, for whatever reason. */
  onClosed(outcome: Outcome, from: Stream): void;
}

/** The same, at the client. */
export interface ClientStreamListener extends CallStreamListener<ClientCallStream> {
  /** The response headers came, and more will. From now on `from` is the stream to use. */
  onHeaders(headers: HeaderList, from: ClientCallStream): void;
}

/** A call at the client. It is given its stream when it is known whether that is a session. */
export interface ClientCallListener extends ClientStreamListener {
  /** Whether the call has ended, and needs no stream any more. */
  readonly isOver: boolean;
  /** The call has this stream. */
  onStream(stream: ClientCallStream): void;
  /** The stream leads to a server: from now on messages may be written. */
  onOpen(): void;
  /** The call gets no stream, or its stream reaches no server. */
  onFailed(error: ConnectError): void;
}

/** The same, at the server. */
export interface ServerStreamListener extends CallStreamListener<ServerCallStream> {
  /**
   * The client sends no more messages.
   *
   * @param isWhole `false`: in the middle of a message, which was cut off
   */
  onHalfClose(isWhole: boolean, from: ServerCallStream): void;
}
