/** A peer whose SETTINGS_HEADER_TABLE_SIZE changes, for the tests of the encoder. */
import { expect } from "vitest";
import { type DecodedBlock, HpackDecoder } from "../../src/http2/hpack/decoder.ts";
import { sizeUpdate } from "./hpack-octets.ts";

const INITIAL_BYTES = 4096;

/** Decodes with a table of the size that the encoder chose, and checks the encoder's choices (RFC 7541, 4.2 and 6.3). */
export class PeerDecoder {
  readonly #decoder = new HpackDecoder({ tableBytes: 2 ** 31 - 1, maxListBytes: 1_000_000 });
  #settingBytes = INITIAL_BYTES;
  #chosenBytes = INITIAL_BYTES;
  /** The smallest of the settings that came since the last block. */
  #leastBytes = Number.POSITIVE_INFINITY;

  constructor() {
    const update = Uint8Array.from(sizeUpdate(INITIAL_BYTES));
    this.#decoder.decode(update, 0, update.length);
  }

  /** The encoder has learned of a new setting. */
  setTableBytes(bytes: number): void {
    this.#settingBytes = bytes;
    this.#leastBytes = Math.min(this.#leastBytes, bytes);
  }

  decode(block: Uint8Array): DecodedBlock {
    const updates = updatesOf(block);
    if (block.length > 0) {
      const first = updates[0] ?? this.#chosenBytes;
      if (this.#leastBytes < this.#chosenBytes) expect(first).toBeLessThanOrEqual(this.#leastBytes);
      this.#chosenBytes = updates.at(-1) ?? this.#chosenBytes;
      expect(this.#chosenBytes).toBeLessThanOrEqual(this.#settingBytes);
      this.#leastBytes = Number.POSITIVE_INFINITY;
    }
    return this.#decoder.decode(block, 0, block.length);
  }
}

/** The updates of the table's size with which a block begins. */
function updatesOf(block: Uint8Array): number[] {
  const updates: number[] = [];
  for (let at = 0; at < block.length && ((block[at] as number) & 0xe0) === 0x20; ) {
    let value = (block[at++] as number) & 0x1f;
    if (value === 0x1f) {
      let octet: number;
      let weight = 1;
      do {
        octet = block[at++] as number;
        value += (octet & 0x7f) * weight;
        weight *= 128;
      } while (octet >= 0x80);
    }
    updates.push(value);
  }
  return updates;
}
