import { Code, type ConnectError } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import type { Work } from "../flow/semaphore.ts";

/**
 * The only encoding that is offered besides "identity": the Brotli decoder of today's Node releases is vulnerable
 * (CVE-2026-111497).
 */
export const ENCODING = "gzip";

/** Whether messages in an encoding can be read. */
export function isSupported(encoding: unknown): boolean {
  return encoding === undefined || encoding === ENCODING || encoding === "identity";
}

/** gzip, by the platform's library. */
export interface Compression {
  /** Returns a promise for a large message, which a thread compresses. The bytes may change when compress() has returned. */
  compress(bytes: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /**
   * Inflates a message synchronously. Returns `undefined` if that is too much work for the event loop: call inflate()
   * then. Throws RESOURCE_EXHAUSTED if the result is larger than `readMaxBytes`, and INTERNAL if the message is not
   * gzip.
   */
  inflateSmall(bytes: Uint8Array, readMaxBytes: number): Uint8Array | undefined;
  /**
   * Inflates a message in a thread, in its turn, and decodes it. Rejects if inflateSmall() would throw, before more
   * than `readMaxBytes` are allocated.
   */
  inflate<T>(bytes: Uint8Array, limits: InflateLimits, decode: (plain: Uint8Array) => T): Work<T>;
}

export interface InflateLimits {
  readonly readMaxBytes: number;
  /** The owner of the message: messages of several owners are inflated in turns. */
  readonly owner: object | undefined;
}

/** Makes the error of a message that cannot be inflated. */
export function notGzip(cause: unknown): ConnectError {
  return failure(Code.Internal, "a message could not be decompressed: it is not gzip", cause);
}

/** Makes the error of a message of `bytes` that inflates to more than `readMaxBytes`. */
export function inflatesTooLarge(
  bytes: number,
  readMaxBytes: number,
  cause?: unknown,
): ConnectError {
  return failure(
    Code.ResourceExhausted,
    `message of ${bytes} B (gzip) inflates to over readMaxBytes ${readMaxBytes} B: send smaller messages or raise readMaxBytes`,
    cause,
  );
}
