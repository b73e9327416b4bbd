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

/** Receives the bytes of a stream. */
export interface Receiver {
  onData(chunk: Uint8Array): void;
  /** `false` stops reading. After that at most what waits here and one window of the stream is still delivered. */
  readonly mayReceive: boolean;
}

const RECEIVER = Symbol("receiver");
const ENDED = Symbol("ended by the peer");

type ReceivingStream = Http2Stream & { [RECEIVER]?: Receiver; [ENDED]?: boolean };

/**
 * Delivers the bytes of a stream to `receiver` as node:http2 reads them, without
 * the buffering and events of a Readable, which cost more than everything that
 * gRPC does with a small message. That push() is given data and returns whether to
 * read more is the public contract of Readable. The end stays with Node: 'end' is
 * emitted after the final byte.
 */
export function receive(stream: Http2Stream, receiver: Receiver): void {
  (stream as ReceivingStream)[RECEIVER] = receiver;
  stream.push = push;
  // For DATA that was read before this call. A listener of 'data' also lets 'end' be emitted.
  stream.on("data", onData);
}

/** Reads on: the receiver may receive again. */
export function readOn(stream: Http2Stream): void {
  stream._read(0);
}

/** Whether the peer ended its side by END_STREAM: 'end' is emitted after a reset too. */
export function endedByPeer(stream: Http2Stream): boolean {
  return (stream as ReceivingStream)[ENDED] === true || stream.endAfterHeaders || !stream.closed;
}

function push(this: ReceivingStream, chunk: Uint8Array | null): boolean {
  if (chunk === null) {
    catchUp();
    // node:http2 calls push(null) at END_STREAM, while the stream is open, and again when it is closed for any reason.
    if (!this.closed) this[ENDED] = true;
    return Readable.prototype.push.call(this, null);
  }
  return deliver(this[RECEIVER] as Receiver, chunk);
}

function onData(this: ReceivingStream, chunk: Uint8Array): void {
  // 'end' may be emitted before the next turn.
  catchUp();
  this[RECEIVER]?.onData(chunk);
}

/** The number of frames that are delivered immediately, and again in each later turn. */
const FRAMES_PER_TURN = 48;

/** After this many frames a later turn is scheduled, in which the count starts again. Fewer are counted over turns. */
const COUNTED_FROM = 8;

/** At one of these limits everything is delivered: waiting bytes no longer count in the window of their stream. */
const MOST_WAITING = { frames: 1024, bytes: 256 * 1024 };

interface Waiting {
  readonly receiver: Receiver;
  readonly chunk: Uint8Array;
}

/** Delivered entries are `undefined`, so that their bytes are freed. */
let waiting: (Waiting | undefined)[] = [];
/** The index in `waiting` of the first entry that was not delivered. */
let first = 0;
let waitingBytes = 0;
let delivered = 0;
let scheduled = false;

/** Delivers a chunk after all earlier ones, now or in a later turn. Returns whether its receiver may receive more. */
export function deliver(receiver: Receiver, chunk: Uint8Array): boolean {
  if (waiting.length === 0 && delivered < FRAMES_PER_TURN) {
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

/** Delivers all waiting chunks: to be called before a stream handles what came after its DATA. */
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
    // At least half of what waits, so that it cannot grow without a limit.
    if (count > 0) deliverWaiting(Math.max(FRAMES_PER_TURN, count >> 1));
  } finally {
    if (waiting.length > 0) schedule();
  }
}

/** Delivers `count` waiting chunks; in order also if a receiver calls catchUp() meanwhile. */
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
