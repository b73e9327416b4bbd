import { onAbort } from "../flow/wait.ts";
import type { TopicItem, TopicLog, TopicRecord } from "./log.ts";

/** Records that were just appended. */
export interface AppendedRecords {
  /** The position of the record before the first of them. */
  readonly after: number;
  readonly records: readonly TopicRecord[];
}

/** The live readers of a log, by topic. They are notified of each append. */
export class TopicListeners {
  readonly #listeners = new Map<string, Set<TopicListener>>();
  #closed: { error: unknown } | undefined;

  /**
   * Implements TopicLog.read() for a log whose appends all come from this process: reads pages of
   * stored records, then returns records as they are appended.
   */
  async *read(
    page: TopicLog["page"],
    { topic, after }: { topic: string; after: string | undefined },
    signal: AbortSignal,
  ): AsyncGenerator<TopicItem, never> {
    signal.throwIfAborted();
    using listener = this.#listen(topic);
    using _ = onAbort(signal, (reason) => listener.fail(reason));
    let position: number | undefined;
    let appended: readonly TopicItem[] | undefined;
    for (;;) {
      // Reset before the page is read: a record that is appended later is either in the page or
      // notifies the listener.
      if (appended === undefined) listener.reset();
      const items: readonly TopicItem[] = appended ?? (await page(topic, after));
      for (const item of items) {
        signal.throwIfAborted();
        after = item.cursor;
        position = item.position;
        yield item;
      }
      const isAtEnd = appended !== undefined || items.length === 0;
      appended = isAtEnd ? await listener.next(position) : undefined;
    }
  }

  /** Whether a reader follows the topic. */
  has(topic: string): boolean {
    return this.#listeners.has(topic);
  }

  /**
   * Notifies the readers of a topic of an append. Those that wait at the position before `appended`
   * get these records immediately; the others read a page.
   */
  notify(topic: string, appended?: AppendedRecords): void {
    for (const listener of this.#listeners.get(topic) ?? []) listener.notify(appended);
  }

  /** Ends every read() with an error, after the items that it already has. */
  close(error: unknown): void {
    this.#closed ??= { error };
    for (const listeners of this.#listeners.values()) {
      for (const listener of listeners) listener.fail(error);
    }
  }

  #listen(topic: string): TopicListener {
    const listeners = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, listeners);
    const listener = new TopicListener(() => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(topic);
    });
    listeners.add(listener);
    if (this.#closed !== undefined) listener.fail(this.#closed.error);
    return listener;
  }
}

interface PendingRead extends PromiseWithResolvers<readonly TopicRecord[] | undefined> {
  readonly position: number | undefined;
}

/** One live reader. It remembers a notification until reset() is called. */
class TopicListener implements Disposable {
  readonly #dispose: () => void;
  #isNotified = false;
  #failed: { error: unknown } | undefined;
  #pending: PendingRead | undefined;

  constructor(dispose: () => void) {
    this.#dispose = dispose;
  }

  [Symbol.dispose](): void {
    this.#dispose();
  }

  reset(): void {
    this.#isNotified = false;
  }

  notify(appended?: AppendedRecords): void {
    const pending = this.#pending;
    this.#pending = undefined;
    if (appended !== undefined && pending?.position === appended.after) {
      pending.resolve(appended.records);
      return;
    }
    this.#isNotified = true;
    pending?.resolve(undefined);
  }

  fail(error: unknown): void {
    this.#failed ??= { error };
    this.#pending?.reject(error);
    this.#pending = undefined;
  }

  /**
   * Waits until something is appended, for a reader that has all records up to a position. Returns
   * the records after that position, or `undefined` if the reader must read a page for them.
   */
  async next(position: number | undefined): Promise<readonly TopicRecord[] | undefined> {
    if (this.#failed !== undefined) throw this.#failed.error;
    if (this.#isNotified) return undefined;
    const pending = Promise.withResolvers<readonly TopicRecord[] | undefined>();
    this.#pending = { ...pending, position };
    return await pending.promise;
  }
}
