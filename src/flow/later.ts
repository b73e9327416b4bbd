import { callable } from "../options.ts";

/**
 * An iterable that is not there yet: `open` makes it, when it is first asked
 * for. A handler that must wait before it knows what to answer with returns
 * one; what is written is then as fast as if it had not waited, which an
 * `async function*` that passes each value on is not. A rejection of `open` is
 * what the iteration throws.
 */
export function later<T>(open: () => Promise<AsyncIterable<T>>): AsyncIterable<T> {
  callable(open, { of: "later", option: "open" });
  return new Later(open);
}

/** What later() makes, for those who can do better than to iterate it. */
export class Later<T> implements AsyncIterable<T> {
  readonly open: () => Promise<AsyncIterable<T>>;

  constructor(open: () => Promise<AsyncIterable<T>>) {
    this.open = open;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, undefined> {
    yield* await this.open();
    return undefined;
  }
}
