import { onAbort } from "../flow/wait.ts";
import type { TopicItem, TopicLog, TopicRecord } from "./log.ts";

/** Records that were just appended. */
export interface Fresh {
  /** The position that they follow. */
  readonly after: number;
  readonly entries: readonly TopicRecord[];
}

/** Those who read topics live, to be told that there is more. */
export class Tails {
  readonly #ears = new Map<string, Set<TopicListener>>();
  #over: { error: unknown } | undefined;

  /** History by pages, then what comes: TopicLog.read() of a log whose page() this process can follow. */
  async *read(
    page: TopicLog["page"],
    { topic, after }: { topic: string; after: string | undefined },
    signal: AbortSignal,
  ): AsyncGenerator<TopicItem, never> {
    signal.throwIfAborted();
    using ear = this.#listen(topic);
    using _ = onAbort(signal, (reason) => ear.fail(reason));
    let position: number | undefined;
    let fresh: readonly TopicItem[] | undefined;
    for (;;) {
      // First the ear, then the page: what comes between is heard.
      if (fresh === undefined) ear.forget();
      const items: readonly TopicItem[] = fresh ?? (await page(topic, after));
      for (const item of items) {
        signal.throwIfAborted();
        after = item.cursor;
        position = item.position;
        yield item;
      }
      fresh = fresh !== undefined || items.length === 0 ? await ear.heard(position) : undefined;
    }
  }

  /** Whether somebody reads a topic. */
  isHeard(topic: string): boolean {
    return this.#ears.has(topic);
  }

  /** There is more in a topic. Who waits right before what is fresh gets it at once; the others look for it. */
  ring(topic: string, fresh?: Fresh): void {
    for (const ear of this.#ears.get(topic) ?? []) ear.ring(fresh);
  }

  /** Ends every read() with an error, when it has given what it has. */
  close(error: unknown): void {
    this.#over ??= { error };
    for (const ears of this.#ears.values()) for (const ear of ears) ear.fail(error);
  }

  #listen(topic: string): TopicListener {
    const ears = this.#ears.get(topic) ?? new Set();
    this.#ears.set(topic, ears);
    const ear = new TopicListener(() => {
      ears.delete(ear);
      if (ears.size === 0) this.#ears.delete(topic);
    });
    ears.add(ear);
    if (this.#over !== undefined) ear.fail(this.#over.error);
    return ear;
  }
}

interface PendingRead extends PromiseWithResolvers<readonly TopicRecord[] | undefined> {
  readonly position: number | undefined;
}

/** Remembers that it was rung, until it is told to forget. */
class TopicListener implements Disposable {
  readonly #dispose: () => void;
  #rung = false;
  #over: { error: unknown } | undefined;
  #waiting: PendingRead | undefined;

  constructor(dispose: () => void) {
    this.#dispose = dispose;
  }

  [Symbol.dispose](): void {
    this.#dispose();
  }

  forget(): void {
    this.#rung = false;
  }

  ring(fresh?: Fresh): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (fresh !== undefined && waiting?.position === fresh.after) {
      waiting.resolve(fresh.entries);
      return;
    }
    this.#rung = true;
    waiting?.resolve(undefined);
  }

  fail(error: unknown): void {
    this.#over ??= { error };
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  /** Waits, with all up to a position read, for a ring; gives what is fresh, where that follows. */
  async heard(position: number | undefined): Promise<readonly TopicRecord[] | undefined> {
    if (this.#over !== undefined) throw this.#over.error;
    if (this.#rung) return undefined;
    const waiting = Promise.withResolvers<readonly TopicRecord[] | undefined>();
    this.#waiting = { ...waiting, position };
    return await waiting.promise;
  }
}
