/** What takes messages, and the iterables that write their messages to it themselves. */
export interface Writer<T> {
  /**
   * Takes one message. Returns `undefined` where there is capacity for the next;
   * a promise where the message is taken, and the next must wait until it
   * resolves. Where it throws or rejects, the message was refused, and so is
   * every later one.
   */
  write(message: T): Promise<void> | undefined;
  /** No more messages follow. */
  end(): void;
  /** No more follow, because of what the iterable threw, or write(). May also come after stop(). */
  fail(error: unknown): void;
}

/** Writes the messages of an iterable to a writer. */
export interface Pump {
  /** Writes nothing more, does not end the writer, and tells the iterable to return. */
  stop(): void;
}

/**
 * The method by which an iterable, or its iterator, writes its messages to a
 * writer itself: as pump() does for any other, at the same pace and with the
 * same end, for less work a message.
 */
export const pumpTo: unique symbol = Symbol("hawser: pump to a writer");

export interface Pumpable<T> {
  /** @param onLate told what the iterable throws when it is left */
  [pumpTo](writer: Writer<T>, onLate?: (error: unknown) => void): Pump;
}

/** Whether an iterable, or an iterator, has the method. */
export function isPumpable<T>(
  values: AsyncIterable<T> | AsyncIterator<T> | Pumpable<T>,
): values is Pumpable<T> {
  return pumpTo in values;
}
