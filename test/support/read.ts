import { ConnectError } from "../../src/index.ts";

const iterators = new WeakMap<AsyncIterable<unknown>, AsyncIterator<unknown>>();

/** Returns the next message, or `undefined` at the end. The loop is not left: a later call reads the messages that follow. */
export async function next<T>(messages: AsyncIterable<T>): Promise<T | undefined> {
  const iterator = (iterators.get(messages) ??
    messages[Symbol.asyncIterator]()) as AsyncIterator<T>;
  iterators.set(messages, iterator);
  const { done, value } = await iterator.next();
  return done ? undefined : value;
}

/** Returns every remaining message. */
export async function all<T extends object>(messages: AsyncIterable<T>): Promise<T[]> {
  const taken: T[] = [];
  for (let message = await next(messages); message; message = await next(messages)) {
    taken.push(message);
  }
  return taken;
}

/** The ConnectError with which a promise rejects, or the reading of an iterable ends. Anything else fails the test. */
export async function failureOf(
  what: PromiseLike<unknown> | AsyncIterable<object>,
): Promise<ConnectError> {
  let ending: unknown;
  try {
    ending = await (Symbol.asyncIterator in what ? all(what) : what);
  } catch (error) {
    if (error instanceof ConnectError) return error;
    throw new Error("it should have failed with a ConnectError, but failed otherwise", {
      cause: error,
    });
  }
  throw new Error("it should have failed, but came to a good end", { cause: ending });
}
