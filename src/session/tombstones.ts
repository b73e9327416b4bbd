/** The most tombstones of the sessions of one connection. A server has at least as many, however few sessions it keeps. */
export const TOMBSTONES_PER_CONNECTION = 1000;

interface Tombstone {
  readonly untilMs: number;
  /** The ids of all tombstones of the same connection, oldest first. */
  readonly siblings: Set<string>;
}

/**
 * The ids of sessions that have ended, and whose earlier attachments may still
 * arrive: those must not start the handler again. A tombstone outlives its
 * connection, because the attachment may arrive on another one. Above
 * TOMBSTONES_PER_CONNECTION, or above `limit` for all connections together, the
 * oldest is dropped: session.proto, 4g, has the consequence.
 */
export class Tombstones {
  readonly #limit: number;
  /** In the order in which they were added. */
  readonly #tombstones = new Map<string, Tombstone>();
  readonly #perConnection = new WeakMap<object, Set<string>>();
  /** Visits each tombstone once: a new iterator would step over the holes of all dropped ones in the map. */
  readonly #inOrder = this.#tombstones.entries();
  /** The tombstone that #inOrder visited last. */
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

  /** Remembers until `untilMs` that the session `id` has ended. */
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

  /** Drops the oldest tombstones until one is still valid; later ones stay, even if they are no longer valid. */
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
