/**
 * The interface beneath a call, at both ends: what carries its messages, and
 * what it tells the call. A plain HTTP/2 stream implements it, and a session
 * over many of them; a call cannot tell which it has. A session implements it
 * towards its call, and uses it towards the stream that carries it.
 *
 * The order, at either end:
 *
 *     client   onStream, onOpen, onHeaders?, onMessage*, onClosed
 *     server   onMessage*, onHalfClose?, onClosed
 *
 * onInvalid may take the place of any of these but the last, and ends what
 * comes: the call then ends the stream, with its error. onClosed comes once,
 * and after it nothing; neither does anything after reset(), and no message
 * after the server's endSend(). Nothing is told from inside of a constructor.
 * Each callback names the stream that speaks, so that one who has had several
 * compares identities to know whether it is still the one.
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
  /** The server ended the call, and all before that was read; or, at the server, was sent. */
  | { readonly is: "ended"; readonly status: Status; readonly trailers: HeaderList }
  /** In any other way. */
  | {
      readonly is: "lost";
      readonly error: ConnectError;
      /** Whether the server certainly did nothing for the call: it may be made again. */
      readonly unprocessed: boolean;
    }
  /** HTTP/2 does not carry the headers or trailers that were to be sent: a bug of the one who made them. */
  | { readonly is: "unsendable"; readonly error: unknown };

/** What carries the messages of a call. */
export interface CallStream {
  /**
   * Sends a message; not an object with the two, since there is one for each message. `undefined`: there is capacity
   * for more. A promise: there will be when it resolves. Throws, or rejects, once the stream is closed, reset, or ended
   * by the server. Who keeps the payload beyond that copies it where it may change.
   */
  write(flags: number, payload: Uint8Array): Promise<void> | undefined;
  /** The application took a message of `bytes`, or dropped it: the other side may send as much more. */
  taken(bytes: number): void;
  /**
   * Ends the stream now, both ways. Nothing is told any more; but onClosed, where the server has ended the call. Waiting
   * and later writes fail with `reason`.
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
   * Ends the call, after all that was written. Nothing that comes is told any more but onClosed; waiting and later
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

/** Whoever hears what a stream brings: a call, or a session. */
export interface CallStreamListener<Stream extends CallStream> {
  /** A message came. What it throws is taken for onInvalid(). */
  onMessage(message: Received, from: Stream): void;
  /** What came is no gRPC, or over a limit. Nothing more of it is told: the listener ends the stream. */
  onInvalid(error: ConnectError, from: Stream): void;
  /** The stream is closed, however that came. */
  onClosed(outcome: Outcome, from: Stream): void;
}

/** The same, at the client. */
export interface ClientStreamListener extends CallStreamListener<ClientCallStream> {
  /** The response headers came, and more will. From now on `from` is the stream to use. */
  onHeaders(headers: HeaderList, from: ClientCallStream): void;
}

/** A call at the client: it is given its stream when it is known what that is, and is open when that reaches a server. */
export interface ClientCallListener extends ClientStreamListener {
  /** Whether the call has ended: it needs no stream any more. */
  readonly isOver: boolean;
  /** What carries the call. */
  onStream(stream: ClientCallStream): void;
  /** The stream leads to a server: from now on messages may be written. */
  onOpen(): void;
  /** There is no stream, or no server to lead it to. */
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
