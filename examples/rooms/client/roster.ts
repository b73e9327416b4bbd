import type { ShownEvent } from "./appearance.ts";

/** The members of a room, by its events. */
export class Roster {
  #names: Set<string> | undefined;
  /** The count of members whose names are not known. */
  #others = 0;

  /** Whether the event has news: each call begins with the members, even if they are known. */
  observe({ case: kind, value }: ShownEvent): boolean {
    if (kind === "joined") this.#names?.add(value.name);
    else if (kind === "left") {
      if (this.#names?.delete(value.name) === false) this.#others--;
    } else if (kind === "opened") {
      const before = this.#names;
      const countBefore = (before?.size ?? 0) + this.#others;
      this.#names = new Set(value.members.map(({ name }) => name));
      this.#others = value.count - this.#names.size;
      const isKnown = [...this.#names].every((name) => before?.has(name));
      return before === undefined || value.count !== countBefore || !isKnown;
    }
    return true;
  }
}
