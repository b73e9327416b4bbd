/** Receives messages, from pump() or from an iterable that writes its messages itself. */
export interface Writer<T> {
  /**
   * Takes one message. Returns `undefined` if there is capacity for the next, or a promise if the next must wait until
   * it resolves. If it throws or rejects, this message was refused, and so is every later one.
   */
  write(message: T): Promise<void> | undefined;
  /** Called after the final message. */
  end(): void;
  /** Called if the iterable has thrown, or write() has, with that error. May also be called after stop(). */
  fail(error: unknown): void;
}

/** Writes the messages of an iterable to a writer. */
export interface Pump {
  /** Stops writing, without ending the writer, and tells the iterable to return. */
  stop(): void;
}

/**
 * The method by which an iterable, or its iterator, writes its messages to a writer itself. It does what pump() does
 * for any other iterable, at the same pace and with the same end, for less work a message.
 */
export const pumpTo: unique symbol = Symbol("hawser: pump to a writer");

export interface Pumpable<T> {
  /** @param onReturnError called with an error that the iterable throws when it is left */
  [pumpTo](writer: Writer<T>, onReturnError?: (error: unknown) => void): Pump;
}

/** Whether an iterable, or an iterator, has the method. */
export function isPumpable<T>(
  values: AsyncIterable<T> | AsyncIterator<T> | Pumpable<T>,
): values is Pumpable<T> {
  return pumpTo in values;
}
