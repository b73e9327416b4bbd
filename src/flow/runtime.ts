/**
 * The parts that depend on the program in which Hawser runs: the event loop, the context of AsyncLocalStorage, and the
 * allocation of memory. The entries that run on Node set them once (src/node/runtime.ts); the default works anywhere.
 *
 * This is the only state of the process that the layers above I/O share. They are passed everything that concerns a
 * call, a connection or a server.
 */

/** A context that can be entered again later. */
export interface AsyncContext {
  /** Calls `run` in this context. */
  runInAsyncScope<T>(run: () => T): T;
}

export interface Runtime {
  /**
   * Calls `run` in a later turn of the event loop, after what TCP has received by then was delivered. What TLS has received
   * is delivered in the turn after that at the latest.
   */
  inLaterTurn(run: () => void): void;
  /** Calls `run` in this turn, after the microtasks that are queued now, and those that they queue. */
  afterMicrotasks(run: () => void): void;
  /** Returns the caller's context, for later. */
  currentContext(): AsyncContext;
  /** Allocates memory, which may be a part of a larger buffer; its content is undefined. */
  allocate(bytes: number): Uint8Array<ArrayBuffer>;
  /**
   * Allocates memory that is no part of a larger buffer; its content is undefined. For data of which a peer decides how long
   * it is kept: a few bytes could keep a whole larger buffer.
   */
  allocateAlone(bytes: number): Uint8Array<ArrayBuffer>;
  /** Returns the text of ASCII bytes, from `start` up to `end`. */
  asciiText(bytes: Uint8Array, start: number, end: number): string;
  /**
   * Set by tests: overwrites memory that a pool gets back. The pool then drops it, so that code which still reads it finds
   * no message there. Default: the memory is used again.
   */
  readonly poison?: (memory: Uint8Array) => void;
}

const ascii = new TextDecoder();
const noContext: AsyncContext = { runInAsyncScope: (run) => run() };

/** What works in any program. */
export const anywhere: Runtime = {
  inLaterTurn: (run) => void setTimeout(run, 0),
  afterMicrotasks: (run) => queueMicrotask(() => queueMicrotask(run)),
  currentContext: () => noContext,
  allocate: (bytes) => new Uint8Array(bytes),
  allocateAlone: (bytes) => new Uint8Array(bytes),
  asciiText: (bytes, start, end) => ascii.decode(bytes.subarray(start, end)),
};

/** What this program runs in. Only setRuntime() changes it. */
export let runtime = anywhere;

export function setRuntime(ofThisProgram: Runtime): void {
  runtime = ofThisProgram;
}

/**
 * Lets the process end although the timer runs, or the port is open. A browser's timers are numbers, and keep nothing
 * alive.
 */
export function unref(timer: ReturnType<typeof setTimeout> | MessagePort): void {
  (timer as { unref?: () => void }).unref?.();
}
