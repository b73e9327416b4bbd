/** One HTTP/2 connection of a client, as the code that makes calls on it sees it. src/node/http2 implements it. */
import type { ConnectError } from "@connectrpc/connect";
import type { ClientStreamListener } from "../call-stream.ts";
import type { FrameRules } from "../grpc/framing.ts";
import type { RequestHead } from "../grpc/request-headers.ts";
import type { ClientAttachment } from "../session/attachment.ts";
import type { NegotiatedSettings } from "../session/settings.ts";
import type { Target } from "./address.ts";
import type { Keepalive } from "./keepalive.ts";

/** What a stream of a connection is opened with. Control frames: the stream is a session's, and has no window of its own. */
export interface OpenStream extends FrameRules {
  readonly head: RequestHead;
  readonly listener: ClientStreamListener;
  /** Asked first where the stream closes before the response headers. */
  readonly repeater?: StreamRepeater;
}

/** A call that can be sent again on another stream. */
export interface StreamRepeater {
  /**
   * The server certainly did nothing for the stream. Returns whether the call is sent again: then the listener is told
   * nothing.
   */
  onUnprocessed(error: ConnectError): boolean;
}

export interface Connection {
  readonly target: Target;
  /** Whether another call can be opened here now. */
  readonly hasCapacity: boolean;
  /** Whether the server takes no calls here for now: its SETTINGS_MAX_CONCURRENT_STREAMS is 0 (RFC 9113, 6.5.2). */
  readonly isClosedForNow: boolean;
  /** Whether calls can be opened here, now or when others have ended. */
  readonly usable: boolean;
  /** How many calls are open here. */
  readonly active: number;
  /** Why the connection is gone; `undefined` while it is not. */
  readonly lost: ConnectError | undefined;
  /** The settings of the server's sessions: `false` where it keeps no sessions, `undefined` before it was asked. */
  readonly sessionSettings: NegotiatedSettings | false | undefined;
  /** Whether the server must be asked for its session settings, for the first time or again. */
  readonly mustNegotiate: boolean;
  /** Notes the settings that the server answered with. */
  setSessionSettings(settings: NegotiatedSettings | false): void;
  /** What the server said of its clock until `untilMs` is no longer true: it must be asked again. */
  doubtSessionSettings(untilMs: number): void;
  /** The server is Hawser's, and permits more frequent keepalive pings: uses the intervals of Hawser's peers. */
  useHawserKeepalive(): void;
  /** Calls begin to wait until they can be opened here: keepalive watches the connection although no call is open. */
  onAwaited(): void;
  /**
   * Opens a stream. Throws RESOURCE_EXHAUSTED where the headers are too large;
   * another error where HTTP/2 refuses them, or the connection has been lost.
   */
  open(init: OpenStream): ClientAttachment;
  /** Closes when what was written has reached the socket; open calls fail with `reason`. Resolves when it is closed. */
  close(reason: ConnectError): Promise<void>;
}

/** Gives connections to calls. */
export interface ConnectionSource {
  /** Aborts when the transport is closed. */
  readonly closing: AbortSignal;
  /** A connection that takes another call now, if there is one. */
  ready(): Connection | undefined;
  /** As Connections.acquire(). */
  acquire(use: (connection: Connection) => void, wanted?: () => boolean): Promise<void>;
}

/** The owner of a connection. */
export interface ConnectionOwner {
  readonly keepalive: Keepalive;
  /** Aborts the attempt to connect. */
  readonly signal: AbortSignal;
  /** The connection may take a call again, or will take none any more. */
  onChange(): void;
  /** The server asks for new calls to go elsewhere. */
  onDrain(): void;
  /** Whether calls wait until they can be opened here. */
  isAwaited(): boolean;
}

/** Connects to an address. Rejects with UNAVAILABLE that names the address and the reason, or as the signal says. */
export type Connect = (target: Target, owner: ConnectionOwner) => Promise<Connection>;
