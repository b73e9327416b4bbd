import type { NewRecord, Retention, TopicItem, TopicLog } from "../../src/topics/log.ts";

/** What an engine can; tests of what it cannot are left out. */
export interface Capabilities {
  /** Whether records that were acknowledged are there when the store is opened again. */
  readonly durable: boolean;
  /** Whether several logs may be open on one store at the same time. */
  readonly shared: boolean;
  /** Whether the times of records come from this process's Date. */
  readonly ownClock: boolean;
  /** The limits of topics that the engine supports. */
  readonly retention: readonly (keyof Retention)[];
  /** The largest record that it must take. */
  readonly largestBytes: number;
}

/** An engine of logs, as the contract's suite sees it. */
export interface Engine {
  readonly name: string;
  readonly can: Capabilities;
  /** A new store, with nothing in it. */
  store(options?: { retention?: Retention }): Promise<Store>;
}

/** Where logs store their records. It is removed when it is disposed of, after the logs on it. */
export interface Store extends AsyncDisposable {
  /** Opens a log: one at a time, or several where the engine can. Once only where it is not durable. */
  open(): Promise<TopicLog>;
}

/** A new store with one log on it. */
export async function openLog(
  engine: Engine,
  options?: { retention?: Retention },
): Promise<{ log: TopicLog; store: Store } & AsyncDisposable> {
  const store = await engine.store(options);
  const log = await store.open();
  return {
    log,
    store,
    async [Symbol.asyncDispose]() {
      await log[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    },
  };
}

/** The log that most tests of an engine share, each with topics of its own. */
export class Shared implements AsyncDisposable {
  readonly #engine: Engine;
  #opened: ReturnType<typeof openLog> | undefined;
  #topics = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** The log, and the name of a topic that no other test has used. */
  async borrow(): Promise<{ log: TopicLog; t: string }> {
    this.#opened ??= openLog(this.#engine);
    return { log: (await this.#opened).log, t: `t${++this.#topics}` };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#opened)?.[Symbol.asyncDispose]();
  }
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Records with these texts. */
export function texts(...all: string[]): NewRecord[] {
  return all.map((text) => ({ data: bytes(text) }));
}

/** Records with the texts `${prefix}${from}`, `${prefix}${from + 1}` … */
export function numbered(count: number, prefix = "", from = 0): NewRecord[] {
  return texts(...Array.from({ length: count }, (_, n) => `${prefix}${from + n}`));
}

/** A record of a producer, with its name and number as text. */
export function made(producer: string, sequence: bigint): NewRecord {
  return { data: bytes(`${producer}${sequence}`), id: { producer, sequence } };
}

/** Items in a form that is easy to compare: a record as its text, a gap as "(gap)". */
export function shown(items: readonly TopicItem[]): string[] {
  return items.map((item) => (item.kind === "gap" ? "(gap)" : new TextDecoder().decode(item.data)));
}

/** All items after a cursor, page by page. */
export async function pages(
  log: TopicLog,
  topic: string,
  after?: string,
  limits?: { records?: number; bytes?: number },
): Promise<TopicItem[]> {
  const items: TopicItem[] = [];
  for (;;) {
    const page = await log.page(topic, after, limits);
    if (page.length === 0) return items;
    items.push(...page);
    after = page.at(-1)?.cursor;
  }
}

/** Reads until a number of items have come, or until one is the last. */
export async function take(
  items: AsyncIterable<TopicItem>,
  until: number | ((item: TopicItem) => boolean),
): Promise<TopicItem[]> {
  const taken: TopicItem[] = [];
  for await (const item of items) {
    taken.push(item);
    if (typeof until === "number" ? taken.length >= until : until(item)) break;
  }
  return taken;
}
