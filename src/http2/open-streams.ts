import type { Stream } from "./stream.ts";

/** The number of slots at first. A power of two, as every number of slots. */
const FIRST_SLOTS = 4;

/** The table does not shrink below this number of slots: the number of streams may rise and fall all the time. */
const KEPT_SLOTS = 256;

/**
 * The open streams of a connection, by id. A hash table with linear probing, at most half full. It is not a Map, because V8
 * would keep streams that were removed from one: the old tables of a Map that has grown or shrunk link to the newer ones
 * and keep their entries, until a major garbage collection.
 */
export class OpenStreams {
  #slots: (Stream | undefined)[] = emptySlots(FIRST_SLOTS);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): Stream | undefined {
    return this.#slots[this.#slotOf(id)];
  }

  /** Adds a stream whose id is not here. */
  add(stream: Stream): void {
    if ((this.#size + 1) * 2 > this.#slots.length) this.#resize(this.#slots.length * 2);
    this.#slots[this.#slotOf(stream.id)] = stream;
    this.#size++;
  }

  delete(id: number): void {
    const slots = this.#slots;
    let free = this.#slotOf(id);
    if (slots[free] === undefined) return;
    this.#size--;
    // Those that follow without a gap, and are not in their first place, move up.
    const mask = slots.length - 1;
    for (let at = (free + 1) & mask; slots[at] !== undefined; at = (at + 1) & mask) {
      const stream = slots[at] as Stream;
      const distance = (at - firstSlot(stream.id, mask)) & mask;
      if (distance < ((at - free) & mask)) continue;
      slots[free] = stream;
      free = at;
    }
    slots[free] = undefined;
    if (slots.length > KEPT_SLOTS && this.#size * 8 < slots.length) this.#resize(slots.length / 2);
  }

  /** All streams, in the order of their ids. */
  all(): Stream[] {
    const streams = this.#slots.filter((stream) => stream !== undefined);
    return streams.sort((one, other) => one.id - other.id);
  }

  /** The slot of the stream with this id, or the free slot where it belongs. */
  #slotOf(id: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let at = firstSlot(id, mask);
    for (let stream = slots[at]; stream !== undefined && stream.id !== id; stream = slots[at]) {
      at = (at + 1) & mask;
    }
    return at;
  }

  #resize(length: number): void {
    const before = this.#slots;
    this.#slots = emptySlots(length);
    for (const stream of before)
      if (stream !== undefined) this.#slots[this.#slotOf(stream.id)] = stream;
  }
}

/** The ids of a side are odd, and grow: so they fill the slots one after the other. */
function firstSlot(id: number, mask: number): number {
  return (id >>> 1) & mask;
}

function emptySlots(length: number): (Stream | undefined)[] {
  return new Array<Stream | undefined>(length).fill(undefined);
}
