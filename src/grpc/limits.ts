/** The bounds that both ends of the data path share. */
import type { BinaryReadOptions, BinaryWriteOptions } from "@bufbuild/protobuf";
import type { Compression } from "../codec/compression.ts";
import { type Checks, positive, trueOrFalse } from "../options.ts";

/** How messages are read and written: protobuf-es' own options. */
export type BinaryOptions = Partial<BinaryReadOptions & BinaryWriteOptions>;

/** The limits of a call's messages, in bytes; and how they are read and written. */
export interface Limits {
  readonly readMaxBytes: number;
  readonly writeMaxBytes: number;
  readonly binaryOptions?: BinaryOptions | undefined;
}

/** The same as options. */
type LimitOptions = { [Name in keyof Limits]?: Limits[Name] | undefined };

/** How the messages of a call are encoded and decoded. */
export interface MessageOptions extends Limits {
  readonly compression: Compression;
}

const DEFAULT_MAX_BYTES = 4 * 1024 * 1024;

/** How much one stream may receive before it is read. */
export const STREAM_WINDOW_BYTES = 256 * 1024;

/**
 * What one connection may have in flight to a client. To a server it stays at
 * HTTP/2's 65 535: node:http2 reads nothing while a write of its own waits for
 * the socket, so two Node peers that both fill the sockets' buffers would wait
 * for each other for ever. What is in flight one way must always fit in there.
 */
export const CLIENT_CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024;

/** How many bytes of messages may wait for the reader of a call before no more is read of the stream. */
export const INBOX_BYTES = 64 * 1024;

/** What node:http2 may hold for one connection beside the windows, in MB. */
export const SESSION_MEMORY_MB = 256;

/** How the options of `binaryOptions` are checked. */
export const binaryChecks = {
  readUnknownFields: trueOrFalse,
  writeUnknownFields: trueOrFalse,
  recursionLimit: positive,
} satisfies Checks<BinaryReadOptions & BinaryWriteOptions>;

/** The limits that a caller set, over `defaults`: 4 MiB each. */
export function limitsOf(
  options: LimitOptions,
  defaults: Limits = { readMaxBytes: DEFAULT_MAX_BYTES, writeMaxBytes: DEFAULT_MAX_BYTES },
): Limits {
  const readMaxBytes = options.readMaxBytes ?? defaults.readMaxBytes;
  const writeMaxBytes = options.writeMaxBytes ?? defaults.writeMaxBytes;
  const binaryOptions = options.binaryOptions ?? defaults.binaryOptions;
  return { readMaxBytes, writeMaxBytes, binaryOptions };
}
