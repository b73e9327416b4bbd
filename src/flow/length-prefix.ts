/**
 * The size of the prefix of each message in gRPC over HTTP/2 (gRPC PROTOCOL-HTTP2, "Length-Prefixed-Message"): a byte
 * of flags, four bytes of length.
 */
export const PREFIX_BYTES = 5;

/** Writes the five bytes before a message of `size` bytes. */
export function writePrefix(
  into: Uint8Array,
  at: number,
  { flags, size }: { flags: number; size: number },
): void {
  into[at] = flags;
  into[at + 1] = size >>> 24;
  into[at + 2] = size >>> 16;
  into[at + 3] = size >>> 8;
  into[at + 4] = size;
}

/** Reads the length in the prefix that begins at `at`. */
export function readLength(bytes: ArrayLike<number>, at: number): number {
  return (
    (bytes[at + 1] as number) * 0x1000000 +
    (((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 8) |
      (bytes[at + 4] as number))
  );
}
