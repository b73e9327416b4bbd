/** What the run and its programs tell each other. It imports nothing, because the run has no package `hawser`. */

/** The addresses of the server program. */
export interface ServerUrls {
  readonly http: string;
  readonly https: string;
  readonly unix: string;
  /** Like `https`, for clients with a certificate. */
  readonly mutual: string;
  /** A server with maxConnections 20. */
  readonly crowded: string;
}

/** What the client program reads as its argument, JSON. */
export interface ClientInput extends ServerUrls {
  /** Leads to `http` through a link that `ask` cuts and stalls. */
  readonly link: string;
  /** The certificate authority of `https`, PEM. */
  readonly ca: string;
  /** The certificate of a client, and its key, PEM. */
  readonly cert: string;
  readonly key: string;
  /** The names of the runtimes. */
  readonly client: string;
  readonly server: string;
  /** Only scenarios whose name contains this text run. */
  readonly filter: string;
}

/** What the client program asks the run to do. */
export type Request = "rst" | "fin" | "stall" | "resume" | "rooms" | "restart rooms";

/** The line that answers a request which the run could not fulfil begins with this; the reason follows. */
export const FAILED = "failed: ";
