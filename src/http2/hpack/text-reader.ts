import { HpackError } from "./error.ts";
import {
  COMPLETES_SHIFT,
  EOS_STATE,
  MAY_END,
  NEXT_SHIFT,
  START_STATE,
  STEPS,
} from "./huffman-states.ts";

/** How many octets of a Huffman-coded string are decoded before they become a piece of the string. */
const PIECE = 256;

/** The piece that is decoded now: it becomes a string before huffman() returns. */
const piece = new Uint8Array(PIECE);

/** From this many octets on, TextDecoder takes less time than pieces of eight characters. */
const LONG = 64;

/** For ASCII alone. Under the name "latin1" it would decode windows-1252, in which 0x80 is the sign of the euro. */
const ascii = new TextDecoder();

/** Makes strings of octets, one character (U+0000-U+00FF) an octet. */
export class TextReader {
  /** A string of more octets than this is read to its end, but the result is empty. */
  most = 0;
  /** How many octets the string has that was read last, without its Huffman code. */
  length = 0;

  /** Reads octets that stand for themselves. */
  plain(bytes: Uint8Array, start: number, end: number): string {
    this.length = end - start;
    if (this.length > this.most) return "";
    return this.length < LONG ? shortText(bytes, start, end) : longText(bytes, start, end);
  }

  /** Reads octets that are a Huffman code. */
  huffman(bytes: Uint8Array, start: number, end: number): string {
    const steps = STEPS;
    let state = START_STATE;
    let text = "";
    let length = 0;
    let count = 0;
    for (let at = start; at < end; at++) {
      const octet = bytes[at] as number;
      let step = steps[state | (octet >> 4)] as number;
      // The low eight bits are the symbol. If these bits complete no symbol, the next symbol is put in the same place.
      piece[count] = step;
      count += (step >> COMPLETES_SHIFT) & 1;
      step = steps[(step >> NEXT_SHIFT) | (octet & 15)] as number;
      piece[count] = step;
      count += (step >> COMPLETES_SHIFT) & 1;
      state = step >> NEXT_SHIFT;
      if (count <= PIECE - 2) continue;
      length += count;
      text = length <= this.most ? text + longText(piece, 0, count) : "";
      count = 0;
    }
    if (MAY_END[state >> 4] !== 1) throw notHuffman(state);
    this.length = length + count;
    if (this.length > this.most) return "";
    return text + (count < LONG ? shortText(piece, 0, count) : longText(piece, 0, count));
  }
}

function notHuffman(state: number): HpackError {
  const what =
    state === EOS_STATE
      ? "has the symbol EOS"
      : "ends in bits that are neither a symbol nor a padding of at most seven ones";
  return new HpackError(`HPACK: a Huffman-coded string ${what} (RFC 7541, 5.2)`);
}

function longText(bytes: Uint8Array, start: number, end: number): string {
  let all = 0;
  for (let at = start; at < end; at++) all |= bytes[at] as number;
  return all < 0x80 ? ascii.decode(bytes.subarray(start, end)) : shortText(bytes, start, end);
}

/** Takes eight octets at a time: one call with eight characters takes a third of the time of eight calls. */
function shortText(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  let at = start;
  for (; at + 8 <= end; at += 8) text += eightAt(bytes, at);
  if (at + 4 <= end) {
    text += fourAt(bytes, at);
    at += 4;
  }
  for (; at < end; at++) text += String.fromCharCode(bytes[at] as number);
  return text;
}

function fourAt(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(
    bytes[at] as number,
    bytes[at + 1] as number,
    bytes[at + 2] as number,
    bytes[at + 3] as number,
  );
}

function eightAt(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(
    bytes[at] as number,
    bytes[at + 1] as number,
    bytes[at + 2] as number,
    bytes[at + 3] as number,
    bytes[at + 4] as number,
    bytes[at + 5] as number,
    bytes[at + 6] as number,
    bytes[at + 7] as number,
  );
}
