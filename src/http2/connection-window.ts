import { DEFAULT_WINDOW_BYTES, MAX_WINDOW_BYTES } from "./frames.ts";
import type { Output } from "./output.ts";

/** More than a peer usually has in flight: twice the largest window of a stream. It costs no memory. */
const DEFAULT_CONNECTION_WINDOW = 32 * 1024 * 1024;

/**
 * The window of the connection for received DATA. It is extended at receipt: a stream that is not read must not keep the
 * others waiting. So it is never used up, and a peer cannot send more than it; the windows of streams bound what is
 * received and not read.
 */
export class ConnectionWindow {
  readonly #output: Output;
  readonly #bytes: number;
  /** What the peer may send; more than half of #bytes, which is more than a frame. */
  #left = DEFAULT_WINDOW_BYTES;
  /** The sum of what the peer could send. */
  #grantedBytes = DEFAULT_WINDOW_BYTES;

  constructor(output: Output, bytes: number = DEFAULT_CONNECTION_WINDOW) {
    this.#output = output;
    this.#bytes = Math.min(Math.max(bytes, DEFAULT_WINDOW_BYTES), MAX_WINDOW_BYTES);
  }

  /** The bytes of DATA that came. */
  get receivedBytes(): number {
    return this.#grantedBytes - this.#left;
  }

  /** Lets the peer send #bytes again. */
  extend(): void {
    const bytes = this.#bytes - this.#left;
    if (bytes === 0) return;
    this.#left = this.#bytes;
    this.#grantedBytes += bytes;
    this.#output.windowUpdate(0, bytes);
  }

  /** DATA came. */
  receive(bytes: number): void {
    this.#left -= bytes;
    if (this.#left * 2 <= this.#bytes) this.extend();
  }
}
