import type { OutputBuffers } from "./types.ts";

/** What a connection collects before onFull(), and a third more: a frame that begins below that fits. */
const BUFFER_BYTES = 128 * 1024;

/** How many unused buffers a pool keeps: 1 MiB. */
const MOST_UNUSED = 8;

/** Makes a pool of output buffers, to be shared by the connections of a process. */
export function createOutputBuffers(
  bufferBytes: number = BUFFER_BYTES,
  mostUnused: number = MOST_UNUSED,
): OutputBuffers {
  const unused: Uint8Array<ArrayBuffer>[] = [];
  return {
    take: () => unused.pop() ?? new Uint8Array(bufferBytes),
    giveBack({ buffer }) {
      // A connection makes larger buffers of its own for long header blocks and while the pipe is blocked.
      if (unused.length >= mostUnused || buffer.byteLength !== bufferBytes) return;
      if (buffer instanceof ArrayBuffer) unused.push(new Uint8Array(buffer));
    },
  };
}
