/** When a call that continues by a cursor is made again, and how soon. */
import { Code, type ConnectError } from "@connectrpc/connect";
import { isCutOff } from "../failure.ts";
import { A_FIFTH, type Backoff } from "../flow/backoff.ts";

/**
 * How an attempt ended: by the server's status; cut off, without one; or on
 * this side: nothing could be reached, an interceptor or a limit said no.
 */
type End = "status" | "cut off" | "here";

/** The codes with which an attempt is followed by another one. All else is the end of the call. */
const AGAIN: Record<End, readonly Code[]> = {
  status: [Code.Unavailable],
  // A proxy whose server dies resets the stream: INTERNAL. The rest is how stock transports put it.
  "cut off": [Code.Unavailable, Code.Internal, Code.Aborted, Code.Unknown],
  here: [Code.Unavailable],
};

/** The pauses between attempts that did not get on. */
export const BACKOFF = {
  ...{ initialMs: 100, factor: 1.6, maxMs: 5000, jitter: A_FIFTH },
  firstAtOnce: true,
};

/** Where an attempt got on the next one comes at once, but not sooner than this behind its beginning. */
const SPACING_MS = 100;

/** An attempt that was answered and lasted so long got on, if only nothing happened. */
const STEADY_MS = 1000;

/** What there is to tell of an attempt that ended. */
export interface Attempt {
  /** Whether it brought a new cursor. One that only says where it begins may be of a server that never gets further. */
  readonly moved: boolean;
  /** Whether it had a response. */
  readonly answered: boolean;
  readonly lastedMs: number;
}

/** Whether an attempt got on: brought a new cursor, or was steady. */
export function gotOn({ moved, answered, lastedMs }: Attempt): boolean {
  return moved || (answered && lastedMs >= STEADY_MS);
}

/**
 * How long to wait before the next attempt; `undefined`: `error` is the end.
 *
 * @param backoff knows when the last attempt began, and counts those in a row that did not get on
 */
export function waitBeforeNext(error: ConnectError, backoff: Backoff): number | undefined {
  if (!AGAIN[endOf(error)].includes(error.code)) return undefined;
  const { failures: idle, lastedMs } = backoff;
  const pauseMs = backoff.failed();
  const waitMs = idle > 0 ? pauseMs : Math.max(SPACING_MS - lastedMs, 0);
  const pushback = error.metadata.get("grpc-retry-pushback-ms");
  if (pushback === null) return waitMs;
  // The server says when, or, by anything but a number, never (gRPC A6).
  if (!/^\d{1,9}$/.test(pushback)) return undefined;
  return idle > 0 ? Math.max(Number(pushback), waitMs) : Number(pushback);
}

function endOf(error: ConnectError): End {
  if (error.isWireError) return "status";
  return isCutOff(error) || isOfNetwork(error.cause) ? "cut off" : "here";
}

/** Node's codes of connections that end. */
const NODE = /^(?:ECONN\w+|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENET\w+|ERR_HTTP2_\w+|ERR_STREAM_\w+)$/;

/** What browsers, and Node, have fetch() and its bodies throw: a TypeError, told from a bug by its text alone. */
const FETCH = /fetch|network|load failed|input stream|terminated/i;

/** Whether a transport that is not Hawser's failed because its connection did. */
function isOfNetwork(cause: unknown): boolean {
  if (!(cause instanceof Error)) return false;
  const { code } = cause as { code?: unknown };
  if (typeof code === "string" && NODE.test(code)) return true;
  if (cause instanceof TypeError && FETCH.test(cause.message)) return true;
  return isOfNetwork(cause.cause);
}
