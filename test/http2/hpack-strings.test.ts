/** Integers and strings of HPACK (RFC 7541, 5), the Huffman code above all. */
import { describe, expect, test } from "vitest";
import { HpackEncoder } from "../../src/http2/hpack/encoder.ts";
import { HpackError } from "../../src/http2/hpack/error.ts";
import { CODE_BITS, CODES } from "../../src/http2/hpack/huffman-code.ts";
import { decoderWith, integer, literal, octetsOf, text } from "./hpack-octets.ts";

/** All characters that are a byte. */
const BYTES = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte));
const EOS = 256;

/** Symbols in the Huffman code, as the bits "0" and "1". */
function bitsOf(symbols: readonly number[]): string {
  return symbols
    .map((one) => (CODES[one] as number).toString(2).padStart(CODE_BITS[one] as number, "0"))
    .join("");
}

const symbolsOf = (value: string) => Array.from(value, (one) => one.charCodeAt(0));

/** A string in the Huffman code, of bits, which the last octet's missing ones follow. */
function huffman(bits: string): number[] {
  const whole = bits.padEnd(Math.ceil(bits.length / 8) * 8, "1");
  const octets = (whole.match(/.{8}/g) ?? []).map((octet) => Number.parseInt(octet, 2));
  return [...integer(0x80, 7, octets.length), ...octets];
}

/** The value of a field whose value is this string. */
function decodeText(string: readonly number[]): string | undefined {
  return decoderWith().decode(0x00, text("name"), string).fields[1];
}

/** The string that the encoder makes of the value of a field. */
function encodeText(value: string): number[] {
  const block = new HpackEncoder({ maxTableBytes: 0 }).encode(["ZZ", value]);
  const beforeValue = literal("ZZ", "", 0x00).slice(0, -1);
  expect(Array.from(block.subarray(0, beforeValue.length))).toEqual(beforeValue);
  return Array.from(block.subarray(beforeValue.length));
}

describe("the Huffman code", () => {
  test("uses every sequence of bits: no bit of a code is too long", () => {
    const used = Array.from(CODE_BITS).reduce((sum, bits) => sum + 2 ** -bits, 0);
    expect(used).toBe(1);
  });

  // The last symbol of each length in RFC 7541, appendix B.
  test.each([
    [5, "t", 0x9],
    [6, "u", 0x2d],
    [7, "z", 0x7b],
    [8, "Z", 0xfd],
    [10, "?", 0x3fc],
    [11, "|", 0x7fc],
    [12, ">", 0xffb],
    [13, "~", 0x1ffd],
    [14, "}", 0x3ffd],
    [15, "{", 0x7ffe],
    [19, "\xd0", 0x7fff2],
    [20, "\xe2", 0xfffed],
    [21, "\xe6", 0x1fffe8],
    [22, "\xe9", 0x3fffeb],
    [23, "\xef", 0x7ffff4],
    [24, "\xed", 0xfffff5],
    [25, "\xeb", 0x1ffffef],
    [26, "\xff", 0x3ffffee],
    [27, "\xfe", 0x7fffff0],
    [28, "\xf9", 0xffffffe],
    [30, "\x16", 0x3ffffffe],
  ])("of %i bits ends with %j", (bits, symbol, code) => {
    const at = symbol.charCodeAt(0);
    expect([CODE_BITS[at], CODES[at]]).toEqual([bits, code]);
    expect(decodeText(huffman(code.toString(2).padStart(bits, "0")))).toBe(symbol);
  });

  test("has all 256 bytes, alone and after each other", () => {
    for (const one of BYTES) {
      expect(decodeText(huffman(bitsOf(symbolsOf(one))))).toBe(one);
      for (const other of ["a", "~", "\xff"]) {
        const both = one + other + one;
        expect(decodeText(huffman(bitsOf(symbolsOf(both))))).toBe(both);
      }
    }
  });

  test("of long strings is read and written like that of short ones", () => {
    for (const length of [40, 127, 255, 256, 257, 1000, 5000]) {
      const value = "a".repeat(length - 1) + BYTES[length % 256];
      expect(decodeText(huffman(bitsOf(symbolsOf(value))))).toBe(value);
      expect(encodeText(value)).toEqual(huffman(bitsOf(symbolsOf(value))));
    }
  });
});

test("the encoder writes the Huffman code of all bytes where it is shorter, and the bytes where it is not", () => {
  for (const one of BYTES) {
    const value = `eeeeeeeeeeeeeeeeee${one}tttttttttttttttttt`;
    expect(encodeText(value)).toEqual(huffman(bitsOf(symbolsOf(value))));
    // Each "Z" has eight bits in the code.
    expect(encodeText(`ZZ${one}`)).toEqual(text(`ZZ${one}`));
  }
});

test("all bytes are read as they are without the Huffman code, in short and in long strings", () => {
  const all = BYTES.join("");
  expect(decodeText(text(all))).toBe(all);
  for (const one of BYTES) expect(decodeText(text(one))).toBe(one);
  for (let length = 0; length < 100; length++) {
    expect(decodeText(text(all.slice(0, length)))).toBe(all.slice(0, length));
    expect(decodeText(text(all.slice(100, 100 + length)))).toBe(all.slice(100, 100 + length));
  }
});

