/**
 * gzip, the one compression that is offered: the Brotli decoder of the Node
 * releases to be had today is vulnerable (CVE-2026-111497).
 */

import { constants } from "node:buffer";
import { promisify } from "node:util";
import * as zlib from "node:zlib";
import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";

export const ENCODING = "gzip";

/** Whether messages in an encoding can be read. */
export function isSupported(encoding: string | string[] | undefined): boolean {
  return encoding === undefined || encoding === ENCODING || encoding === "identity";
}

/** Up to here the work is done at once; above it a thread does it, so that the event loop goes on. */
const COMPRESS_AT_ONCE_BYTES = 16 * 1024;
/** Small, since a gzip stream inflates up to a thousandfold. */
const DECOMPRESS_AT_ONCE_BYTES = 1024;

const gzip = promisify<Uint8Array, Uint8Array>(zlib.gzip);
const gunzip = promisify<Uint8Array, zlib.ZlibOptions, Uint8Array>(zlib.gunzip);

export function compress(bytes: Uint8Array): Uint8Array | Promise<Uint8Array> {
  return bytes.length <= COMPRESS_AT_ONCE_BYTES ? zlib.gzipSync(bytes) : gzip(bytes);
}

/**
 * Throws RESOURCE_EXHAUSTED where the result is over `readMaxBytes`, before
 * more than that is allocated, and INTERNAL where it is not gzip.
 */
export function decompress(
  bytes: Uint8Array,
  readMaxBytes: number,
): Uint8Array | Promise<Uint8Array> {
  if (bytes.length === 0) return bytes;
  const options = { maxOutputLength: Math.min(readMaxBytes, constants.MAX_LENGTH) };
  const refuse = (error: unknown): never => {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") {
      throw failure(
        Code.ResourceExhausted,
        `message of ${bytes.length} B (gzip) inflates to over readMaxBytes ${readMaxBytes} B: send smaller messages or raise readMaxBytes`,
        error,
      );
    }
    throw failure(Code.Internal, "a message could not be decompressed: it is not gzip", error);
  };
  if (bytes.length > DECOMPRESS_AT_ONCE_BYTES) return gunzip(bytes, options).catch(refuse);
  try {
    return zlib.gunzipSync(bytes, options);
  } catch (error) {
    return refuse(error);
  }
}
