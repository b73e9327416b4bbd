import type { RoomEvent } from "./appearance.ts";

/** Who is in a room, as its events tell. */
export class Roster {
  #names: Set<string> | undefined;

  /** Whether the event tells anything new: each call begins with who is there, also where that is known. */
  observe({ case: kind, value }: RoomEvent): boolean {
    if (kind === "joined") this.#names?.add(value.name);
    else if (kind === "left") this.#names?.delete(value.name);
    else if (kind === "opened") {
      const before = this.#names;
      this.#names = new Set(value.members.map(({ name }) => name));
      return before === undefined || !isSame(before, this.#names);
    }
    return true;
  }
}

function isSame(some: ReadonlySet<string>, others: ReadonlySet<string>): boolean {
  return some.size === others.size && [...some].every((one) => others.has(one));
}
