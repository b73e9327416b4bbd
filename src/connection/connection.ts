/** One HTTP/2 connection of a client, as seen by the code that makes calls on it. ClientConnection implements it. */
import { Code, type ConnectError } from "@connectrpc/connect";
import type { ClientStreamListener } from "../call-stream.ts";
import { failure } from "../failure.ts";
import type { AbortSource } from "../flow/wait.ts";
import type { FrameRules } from "../grpc/framing.ts";
import type { ClientAttachment } from "../session/attachment.ts";
import type { NegotiatedSettings } from "../session/settings.ts";
import type { Target } from "./address.ts";
import type { Keepalive } from "./keepalive.ts";
import type { RequestHead } from "./request-headers.ts";

/** The parameters of a new stream. With `controlFrames` it belongs to a session, and has no window of its own. */
export interface OpenStream extends FrameRules {
  readonly head: RequestHead;
  readonly listener: ClientStreamListener;
  /** Asked before the listener is called, if the stream closes before the response headers. */
  readonly repeater?: StreamRepeater;
}

/** A call that can be sent again on another stream. */
export interface StreamRepeater {
  /**
   * Called if the server certainly did nothing for the stream. Returns whether the call is sent again; the listener is
   * then not called.
   */
  onUnprocessed(error: ConnectError): boolean;
}

export interface Connection {
  readonly target: Target;
  /** Whether another stream can be opened now. */
  readonly hasFreeStream: boolean;
  /** Whether the server allows no streams for now: its SETTINGS_MAX_CONCURRENT_STREAMS is 0 (RFC 9113, 6.5.2). */
  readonly takesNoCalls: boolean;
  /** Whether the connection is alive and not draining. It may have no free stream, or the server may allow none. */
  readonly isUsable: boolean;
  /** The number of open streams. */
  readonly active: number;
  /** Why the connection was lost; `undefined` if it was not. */
  readonly lossReason: ConnectError | undefined;
  /** Settings of the server's sessions. `false`: it has no sessions. `undefined`: not asked yet. */
  readonly sessionSettings: NegotiatedSettings | false | undefined;
  /** Whether Negotiate must be called, or called again. */
  readonly mustNegotiate: boolean;
  /** Sets `sessionSettings` to the server's answer. */
  setSessionSettings(settings: NegotiatedSettings | false): void;
  /** What was learned of the server's clock at `untilMs` or earlier is outdated; `mustNegotiate` becomes true. */
  invalidateSettings(untilMs: number): void;
  /** Uses the shorter keepalive interval for Hawser servers. */
  useHawserKeepalive(): void;
  /** Call this when the network may have returned: a server that is silent is asked whether it is there. */
  expectNetwork(): void;
  /**
   * Call this when calls begin to wait for this connection: keepalive then watches it although no call is open on it.
   */
  onAwaited(): void;
  /**
   * Opens a stream. Throws RESOURCE_EXHAUSTED if the headers are too large;
   * another error if HTTP/2 does not allow them, or the connection was lost.
   */
  open(init: OpenStream): ClientAttachment;
  /** Closes the connection after what was written has reached the socket; open calls fail with `reason`. */
  close(reason: ConnectError): Promise<void>;
}

/** Supplies connections. */
export interface ConnectionSource {
  /** Aborts when the transport is closed. */
  readonly closing: AbortSource;
  /** Returns a connection with a free stream, if there is one. */
  ready(): Connection | undefined;
  /** As Connections.acquire(). */
  acquire(use: (connection: Connection) => void, wanted?: () => boolean): Promise<void>;
}

/** The error of an acquire() whose call no longer needs a connection. */
export const NO_LONGER = failure(Code.Canceled, "the call was over before there was a connection");

/** What a connection needs from its owner. */
export interface ConnectionOwner {
  readonly keepalive: Keepalive;
  /** Aborts the attempt to connect: the transport is closed. */
  readonly closing: AbortSource;
  /** Called when the connection can take calls again, or never will. */
  onChange(): void;
  /** Called when the server asks for new calls to go elsewhere (GOAWAY). */
  onDrain(): void;
  /** Whether calls wait for this connection. */
  isAwaited(): boolean;
}

/** Connects to an address. Rejects with UNAVAILABLE, the address and the reason; or with the reason of the signal. */
export type Connect = (target: Target, owner: ConnectionOwner) => Promise<Connection>;
