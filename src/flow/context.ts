import type { AsyncContext } from "./runtime.ts";

/** Returns an iterable that runs the iterator of `values` in `context`, whichever context calls it. */
export function iterateIn<T>(context: AsyncContext, values: AsyncIterable<T>): AsyncIterable<T> {
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
