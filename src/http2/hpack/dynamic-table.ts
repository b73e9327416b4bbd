import { FIELD_OVERHEAD } from "./field-list.ts";

/** How many entries there is capacity for at first. A power of two, as each later capacity. */
const FIRST_CAPACITY = 4;

/** The decoder's dynamic table (RFC 7541, 2.3.2): first in, first out, in a ring. Positions count from the newest entry, 0. */
export class DynamicTable {
  /** Name and value of each entry in turn. */
  #ring: string[] = [];
  /** The capacity in entries, less one. */
  #mask = -1;
  /** How many entries were ever added. */
  #added = 0;
  #count = 0;
  #bytes = 0;
  #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get count(): number {
    return this.#count;
  }

  get maxBytes(): number {
    return this.#maxBytes;
  }

  /** Evicts the oldest entries until the others fit. */
  setMaxBytes(bytes: number): void {
    this.#maxBytes = bytes;
    this.#evictTo(bytes);
  }

  nameAt(position: number): string {
    return this.#ring[((this.#added - 1 - position) & this.#mask) * 2] as string;
  }

  valueAt(position: number): string {
    return this.#ring[((this.#added - 1 - position) & this.#mask) * 2 + 1] as string;
  }

  /** Adds an entry, which must be within maxBytes. It evicts the oldest entries first. */
  add(name: string, value: string): void {
    const size = name.length + value.length + FIELD_OVERHEAD;
    this.#evictTo(this.#maxBytes - size);
    if (this.#count > this.#mask) this.#grow();
    const at = (this.#added & this.#mask) * 2;
    this.#ring[at] = name;
    this.#ring[at + 1] = value;
    this.#added++;
    this.#count++;
    this.#bytes += size;
  }

  clear(): void {
    this.#evictTo(0);
  }

  #evictTo(bytes: number): void {
    while (this.#bytes > bytes) {
      const at = ((this.#added - this.#count) & this.#mask) * 2;
      const [name, value] = [this.#ring[at] as string, this.#ring[at + 1] as string];
      this.#bytes -= name.length + value.length + FIELD_OVERHEAD;
      this.#ring[at] = this.#ring[at + 1] = "";
      this.#count--;
    }
  }

  #grow(): void {
    const capacity = Math.max(this.#count * 2, FIRST_CAPACITY);
    const grown = new Array<string>(capacity * 2).fill("");
    for (let position = this.#count - 1, at = 0; position >= 0; position--) {
      grown[at++] = this.nameAt(position);
      grown[at++] = this.valueAt(position);
    }
    this.#ring = grown;
    this.#mask = capacity - 1;
    this.#added = this.#count;
  }
}
