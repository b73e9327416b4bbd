import { runtime } from "./runtime.ts";
import { startTimer } from "./wait.ts";

/** Smaller buffers are not kept, since they cost little, nor larger ones, since messages of that size are rare. */
const KEPT_BYTES = { min: 16 * 1024, max: 2 * 1024 * 1024 };

/** How many bytes of unused buffers are kept: those of a hundred messages of 64 KiB that arrive at the same time. */
const MAX_UNUSED_BYTES = 8 * 1024 * 1024;

/** The unused buffers are dropped when none was given back for this time. */
const IDLE_MS = 2000;

/** Sizes are rounded up by a sixteenth at most, so that messages of similar sizes use the same buffers. */
const ROUNDING_BITS = 4;

/**
 * The buffers in which large received messages are put together, and those in which sessions keep what they send. If each
 * message had a new one, the garbage collector would run for every few of them. A buffer is in use from the first bytes of its
 * message until that is decoded, or acknowledged.
 */
export class MessageBuffers {
  /** The one that was given back last is at the end. */
  readonly #unused: Uint8Array[] = [];
  #unusedBytes = 0;
  #timer: Disposable | undefined;
  /** Whether a buffer was given back since the timer was started. */
  #isBusy = false;

  /** Returns an unused buffer for a message of `bytes`, if there is one. Its content is undefined. */
  reuse(bytes: number): Uint8Array | undefined {
    if (bytes < KEPT_BYTES.min) return undefined;
    const unused = this.#unused;
    const size = sizeFor(bytes);
    for (let at = unused.length - 1; at >= 0; at--) {
      const buffer = unused[at] as Uint8Array;
      if (buffer.length !== size) continue;
      if (at === unused.length - 1) unused.pop();
      else unused.splice(at, 1);
      this.#unusedBytes -= size;
      return buffer;
    }
    return undefined;
  }

  /** Returns an unused buffer or a new one. */
  take(bytes: number): Uint8Array {
    return this.reuse(bytes) ?? new Uint8Array(runtime.allocateAlone(sizeFor(bytes)).buffer);
  }

  /** Takes back a buffer that nothing refers to any more. */
  giveBack(buffer: Uint8Array): void {
    if (runtime.poison !== undefined) {
      runtime.poison(buffer);
      return;
    }
    const { length } = buffer;
    if (length < KEPT_BYTES.min || length > KEPT_BYTES.max) return;
    this.#unused.push(buffer);
    this.#unusedBytes += length;
    while (this.#unusedBytes > MAX_UNUSED_BYTES) {
      this.#unusedBytes -= (this.#unused.shift() as Uint8Array).length;
    }
    this.#isBusy = true;
    this.#timer ??= startTimer(IDLE_MS, this.#onTimer);
  }

  readonly #onTimer = (): void => {
    this.#timer = this.#isBusy ? startTimer(IDLE_MS, this.#onTimer) : undefined;
    if (!this.#isBusy) {
      this.#unused.length = 0;
      this.#unusedBytes = 0;
    }
    this.#isBusy = false;
  };
}

/** Returns the size of the buffer for a message of `bytes`. */
function sizeFor(bytes: number): number {
  if (bytes < KEPT_BYTES.min || bytes > KEPT_BYTES.max) return bytes;
  const step = 1 << (31 - Math.clz32(bytes) - ROUNDING_BITS);
  return Math.ceil(bytes / step) * step;
}

/** Those of all connections of this process. */
export const messageBuffers = new MessageBuffers();
