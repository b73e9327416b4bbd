/** An encoder that makes any choice that RFC 7541 allows, with the simplest model of the tables. */

import { HpackEncoder } from "../../src/http2/hpack/encoder.ts";
import { STATIC_NAMES, STATIC_VALUES } from "../../src/http2/hpack/static-table.ts";
import { indexed, integer, sizeUpdate, text } from "./hpack-octets.ts";

export type Field = readonly [name: string, value: string];

export type Choice =
  | { readonly kind: "indexed"; readonly at: number }
  | {
      readonly kind: "incremental" | "without" | "never";
      /** Which entry's name is referenced. */
      readonly at: number | undefined;
      readonly name: string;
      readonly value: string;
      readonly isHuffman: boolean;
    };

interface Written {
  readonly octets: readonly number[];
  readonly field: Field;
}

const FIXED: readonly Field[] = STATIC_NAMES.map(
  (name, at): Field => [name, STATIC_VALUES[at] as string],
).slice(1);

const PATTERNS = {
  incremental: { pattern: 0x40, prefixBits: 6 },
  without: { pattern: 0x00, prefixBits: 4 },
  never: { pattern: 0x10, prefixBits: 4 },
};

export class WildEncoder {
  /** The newest entry first. */
  #entries: Field[] = [];
  #maxBytes = 4096;

  update(bytes: number): number[] {
    this.#maxBytes = bytes;
    this.#evict();
    return sizeUpdate(bytes);
  }

  write(choice: Choice): Written {
    if (choice.kind === "indexed") {
      const { index, field } = this.#select(choice.at);
      return { octets: indexed(index), field };
    }
    const named = choice.at === undefined ? undefined : this.#select(choice.at);
    const field: Field = [named?.field[0] ?? choice.name, choice.value];
    const { pattern, prefixBits } = PATTERNS[choice.kind];
    const coded = choice.isHuffman ? shortest : text;
    const octets = [
      ...integer(pattern, prefixBits, named?.index ?? 0),
      ...(named === undefined ? coded(field[0]) : []),
      ...coded(field[1]),
    ];
    if (choice.kind === "incremental") {
      this.#entries.unshift(field);
      this.#evict();
    }
    return { octets, field };
  }

  /** Every entry of the dynamic table, by its index. */
  indexes(): Written[] {
    return this.#entries.map((field, at) => ({ octets: indexed(FIXED.length + 1 + at), field }));
  }

  #select(at: number): { index: number; field: Field } {
    // Every other time, one of the dynamic table.
    const first = at % 2 === 0 && this.#entries.length > 0 ? FIXED.length : 0;
    const all = [...FIXED, ...this.#entries];
    const position = first + (Math.floor(at / 2) % (all.length - first));
    return { index: position + 1, field: all[position] as Field };
  }

  #evict(): void {
    const sizeOf = ([name, value]: Field) => name.length + value.length + 32;
    while (this.#entries.reduce((sum, one) => sum + sizeOf(one), 0) > this.#maxBytes) {
      this.#entries.pop();
    }
  }
}

/** A string with the Huffman code where that is shorter. */
function shortest(value: string): number[] {
  const block = new HpackEncoder({ maxTableBytes: 0 }).encode(["ZZ", value]);
  return Array.from(block.subarray(4));
}
