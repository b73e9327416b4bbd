import { BlockCache } from "./block-cache.ts";
import { DynamicTable } from "./dynamic-table.ts";
import { HpackError } from "./error.ts";
import { FIELD_OVERHEAD, type FieldList } from "./field-list.ts";
import { STATIC_COUNT, STATIC_NAMES, STATIC_VALUES } from "./static-table.ts";
import { TextReader } from "./text-reader.ts";

/** The largest integer that a block may contain. */
const MAX_INTEGER = 2 ** 31 - 1;

/** How many octets an integer may have after its first one: five times seven bits. */
const MAX_CONTINUATION = 5;

/** A decoded header block. Its reader must not change it: the same object may be returned again. */
export interface DecodedBlock {
  /** The fields, in their order; those from the first one past maxListBytes on are missing. */
  readonly fields: FieldList;
  /** The size of the whole list, as SETTINGS_MAX_HEADER_LIST_SIZE counts it: name, value and 32 of each field. */
  readonly listBytes: number;
  /** Whether listBytes is over maxListBytes. */
  readonly isTooLarge: boolean;
  /** What the caller found out about the fields. It is here again when the block is repeated. */
  note: object | undefined;
}

/** Decodes the header blocks of one direction of a connection, in their order (RFC 7541). */
export class HpackDecoder {
  readonly #maxListBytes: number;
  readonly #table: DynamicTable;
  readonly #cache = new BlockCache<DecodedBlock>();
  readonly #texts = new TextReader();
  /** Our SETTINGS_HEADER_TABLE_SIZE. */
  readonly #tableBytes: number;
  /** Where the block is read. */
  #at = 0;

  /**
   * @param options.tableBytes our SETTINGS_HEADER_TABLE_SIZE, which does not change. Unless it is 4,096, the peer must know
   * it before its first block.
   * @param options.maxListBytes our SETTINGS_MAX_HEADER_LIST_SIZE
   */
  constructor(options: { readonly tableBytes: number; readonly maxListBytes: number }) {
    this.#maxListBytes = options.maxListBytes;
    this.#tableBytes = options.tableBytes;
    this.#table = new DynamicTable(options.tableBytes);
  }

