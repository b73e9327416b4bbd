import type { Work } from "../flow/semaphore.ts";

/**
 * The only encoding that is offered beside "identity": the Brotli decoder of
 * today's Node releases is vulnerable (CVE-2026-111497).
 */
export const ENCODING = "gzip";

/** Whether messages in an encoding can be read. */
export function isSupported(encoding: unknown): boolean {
  return encoding === undefined || encoding === ENCODING || encoding === "identity";
}

/** gzip, by the library of the platform. */
export interface Compression {
  /** A large message takes a promise: it is compressed beside the event loop. */
  compress(bytes: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /**
   * Inflates a message at once; `undefined` where that is too much work for the
   * event loop: inflate() does it. Throws RESOURCE_EXHAUSTED where the result is
   * over `readMaxBytes`, and INTERNAL where the message is not gzip.
   */
  inflateSmall(bytes: Uint8Array, readMaxBytes: number): Uint8Array | undefined;
  /**
   * Inflates a message beside the event loop when its turn comes, and decodes
   * it. Rejects where inflateSmall() throws, before more than `readMaxBytes` are
   * allocated.
   */
  inflate<T>(bytes: Uint8Array, readMaxBytes: number, decode: (plain: Uint8Array) => T): Work<T>;
}
