import type { ConnectError } from "@connectrpc/connect";
import type { Caller } from "../caller.ts";
import type { StreamEnd } from "../http2/types.ts";
import type { Party } from "../sharing/parties.ts";
import type { ConnectionMemory } from "./connection-memory.ts";

/** A connection of a client, as seen by its requests and by what serves them. ServerConnection implements it. */
export interface ServedConnection {
  /** Whether the connection has TLS. */
  readonly isEncrypted: boolean;
  /** The caller of the requests that were not authenticated: the client of the connection. */
  readonly caller: Caller;
  /** The SETTINGS_MAX_HEADER_LIST_SIZE that the client announced. */
  readonly announcedHeaderBytes: number;
  /** Whether the connection has reached its age: sessions continue on another one. */
  readonly isAged: boolean;
  /** The memory of streams whose caller is that of the connection, or is not known yet. */
  readonly memory: ConnectionMemory;
  /** Returns the memory of the streams of a caller on this connection. */
  memoryOf(party: Party): ConnectionMemory;
  /**
   * Calls `send` after the response headers that other streams send in this turn, if the connection has TLS. For clients on
   * node:http2: if several responses arrive with TLS while such a client writes, it handles all that follows the first DATA
   * frame before its application hears of any headers. connect-node then takes each response that is complete for one that
   * was cut off. Headers before all DATA are safe; grpc-go writes in this order, too.
   */
  afterHeaders(send: () => void): void;
  /** Returns the error of a call whose stream the client has ended, or the loss of the connection. */
  lossOf(end: StreamEnd): ConnectError;
  /** Called by what serves a request, when its stream is closed. */
  onStreamClosed(): void;
  /** Pings this client more often, because it has sessions. */
  useHawserKeepalive(): void;
  /**
   * Tells the client, once, to open no more calls here (GOAWAY, in two steps). The connection closes when those that it has
   * have ended.
   */
  drain(): void;
}
