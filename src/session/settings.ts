import type { Window } from "./session-window.ts";

/** The settings of a server's sessions, which Negotiate returns (session.proto, 2). */
export interface SessionSettings {
  /** Identifies the server process: 128 random bits in hexadecimal digits. */
  readonly epoch: string;
  /** The server keeps a session without an attachment for this time. */
  readonly graceMs: number;
  readonly window: Window;
}

/** The settings of a server's sessions, as its client knows them. */
export interface NegotiatedSettings extends SessionSettings {
  /** The server's clock minus this process's clock; too small by the time that Negotiate's answer took. */
  readonly clockAheadMs: number;
}
