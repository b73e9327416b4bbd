import { BlockWriter } from "./block-writer.ts";
import { EncoderTable } from "./encoder-table.ts";
import type { FieldList } from "./field-list.ts";
import { isGuessable, kindOf } from "./field-policy.ts";

/** What SETTINGS_HEADER_TABLE_SIZE is until the peer says otherwise. */
const DEFAULT_TABLE_BYTES = 4096;

/** How many blocks of fixed fields an encoder keeps. They are looked for one by one. */
const FIXED_BLOCKS = 32;

const NONE: FieldList = [];

interface FixedBlock {
  readonly fields: FieldList;
  octets: string;
  /** The EncoderTable.version for which it is right. */
  version: number;
}

/** Shared by all encoders: a block is copied before another one is encoded. Idle connections so have no buffer. */
const block = new BlockWriter();

/** Encodes the header blocks of one direction of a connection, in their order (RFC 7541). */
export class HpackEncoder {
  readonly #maxTableBytes: number;
  readonly #table: EncoderTable;
  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  #peerTableBytes = DEFAULT_TABLE_BYTES;
  /** The smallest one since the last block. */
  #smallestTableBytes = Infinity;
  /** The blocks of fixed fields; undefined until there is one. */
  #fixed: FixedBlock[] | undefined;
  /** The size of the table in the peer's decoder, which only size updates change. */
  #decoderTableBytes = DEFAULT_TABLE_BYTES;

  /**
   * @param options.maxTableBytes the most that the encoder uses of the peer's table, whatever the peer allows; 4,096 by
   * default. 0: no dynamic table, the smallest correct encoder.
   */
  constructor(options: { readonly maxTableBytes?: number } = {}) {
    this.#maxTableBytes = options.maxTableBytes ?? DEFAULT_TABLE_BYTES;
    this.#table = new EncoderTable(Math.min(this.#maxTableBytes, DEFAULT_TABLE_BYTES));
  }

  /**
   * Returns the header block of a list whose names are in lower case. It is a view of a buffer that the next call of
   * encode(), of any encoder, uses again: copy or write it before. The blocks must be sent in the order of the calls, each of them. Throws
   * a RangeError if a character of a field is not a byte (above U+00FF); the encoder may be used again then.
   *
   * @param fixed fields before those; the same array always has the same fields. They are encoded once for as long as the
   * table does not change
   */
  encode(fields: FieldList, fixed: FieldList = NONE): Uint8Array {
    block.begin();
    try {
      const decoderTableBytes = this.#writeSizeUpdates();
      if (fixed.length > 0) this.#writeFixed(fixed);
      this.#writeAll(fields, fixed.length >> 1);
      this.#decoderTableBytes = decoderTableBytes;
      this.#smallestTableBytes = Infinity;
    } catch (error) {
      // The peer never gets the entries of this block.
      this.#table.forget();
      throw error;
    }
    return block.written();
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE: the next block begins with the size updates that it needs (RFC 7541, 4.2). */
  setPeerTableBytes(bytes: number): void {
    this.#peerTableBytes = bytes;
    this.#smallestTableBytes = Math.min(this.#smallestTableBytes, bytes);
    this.#table.setMaxBytes(Math.min(bytes, this.#maxTableBytes));
  }

  /** Returns the size that the table has after the updates. */
  #writeSizeUpdates(): number {
    let size = this.#decoderTableBytes;
    if (this.#smallestTableBytes < size) {
      size = Math.min(this.#smallestTableBytes, this.#maxTableBytes);
      block.integer(0x20, 0x1f, size);
    }
    const allowed = Math.min(this.#peerTableBytes, this.#maxTableBytes);
    if (allowed <= size) return size;
    block.integer(0x20, 0x1f, allowed);
    return allowed;
  }

  #writeFixed(fields: FieldList): void {
    const table = this.#table;
    const kept = this.#keptBlock(fields);
    if (kept !== undefined && kept.version === table.version) {
      block.octets(kept.octets);
      return;
    }
    const start = block.length;
    const { version, changes } = table;
    this.#writeAll(fields, 0);
    // Unless the next block of these fields is the same.
    if (table.changes !== changes) return;
    const octets = block.textFrom(start);
    if (kept !== undefined) Object.assign(kept, { octets, version });
    else if (this.#fixed === undefined || this.#fixed.length === FIXED_BLOCKS) {
      this.#fixed = [{ fields, octets, version }];
    } else this.#fixed.push({ fields, octets, version });
  }

  #keptBlock(fields: FieldList): FixedBlock | undefined {
    const all = this.#fixed;
    if (all === undefined) return undefined;
    for (const kept of all) if (kept.fields === fields) return kept;
    return undefined;
  }

  /** @param position of the first one in its list */
  #writeAll(fields: FieldList, position: number): void {
    for (let at = 0; at < fields.length; at += 2) {
      this.#write(fields[at] as string, fields[at + 1] as string, position + (at >> 1));
    }
  }

  #write(name: string, value: string, position: number): void {
    const known = this.#table.nameOf(name, position);
    const index = known === undefined ? 0 : this.#table.indexOf(known, value);
    if (index > 0) {
      block.integer(0x80, 0x7f, index);
      return;
    }
    const nameIndex = known === undefined ? 0 : this.#table.indexOfName(known);
    const isSecret = isGuessable(value) && (known?.kind ?? kindOf(name)) === "secret";
    if (isSecret) block.integer(0x10, 0x0f, nameIndex);
    else if (this.#table.admit(name, value, known)) block.integer(0x40, 0x3f, nameIndex);
    else block.integer(0, 0x0f, nameIndex);
    if (nameIndex === 0) block.string(name);
    block.string(value);
  }
}
