import type { Window } from "./session-window.ts";

/** What the sessions of a server have in common: Negotiate tells it (session.proto, 2). */
export interface SessionSettings {
  /** The server process: 128 random bits in hexadecimal digits. */
  readonly epoch: string;
  /** How long a session is kept without an attachment, in milliseconds. */
  readonly graceMs: number;
  readonly window: Window;
}

/** The same as a client knows it. */
export interface NegotiatedSettings extends SessionSettings {
  /** The server's clock less this one's; too small by what Negotiate's answer took on its way. */
  readonly clockAheadMs: number;
}
