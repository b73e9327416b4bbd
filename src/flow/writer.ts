/** What takes messages, and what hands them to it by itself. */
export interface Writer<T> {
  /**
   * Takes one message. `undefined`: there is capacity for the next. A promise: the
   * message is taken, and the next must wait until it resolves. A throw or a
   * rejection: the message was refused, and so is every later one.
   */
  write(message: T): Promise<void> | undefined;
  /** No more messages follow. */
  end(): void;
  /** No more follow, because of what the iterable threw, or write(). May also come after stop(). */
  fail(error: unknown): void;
}

/** Messages on their way to a writer. */
export interface Pump {
  /** Writes nothing more, does not end the writer, and tells the iterable to return. */
  stop(): void;
}

/**
 * The method of an iterable, or of its iterator, that hands its messages to a
 * writer by itself: as pump() does with any other, with the same pace and the
 * same end, for less work a message.
 */
export const pumpTo: unique symbol = Symbol("hawser: pump to a writer");

export interface Pumpable<T> {
  /** @param onLate told what it throws when it is left */
  [pumpTo](writer: Writer<T>, onLate?: (error: unknown) => void): Pump;
}

/** Whether an iterable, or an iterator, has the method. */
export function isPumpable<T>(
  values: AsyncIterable<T> | AsyncIterator<T> | Pumpable<T>,
): values is Pumpable<T> {
  return pumpTo in values;
}
