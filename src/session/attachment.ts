/**
 * The interfaces between a session and its transport: the streams to which the
 * session is attached, one after the other, and how the client gets the next
 * one.
 */
import type { ConnectError } from "@connectrpc/connect";
import type {
  CallStream,
  ClientCallStream,
  ClientStreamListener,
  HeaderList,
  ServerCallStream,
} from "../call-stream.ts";
import type { NegotiatedSettings } from "./settings.ts";
import type { FramedSource } from "./spool.ts";
import type { AttachmentState } from "./state.ts";

/**
 * The stream of a session. It is read without pause, since the session's window holds the other side back: a session
 * does not call taken().
 */
export interface SessionStream extends CallStream {
  /** The bytes of messages that were written, or pulled, and wait: their memory is still read. */
  readonly waitingBytes: number;
  /**
   * Sends what `source` has, now as far as the stream takes it, and the rest when it takes more. What write() is given
   * later is sent after it. Returns as write() does.
   */
  pull(source: FramedSource): Promise<void> | undefined;
  /** Drops what waits to be written, and resolves what write() and pull() promised: another stream takes its place. */
  release(): void;
}

/** A session's stream at the client. */
export interface ClientAttachment extends SessionStream, ClientCallStream {}

/**
 * A session's stream at the server. After endSend() it listens until the client has ended its side, at most a second.
 */
export interface ServerAttachment extends SessionStream, ServerCallStream {
  /**
   * Drops what waits to be written, and ends the stream with an error: the session has another stream, or has ended.
   */
  refuse(error: ConnectError): void;
}

/**
 * Opens a stream on a connection. Returns `undefined` if the connection has just been lost. Throws a ConnectError if no
 * connection would accept these headers.
 */
export type OpenAttachment = (
  headers: Record<string, string>,
  listener: ClientStreamListener,
) => ClientAttachment | undefined;

/** A session that waits for a connection on which it opens its next stream. */
export interface WaitingForConnection {
  /** Whether the session still needs a connection. */
  readonly isWanted: boolean;
  /** Called if the server is connected, but all its connections have as many streams as it allows. */
  onReached(): void;
  /**
   * Called with a connection. Opens the stream by `open` if it is still needed; returns `false` if `open` returned
   * none.
   */
  onConnection(open: OpenAttachment): boolean;
  /** Called if no stream can be opened. If `error` is not UNAVAILABLE, another attempt would fail too. */
  onUnreachable(error: ConnectError): void;
}

/** A session that waits for the server's settings. */
export interface SettingsWatcher {
  /** Whether the session still needs the settings. */
  readonly isWanted: boolean;
  onSettings(settings: NegotiatedSettings): void;
  /** Called if the server gave no valid settings; with an error if it could not be asked. */
  onNoSettings(error?: ConnectError): void;
}

/** The messages that a call has sent in a session which did not begin. A stream without a session sends them from the first. */
export interface SentMessages extends FramedSource {
  /** Their number, and their bytes without prefixes. */
  readonly messages: number;
  readonly bytes: number;
  /** Makes next() return again everything after the first `count` messages. */
  rewind(count: number): void;
}

/** A call that continues without the session for which it has asked. */
export interface BegunCall {
  readonly sent: SentMessages;
  readonly hasHalfClosed: boolean;
}

/** Listens to the state of a session. */
export interface SessionWatcher {
  /** "open": the session has a stream. "resuming": it looks for one. */
  onSessionState(state: "open" | "resuming"): void;
}

/** A session that has not ended, as the transport sees it. */
export interface OpenSession {
  readonly state: AttachmentState<unknown>["is"];
  /** Called when the transport is closed: ends the session, and cancels it at its server. */
  leave(reason: ConnectError): void;
  /** Called when the network may have returned: ends the pause before the next attempt. */
  expectNetwork(): void;
}

/** Gives a client's session its streams. */
export interface Dialler {
  /** Gives `session` a connection as soon as there is one; if that is lost before the stream opens, another one. */
  dial(session: WaitingForConnection): void;
  /** Allows the next stream at any of the addresses: no server has begun the session. */
  unbind(): void;
  /**
   * Asks the server for its settings again, unless it was asked after `sinceMs` by this process's clock: what was
   * learned of its clock before is outdated. Sessions that ask at the same time share one request.
   */
  renegotiate(sinceMs: number, watcher: SettingsWatcher): void;
  /**
   * Cancels a session at its server, if there is a connection within `forMs`: opens a stream with only these headers.
   */
  sendCancel(headers: Record<string, string>, forMs: number): void;
  /** Asks for the request headers of another stream; `undefined` if they are always the same. */
  freshHeaders(): Promise<HeaderList> | undefined;
  /** Adds a session that has begun: leave() is called when the transport is closed. */
  add(session: OpenSession): void;
  /** Removes a session that has ended. */
  remove(session: OpenSession): void;
}
