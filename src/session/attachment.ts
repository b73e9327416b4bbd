/**
 * The attachments of a session, as its two halves see them: the streams of the
 * session, one after the other, and how the client gets the next one. Sockets
 * are on the other side of these interfaces.
 */
import type { ConnectError } from "@connectrpc/connect";
import type {
  CallStream,
  ClientCallStream,
  ClientStreamListener,
  ServerCallStream,
} from "../call-stream.ts";
import type { NegotiatedSettings } from "./settings.ts";
import type { FramedSource } from "./spool.ts";

/**
 * The stream of a session. It is read without pause, since the session's window holds the other side back: a session
 * does not call taken().
 */
export interface SessionStream extends CallStream {
  /**
   * Has the stream take its messages from `source` when it writes next. They leave before what write() was given.
   * Returns as write() does.
   *
   * @param bytes how much more `source` has since the last pull(), prefixes included
   */
  pull(source: FramedSource, bytes: number): Promise<void> | undefined;
  /** Drops what waits to be written, and resolves what write() and pull() promised: another stream takes its place. */
  release(): void;
}

/** The same, at the client. */
export interface ClientAttachment extends SessionStream, ClientCallStream {}

/** The same, at the server. After endSend() it listens until the client has ended its side, or for a second. */
export interface ServerAttachment extends SessionStream, ServerCallStream {
  /** Has all that was written leave now. */
  flush(): void;
  /** Drops what waits to be written, and ends the stream with an error: the session has another stream, or has ended. */
  refuse(error: ConnectError): void;
}

/**
 * Opens a stream on a connection; `undefined` where the connection has just been lost. Throws a ConnectError where no
 * connection would take these headers.
 */
export type OpenAttachment = (
  headers: Record<string, string>,
  listener: ClientStreamListener,
) => ClientAttachment | undefined;

/** A session that waits for its next stream. */
export interface Dialling {
  /** Whether it still waits. */
  readonly isWanted: boolean;
  /** There are connections to the server, and none of them takes a stream now: one does when others have ended. */
  onReached(): void;
  /** There is a connection. Opens the stream with `open` if it is still needed; `false`: `open` had no connection. */
  onConnection(open: OpenAttachment): boolean;
  /** There is no connection, or no stream on it. Where `error` is not UNAVAILABLE another attempt would fail, too. */
  onUnreachable(error: ConnectError): void;
}

/** A session that waits for the server's settings. */
export interface SettingsWatcher {
  /** Whether they are still needed. */
  readonly isWanted: boolean;
  onSettings(settings: NegotiatedSettings): void;
  /** The server said nothing of use; or, with an error, could not be asked. */
  onNoSettings(error?: ConnectError): void;
}

/** Hears whether a session has a stream. */
export interface SessionWatcher {
  /** The session has a stream, or looks for one. */
  onSessionState(state: "open" | "resuming"): void;
}

/** A session that has not ended, as the transport sees it. */
export interface OpenSession {
  /** The transport is closed: ends the session, and tells its server. */
  leave(reason: ConnectError): void;
}

/** How a client's session gets its streams. */
export interface Dialler {
  /** Gives `session` a connection as soon as there is one, and another where that was lost before its stream opened. */
  dial(session: Dialling): void;
  /** No server has begun the session: the next stream may be opened at any of them. */
  unbind(): void;
  /**
   * Asks the server for its settings again, unless it was asked after `sinceMs` by this process's clock: what it said
   * of its own clock before is no longer true. Sessions that ask at the same time share one request.
   */
  renegotiate(sinceMs: number, watcher: SettingsWatcher): void;
  /** Opens a stream with these headers alone, if there is a connection within `forMs`; the answer is ignored. */
  tell(headers: Record<string, string>, forMs: number): void;
  /** Adds a session that has begun: it is asked to leave when the transport is closed. */
  add(session: OpenSession): void;
  /** Removes a session that has ended. */
  remove(session: OpenSession): void;
}
