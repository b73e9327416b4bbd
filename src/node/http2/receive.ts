import type { Http2Stream } from "node:http2";
import { Readable } from "node:stream";
import { catchUp, deliver, type Receiver } from "./turns.ts";

const RECEIVER = Symbol("receiver");
const ENDED = Symbol("ended by the peer");

type ReceivingStream = Http2Stream & { [RECEIVER]?: Receiver; [ENDED]?: boolean };

/**
 * Hands the bytes of a stream to `receiver` as node:http2 reads them, without
 * the buffering and events of a Readable in between, which cost more than all
 * that gRPC does with a small message. push() is given data, and returns whether
 * to read more: that much is the public contract of Readable. The end stays
 * Node's: 'end' fires after the last byte.
 */
export function receive(stream: Http2Stream, receiver: Receiver): void {
  (stream as ReceivingStream)[RECEIVER] = receiver;
  stream.push = push;
  // What came with the headers, before this; it also makes 'end' come.
  stream.on("data", onData);
}

/** Reads more: the receiver may receive again. */
export function readOn(stream: Http2Stream): void {
  stream._read(0);
}

/** At 'end': whether the peer ended its side by END_STREAM. It also comes where the stream was reset. */
export function endedByPeer(stream: Http2Stream): boolean {
  return (stream as ReceivingStream)[ENDED] === true || stream.endAfterHeaders || !stream.closed;
}

function push(this: ReceivingStream, chunk: Uint8Array | null): boolean {
  if (chunk === null) {
    catchUp();
    // node:http2 says it at END_STREAM, while the stream is open, and once more when it is closed, however that came.
    if (!this.closed) this[ENDED] = true;
    return Readable.prototype.push.call(this, null);
  }
  return deliver(this[RECEIVER] as Receiver, chunk);
}

function onData(this: ReceivingStream, chunk: Uint8Array): void {
  // 'end' may follow at once.
  catchUp();
  this[RECEIVER]?.onData(chunk);
}
