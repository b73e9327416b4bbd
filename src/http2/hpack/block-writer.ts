import { CODE_BITS, CODES } from "./huffman-code.ts";

/** The size of a new buffer: most blocks fit. */
const FIRST_BYTES = 256;

/** A larger buffer than this is dropped at the next block, so that one large block does not cost memory for ever. */
const KEPT_BYTES = 4096;

/** Up to this length the array that written() returns is kept for the next block of the same length. */
const KEPT_LENGTH = 255;

/** The most octets that an integer has. */
const INTEGER_BYTES = 6;

/** Writes the integers and strings of header blocks (RFC 7541, 5). Each block is written to the same buffer. */
export class BlockWriter {
  #bytes = new Uint8Array(0);
  #at = 0;
  /** Parts of the buffer from its start, by their length. */
  #blocks: Uint8Array[] = [];

  /** Begins a block. What written() returned is not valid any more. */
  begin(): void {
    this.#at = 0;
    if (this.#bytes.length > KEPT_BYTES) this.#use(new Uint8Array(0));
  }

  written(): Uint8Array {
    const length = this.#at;
    if (length > KEPT_LENGTH) return this.#bytes.subarray(0, length);
    this.#blocks[length] ??= this.#bytes.subarray(0, length);
    return this.#blocks[length];
  }

  get length(): number {
    return this.#at;
  }

  /** Returns what was written from `start` on, a character for each octet: an array would take several times the memory. */
  textFrom(start: number): string {
    let text = "";
    for (let at = start; at < this.#at; at++)
      text += String.fromCharCode(this.#bytes[at] as number);
    return text;
  }

  /** Writes octets of a block as they are: what textFrom() returned. */
  octets(text: string): void {
    const { length } = text;
    if (this.#at + length > this.#bytes.length) this.#grow(length);
    const bytes = this.#bytes;
    for (let from = 0, at = this.#at; from < length; from++, at++)
      bytes[at] = text.charCodeAt(from);
    this.#at += length;
  }

  /** Writes an integer whose prefix has the bits of `mask`, after the bits of `pattern`. */
  integer(pattern: number, mask: number, value: number): void {
    if (this.#at + INTEGER_BYTES > this.#bytes.length) this.#grow(INTEGER_BYTES);
    if (value < mask) {
      this.#bytes[this.#at++] = pattern | value;
      return;
    }
    this.#bytes[this.#at++] = pattern | mask;
    let rest = value - mask;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
      this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
    }
    this.#bytes[this.#at++] = rest;
  }

  /** Writes a string, in the Huffman code if that is shorter. Throws a RangeError if a character is not a byte. */
  string(text: string): void {
    let bits = 0;
    let characters = 0;
    for (let at = 0; at < text.length; at++) {
      const character = text.charCodeAt(at);
      characters |= character;
      bits += CODE_BITS[character & 0xff] as number;
    }
    if (characters > 0xff) {
      throw new RangeError(`HPACK: ${named(text)} has a character above U+00FF`);
    }
    const huffmanLength = Math.ceil(bits / 8);
    const isHuffman = huffmanLength < text.length;
    const length = isHuffman ? huffmanLength : text.length;
    this.integer(isHuffman ? 0x80 : 0, 0x7f, length);
    if (this.#at + length > this.#bytes.length) this.#grow(length);
    if (isHuffman) this.#huffman(text);
    else for (let at = 0; at < length; at++) this.#bytes[this.#at++] = text.charCodeAt(at);
  }

  /** Writes the codes of the text's characters. There must be space for them. */
  #huffman(text: string): void {
    const bytes = this.#bytes;
    let at = this.#at;
    // At most 7 bits wait, and a code of more than 24 is written in two parts: all of it stays within 32 bits.
    let waiting = 0;
    let count = 0;
    for (let from = 0; from < text.length; from++) {
      const symbol = text.charCodeAt(from);
      const code = CODES[symbol] as number;
      let bits = CODE_BITS[symbol] as number;
      if (bits > 24) {
        bits -= 8;
        waiting = (waiting << 8) | (code >>> bits);
        bytes[at++] = waiting >>> count;
      }
      waiting = (waiting << bits) | (code & ((1 << bits) - 1));
      for (count += bits; count >= 8; bytes[at++] = waiting >>> count) count -= 8;
    }
    // The rest of the last octet has the first bits of EOS, all ones.
    if (count > 0) bytes[at++] = (waiting << (8 - count)) | (0xff >>> count);
    this.#at = at;
  }

  #grow(needed: number): void {
    let length = Math.max(this.#bytes.length, FIRST_BYTES);
    while (length < this.#at + needed) length *= 2;
    const grown = new Uint8Array(length);
    grown.set(this.#bytes);
    this.#use(grown);
  }

  #use(bytes: Uint8Array<ArrayBuffer>): void {
    this.#bytes = bytes;
    this.#blocks = [];
  }
}

function named(text: string): string {
  return JSON.stringify(text.slice(0, 40));
}
