/** One HTTP/2 connection of a client, as those see it who make calls on it. What has sockets implements it. */
import type { ConnectError } from "@connectrpc/connect";
import type { ClientStreamListener } from "../call-stream.ts";
import type { RequestHead } from "../grpc/request-headers.ts";
import type { ClientAttachment } from "../session/attachment.ts";
import type { NegotiatedSettings } from "../session/settings.ts";
import type { Target } from "./address.ts";
import type { Keepalive } from "./keepalive.ts";

/** What a stream of a connection is opened with. */
export interface OpenStream {
  readonly head: RequestHead;
  readonly readMaxBytes: number;
  /** The flags that a message of the server may have; by default those of gRPC. */
  readonly flags?: number;
  readonly listener: ClientStreamListener;
}

/** A stream of a connection: whoever listens to it may have another take over. */
export interface OpenedStream extends ClientAttachment {
  listener: ClientStreamListener;
}

export interface Connection {
  readonly target: Target;
  /** Whether another call can be opened here now. */
  readonly hasRoom: boolean;
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
  /** The server is Hawser's: it can be asked for signs of life more often. */
  useHawserKeepalive(): void;
  /** Calls begin to wait for this connection to take them: silence on it counts, although none is open. */
  onAwaited(): void;
  /**
   * Opens a stream. Throws RESOURCE_EXHAUSTED where the headers are too large;
   * another error where HTTP/2 refuses them, or the connection went away meanwhile.
   */
  open(init: OpenStream): OpenedStream;
  /** Closes when what was written has reached the socket; open calls fail with `reason`. Resolves when it is closed. */
  close(reason: ConnectError): Promise<void>;
}

/** Where connections are to be had. */
export interface ConnectionSource {
  /** Aborts when the transport is closed. */
  readonly closing: AbortSignal;
  ready(): Connection | undefined;
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
  /** Whether calls wait until one can be opened here. */
  isAwaited(): boolean;
}

/** Connects to an address. Rejects with UNAVAILABLE that names the address and the reason, or as the signal says. */
export type Connect = (target: Target, owner: ConnectionOwner) => Promise<Connection>;