  /**
   * Decodes one whole header block: that of HEADERS and its CONTINUATIONs. Throws an HpackError if it is not valid; then
   * the state is lost and the connection must end. A list over maxListBytes is decoded to its end, for the table's sake,
   * but not kept.
   *
   * A repeated block whose fields are all indexed gives the same object again while the table does not change, and so does
   * one with literal fields that stay out of the table, from its third time on.
   */
  decode(bytes: Uint8Array, start: number, end: number): DecodedBlock {
    const cached = this.#cache.find(bytes, start, end);
    if (cached !== undefined) return cached;
    this.#at = start;
    this.#readSizeUpdates(bytes, end);
    this.#texts.most = Math.max(this.#maxListBytes, this.#table.maxBytes);
    const fields: string[] = [];
    let listBytes = 0;
    // With indexed fields alone, the block will come again; with literal ones that stay out of the table, it may.
    let isIndexed = this.#at === start;
    let isRepeatable = isIndexed;
    while (this.#at < end) {
      const first = bytes[this.#at] as number;
      let name: string;
      let value: string;
      let size: number;
      if (first >= 0x80) {
        const index = this.#integer(bytes, end, 0x7f);
        if (index > STATIC_COUNT) {
          const position = this.#positionOf(index);
          name = this.#table.nameAt(position);
          value = this.#table.valueAt(position);
        } else {
          if (index === 0) throw new HpackError("HPACK: a field has the index 0 (RFC 7541, 6.1)");
          name = STATIC_NAMES[index] as string;
          value = STATIC_VALUES[index] as string;
        }
        size = name.length + value.length + FIELD_OVERHEAD;
      } else {
        if (first >= 0x20 && first < 0x40) throw misplacedUpdate();
        isIndexed = false;
        // A field that is never indexed has a secret: it is not kept here either.
        if (first >= 0x10) isRepeatable = false;
        const index = this.#integer(bytes, end, first >= 0x40 ? 0x3f : 0x0f);
        name = index === 0 ? this.#text(bytes, end) : this.#nameAt(index);
        size = FIELD_OVERHEAD + (index === 0 ? this.#texts.length : name.length);
        value = this.#text(bytes, end);
        size += this.#texts.length;
        if (first >= 0x40) this.#addToTable([name, value], size);
      }
      listBytes += size;
      if (listBytes <= this.#maxListBytes) fields.push(name, value);
    }
    const isTooLarge = listBytes > this.#maxListBytes;
    const block: DecodedBlock = { fields, listBytes, isTooLarge, note: undefined };
    if (isIndexed || (isRepeatable && this.#cache.isSeenAgain(bytes, start, end))) {
      this.#cache.keep(bytes.subarray(start, end), block);
    }
    return block;
  }

  #readSizeUpdates(bytes: Uint8Array, end: number): void {
    while (this.#at < end) {
      const first = bytes[this.#at] as number;
      if (first < 0x20 || first >= 0x40) break;
      const size = this.#integer(bytes, end, 0x1f);
      if (size > this.#tableBytes) {
        throw new HpackError(
          `HPACK: the update of the table's size to ${size} is over SETTINGS_HEADER_TABLE_SIZE, ${this.#tableBytes}`,
        );
      }
      this.#table.setMaxBytes(size);
      this.#cache.clear();
    }
  }

  #addToTable([name, value]: readonly [string, string], size: number): void {
    this.#cache.clear();
    if (size > this.#table.maxBytes) this.#table.clear();
    else this.#table.add(name, value);
  }

  #nameAt(index: number): string {
    if (index <= STATIC_COUNT) return STATIC_NAMES[index] as string;
    return this.#table.nameAt(this.#positionOf(index));
  }

  /** Returns the position in the dynamic table of what has this index. */
  #positionOf(index: number): number {
    const position = index - STATIC_COUNT - 1;
    if (position < this.#table.count) return position;
    const last = STATIC_COUNT + this.#table.count;
    throw new HpackError(
      `HPACK: the index ${index} is beyond the tables, whose last one is ${last}`,
    );
  }

  /** Reads an integer whose prefix has the bits of `mask` (RFC 7541, 5.1). There must be an octet to read. */
  #integer(bytes: Uint8Array, end: number, mask: number): number {
    let value = (bytes[this.#at++] as number) & mask;
    if (value < mask) return value;
    for (let count = 0, weight = 1; count < MAX_CONTINUATION; count++, weight *= 128) {
      if (this.#at >= end) throw cutOff("an integer");
      const octet = bytes[this.#at++] as number;
      value += (octet & 0x7f) * weight;
      if (octet >= 0x80) continue;
      if (value <= MAX_INTEGER) return value;
      break;
    }
    throw new HpackError(
      `HPACK: an integer is over ${MAX_INTEGER}, or has more than ${MAX_CONTINUATION} octets after its first one`,
    );
  }

  /** Reads a string (RFC 7541, 5.2). One that neither the list nor the table can hold is empty; see #texts.length. */
  #text(bytes: Uint8Array, end: number): string {
    if (this.#at >= end) throw cutOff("a string");
    const isHuffman = (bytes[this.#at] as number) >= 0x80;
    const length = this.#integer(bytes, end, 0x7f);
    const start = this.#at;
    if (length > end - start) throw cutOff("a string");
    this.#at = start + length;
    if (isHuffman) return this.#texts.huffman(bytes, start, this.#at);
    return this.#texts.plain(bytes, start, this.#at);
  }
}

function cutOff(what: string): HpackError {
  return new HpackError(`HPACK: the block ends within ${what}`);
}

function misplacedUpdate(): HpackError {
  return new HpackError(
    "HPACK: an update of the table's size comes after a field, but only the beginning of a block may have one (RFC 7541, 4.2)",
  );
}
