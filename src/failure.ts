import { Code, ConnectError } from "@connectrpc/connect";

/**
 * Makes an error of Hawser's: a ConnectError with a code, a message that names
 * the numbers and the remedy, and what caused it.
 */
export function failure(code: Code, message: string, cause?: unknown): ConnectError {
  return new ConnectError(message, code, undefined, undefined, cause);
}

/** The error of a message that is over the limit of the side that refuses it. */
export function tooLarge(
  bytes: number,
  limit: "readMaxBytes" | "writeMaxBytes",
  limitBytes: number,
): ConnectError {
  return failure(
    Code.ResourceExhausted,
    `message of ${bytes} B is over ${limit} ${limitBytes} B: send smaller messages or raise ${limit}`,
  );
}

/** The most fields that either side takes in one header list: node:http2's default of maxHeaderListPairs. */
export const HEADERS_MAX_FIELDS = 128;

/**
 * What is wrong with the number of fields that a peer sent; `undefined` where
 * nothing is.
 *
 * @param what "response headers", "trailers" or "request headers"
 * @param from the peer that sent them
 */
export function tooManyFields(count: number, what: string, from: string): ConnectError | undefined {
  if (count <= HEADERS_MAX_FIELDS) return undefined;
  return failure(
    Code.ResourceExhausted,
    `${from} sent ${count} ${what}: ${HEADERS_MAX_FIELDS} are taken at most (node:http2's maxHeaderListPairs); send fewer`,
  );
}

/** The error of a call whose deadline has passed; `timeoutMs` as the caller gave it. */
export function deadlineExceeded(timeoutMs: number): ConnectError {
  return failure(Code.DeadlineExceeded, `the deadline of ${timeoutMs} ms passed`);
}

/**
 * What an AbortSignal's reason means for a call: a ConnectError passes as it
 * is, a TimeoutError (AbortSignal.timeout) is DEADLINE_EXCEEDED, the rest is
 * CANCELED.
 */
export function fromAbort(reason: unknown): ConnectError {
  if (reason instanceof ConnectError) return reason;
  if (reason instanceof Error && reason.name === "TimeoutError") {
    return failure(Code.DeadlineExceeded, "the caller's signal timed out", reason);
  }
  return failure(Code.Canceled, "the call was cancelled", reason);
}

/** Any thrown value as a ConnectError; one that already is passes as it is. */
export function asFailure(reason: unknown): ConnectError {
  return reason instanceof ConnectError ? reason : ConnectError.from(reason);
}

const bugs = new WeakSet<object>();

/** Marks an error that tells the author of a handler of a mistake: its client is not told. */
export function markBug(error: ConnectError): void {
  bugs.add(error);
}

/**
 * What a handler threw, as the client may see it: a ConnectError goes out as
 * it is; anything else is a bug whose text stays at the server.
 */
export function toWire(thrown: unknown): ConnectError {
  if (thrown instanceof ConnectError && !bugs.has(thrown)) return thrown;
  return failure(Code.Internal, "internal error", thrown);
}

/** A code of gRPC: any other number, of a handler or of a peer, is UNKNOWN. */
export function knownCode(code: number): Code {
  return Number.isInteger(code) && code in Code ? code : Code.Unknown;
}

/** The code of a Node system error (ECONNREFUSED …), or its message. */
export function systemReason(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) {
    return systemReason(error.errors[0]);
  }
  if (error instanceof Error) {
    const code = (error as { code?: unknown }).code;
    return typeof code === "string" ? code : error.message;
  }
  return String(error);
}

const cutOffs = new WeakSet<object>();

/** Marks the error of a call whose stream ended without a status of the server. */
export function markCutOff(error: ConnectError): void {
  cutOffs.add(error);
}

/** Whether the call that ended with `error` was cut off: another attempt may succeed. */
export function isCutOff(error: ConnectError): boolean {
  return cutOffs.has(error);
}

/** Marks a promise as handled: where it rejects and is not awaited, the process does not end. */
export function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(ignore);
  return promise;
}

function ignore(): void {}
