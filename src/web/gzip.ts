import {
  type Compression,
  type InflateLimits,
  inflatesTooLarge,
  notGzip,
} from "../codec/compression.ts";
import { Semaphore, type Work } from "../flow/semaphore.ts";
import { slices } from "../flow/slice.ts";

/** How many messages are inflated at the same time. Each holds up to readMaxBytes. */
const MAX_INFLATING = 4;

const slots = new Semaphore(MAX_INFLATING);

/** gzip by the browser's streams, which have no synchronous form. */
export const webGzip: Compression = { compress, inflateSmall, inflate };

async function compress(bytes: Uint8Array): Promise<Uint8Array> {
  // A Blob copies the bytes, which change when compress() has returned.
  const zipped = streamOf(bytes).pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(zipped).arrayBuffer());
}

function inflateSmall(bytes: Uint8Array): Uint8Array | undefined {
  return bytes.length === 0 ? bytes : undefined;
}

function inflate<T>(
  bytes: Uint8Array,
  { readMaxBytes, owner }: InflateLimits,
  decode: (plain: Uint8Array) => T,
): Work<T> {
  return slots.start(async () => {
    const plain = await inflated(bytes, readMaxBytes);
    // As on Node: one message in each turn.
    await slices.next();
    return decode(plain);
  }, owner);
}

async function inflated(bytes: Uint8Array, readMaxBytes: number): Promise<Uint8Array> {
  const reader = streamOf(bytes).pipeThrough(new DecompressionStream("gzip")).getReader();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      throw notGzip(error);
    });
    if (done) break;
    chunks.push(value);
    size += value.length;
    if (size <= readMaxBytes) continue;
    // It rejects if the rest is not valid either.
    reader.cancel().catch(() => {});
    throw inflatesTooLarge(bytes.length, readMaxBytes);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array<ArrayBuffer>> {
  // A Blob takes no bytes in shared memory, of which Hawser has none.
  return new Blob([bytes as Uint8Array<ArrayBuffer>]).stream();
}
