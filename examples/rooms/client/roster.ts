import type { ShownEvent } from "./appearance.ts";

/** The members of a room, by its events. */
export class Roster {
  #names: Set<string> | undefined;
  /** The count of members whose names are not known. */
  #others = 0;

  /**
   * Records the event. Returns whether it tells anything new: after a reconnection, the first event
   * repeats the members.
   */
  observe({ case: kind, value }: ShownEvent): boolean {
    if (kind === "joined") this.#names?.add(value.name);
    else if (kind === "left") {
      if (this.#names?.delete(value.name) === false) this.#others--;
    } else if (kind === "opened") {
      const previous = this.#names;
      const previousCount = (previous?.size ?? 0) + this.#others;
      this.#names = new Set(value.members.map(({ name }) => name));
      this.#others = value.count - this.#names.size;
      const isKnown = [...this.#names].every((name) => previous?.has(name));
      return previous === undefined || value.count !== previousCount || !isKnown;
    }
    return true;
  }
}
