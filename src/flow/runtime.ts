/**
 * What depends on the program that Hawser runs in: the event loop, the context
 * that AsyncLocalStorage looks at, and the allocation of memory. The entries
 * that run on Node set it once (src/node/runtime.ts); the default works
 * anywhere.
 *
 * It is the only state of the process that the layers above I/O share: all that
 * concerns a call, a connection or a server is given to the code that needs it.
 */

/** A context that was current once. */
export interface AsyncContext {
  /** Runs a function in it. */
  runInAsyncScope<T>(run: () => T): T;
}

export interface Runtime {
  /** Runs `run` in a later turn of the event loop, after what the sockets have received by then was delivered. */
  inLaterTurn(run: () => void): void;
  /** Runs `run` in this turn, after the microtasks that are queued now and what they queue. */
  afterMicrotasks(run: () => void): void;
  /** The caller's context, kept for later. */
  currentContext(): AsyncContext;
  /** New memory; its content is undefined. */
  allocate(bytes: number): Uint8Array<ArrayBuffer>;
  /** The text of ASCII bytes, from `start` up to `end`. */
  asciiText(bytes: Uint8Array, start: number, end: number): string;
}

const ascii = new TextDecoder();
const noContext: AsyncContext = { runInAsyncScope: (run) => run() };

let runtime: Runtime = {
  inLaterTurn: (run) => void setTimeout(run, 0),
  afterMicrotasks: (run) => queueMicrotask(() => queueMicrotask(run)),
  currentContext: () => noContext,
  allocate: (bytes) => new Uint8Array(bytes),
  asciiText: (bytes, start, end) => ascii.decode(bytes.subarray(start, end)),
};

export function setRuntime(ofThisProgram: Runtime): void {
  runtime = ofThisProgram;
}

export const inLaterTurn: Runtime["inLaterTurn"] = (run) => runtime.inLaterTurn(run);
export const afterMicrotasks: Runtime["afterMicrotasks"] = (run) => runtime.afterMicrotasks(run);
export const currentContext: Runtime["currentContext"] = () => runtime.currentContext();
export const allocate: Runtime["allocate"] = (bytes) => runtime.allocate(bytes);
export const asciiText: Runtime["asciiText"] = (bytes, start, end) =>
  runtime.asciiText(bytes, start, end);

/** The timer does not keep the process alive. Where timers are numbers (browsers) none does. */
export function unref(timer: ReturnType<typeof setTimeout>): void {
  (timer as { unref?: () => void }).unref?.();
}
