/**
 * The attachments of a session, as its two halves see them: the CallStreams
 * that carry it, and how the client comes by the next. Sockets are on the other
 * side of these interfaces.
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

/** A CallStream that carries a session. It is read without pause: the session's window holds the other side back. */
export interface SessionStream extends CallStream {
  /**
   * Sends what `source` has, when it has to write: `bytes` more than was said before, prefixes included. That leaves
   * before what write() was given. Returns as write() does.
   */
  pull(source: FramedSource, bytes: number): Promise<void> | undefined;
  /** Drops what waits to be written, and lets go who waits for capacity: another stream carries on. */
  release(): void;
}

/** The same, at the client. */
export interface ClientAttachment extends SessionStream, ClientCallStream {}

/** The same, at the server. After endSend() it listens until the client has ended its side, or for a second. */
export interface ServerAttachment extends SessionStream, ServerCallStream {
  /** Has all that was written leave now. */
  flush(): void;
  /** Ends the stream with an error alone: the session goes on elsewhere, or nowhere. Drops what waits to be written. */
  refuse(error: ConnectError): void;
}

/**
 * Opens a stream on a connection that is there; `undefined` where that has just gone. Throws a ConnectError where no
 * connection would take these headers.
 */
export type OpenAttachment = (
  headers: Record<string, string>,
  listener: ClientStreamListener,
) => ClientAttachment | undefined;

/** A session that waits for its next stream. */
export interface Dialling {
  /** Whether it still does. */
  readonly isWanted: boolean;
  /** There is a connection: this is the moment to open the stream. Returns whether it was opened, or must not be. */
  onConnection(open: OpenAttachment): boolean;
  /** There is no stream; where `error` is not UNAVAILABLE another attempt would end the same way. */
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

/** A session that has not ended, as the transport sees it. */
export interface OpenSession {
  /** The transport is closed: ends the session, and tells its server. */
  leave(reason: ConnectError): void;
}

/** How a client's session gets its streams. */
export interface Dialler {
  /** Tells `session` of a connection as soon as there is one; and of another where that had gone. */
  dial(session: Dialling): void;
  /** No server has begun the session: the next stream may be opened at any of them. */
  unbind(): void;
  /**
   * Asks the server for its settings again, unless that was done since `sinceMs` by this process's clock: what it said
   * before then of its own clock is no longer true. One question serves all sessions that have it at the same time.
   */
  renegotiate(sinceMs: number, watcher: SettingsWatcher): void;
  /** Sends these headers once, if there is a connection within `forMs`; nobody hears what becomes of it. */
  tell(headers: Record<string, string>, forMs: number): void;
  /** Adds a session that has begun: it is asked to leave when the transport is closed. */
  add(session: OpenSession): void;
  /** Removes a session that has ended. */
  remove(session: OpenSession): void;
}
