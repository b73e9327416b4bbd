/** A slot of a ring: a record with the value that subscribers get, or a note between records. */
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
  /** The note's number, from 1, among those that are not fleeting. 0 if it is fleeting. */
  readonly number: number;
  readonly value: N;
}

/** True for a note that a subscriber may miss without being told. */
export function isFleeting(note: NoteSlot<unknown>): boolean {
  return note.number === 0;
}

/**
 * The approximate number of bytes per record in addition to its data: the value that is made of it,
 * its cursor, its slot.
 */
const SLOT_BYTES = 512;

/** Dropped slots stay at the front of the array until there are this many. Then they are removed together. */
const SLACK = 1024;

/**
 * The newest records of a topic, which its subscribers share. The indexes of slots only grow, so
 * that a subscriber's place in the ring is one index. Past a limit the oldest slots are dropped.
 */
export class Ring<T, N> {
  readonly #maxRecords: number;
  readonly #maxBytes: number;
  readonly #slots: (Slot<T, N> | undefined)[] = [];
  readonly #sizes: number[] = [];
  /** The index of the first slot in #slots. */
  #base = 0;
  #oldest = 0;
  #next = 0;
  #bytes = 0;
  #completeAfter: number;

  /** @param completeAfter the position before the first record */
  constructor(completeAfter: number, maxRecords: number, maxBytes: number) {
    this.#completeAfter = completeAfter;
    this.#maxRecords = maxRecords;
    this.#maxBytes = maxBytes;
  }

  /** The index of the oldest slot. */
  get oldest(): number {
    return this.#oldest;
  }

  /** The index that the next slot will have. */
  get next(): number {
    return this.#next;
  }

  /** The ring has every record after this position, up to the newest. */
  get completeAfter(): number {
    return this.#completeAfter;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Adds a slot. Returns the number of bytes that it counts for. */
  push(slot: Slot<T, N>, dataBytes: number): number {
    const bytes = dataBytes + SLOT_BYTES;
    this.#slots.push(slot);
    this.#sizes.push(bytes);
    this.#next++;
    this.#bytes += bytes;
    while (this.#next - this.#oldest > this.#maxRecords || this.#bytes > this.#maxBytes)
      this.#drop();
    return bytes;
  }

  at(index: number): Slot<T, N> {
    return this.#slots[index - this.#base] as Slot<T, N>;
  }

  /** Returns the index of the first slot after a position. */
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

  /** Drops all slots. The next record must come after this position. */
  clear(completeAfter: number): void {
    this.#slots.length = 0;
    this.#sizes.length = 0;
    this.#base = this.#next;
    this.#oldest = this.#next;
    this.#bytes = 0;
    this.#completeAfter = completeAfter;
  }

  #drop(): void {
    const at = this.#oldest - this.#base;
    this.#completeAfter = (this.#slots[at] as Slot<T, N>).position;
    this.#bytes -= this.#sizes[at] as number;
    this.#slots[at] = undefined;
    this.#oldest++;
    if (at + 1 < SLACK) return;
    this.#slots.splice(0, at + 1);
    this.#sizes.splice(0, at + 1);
    this.#base = this.#oldest;
  }
}
