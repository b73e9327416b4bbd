/** Header blocks by hand, for the tests of HPACK. */
import { HpackDecoder } from "../../src/http2/hpack/decoder.ts";

export function octetsOf(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex.replaceAll(/\s/g, ""), "hex"));
}

/** An integer (RFC 7541, 5.1) whose prefix has `prefixBits` bits, after the bits of `pattern`. */
export function integer(pattern: number, prefixBits: number, value: number): number[] {
  const most = 2 ** prefixBits - 1;
  if (value < most) return [pattern | value];
  const octets = [pattern | most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) octets.push((rest % 128) + 128);
  return [...octets, rest];
}

/** A string without the Huffman code. */
export function text(value: string): number[] {
  return [...integer(0, 7, value.length), ...Buffer.from(value, "latin1")];
}

/** A field with a literal name and value: by default, it enters the table. */
export function literal(name: string, value: string, pattern = 0x40): number[] {
  return [pattern, ...text(name), ...text(value)];
}

export const indexed = (index: number) => integer(0x80, 7, index);
export const sizeUpdate = (bytes: number) => integer(0x20, 5, bytes);

type Octets = number | readonly number[] | Uint8Array;

/** Octets after each other, as one block. */
export function blockOf(...octets: readonly Octets[]): Uint8Array {
  const parts = octets.map((one) => (typeof one === "number" ? [one] : one));
  const block = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    block.set(part, at);
    at += part.length;
  }
  return block;
}

/** A decoder, and its decode() of whole blocks. */
export function decoderWith({ tableBytes = 4096, maxListBytes = 16_384 } = {}) {
  const decoder = new HpackDecoder({ tableBytes, maxListBytes });
  const decode = (...octets: readonly Octets[]) => {
    const block = blockOf(...octets);
    return decoder.decode(block, 0, block.length);
  };
  return { decoder, decode };
}
