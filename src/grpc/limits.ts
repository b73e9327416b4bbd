/** The limits of both ends of the data path. */
import type { BinaryReadOptions, BinaryWriteOptions } from "@bufbuild/protobuf";
import type { Compression } from "../codec/compression.ts";
import { type Checks, positive, trueOrFalse } from "../options.ts";

/** protobuf-es' options for reading and writing messages. */
export type BinaryOptions = Partial<BinaryReadOptions & BinaryWriteOptions>;

/** The limits of a call's messages, in bytes, and the options of protobuf-es. */
export interface Limits {
  readonly readMaxBytes: number;
  readonly writeMaxBytes: number;
  readonly binaryOptions?: BinaryOptions | undefined;
}

/** The limits as options. */
type LimitOptions = { [Name in keyof Limits]?: Limits[Name] | undefined };

/** The limits and the compression of a call's messages. */
export interface MessageOptions extends Limits {
  readonly compression: Compression;
}

const DEFAULT_MAX_BYTES = 4 * 1024 * 1024;

/** The checks of `binaryOptions`. */
export const binaryChecks = {
  readUnknownFields: trueOrFalse,
  writeUnknownFields: trueOrFalse,
  recursionLimit: positive,
} satisfies Checks<BinaryReadOptions & BinaryWriteOptions>;

/** Returns the limits that are set, else those of `defaults`, else 4 MiB each. */
export function limitsOf(
  options: LimitOptions,
  defaults: Limits = { readMaxBytes: DEFAULT_MAX_BYTES, writeMaxBytes: DEFAULT_MAX_BYTES },
): Limits {
  const readMaxBytes = options.readMaxBytes ?? defaults.readMaxBytes;
  const writeMaxBytes = options.writeMaxBytes ?? defaults.writeMaxBytes;
  const binaryOptions = options.binaryOptions ?? defaults.binaryOptions;
  return { readMaxBytes, writeMaxBytes, binaryOptions };
}
