/** The bounds that both ends of the data path share. */

/** What a call holds its messages to, in bytes. */
export interface Limits {
  readonly readMaxBytes: number;
  readonly writeMaxBytes: number;
}

const DEFAULT_MAX_BYTES = 4 * 1024 * 1024;

/** What one stream may receive before it is read. */
export const STREAM_WINDOW_BYTES = 256 * 1024;

/**
 * What one connection may have in flight to a client. To a server it stays at
 * HTTP/2's 65 535: node:http2 reads nothing while a write of its own waits for
 * the socket, so two Node peers that both fill the sockets' buffers would wait
 * for each other for ever. What is in flight one way must always fit in there.
 */
export const CLIENT_CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024;

/** How many bytes of messages wait for the reader of a call before the peer is told to wait. */
export const INBOX_BYTES = 64 * 1024;

/** What node:http2 may hold for one connection beside the windows, in MB. */
export const SESSION_MEMORY_MB = 256;

/** The limits that a caller set, or 4 MiB each. Throws a RangeError that names the option where one is absurd. */
export function limitsOf(options: Partial<Limits>): Limits {
  const { readMaxBytes = DEFAULT_MAX_BYTES, writeMaxBytes = DEFAULT_MAX_BYTES } = options;
  checkPositive({ readMaxBytes, writeMaxBytes });
  return { readMaxBytes, writeMaxBytes };
}

/** Throws a RangeError that names the first option that is no finite number above zero. */
export function checkPositive(options: Record<string, number>): void {
  for (const [name, value] of Object.entries(options)) {
    if (Number.isFinite(value) && value > 0) continue;
    throw new RangeError(`${name} is ${value}: it must be a number above zero`);
  }
}
