import type { FieldList } from "./field-list.ts";
import { hashBytes, slotOf } from "./hash.ts";

/** How many blocks a cache holds. A power of two. */
const SLOTS = 64;

/** The longest block that is kept: a cache holds at most 8 KiB of them. */
const MAX_BLOCK = 128;

/** The most fields of a kept block, since an octet may stand for a whole field. */
const MAX_FIELDS = 32;

interface Cached<Block> {
  readonly octets: Uint8Array;
  readonly block: Block;
}

/**
 * Decoded blocks by their octets. They mean the same only while the dynamic table is the same: what changes the table
 * calls clear().
 */
export class BlockCache<Block extends { readonly fields: FieldList }> {
  /** A block has one slot that it may be in, by its hash. */
  #slots: (Cached<Block> | undefined)[] | undefined;
  /** By slot, the hash of a block that was seen once. */
  #seen: Int32Array | undefined;

  find(bytes: Uint8Array, start: number, end: number): Block | undefined {
    if (this.#slots === undefined || end - start > MAX_BLOCK) return undefined;
    const cached = this.#slots[slotOf(hashBytes(bytes, start, end), SLOTS)];
    if (cached === undefined || cached.octets.length !== end - start) return undefined;
    const { octets } = cached;
    for (let at = 0; at < octets.length; at++) {
      if (octets[at] !== bytes[start + at]) return undefined;
    }
    return cached.block;
  }

  /** Keeps a block, in place of another one that has the same slot. */
  keep(octets: Uint8Array, block: Block): void {
    if (octets.length > MAX_BLOCK || block.fields.length > MAX_FIELDS * 2) return;
    this.#slots ??= new Array(SLOTS).fill(undefined);
    // Not slice(): that of a Buffer is a view.
    const copy = new Uint8Array(octets);
    this.#slots[slotOf(hashBytes(copy, 0, copy.length), SLOTS)] = { octets: copy, block };
  }

  /**
   * Whether this is the last block with its slot that was asked about. Blocks with literal values are kept only then,
   * since most of them never come again.
   */
  isSeenAgain(bytes: Uint8Array, start: number, end: number): boolean {
    if (end - start > MAX_BLOCK) return false;
    const hash = hashBytes(bytes, start, end);
    const slot = slotOf(hash, SLOTS);
    this.#seen ??= new Int32Array(SLOTS);
    if (this.#seen[slot] === hash) return true;
    this.#seen[slot] = hash;
    return false;
  }

  clear(): void {
    this.#slots = undefined;
  }
}
