import { type CallOptions as ConnectCallOptions, createContextKey } from "@connectrpc/connect";

/** What can be said for one call: Connect's own options, and more. */
export interface CallOptions extends ConnectCallOptions {
  /** Whether the requests of this call are compressed (gzip). Default: as the transport does. */
  compress?: boolean;
}

/** How `compress` travels through a Connect Transport, whose signature is fixed. */
export const compressRequests = createContextKey<boolean | undefined>(undefined, {
  description: "hawser: compress the requests of this call",
});
