import type { ShownEvent } from "./event-line.ts";

/** The members of a room, by its events. */
export class Roster {
  /** The names that are known: those of a crowded room are not all sent. */
  #names: Set<string> | undefined;
  #count = 0;

  /** The names that are known, sorted. */
  get names(): readonly string[] {
    return [...(this.#names ?? [])].sort();
  }

  /** How many members are in the room. */
  get count(): number {
    return this.#count;
  }

  /**
   * Records the event. Returns whether it tells anything new: after a reconnection, the first event
   * repeats the members.
   */
  observe({ case: kind, value }: ShownEvent): boolean {
    if (kind === "membersChanged") {
      for (const { name } of value.joined) this.#names?.add(name);
      for (const { name } of value.left) this.#names?.delete(name);
      this.#count = value.count;
    } else if (kind === "opened") {
      const [previous, previousCount] = [this.#names, this.#count];
      this.#names = new Set(value.members.map(({ name }) => name));
      this.#count = value.count;
      const isKnown = [...this.#names].every((name) => previous?.has(name));
      return previous === undefined || value.count !== previousCount || !isKnown;
    }
    return true;
  }
}
