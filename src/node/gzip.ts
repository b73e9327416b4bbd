import { constants } from "node:buffer";
import { promisify } from "node:util";
import * as zlib from "node:zlib";
import type { ConnectError } from "@connectrpc/connect";
import type { Compression as ConnectCompression } from "@connectrpc/connect/protocol";
import { compressionGzip } from "@connectrpc/connect-node";
import {
  type Compression,
  type InflateLimits,
  inflatesTooLarge,
  notGzip,
} from "../codec/compression.ts";
import { Semaphore, type Work } from "../flow/semaphore.ts";
import { slices } from "../flow/slice.ts";

/** Messages up to this size are compressed synchronously. A thread compresses larger ones. */
const COMPRESS_SYNC_BYTES = 16 * 1024;

/**
 * A message is inflated synchronously if neither it nor its result is larger than this. A thread inflates the others.
 * Both sizes are bounded: gzip inflates up to a thousandfold, and many bytes of gzip may inflate to nothing.
 */
const INFLATE_SYNC_BYTES = 16 * 1024;

/**
 * How many messages of a process are compressed in threads at the same time, and how many are inflated. Each of the
 * latter holds what is inflated so far: up to readMaxBytes, even of a message of a few kilobytes.
 */
const MAX_IN_THREADS = 4;

/**
 * Bounds of the output buffer. The size of the buffer is the length that gzip states; a longer result takes several buffers, and a
 * copy.
 */
const INFLATE_CHUNK_BYTES = { min: 1024, max: 4 * 1024 * 1024 };

const compressInThread = promisify<Uint8Array, Uint8Array>(zlib.gzip);
const inflateInThread = promisify<Uint8Array, zlib.ZlibOptions, Uint8Array>(zlib.gunzip);

const compressSlots = new Semaphore(MAX_IN_THREADS);
const inflateSlots = new Semaphore(MAX_IN_THREADS);

/** gzip by zlib: small messages synchronously, larger ones in Node's threads. */
export const nodeGzip: Compression = { compress, inflateSmall, inflate };

/** The calls of Connect's handlers, which take turns as one owner: Connect does not say of which call a message is. */
const callsOfConnect = {};

/** gzip for Connect's handlers. As many messages are inflated at the same time as of gRPC: both wait for the same threads. */
export const connectGzip: ConnectCompression = {
  ...compressionGzip,
  async decompress(bytes, readMaxBytes) {
    try {
      const plain = inflateSmall(bytes, readMaxBytes);
      if (plain !== undefined) return new Uint8Array(plain);
    } catch {
      // Connect's own error follows: it has other codes than gRPC.
    }
    const inflated = async () => {
      const plain = await compressionGzip.decompress(bytes, readMaxBytes);
      await slices.next();
      return plain;
    };
    return await inflateSlots.start(inflated, callsOfConnect).done;
  },
};

function compress(bytes: Uint8Array): Uint8Array | Promise<Uint8Array> {
  if (bytes.length <= COMPRESS_SYNC_BYTES) return zlib.gzipSync(bytes);
  const own = new Uint8Array(bytes);
  return compressSlots.run(() => compressInThread(own));
}

function inflateSmall(bytes: Uint8Array, readMaxBytes: number): Uint8Array | undefined {
  if (bytes.length === 0) return bytes;
  if (Math.max(bytes.length, statedBytes(bytes)) > INFLATE_SYNC_BYTES) return undefined;
  const maxBytes = Math.min(readMaxBytes, INFLATE_SYNC_BYTES);
  try {
    return zlib.gunzipSync(bytes, optionsFor(bytes, maxBytes));
  } catch (error) {
    if (isTooLarge(error) && maxBytes < readMaxBytes) return undefined;
    throw refusal(bytes, readMaxBytes, error);
  }
}

/** Inflates a message in a thread. It counts towards MAX_IN_THREADS until it is decoded. */
function inflate<T>(
  bytes: Uint8Array,
  { readMaxBytes, owner }: InflateLimits,
  decode: (plain: Uint8Array) => T,
): Work<T> {
  return inflateSlots.start(async () => {
    const maxBytes = Math.min(readMaxBytes, constants.MAX_LENGTH);
    const plain = await inflateInThread(bytes, optionsFor(bytes, maxBytes)).catch((error) => {
      throw refusal(bytes, readMaxBytes, error);
    });
    // Several threads may finish at the same time, and decoding megabytes takes milliseconds: one message in each turn.
    await slices.next();
    return decode(plain);
  }, owner);
}

function optionsFor(bytes: Uint8Array, maxOutputLength: number): zlib.ZlibOptions {
  const { min, max } = INFLATE_CHUNK_BYTES;
  // With one spare byte, zlib sees that the output is complete.
  const chunkSize = Math.min(Math.max(statedBytes(bytes), min), maxOutputLength, max) + 1;
  return { maxOutputLength, chunkSize: Math.max(chunkSize, zlib.constants.Z_MIN_CHUNK) };
}

/**
 * Reads the length of the result, which gzip states in its last four bytes (RFC 1952, ISIZE). The sender may have
 * stated a wrong one.
 */
function statedBytes(bytes: Uint8Array): number {
  const at = bytes.length - 4;
  if (at < 0) return 0;
  return new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true);
}

function isTooLarge(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE";
}

function refusal(bytes: Uint8Array, readMaxBytes: number, error: unknown): ConnectError {
  return isTooLarge(error) ? inflatesTooLarge(bytes.length, readMaxBytes, error) : notGzip(error);
}
