/**
 * Flow: the only home of hand-made iterators, and of waiting.
 *
 *     Queue   the sender's end: many push, one takes; full means push() waits
 *     Inbox   the receiver's end: the wire fills it and is told to pause
 *     Tap     a consumer's end on what many share: nothing waits inside
 *     later   an iterable that is not there yet
 *     pump    carries an iterable to a writer, no faster than the writer takes
 *     slice   what all pumps may use of a turn of the event loop
 *     context what AsyncLocalStorage looks at, kept for later
 */
export { type Context, currentContext, iterateIn } from "./flow/context.ts";
export { Inbox, type Source } from "./flow/inbox.ts";
export { failing, iteratedBefore } from "./flow/iterated.ts";
export { later } from "./flow/later.ts";
export { leave, map, one, type Pump, pump, untilAborted } from "./flow/pump.ts";
export { Queue, type Writer } from "./flow/queue.ts";
export { Share, slices } from "./flow/slice.ts";
export { Tap, type Well } from "./flow/tap.ts";
export { after, onAbort, pause, settled } from "./flow/wait.ts";
