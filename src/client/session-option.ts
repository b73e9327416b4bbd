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

/** The check of the option `sessions`, of a transport and of a call. */
export const sessionsCheck = either(
  (value) => typeof value === "boolean",
  optionsOf<SessionWindowOptions>({ windowBytes: count, windowMessages: count }),
);

/**
 * Returns the window that `sessions` asks for, with missing fields from `fallback`, or `undefined` if it asks for no
 * session.
 */
export function windowOf(
  sessions: boolean | SessionWindowOptions,
  fallback: Window = DEFAULT_WINDOW,
): Window | undefined {
  if (typeof sessions === "boolean") return sessions ? fallback : undefined;
  const { windowBytes = fallback.bytes, windowMessages = fallback.messages } = sessions;
  return { bytes: windowBytes, messages: windowMessages };
}
