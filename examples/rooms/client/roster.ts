import type { RoomEvent } from "./appearance.ts";

/** Who is in a room, as its events tell. */
export class Roster {
  #names: Set<string> | undefined;
  /** How many are there whose names are not known. */
  #others = 0;

  /** Whether the event tells anything new: each call begins with who is there, also where that is known. */
  observe({ case: kind, value }: RoomEvent): boolean {
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
