import { either, optionsOf, whole } from "../options.ts";
import { DEFAULT_WINDOW, type Window } from "../session/session-window.ts";

/** How much one session may hold: of what it has sent, and of what it has received. */
export interface SessionWindowOptions {
  /** Bytes, as a whole number. Default: 1 MiB (1,048,576). */
  windowBytes?: number;
  /** Messages, as a whole number. Default: 16,384. */
  windowMessages?: number;
}

/** Counts are whole numbers here and on the wire. */
const count = whole(1, Number.MAX_SAFE_INTEGER);

/** The option `sessions`, of a transport and of a call. */
export type SessionsOption = boolean | "required" | SessionWindowOptions;

/** The check of a SessionsOption. */
export const sessionsCheck = either(
  (value) => typeof value === "boolean" || value === "required",
  optionsOf<SessionWindowOptions>({ windowBytes: count, windowMessages: count }),
);

/**
 * Returns the window that `sessions` asks for, with missing fields from `fallback`, or `undefined` if it asks for no
 * session.
 */
export function windowOf(
  sessions: SessionsOption,
  fallback: Window = DEFAULT_WINDOW,
): Window | undefined {
  if (sessions === false) return undefined;
  if (typeof sessions !== "object") return fallback;
  const { windowBytes = fallback.bytes, windowMessages = fallback.messages } = sessions;
  return { bytes: windowBytes, messages: windowMessages };
}

/**
 * Whether a call fails rather than be made without a session.
 *
 * @param ofCall its own option; a window alone leaves that to the transport
 */
export function requiresSession(
  ofCall: SessionsOption | undefined,
  ofTransport: SessionsOption | undefined,
): boolean {
  const decides = ofCall === undefined || typeof ofCall === "object" ? ofTransport : ofCall;
  return decides === "required";
}