describe("the padding of a Huffman-coded string", () => {
  test.each(["", "1", "11", "111", "1111", "11111", "111111", "1111111"])(
    "may be the bits %j",
    (padding) => {
      // Each "0" has five bits. The last octet ends with the padding.
      let value = "0";
      while ((value.length * 5 + padding.length) % 8 > 0) value += "0";
      expect(decodeText(huffman(bitsOf(symbolsOf(value)) + padding))).toBe(value);
    },
  );

  test.each([
    { what: "eight ones", string: [0x82, 0xfd, 0xff] },
    { what: "eight ones and nothing else", string: [0x81, 0xff] },
    { what: "sixteen ones", string: [0x83, 0xfd, 0xff, 0xff] },
    { what: "zeros", string: huffman(`${bitsOf(symbolsOf("0"))}000`) },
    { what: "a zero after ones", string: huffman(`${bitsOf(symbolsOf("0"))}110`) },
    { what: "a zero before ones", string: huffman(`${bitsOf(symbolsOf("z"))}0`) },
    { what: "a symbol that is cut off", string: huffman(bitsOf(symbolsOf("a\xff")).slice(0, 24)) },
  ])("must not be $what", ({ string }) => {
    expect(() => decodeText(string)).toThrow(HpackError);
    expect(() => decodeText(string)).toThrow("neither a symbol nor a padding");
  });

  test.each([
    { where: "alone", symbols: [EOS] },
    { where: "at the end", symbols: [...symbolsOf("abc"), EOS] },
    { where: "in the middle", symbols: [97, EOS, 97, 98, 99] },
    { where: "at the beginning", symbols: [EOS, ...symbolsOf("a".repeat(400))] },
  ])("is an error with the whole symbol EOS $where", ({ symbols }) => {
    expect(() => decodeText(huffman(bitsOf(symbols)))).toThrow(HpackError);
    expect(() => decodeText(huffman(bitsOf(symbols)))).toThrow("has the symbol EOS");
  });
});

describe("an integer", () => {
  /** The integer's octets as the length of a field's value. */
  const asLength = (...octets: number[]) => decodeText(octets);

  test("may have octets that add nothing", () => {
    expect(asLength(0x7f, 0x80, 0x80, 0x00, ...Buffer.from("x".repeat(127)))).toBe("x".repeat(127));
    expect(asLength(0x7f, 0x81, 0x80, 0x80, 0x80, 0x00, ...Buffer.from("x".repeat(128)))).toBe(
      "x".repeat(128),
    );
  });

  test.each([
    { what: "6 octets after the first one", octets: [0x80, 0x80, 0x80, 0x80, 0x80, 0x00] },
    { what: "the value 2^31", octets: [0x81, 0xff, 0xff, 0xff, 0x07] },
    { what: "the value 2^32 + 126", octets: [0xff, 0xff, 0xff, 0xff, 0x0f] },
    { what: "five octets of ones", octets: [0xff, 0xff, 0xff, 0xff, 0x7f] },
    { what: "octets without end", octets: new Array(10_000).fill(0xff) },
  ])("must not have $what", ({ octets }) => {
    expect(() => asLength(0x7f, ...octets)).toThrow(HpackError);
    expect(() => asLength(0x7f, ...octets)).toThrow("an integer is over 2147483647");
  });

  test("may be 2^31 - 1, which is then too long or too large for what it stands for", () => {
    expect(integer(0, 7, 2 ** 31 - 1)).toEqual([0x7f, 0x80, 0xff, 0xff, 0xff, 0x07]);
    expect(() => asLength(...integer(0, 7, 2 ** 31 - 1))).toThrow("ends within a string");
    const { decode } = decoderWith();
    expect(() => decode(integer(0x80, 7, 2 ** 31 - 1))).toThrow("index 2147483647 is beyond");
  });
});

test("a block that is cut off at any octet is an error or a block of fewer fields", () => {
  const long = literal("name", "v".repeat(200));
  const whole = [0x82, ...long, 0x10, ...text("n"), ...huffman(bitsOf(symbolsOf("value"))), 0x84];
  const ends = [0, 1, 1 + long.length, whole.length - 1, whole.length];
  for (let length = 0; length <= whole.length; length++) {
    const decode = () => decoderWith().decode(whole.slice(0, length)).fields.length / 2;
    if (ends.includes(length)) expect(decode()).toBe(ends.indexOf(length));
    else expect(decode).toThrow("HPACK: the block ends within");
  }
});

test("only the octets from start to end are read", () => {
  const { decoder } = decoderWith();
  const octets = octetsOf("ffff 82 84 ffff");
  expect(decoder.decode(octets, 2, 4).fields).toEqual([":method", "GET", ":path", "/"]);
  expect(() => decoder.decode(octetsOf("40 01 61 02 62 62"), 0, 5)).toThrow("within a string");
});
