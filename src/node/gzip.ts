import { constants } from "node:buffer";
import { promisify } from "node:util";
import * as zlib from "node:zlib";
import { Code, type ConnectError } from "@connectrpc/connect";
import type { Compression } from "../codec/compression.ts";
import { failure } from "../failure.ts";
import { Semaphore, type Work } from "../flow/semaphore.ts";
import { slices } from "../flow/slice.ts";

/** The largest message that is compressed at once; a thread compresses larger ones, beside the event loop. */
const COMPRESS_AT_ONCE_BYTES = 16 * 1024;

/**
 * The longest message, and the longest result, that is inflated at once; a
 * thread inflates the rest. Both are bounded: gzip inflates up to a
 * thousandfold, and many bytes of gzip may inflate to nothing.
 */
const INFLATE_AT_ONCE_BYTES = 16 * 1024;

/**
 * How many messages of a process the threads compress at a time, and how many
 * they inflate. Each holds what it has inflated so far: that is up to
 * readMaxBytes, of a message of a few kilobytes.
 */
const IN_THREADS = 4;

/** The bounds of the buffer that is inflated into, which is as long as gzip states: a longer result takes several, and a copy. */
const INFLATE_CHUNK_BYTES = { least: 1024, most: 4 * 1024 * 1024 };

const compressInThread = promisify<Uint8Array, Uint8Array>(zlib.gzip);
const inflateInThread = promisify<Uint8Array, zlib.ZlibOptions, Uint8Array>(zlib.gunzip);

const compressing = new Semaphore(IN_THREADS);
const inflating = new Semaphore(IN_THREADS);

/** gzip by zlib: small messages at once, larger ones in Node's threads. */
export const nodeGzip: Compression = { compress, inflateSmall, inflate };

function compress(bytes: Uint8Array): Uint8Array | Promise<Uint8Array> {
  if (bytes.length <= COMPRESS_AT_ONCE_BYTES) return zlib.gzipSync(bytes);
  return compressing.run(() => compressInThread(bytes));
}

function inflateSmall(bytes: Uint8Array, readMaxBytes: number): Uint8Array | undefined {
  if (bytes.length === 0) return bytes;
  if (Math.max(bytes.length, statedBytes(bytes)) > INFLATE_AT_ONCE_BYTES) return undefined;
  const most = Math.min(readMaxBytes, INFLATE_AT_ONCE_BYTES);
  try {
    return zlib.gunzipSync(bytes, optionsFor(bytes, most));
  } catch (error) {
    if (isTooLarge(error) && most < readMaxBytes) return undefined;
    throw refusal(bytes, readMaxBytes, error);
  }
}

/** A message counts among the IN_THREADS until it is decoded. */
function inflate<T>(
  bytes: Uint8Array,
  readMaxBytes: number,
  decode: (plain: Uint8Array) => T,
): Work<T> {
  return inflating.start(async () => {
    const most = Math.min(readMaxBytes, constants.MAX_LENGTH);
    const plain = await inflateInThread(bytes, optionsFor(bytes, most)).catch((error) => {
      throw refusal(bytes, readMaxBytes, error);
    });
    // Threads may be ready with several at once, and to decode megabytes takes milliseconds: one in a turn.
    await slices.next();
    return decode(plain);
  });
}

function optionsFor(bytes: Uint8Array, maxOutputLength: number): zlib.ZlibOptions {
  const { least, most } = INFLATE_CHUNK_BYTES;
  // With a byte to spare zlib knows that it has all.
  const chunkSize = Math.min(Math.max(statedBytes(bytes), least), maxOutputLength, most) + 1;
  return { maxOutputLength, chunkSize: Math.max(chunkSize, zlib.constants.Z_MIN_CHUNK) };
}

/** The length of the result that gzip states in its last four bytes (RFC 1952, ISIZE): right where the sender is honest. */
function statedBytes(bytes: Uint8Array): number {
  const at = bytes.length - 4;
  if (at < 0) return 0;
  return new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true);
}

function isTooLarge(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE";
}

function refusal(bytes: Uint8Array, readMaxBytes: number, error: unknown): ConnectError {
  if (!isTooLarge(error)) {
    return failure(Code.Internal, "a message could not be decompressed: it is not gzip", error);
  }
  return failure(
    Code.ResourceExhausted,
    `message of ${bytes.length} B (gzip) inflates to over readMaxBytes ${readMaxBytes} B: send smaller messages or raise readMaxBytes`,
    error,
  );
}
