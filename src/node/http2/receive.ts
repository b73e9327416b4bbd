/**
 * How the bytes of HTTP/2 streams reach their receivers.
 *
 * node:http2 reports all the frames of one read of a socket, and writes what
 * they caused only after that. Two peers that answer each other's messages would
 * so work in turn, each idle while the other works. Here the first frames of a
 * turn of the event loop are delivered immediately, and the rest after what the
 * first ones caused has been written: both sides work at the same time, which
 * gives a hundred busy streams half as many messages again.
 */
import type { Http2Stream } from "node:http2";
import { Readable } from "node:stream";

/** Takes what a stream receives. */
export interface Receiver {
  /** Takes bytes. */
  onData(chunk: Uint8Array): void;
  /** `false` holds the peer back: after that at most what waits here, and a stream's window, still comes. */
  readonly mayReceive: boolean;
}

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

/** How many frames are delivered at once, and again in each later turn. */
const AT_ONCE = 48;

/** The count starts again in a later turn only after this many frames: after fewer it continues over turns. */
const COUNTED_FROM = 8;

/** When one of these is reached all is delivered: what waits here no longer counts in its stream's window. */
const MOST_WAITING = { frames: 1024, bytes: 256 * 1024 };

interface Waiting {
  readonly receiver: Receiver;
  readonly chunk: Uint8Array;
}

/** What was delivered is `undefined`, so that its bytes are freed. */
let waiting: (Waiting | undefined)[] = [];
/** The index in `waiting` of the first that was not delivered. */
let first = 0;
let waitingBytes = 0;
let delivered = 0;
let scheduled = false;

/** Delivers a chunk, now or soon, after all that came before. `false`: its receiver takes no more for now. */
export function deliver(receiver: Receiver, chunk: Uint8Array): boolean {
  if (waiting.length === 0 && delivered < AT_ONCE) {
    if (++delivered === COUNTED_FROM) schedule();
    receiver.onData(chunk);
    return receiver.mayReceive;
  }
  waiting.push({ receiver, chunk });
  waitingBytes += chunk.length;
  if (waiting.length - first >= MOST_WAITING.frames || waitingBytes >= MOST_WAITING.bytes) {
    catchUp();
  }
  return receiver.mayReceive;
}

/** Delivers all that waits: for streams that are about to hear of what came after their data. */
export function catchUp(): void {
  if (waiting.length > 0) deliverWaiting(waiting.length);
}

function schedule(): void {
  if (scheduled) return;
  scheduled = true;
  setImmediate(nextTurn);
}

function nextTurn(): void {
  scheduled = false;
  delivered = 0;
  const count = waiting.length - first;
  try {
    // Half of many: what comes faster than this must not pile up.
    if (count > 0) deliverWaiting(Math.max(AT_ONCE, count >> 1));
  } finally {
    if (waiting.length > 0) schedule();
  }
}

/** Keeps the order also where a receiver calls catchUp() meanwhile. */
function deliverWaiting(count: number): void {
  for (let left = count; left > 0 && first < waiting.length; left--) {
    const { receiver, chunk } = waiting[first] as Waiting;
    waiting[first++] = undefined;
    waitingBytes -= chunk.length;
    receiver.onData(chunk);
  }
  if (first < waiting.length && first < MOST_WAITING.frames) return;
  waiting = waiting.slice(first);
  first = 0;
}
