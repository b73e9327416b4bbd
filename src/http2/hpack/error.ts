/** A header block that is not valid HPACK: for the connection an error COMPRESSION_ERROR. */
export class HpackError extends Error {
  override readonly name = "HpackError";
}
