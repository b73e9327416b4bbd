import { type CallOptions as ConnectCallOptions, createContextKey } from "@connectrpc/connect";

/** What can be said for one call: Connect's own options, and more. */
export interface CallOptions extends ConnectCallOptions {
  /** Whether the requests of this call are compressed (gzip). Default: as the transport does. */
  compress?: boolean;
  /**
   * Whether this call outlives its connections, where the server keeps sessions. Default: as the transport says. A
   * method that continues by a cursor (hawser/v1/resume.proto) needs none, and has none.
   */
  session?: boolean;
}

/** Who wants to know how a call is carried. */
export interface CallWatcher {
  /** The call has a session: it outlives its connections. */
  onSession(): void;
  /** Its session goes on over a connection, or looks for one. */
  onCarried(state: "open" | "resuming"): void;
}

/** How `compress` travels through a Connect Transport, whose signature is fixed. */
export const compressRequests = createContextKey<boolean | undefined>(undefined, {
  description: "hawser: compress the requests of this call",
});

/** How `session` travels, in the same way. */
export const wantsSession = createContextKey<boolean | undefined>(undefined, {
  description: "hawser: whether this call has a session",
});

/** How the one who makes a call hears how it is carried, in the same way. */
export const callWatcher = createContextKey<CallWatcher | undefined>(undefined, {
  description: "hawser: who watches this call",
});

/** How a call says, in the same way, that its caller makes it again until it is there: connections are tried more often. */
export const comesBack = createContextKey<boolean>(false, {
  description: "hawser: this call is made again by itself",
});
