import { Code, type ConnectError } from "@connectrpc/connect";
import { failure, markBug } from "../failure.ts";

/**
 * Makes the error of a second loop over messages that can be read only once. Without the error, the second loop would
 * silently get only some of the messages, or none.
 */
export function iteratedBefore(what: string): ConnectError {
  const error = failure(
    Code.FailedPrecondition,
    `${what} can be iterated once: another loop has ended, or waits for the next one; read all in one loop`,
  );
  markBug(error);
  return error;
}

/** Returns an iterator that throws `error`. */
export function failing(error: unknown): AsyncIterableIterator<never, undefined> {
  return {
    next: async () => {
      throw error;
    },
    return: async () => ({ done: true, value: undefined }),
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
