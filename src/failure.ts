import { Code, ConnectError } from "@connectrpc/connect";

/** Makes a ConnectError. `message` names the numbers and the remedy; `cause` is the error that led to this one. */
export function failure(code: Code, message: string, cause?: unknown): ConnectError {
  return new ConnectError(message, code, undefined, undefined, cause);
}

/**
 * Makes the error of what a peer did, or of time that has passed. It has no stack: its frames would all be Hawser's, and
 * taking them costs as much as a fifth of a call that its client cancels.
 */
export function peerFailure(code: Code, message: string, metadata?: Headers): ConnectError {
  const { stackTraceLimit } = Error;
  // Assigning would throw where the built-in objects are frozen.
  Reflect.set(Error, "stackTraceLimit", 0);
  try {
    return new ConnectError(message, code, metadata);
  } finally {
    Reflect.set(Error, "stackTraceLimit", stackTraceLimit);
  }
}

/** Makes the error for a message that is larger than a limit of the side that refuses it. */
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

/** Each side accepts at most this many fields in one header list. It is also the limit of servers on node:http2. */
export const HEADERS_MAX_FIELDS = 128;

/**
 * Returns the error if a peer sent more than HEADERS_MAX_FIELDS fields, otherwise `undefined`.
 *
 * @param what "response headers", "trailers" or "request headers"
 * @param from the peer that sent them
 */
export function tooManyFields(count: number, what: string, from: string): ConnectError | undefined {
  if (count <= HEADERS_MAX_FIELDS) return undefined;
  return peerFailure(
    Code.ResourceExhausted,
    `${from} sent ${count} ${what}: ${HEADERS_MAX_FIELDS} are taken at most; send fewer`,
  );
}

/** Makes the error of a call whose deadline has passed. `timeoutMs` is the timeout as the caller set it. */
export function deadlineExceeded(timeoutMs: number): ConnectError {
  return peerFailure(Code.DeadlineExceeded, `the deadline of ${timeoutMs} ms passed`);
}

/** Makes the error of a call whose caller's credentials have expired. */
export function expired(): ConnectError {
  return peerFailure(
    Code.Unauthenticated,
    "the caller's credentials have expired: make the call again with new ones",
  );
}

/**
 * Turns the reason of an AbortSignal into the error of a call: a ConnectError stays as it is, a TimeoutError
 * (AbortSignal.timeout) becomes DEADLINE_EXCEEDED, any other reason CANCELED.
 */
export function fromAbort(reason: unknown): ConnectError {
  if (reason instanceof ConnectError) return reason;
  if (reason instanceof Error && reason.name === "TimeoutError") {
    return failure(Code.DeadlineExceeded, "the caller's signal timed out", reason);
  }
  return failure(Code.Canceled, "the call was cancelled", reason);
}

/** Turns any thrown value into a ConnectError. A ConnectError stays as it is. */
export function asFailure(reason: unknown): ConnectError {
  return reason instanceof ConnectError ? reason : ConnectError.from(reason);
}

/**
 * Copies an error that ends several calls. Each caller gets one of its own: if it changes that, for example the
 * metadata, no other caller sees it.
 */
export function ownCopy(error: ConnectError): ConnectError {
  const { rawMessage, code, metadata, cause } = error;
  const copy = new ConnectError(rawMessage, code, metadata, undefined, cause);
  copy.details = [...error.details];
  return copy;
}

const handlerBugs = new WeakSet<object>();

/** Marks an error as a mistake in a handler's code: its client gets INTERNAL, without the text. */
export function markBug(error: ConnectError): void {
  handlerBugs.add(error);
}

/**
 * Turns what a handler threw into the error that its client gets. A ConnectError is sent as it is; any other value is a
 * bug, whose text stays on the server.
 */
export function toWire(thrown: unknown): ConnectError {
  if (thrown instanceof ConnectError && !handlerBugs.has(thrown)) return thrown;
  return failure(Code.Internal, "internal error", thrown);
}

/** Returns the code if gRPC defines it, and UNKNOWN for any other number of a handler or of a peer. */
export function knownCode(code: number): Code {
  return Number.isInteger(code) && code in Code ? code : Code.Unknown;
}

/** Returns the code of a Node system error (ECONNREFUSED …), or the message of an error that has none. */
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

/** Marks the error of a call whose stream ended without a status from the server. */
export function markCutOff(error: ConnectError): void {
  cutOffs.add(error);
}

/** Whether the stream of the call ended without a status from the server. Another attempt may then succeed. */
export function isCutOff(error: ConnectError): boolean {
  return cutOffs.has(error);
}

/** Marks a promise as handled: if nothing awaits it, its rejection does not end the process. */
export function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(ignore);
  return promise;
}

function ignore(): void {}
