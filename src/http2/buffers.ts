import type { OutputBuffers } from "./types.ts";

/** What a connection collects before onFull(), and a third more: a frame that begins below that fits. */
const MAX_BYTES = 128 * 1024;

/** The size of the smallest buffers. */
const MIN_BYTES = 8 * 1024;

/** How many unused buffers of each of these two sizes a pool keeps: 4 MiB, and 1 MiB. */
const LARGE_COUNT = 32;
const SMALL_COUNT = 128;

/**
 * Makes a pool of output buffers, to be shared by the connections of a process. The few connections that write at the same
 * time on most servers get large buffers, which are used again and again. If many connections write in one turn of the event
 * loop, as after a message to a crowd, the others get buffers of the size that they need.
 */
export function createOutputBuffers(): OutputBuffers {
  const large: Uint8Array<ArrayBuffer>[] = [];
  const small: Uint8Array<ArrayBuffer>[] = [];
  let madeLarge = 0;
  return {
    maxBytes: MAX_BYTES,
    take(bytes) {
      const unused = large.pop() ?? (bytes <= MIN_BYTES ? small.pop() : undefined);
      if (unused !== undefined) return unused;
      if (madeLarge === LARGE_COUNT) return new Uint8Array(sizeFor(bytes));
      madeLarge++;
      return new Uint8Array(MAX_BYTES);
    },
    giveBack({ buffer }) {
      if (!(buffer instanceof ArrayBuffer)) return;
      const { byteLength } = buffer;
      if (byteLength === MAX_BYTES && large.length < LARGE_COUNT)
        large.push(new Uint8Array(buffer));
      if (byteLength === MIN_BYTES && small.length < SMALL_COUNT)
        small.push(new Uint8Array(buffer));
    },
  };
}

/** Makes output buffers that are used once, for tests. `poison` overwrites what is given back. */
export function createPoisonedBuffers(poison: (memory: Uint8Array) => void): OutputBuffers {
  return {
    maxBytes: MAX_BYTES,
    take: (bytes) => new Uint8Array(sizeFor(bytes)),
    giveBack: poison,
  };
}

/** Returns the size of a buffer for `bytes`: a power of two. */
function sizeFor(bytes: number): number {
  let size = MIN_BYTES;
  while (size < bytes) size *= 2;
  return size;
}
