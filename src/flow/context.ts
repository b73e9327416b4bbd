/**
 * The context that AsyncLocalStorage looks at, kept for later: what Hawser runs
 * for a call (a generator, a listener, a handler) runs in the call's own, also
 * where a socket, a timer or another call brings it about.
 */

/** A context that was current once; an AsyncResource is one. */
export interface Context {
  /** Runs a function in it. */
  runInAsyncScope<T>(run: () => T): T;
}

/** Not imported: browsers have no such module, and no AsyncLocalStorage. */
const asyncHooks = (
  globalThis as { process?: Partial<NodeJS.Process> }
).process?.getBuiltinModule?.("node:async_hooks");

/** Where there are no contexts. */
const none: Context = { runInAsyncScope: (run) => run() };

/** The caller's context. AsyncLocalStorage.snapshot() does the same for thirty times the memory. */
export function currentContext(): Context {
  return asyncHooks === undefined ? none : new asyncHooks.AsyncResource("HawserCall");
}

/** `values`, iterated in `context`, from whichever context next() and return() are called. */
export function iterateIn<T>(context: Context, values: AsyncIterable<T>): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = context.runInAsyncScope(() => values[Symbol.asyncIterator]());
      const next = () => iterator.next();
      return {
        next: () => context.runInAsyncScope(next),
        return: async (value) => {
          await context.runInAsyncScope(() => iterator.return?.(value));
          return { done: true, value };
        },
        throw: async (error) => {
          const end = iterator.throw ?? iterator.return;
          await context.runInAsyncScope(() => end?.call(iterator, error));
          throw error;
        },
      };
    },
  };
}
