import type { NewRecord, Retention, TopicItem, TopicLog } from "../../src/topics/log.ts";

/** The capabilities of an engine. Tests of other capabilities are skipped. */
export interface Capabilities {
  /** Whether acknowledged records are in the store when it is opened again. */
  readonly durable: boolean;
  /** Whether several logs can be open on one store at the same time. */
  readonly shared: boolean;
  /** Whether the times of records come from this process's Date. */
  readonly ownClock: boolean;
  /** The limits of topics that the engine supports. */
  readonly retention: readonly (keyof Retention)[];
  /** The largest record that the engine must accept. */
  readonly largestBytes: number;
}

/** The contract suite's view of an engine of logs. */
export interface Engine {
  readonly name: string;
  readonly can: Capabilities;
  /** Makes an empty store. */
  store(options?: { retention?: Retention }): Promise<Store>;
}

/** A place for the records of logs. Disposing of it removes it; its logs must be disposed of before. */
export interface Store extends AsyncDisposable {
  /**
   * Opens a log. Several can be open if the engine is `shared`, else one at a time. If it is not
   * `durable`, a store can be opened only once.
   */
  open(): Promise<TopicLog>;
}

/** Makes a store with one log. */
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

/** The log that most tests of an engine share; each test has its own topics. */
export class Shared implements AsyncDisposable {
  readonly #engine: Engine;
  #opened: ReturnType<typeof openLog> | undefined;
  #topics = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Returns the log, and the name of a topic that no other test uses. */
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

/** A record of a producer; its text is the producer and the sequence. */
export function made(producer: string, sequence: bigint): NewRecord {
  return { data: bytes(`${producer}${sequence}`), id: { producer, sequence } };
}

/** Converts items to a form that is easy to compare: a record to its text, a gap to "(gap)". */
export function shown(items: readonly TopicItem[]): string[] {
  return items.map((item) => (item.kind === "gap" ? "(gap)" : new TextDecoder().decode(item.data)));
}

/** Reads all items after a cursor, page by page. */
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

/** Reads a number of items, or up to an item for which `until` returns true. */
export async function readItems(
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
