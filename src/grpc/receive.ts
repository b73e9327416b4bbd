import type { Http2Stream } from "node:http2";

/**
 * Hands the bytes of a stream to `onData` as node:http2 reads them, without
 * the buffering and events of a Readable in between, which cost more than all
 * that gRPC does with a small message. What push() is given is data, and what
 * it returns says whether to read on: that much is the public contract of
 * Readable. The end stays Node's: 'end' fires behind the last byte.
 *
 * @param onData returns `false` to hold the peer back; at most a stream's
 *   window still comes then
 * @returns reads on after `false`
 */
export function receive(stream: Http2Stream, onData: (chunk: Uint8Array) => boolean): () => void {
  const push = stream.push;
  stream.push = (chunk, encoding) =>
    chunk === null ? push.call(stream, null, encoding) : onData(chunk);
  // What came with the headers, before this; it also makes 'end' come.
  stream.on("data", onData);
  return () => stream._read(0);
}
