/**
 * When receivers get the DATA that came. node:http2 gives all the frames of one
 * read of a socket, and writes only then what they caused. Two peers that answer
 * each other's messages would so work in turn, each idle while the other works.
 * Here the first frames of a turn of the event loop are delivered at once, and
 * the rest when what the first ones caused has been written: both sides work at
 * the same time, which gives a hundred busy streams half as many messages again.
 */

/** Takes what a stream receives. */
export interface Receiver {
  /** Takes bytes. */
  onData(chunk: Uint8Array): void;
  /** `false` holds the peer back: after that at most what waits here, and a stream's window, still comes. */
  readonly mayReceive: boolean;
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
