import type { Received } from "../call-stream.ts";
import { runtime } from "../flow/runtime.ts";

/** The size of the chunk for the first messages that wait. Each later chunk is twice as large, up to LARGEST_CHUNK_BYTES. */
const FIRST_CHUNK_BYTES = 256;
const LARGEST_CHUNK_BYTES = 4096;

/** A longer message gets memory of its own, so that little of a chunk stays unused. */
const LARGEST_IN_CHUNK_BYTES = LARGEST_CHUNK_BYTES / 4;

/** set() takes longer than this many bytes do one by one. */
const FEW_BYTES = 64;

const NOTHING = new Uint8Array(0);

/**
 * Makes the messages of one call safe to queue. A message may be a small part of the buffer of one socket read, which other
 * messages share: it is then copied, so that the queue does not keep the whole buffer in memory. No other call shares the
 * memory of the copies: else the copies of a call whose handler reads nothing would keep the memory of those that were taken.
 */
export class KeptMessages {
  #chunk: Uint8Array = NOTHING;
  #used = 0;

  /** @param isFirst whether no other message waits */
  keep(message: Received, isFirst: boolean): Received {
    const { flags, bytes, start, end } = message;
    const length = end - start;
    if (length * 4 >= bytes.buffer.byteLength) return message;
    if (length > LARGEST_IN_CHUNK_BYTES) {
      const own = runtime.allocateAlone(length);
      own.set(bytes.subarray(start, end));
      return { flags, bytes: own, start: 0, end: length };
    }
    // A large chunk would stay in memory for a few messages.
    if (isFirst && this.#chunk.length > FIRST_CHUNK_BYTES) this.#chunk = NOTHING;
    if (this.#chunk === NOTHING || length > this.#chunk.length - this.#used) this.#addChunk(length);
    const chunk = this.#chunk;
    const at = this.#used;
    this.#used += length;
    if (length > FEW_BYTES) chunk.set(bytes.subarray(start, end), at);
    else for (let i = 0; i < length; i++) chunk[at + i] = bytes[start + i] as number;
    return { flags, bytes: chunk, start: at, end: at + length };
  }

  #addChunk(length: number): void {
    const size = Math.max(2 * this.#chunk.length, FIRST_CHUNK_BYTES, length);
    this.#chunk = runtime.allocateAlone(Math.min(size, LARGEST_CHUNK_BYTES));
    this.#used = 0;
  }
}
