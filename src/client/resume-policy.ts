/** Decides whether a call that continues from a cursor is made again, and when. */
import { Code, type ConnectError } from "@connectrpc/connect";
import { isCutOff } from "../failure.ts";
import { type Backoff, GRPC_JITTER } from "../flow/backoff.ts";

/**
 * How an attempt ended: with a status from the server; cut off, which is without a status; or on this side, because no
 * server was reached, or an interceptor or a limit refused the call.
 */
type AttemptEnd = "status" | "cut off" | "here";

/** The codes after which another attempt follows, by how the attempt ended. Any other code is that of the call. */
const RETRIED_CODES: Record<AttemptEnd, readonly Code[]> = {
  status: [Code.Unavailable],
  // A proxy resets the stream when its server dies: INTERNAL. Connect's transports give a lost connection the other
  // codes.
  "cut off": [Code.Unavailable, Code.Internal, Code.Aborted, Code.Unknown],
  here: [Code.Unavailable],
};

/** The server's header for the pause before another attempt (gRPC A6). */
const PUSHBACK = "grpc-retry-pushback-ms";

/** The pauses after attempts that made no progress. */
export const BACKOFF = {
  ...{ initialMs: 100, factor: 1.6, maxMs: 5000, jitter: GRPC_JITTER },
  firstAtOnce: true,
};

/**
 * After an attempt that made progress, the next one begins without a pause, but not sooner than this after the earlier
 * one began.
 */
const SPACING_MS = 100;

/**
 * An attempt that got a response and lasted this long made progress, even without a new cursor: there was nothing new.
 */
const STEADY_MS = 1000;

/** An attempt that has ended. */
export interface EndedAttempt {
  /**
   * Whether the attempt brought a cursor other than the one it began after. A server that fails at its next record
   * each time brings the same cursor again, which does not count as progress.
   */
  readonly moved: boolean;
  /** Whether the attempt brought a response. */
  readonly answered: boolean;
  /** How long the attempt lasted. */
  readonly elapsedMs: number;
}

/** Whether an attempt made progress: it brought a new cursor, or it got a response and lasted for STEADY_MS. */
export function madeProgress({ moved, answered, elapsedMs }: EndedAttempt): boolean {
  return moved || (answered && elapsedMs >= STEADY_MS);
}

/**
 * Returns how long to wait before the next attempt, in milliseconds, or `undefined` if the call ends with `error`.
 *
 * @param backoff knows when the failed attempt began, and counts the attempts in a row that made no progress
 * @param progressed whether the failed attempt made progress. If so, UNAUTHENTICATED means that its credentials have
 *   expired since; the next attempt may have new ones, or it ends with the same code immediately
 */
export function waitBeforeNext(
  error: ConnectError,
  backoff: Backoff,
  progressed: boolean,
): number | undefined {
  const hasExpired = error.isWireError && error.code === Code.Unauthenticated && progressed;
  if (!hasExpired && !RETRIED_CODES[endOf(error)].includes(error.code)) return undefined;
  const { failures, elapsedMs } = backoff;
  const pauseMs = backoff.failed();
  const waitMs = failures > 0 ? pauseMs : Math.max(SPACING_MS - elapsedMs, 0);
  const pushback = error.metadata.get(PUSHBACK);
  if (pushback === null) return waitMs;
  // A number is the pause that the server asks for; any other value forbids another attempt (gRPC A6).
  if (!/^\d{1,9}$/.test(pushback)) return undefined;
  return failures > 0 ? Math.max(Number(pushback), waitMs) : Number(pushback);
}

/** Whether the server has asked for the pause after `error`. */
export function isPauseAsked(error: ConnectError): boolean {
  return error.metadata.has(PUSHBACK);
}

function endOf(error: ConnectError): AttemptEnd {
  if (error.isWireError) return "status";
  const isLost = isCutOff(error) || isNetworkFailure(error.cause) || isOfProxy(error);
  return isLost ? "cut off" : "here";
}

/** How Connect's transports report an HTTP status, and a body that ends early. */
const PROXY_TEXT = /^HTTP 50[0234]$|^missing (?:EndStreamResponse|trailer)/;

/** Whether a proxy has answered, or has ended the answer, since the server behind it is lost: there is no Connect error. */
function isOfProxy({ rawMessage, metadata }: ConnectError): boolean {
  const isJson = metadata.get("content-type")?.startsWith("application/json") === true;
  return PROXY_TEXT.test(rawMessage) && !isJson;
}

/** Node's error codes for connections that end. */
const NODE_CODE =
  /^(?:ECONN\w+|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENET\w+|ERR_HTTP2_\w+|ERR_STREAM_\w+)$/;

/**
 * Texts in the TypeErrors that fetch() and its bodies throw, in browsers and in Node. Only the text tells such an error
 * from a bug.
 */
const FETCH_TEXT = /fetch|network|load failed|input stream|terminated/i;

/** Whether the transport of another library failed because of its connection. */
function isNetworkFailure(cause: unknown): boolean {
  if (!(cause instanceof Error)) return false;
  const { code } = cause as { code?: unknown };
  if (typeof code === "string" && NODE_CODE.test(code)) return true;
  if (cause instanceof TypeError && FETCH_TEXT.test(cause.message)) return true;
  return isNetworkFailure(cause.cause);
}
