import { INTERNAL_ERROR } from "./frames.ts";

/** What the peer did breaks the protocol, or a limit, for the whole connection (RFC 9113, 5.4.1). Thrown only while received bytes are handled. */
export class ConnectionError extends Error {
  readonly code: number;
  /** The debug data of the GOAWAY; default: the reason. */
  readonly debugData: string;

  constructor(code: number, reason: string, debugData: string = reason) {
    super(reason);
    this.code = code;
    this.debugData = debugData;
  }

  /** Returns what was thrown while received bytes were handled, if it is a ConnectionError; else that of a listener that threw. */
  static of(thrown: unknown): ConnectionError {
    if (thrown instanceof ConnectionError) return thrown;
    const reason = `a listener threw: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
    return new ConnectionError(INTERNAL_ERROR, reason, "internal error");
  }
}

/** How much debug data a GOAWAY has, and how much of the peer's is reported. */
const MAX_DEBUG_BYTES = 1024;

/** Returns the debug data of a GOAWAY. */
export function encodeDebug(text: string): Uint8Array {
  return new TextEncoder().encode(text).subarray(0, MAX_DEBUG_BYTES);
}

export function decodeDebug(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes.subarray(0, MAX_DEBUG_BYTES));
}

/** Header fields that HTTP/2 does not allow were to be sent. */
export class InvalidFieldsError extends Error {
  constructor(reason: string) {
    super(`the header fields cannot be sent: ${reason}`);
    this.name = "InvalidFieldsError";
  }
}

/** A stream was to be opened on a connection that takes no more: it has ended, a GOAWAY came or was sent, or its stream ids are used up. */
export class ConnectionUnusableError extends Error {
  constructor() {
    super("the connection takes no more streams: look at isUsable before open()");
    this.name = "ConnectionUnusableError";
  }
}
