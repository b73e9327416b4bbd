import type { ServerHealth } from "../server/health.ts";
import type { CloseOptions, ListenOptions, ServerAddress } from "./listen-options.ts";
import type { ServerCertificate } from "./server-options.ts";
import type { ServerStats } from "./server-stats.ts";

/**
 * A server that is safe to expose: gRPC on Hawser's own data path; Connect and
 * gRPC-Web by Connect's handlers, all on one port.
 */
export interface Server extends AsyncDisposable {
  /**
   * Starts to serve. Rejects with FAILED_PRECONDITION if the address is in use, and with INVALID_ARGUMENT if the
   * address does not exist, or an option is not valid.
   */
  listen(options?: ListenOptions): Promise<ServerAddress>;
  /**
   * Drains and closes: its health is NOT_SERVING at once; after `drainDelayMs` it refuses new calls; ends with UNAVAILABLE the calls that clients continue from a cursor at another
   * server (hawser/v1/resume.proto); lets the other open calls finish for at most `graceMs`, and ends the rest with
   * UNAVAILABLE. May be called again, with a shorter delay or grace, or to stop listening. Rejects with INVALID_ARGUMENT, and
   * closes nothing, if an option is unknown or not valid.
   */
  close(options?: CloseOptions): Promise<void>;
  /**
   * Uses another certificate for connections from now on, for example a renewed one; open connections keep theirs. Throws
   * INVALID_ARGUMENT, and changes nothing, if a text is not valid, or if there is a `ca` now and was none before, or the
   * reverse. Throws FAILED_PRECONDITION if the server was made without `tls`.
   */
  setTls(tls: ServerCertificate): void;
  /** What balancers and orchestrators are told: the option `health`. */
  readonly health: ServerHealth;
  /** How many calls are open; those of health and reflection are left out. */
  readonly openCalls: number;
  /** What the server has now, and has had. It looks at each session once, and reads what is counted anyway. */
  stats(): ServerStats;
}
