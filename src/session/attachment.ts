/**
 * The attachments of a session, as its two halves see them: what they ask of
 * the stream, what the client hears of it, and how the client comes by the next.
 * Sockets are on the other side of these interfaces, in src/grpc/.
 */
import type { ConnectError } from "@connectrpc/connect";
import type { Fields, Values } from "./headers.ts";
import type { Spool } from "./spool.ts";
import type { ServerTerms } from "./terms.ts";

/** One HTTP/2 stream that carries a session. */
export interface SessionStream {
  /** Sends `bytes` more that the spool has. `undefined`: there is room for more. A promise: there will be when it resolves. */
  pull(kept: Spool, bytes: number): Promise<void> | undefined;
  /** Sends a control frame, behind what pull() was told of. */
  write(flags: number, payload: Uint8Array): unknown;
  /** Lets go of who waits for room. */
  release(): void;
}

/** The same, as the client sees it. */
export interface ClientAttachment extends SessionStream {
  /** Ends this side: the client has all. */
  halfClose(): void;
  /** Resets the stream; waiting and later writes fail with `error`. */
  stop(error: ConnectError): void;
}

/** The same, as the server sees it. */
export interface ServerAttachment extends SessionStream {
  /** The SETTINGS_MAX_HEADER_LIST_SIZE that the client announced, in bytes; 2^32 - 1 where it announced none. */
  readonly announcedHeaderBytes: number;
  /** Sends the response headers; before anything else. */
  answer(headers: Fields): void;
  /** Has all that was written leave now. */
  flush(): void;
  /** Ends the stream with these trailers, behind all that was written; the client may still end its side. */
  end(trailers: Fields): void;
  /** Ends the stream because the session goes on elsewhere, or nowhere. */
  refuse(error: ConnectError): void;
  /** Resets the stream: what waits to be sent is lost. */
  drop(): void;
}

/** How a stream ended without a status of the server. */
export interface Broken {
  readonly error: ConnectError;
  /** Whether it was this side that refused what came. */
  readonly refused: boolean;
  /** Whether the server certainly did nothing for the attachment (REFUSED_STREAM, or past its GOAWAY). */
  readonly unprocessed?: boolean;
}

/** Who hears of an attachment of a client. */
export interface AttachmentWatcher<Frame> {
  /** Whether the attachment is still needed: else no stream is opened. */
  readonly wanted: boolean;
  onOpen(stream: ClientAttachment): void;
  onHead(headers: Values): void;
  onFrame(frame: Frame): boolean;
  onStatus(status: "ok" | ConnectError, trailers: Values): void;
  /** Also where no stream could be opened. */
  onBroken(broken: Broken): void;
}

/** A session that waits for the server's terms. */
export interface TermsWatcher {
  /** Whether they are still needed. */
  readonly wanted: boolean;
  onTerms(terms: ServerTerms): void;
  /** The server said nothing of use; or, with an error, could not be asked. */
  onNoTerms(error?: ConnectError): void;
}

/** Who can be asked to go. */
export interface Leaver {
  leave(reason: ConnectError): void;
}

/** How a client's session gets its streams. */
export interface Dialler<Frame> {
  /** Opens a stream as soon as there is a connection; `headers` is called just before. */
  dial(headers: () => Record<string, string>, watcher: AttachmentWatcher<Frame>): void;
  /** No server has begun the session: the next stream may be opened at any of them. */
  unbind(): void;
  /**
   * Asks the server for its terms again, unless that was done since `sinceMs` by this process's clock: what it said
   * before then of its own clock is no longer true. One question serves all sessions that have it at the same time.
   */
  renegotiate(sinceMs: number, watcher: TermsWatcher): void;
  /** Sends these headers once, if there is a connection within `forMs`; nobody hears what becomes of it. */
  tell(headers: () => Record<string, string>, forMs: number): void;
  /** A session is there, until it is over: where no more connections are to be had, it must leave. */
  begun(session: Leaver): void;
  over(session: Leaver): void;
}
