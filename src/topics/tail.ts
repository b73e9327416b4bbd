import { onAbort } from "../flow.ts";
import type { Item, TopicLog } from "./log.ts";

/** Those who read topics live, to be told that there is more. */
export class Tails {
  readonly #ears = new Map<string, Set<Ear>>();
  #over: { error: unknown } | undefined;

  /** History by pages, then what comes: TopicLog.read() of a log whose page() this process can follow. */
  async *read(
    page: TopicLog["page"],
    topic: string,
    after: string | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<Item, never> {
    signal.throwIfAborted();
    using ear = this.#listen(topic);
    using _ = onAbort(signal, (reason) => ear.fail(reason));
    for (;;) {
      // First the ear, then the page: what comes between is heard.
      ear.forget();
      const items = await page(topic, after);
      for (const item of items) {
        signal.throwIfAborted();
        after = item.cursor;
        yield item;
      }
      if (items.length === 0) await ear.heard();
    }
  }

  /** There is more in a topic. */
  ring(topic: string): void {
    for (const ear of this.#ears.get(topic) ?? []) ear.ring();
  }

  /** Ends every read() with an error, when it has given what it has. */
  close(error: unknown): void {
    this.#over ??= { error };
    for (const ears of this.#ears.values()) for (const ear of ears) ear.fail(error);
  }

  #listen(topic: string): Ear {
    const ears = this.#ears.get(topic) ?? new Set();
    this.#ears.set(topic, ears);
    const ear = new Ear(() => {
      ears.delete(ear);
      if (ears.size === 0) this.#ears.delete(topic);
    });
    ears.add(ear);
    if (this.#over !== undefined) ear.fail(this.#over.error);
    return ear;
  }
}

/** Remembers that it was rung, until it is told to forget. */
class Ear implements Disposable {
  readonly #dispose: () => void;
  #rung = false;
  #over: { error: unknown } | undefined;
  #waiting: PromiseWithResolvers<void> | undefined;

  constructor(dispose: () => void) {
    this.#dispose = dispose;
  }

  [Symbol.dispose](): void {
    this.#dispose();
  }

  forget(): void {
    this.#rung = false;
  }

  ring(): void {
    this.#rung = true;
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }

  fail(error: unknown): void {
    this.#over ??= { error };
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  async heard(): Promise<void> {
    if (this.#over !== undefined) throw this.#over.error;
    if (this.#rung) return;
    this.#waiting = Promise.withResolvers();
    await this.#waiting.promise;
  }
}
