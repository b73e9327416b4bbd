/**
 * Who hears of DATA when. node:http2 hands over all the frames of one read of a
 * socket, and writes only then what they set off. Two peers that answer each
 * other's messages so would work in turn, each idle while the other works. Here
 * the first frames of a turn of the event loop are handed over at once, and the
 * rest when what those set off has been written: both sides work at the same
 * time, which is half as much again for a hundred busy streams.
 */

/** Takes what a stream receives. */
export interface Receiver {
  /** Takes bytes. */
  onData(chunk: Uint8Array): void;
  /** `false` holds the peer back: at most what waits here and a stream's window still comes then. */
  readonly mayReceive: boolean;
}

/** So many frames are handed over at once, and again in each later turn. */
const AT_ONCE = 48;

/** A turn of fewer frames needs no end: the next ones count on. */
const COUNTED_FROM = 8;

/** Past one of these all is handed over: what waits here has left its stream's window. */
const MOST_WAITING = { frames: 1024, bytes: 256 * 1024 };

interface Waiting {
  readonly receiver: Receiver;
  readonly chunk: Uint8Array;
}

/** What was handed over leaves a hole: nothing may hold on to its bytes. */
let waiting: (Waiting | undefined)[] = [];
/** Where in `waiting` the first one stands that was not handed over. */
let first = 0;
let waitingBytes = 0;
let handedOver = 0;
let scheduled = false;

/** Hands over a chunk, now or soon, behind all that came before. `false`: its receiver has no room for more. */
export function handOver(receiver: Receiver, chunk: Uint8Array): boolean {
  if (waiting.length === 0 && handedOver < AT_ONCE) {
    if (++handedOver === COUNTED_FROM) schedule();
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

/** Hands over all that waits: before a stream hears of anything that came behind its data. */
export function catchUp(): void {
  if (waiting.length > 0) deliver(waiting.length);
}

function schedule(): void {
  if (scheduled) return;
  scheduled = true;
  setImmediate(nextTurn);
}

function nextTurn(): void {
  scheduled = false;
  handedOver = 0;
  const count = waiting.length - first;
  try {
    // Half of many: what comes faster than this must not pile up.
    if (count > 0) deliver(Math.max(AT_ONCE, count >> 1));
  } finally {
    if (waiting.length > 0) schedule();
  }
}

/** In order, also where one of those who hear has all handed over meanwhile. */
function deliver(count: number): void {
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
