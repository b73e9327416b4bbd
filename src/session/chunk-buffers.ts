import { runtime } from "../flow/runtime.ts";

/** Sizes are powers of two from the smallest on. */
const SMALLEST_BYTES = 512;
const SIZES = 5;
const LARGEST_BYTES = SMALLEST_BYTES << (SIZES - 1);

/** How many bytes of unused buffers are kept of each size. */
const UNUSED_BYTES = 256 * 1024;

/**
 * The small buffers in which sessions keep what they send; those of larger ones are the messageBuffers. A session needs one
 * from its first message to the acknowledgement, and then none: a few buffers serve many sessions.
 */
export class ChunkBuffers {
  /** The one that was given back last is at the end, and most likely in the processor's cache. */
  readonly #unused: Uint8Array[][] = Array.from({ length: SIZES }, () => []);

  /** Returns a buffer of at least `bytes`, at most twice as many. Its content is undefined. */
  take(bytes: number): Uint8Array {
    if (!isPooled(bytes)) return allocate(bytes);
    const size = sizeIndex(bytes);
    return this.#unused[size]?.pop() ?? allocate(SMALLEST_BYTES << size);
  }

  /** Takes back a buffer that nothing refers to any more. */
  giveBack(buffer: Uint8Array): void {
    if (runtime.poison !== undefined) {
      runtime.poison(buffer);
      return;
    }
    const { length } = buffer;
    if (!isPooled(length)) return;
    const unused = this.#unused[sizeIndex(length)] as Uint8Array[];
    if (unused.length * length < UNUSED_BYTES) unused.push(buffer);
  }
}

function isPooled(bytes: number): boolean {
  return bytes >= SMALLEST_BYTES && bytes <= LARGEST_BYTES;
}

function sizeIndex(bytes: number): number {
  return bytes === SMALLEST_BYTES ? 0 : 32 - Math.clz32((bytes - 1) / SMALLEST_BYTES);
}

/** A plain Uint8Array, as all that is sent: code that gets only those is faster. */
function allocate(size: number): Uint8Array {
  const { buffer, byteOffset } = runtime.allocate(size);
  return new Uint8Array(buffer, byteOffset, size);
}

/** Those of this process. */
export const chunkBuffers = new ChunkBuffers();
