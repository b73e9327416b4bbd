/** How many tombstones the sessions of one connection may leave. */
export const TOMBSTONES_PER_CONNECTION = 1000;

interface Tombstone {
  readonly untilMs: number;
  /** The ids that the same connection left, oldest first. */
  readonly siblings: Set<string>;
}

/**
 * The ids of sessions that are over, and whose earlier attachments may still
 * arrive: they must not start the handler. Tombstones outlive the connection
 * that left them, because the attachment may come on another one. Past
 * TOMBSTONES_PER_CONNECTION, or past `limit` for all connections together, the
 * oldest is dropped: session.proto, 4g says what is lost then.
 */
export class Tombstones {
  readonly #limit: number;
  /** In the order in which they were added. */
  readonly #tombstones = new Map<string, Tombstone>();
  readonly #perConnection = new WeakMap<object, Set<string>>();
  /** Passes each tombstone once: an iterator that begins anew steps over all holes that dropped ones left in the map. */
  readonly #inOrder = this.#tombstones.entries();
  /** What #inOrder passed last. */
  #passed: readonly [string, Tombstone] | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#tombstones.size;
  }

  has(id: string): boolean {
    return this.#tombstones.has(id);
  }

  /** Remembers that the session `id` is over, until `untilMs`. */
  add(id: string, untilMs: number, connection: object): void {
    this.#drop(id);
    let siblings = this.#perConnection.get(connection);
    if (siblings === undefined) {
      siblings = new Set();
      this.#perConnection.set(connection, siblings);
    }
    if (siblings.size >= TOMBSTONES_PER_CONNECTION) this.#drop(firstOf(siblings));
    const oldest = this.#tombstones.size >= this.#limit ? this.#oldest() : undefined;
    if (oldest !== undefined) this.#drop(oldest[0]);
    siblings.add(id);
    this.#tombstones.set(id, { untilMs, siblings });
  }

  /** Drops those whose time is over; one that is kept for longer keeps those that were added after it. */
  expire(nowMs: number): void {
    for (let oldest = this.#oldest(); oldest !== undefined; oldest = this.#oldest()) {
      const [id, { untilMs }] = oldest;
      if (untilMs >= nowMs) return;
      this.#drop(id);
    }
  }

  #oldest(): readonly [string, Tombstone] | undefined {
    if (this.#tombstones.size === 0) return undefined;
    while (this.#passed === undefined || !this.#isKept(this.#passed)) {
      this.#passed = this.#inOrder.next().value;
    }
    return this.#passed;
  }

  #isKept([id, tombstone]: readonly [string, Tombstone]): boolean {
    return this.#tombstones.get(id) === tombstone;
  }

  #drop(id: string): void {
    this.#tombstones.get(id)?.siblings.delete(id);
    this.#tombstones.delete(id);
  }
}

function firstOf(ids: Set<string>): string {
  return ids.values().next().value as string;
}
