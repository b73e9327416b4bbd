/** What a ring holds of a topic: a record as it goes to subscribers, or a note between records. */
export type Slot<T, N> = RecordSlot<T> | NoteSlot<N>;

export interface RecordSlot<T> {
  readonly kind: "record";
  readonly position: number;
  readonly cursor: string;
  readonly value: T;
}

export interface NoteSlot<N> {
  readonly kind: "note";
  /** The position of the record before the note. */
  readonly position: number;
  /**
   * How many notes there were, with this one; 0: the note is fleeting, and a subscriber need not
   * learn that it missed it.
   */
  readonly number: number;
  readonly value: N;
}

/** About how many bytes a record takes beside its data: the value that is made of it, its cursor, its slot. */
const SLOT_BYTES = 512;

/** How many dropped slots may be at the front of the array before the others move there. */
const SLACK = 1024;

/**
 * The newest records of a topic, which its subscribers share. Slots have
 * indexes that only grow, so that each subscriber is an index; the oldest go
 * when there are too many.
 */
export class Ring<T, N> {
  readonly #records: number;
  readonly #maxBytes: number;
  readonly #slots: (Slot<T, N> | undefined)[] = [];
  readonly #sizes: number[] = [];
  /** The index of the slot that is first in #slots. */
  #base = 0;
  #oldest = 0;
  #next = 0;
  #bytes = 0;
  #from: number;

  /** @param from the position before the first record that comes */
  constructor(from: number, records: number, bytes: number) {
    this.#from = from;
    this.#records = records;
    this.#maxBytes = bytes;
  }

  /** The index of the oldest slot. */
  get oldest(): number {
    return this.#oldest;
  }

  /** The index of the slot that comes next. */
  get next(): number {
    return this.#next;
  }

  /** The ring has every record after this position, up to the newest that came. */
  get from(): number {
    return this.#from;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Adds a slot; gives the bytes that it counts for. */
  push(slot: Slot<T, N>, dataBytes: number): number {
    const bytes = dataBytes + SLOT_BYTES;
    this.#slots.push(slot);
    this.#sizes.push(bytes);
    this.#next++;
    this.#bytes += bytes;
    while (this.#next - this.#oldest > this.#records || this.#bytes > this.#maxBytes) this.#drop();
    return bytes;
  }

  at(index: number): Slot<T, N> {
    return this.#slots[index - this.#base] as Slot<T, N>;
  }

  /** The index of the first slot after a position. */
  indexAfter(position: number): number {
    let low = this.#oldest;
    let high = this.#next;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.at(middle).position > position) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Drops all slots; the next record comes after this position. */
  clear(from: number): void {
    this.#slots.length = 0;
    this.#sizes.length = 0;
    this.#base = this.#next;
    this.#oldest = this.#next;
    this.#bytes = 0;
    this.#from = from;
  }

  #drop(): void {
    const at = this.#oldest - this.#base;
    this.#from = (this.#slots[at] as Slot<T, N>).position;
    this.#bytes -= this.#sizes[at] as number;
    this.#slots[at] = undefined;
    this.#oldest++;
    if (at + 1 < SLACK) return;
    this.#slots.splice(0, at + 1);
    this.#sizes.splice(0, at + 1);
    this.#base = this.#oldest;
  }
}
