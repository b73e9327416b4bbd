/** What a peer can make the decoder hold, and what the decoder holds of its own accord: the blocks that come again. */
import { describe, expect, test } from "vitest";
import { HpackError } from "../../src/http2/hpack/error.ts";
import {
  blockOf,
  decoderWith,
  indexed,
  integer,
  literal,
  sizeUpdate,
  text,
} from "./hpack-octets.ts";

const NEWEST = 62;

/** A string of 8 * `length` / 5 characters, "0" each. */
const zeros = (length: number) => [...integer(0x80, 7, length), ...new Array(length).fill(0)];

describe("the limit of a list", () => {
  test("counts name, value and 32 of each field, as the block's size for its reader", () => {
    const { decode } = decoderWith({ maxListBytes: 3 * 34 });
    const block = decode(literal("a", "1"), literal("b", "2", 0x00), literal("c", "3", 0x10));
    expect(block).toEqual({
      fields: ["a", "1", "b", "2", "c", "3"],
      listBytes: 102,
      isTooLarge: false,
    });
    expect(decode(indexed(2)).listBytes).toBe(":method".length + "GET".length + 32);
  });

  test("drops the fields past it, but not what they do to the table", () => {
    const { decode } = decoderWith({ maxListBytes: 3 * 34 - 1 });
    const block = decode(literal("a", "1"), literal("b", "2"), literal("c", "3"), literal("d", ""));
    expect(block).toEqual({ fields: ["a", "1", "b", "2"], listBytes: 135, isTooLarge: true });
    expect(decode(indexed(NEWEST), indexed(NEWEST + 1)).fields).toEqual(["d", "", "c", "3"]);
  });

  test("of 0 bytes drops all fields", () => {
    const { decode } = decoderWith({ maxListBytes: 0 });
    expect(decode(0x82)).toEqual({ fields: [], listBytes: 42, isTooLarge: true });
    expect(decode()).toEqual({ fields: [], listBytes: 0, isTooLarge: false });
  });

  test("does not excuse what is not valid past it", () => {
    const { decode } = decoderWith({ maxListBytes: 40 });
    expect(() => decode(literal("a", "v".repeat(100)), indexed(99))).toThrow(HpackError);
    const huffman = [...integer(0x80, 7, 101), ...new Array(100).fill(0), 0xfe];
    expect(() => decoderWith({ maxListBytes: 40 }).decode(0x00, text("a"), huffman)).toThrow(
      "padding",
    );
  });
});

describe("a bomb", () => {
  test("of many references to a large entry is counted in full and not kept", () => {
    const { decode } = decoderWith({ maxListBytes: 16_384 });
    decode(literal("a", "v".repeat(4000)));
    const block = decode(new Array(16_000).fill(0x80 | NEWEST));
    expect(block.listBytes).toBe(16_000 * 4033);
    expect(block.isTooLarge).toBe(true);
    expect(block.fields.length).toBe(2 * 4);
  });

  test("of one long string is counted in full and not made", () => {
    const { decode } = decoderWith({ maxListBytes: 16_384 });
    for (const pattern of [0x00, 0x10, 0x40]) {
      const block = decode(pattern, text("a"), zeros(100_000));
      expect(block).toEqual({ fields: [], listBytes: 160_033, isTooLarge: true });
      const named = decode(pattern, zeros(100_000), text("v"), indexed(2));
      expect(named).toEqual({ fields: [], listBytes: 160_075, isTooLarge: true });
      const plain = decode(pattern, text("a"), text("v".repeat(100_000)));
      expect(plain).toEqual({ fields: [], listBytes: 100_033, isTooLarge: true });
    }
  });

  test("of one long string empties the table that it would enter", () => {
    const { decode } = decoderWith();
    decode(literal("a", "b"));
    decode(0x00, text("a"), zeros(100_000));
    expect(decode(indexed(NEWEST)).fields).toEqual(["a", "b"]);
    decode(0x40, text("a"), zeros(100_000));
    expect(() => decode(indexed(NEWEST))).toThrow("whose last one is 61");
  });

  test("whose string is over the list's limit, but within the table, enters the table whole", () => {
    const { decode } = decoderWith({ maxListBytes: 200, tableBytes: 4096 });
    expect(decode(literal("a", "v".repeat(1000))).fields).toEqual([]);
    // The name of the entry is all that fits.
    expect(decode(integer(0x00, 4, NEWEST), text("1"))).toMatchObject({ fields: ["a", "1"] });
    expect(decode(indexed(NEWEST)).listBytes).toBe(1033);
  });

  test("costs no memory past the limits", () => {
    const { decode } = decoderWith();
    const bomb = blockOf(literal("a", "v".repeat(4000)), new Array(20_000).fill(0x80 | NEWEST));
    const long = blockOf(0x40, text("b"), zeros(200_000));
    const kept: unknown[] = [];
    const bytesAfter = (rounds: number) => {
      for (let round = 0; round < rounds; round++) kept.push(decode(bomb), decode(long));
      globalThis.gc?.();
      const { heapUsed, external } = process.memoryUsage();
      return heapUsed + external;
    };
    const before = bytesAfter(5);
    // Kept whole, each round would leave 0.32 MB of references and a string of 0.32 MB: 12.8 MB.
    expect(bytesAfter(20) - before).toBeLessThan(6_000_000);
    expect(kept.length).toBe(50);
  });
});

describe("a block that comes again", () => {
  const first = [...literal("name", "value"), 0x82];

  test("is the same object if all its fields are indexed", () => {
    const { decode } = decoderWith();
    decode(first);
    const block = decode(0x83, indexed(NEWEST));
    expect(decode(0x83, indexed(NEWEST))).toBe(block);
    expect(decode(indexed(NEWEST), 0x83)).not.toBe(block);
    expect(decode(0x83, indexed(NEWEST))).toBe(block);
    expect(decode(0x83)).not.toBe(block);
    expect(block.fields).toEqual([":method", "POST", "name", "value"]);
  });

  test.each([
    ["a Uint8Array", Uint8Array.of(0, 0x83, 0x86, 0)],
    ["a Buffer of Node", Buffer.of(0, 0x83, 0x86, 0)],
  ])("is known by its octets, not by where they were in %s", (_, chunk) => {
    const { decoder } = decoderWith();
    const block = decoder.decode(chunk, 1, 3);
    chunk.set([0x82, 0x87, 0x83, 0x86]);
    expect(decoder.decode(chunk, 0, 2).fields).toEqual([":method", "GET", ":scheme", "https"]);
    expect(decoder.decode(chunk, 2, 4)).toBe(block);
  });

  test("is decoded again when its indexes mean other fields", () => {
    const { decode } = decoderWith();
    decode(first);
    expect(decode(indexed(NEWEST)).fields).toEqual(["name", "value"]);
    decode(literal("other", "one"));
    expect(decode(indexed(NEWEST)).fields).toEqual(["other", "one"]);
    expect(decode(indexed(NEWEST + 1)).fields).toEqual(["name", "value"]);
  });

  test.each([
    ["a size update", (decode: (...octets: number[]) => unknown) => decode(...sizeUpdate(0))],
    [
      "an entry that is larger than the table",
      (decode: (...octets: number[]) => unknown) => decode(...literal("a", "v".repeat(5000))),
    ],
  ])("is an error when %s has removed its entry", (_, change) => {
    const { decode } = decoderWith();
    decode(first);
    decode(indexed(NEWEST));
    decode(indexed(NEWEST));
    change(decode);
    expect(() => decode(indexed(NEWEST))).toThrow("beyond the tables");
  });

  test("with values that are not indexed is the same object from its third time on", () => {
    const { decode } = decoderWith();
    const block = [0x83, ...literal(":path", "/a", 0x00)];
    const blocks = [decode(block), decode(block), decode(block), decode(block)];
    expect(blocks[1]).not.toBe(blocks[0]);
    expect(blocks[2]).toBe(blocks[1]);
    expect(blocks[3]).toBe(blocks[1]);
    expect(blocks[3]?.fields).toEqual([":method", "POST", ":path", "/a"]);
  });

  test.each([
    ["a field that is never indexed", [0x83, ...literal("authorization", "secret", 0x10)]],
    ["a field that enters the table", [0x83, ...literal("a", "b", 0x40)]],
    ["a size update", [...sizeUpdate(4096), 0x83]],
    ["more than 128 octets", new Array(129).fill(0x83)],
    ["more than 32 fields", new Array(33).fill(0x83)],
  ])("is another object each time if it has %s", (_, octets) => {
    const { decode } = decoderWith({ maxListBytes: 1e6 });
    const blocks = new Set([decode(octets), decode(octets), decode(octets), decode(octets)]);
    expect(blocks.size).toBe(4);
  });

  test("is found among many, whose memory is bounded", () => {
    const { decode } = decoderWith();
    for (let at = 0; at < 128; at++) decode(literal(`n${at % 100}`, ""));
    const blocks = new Map<string, object>();
    let found = 0;
    for (let round = 0; round < 2; round++) {
      for (let one = 0; one < 60; one++) {
        for (let other = 0; other < 60; other++) {
          const block = decode(indexed(NEWEST + one), indexed(NEWEST + other));
          expect(block.fields.length).toBe(4);
          if (blocks.get(`${one} ${other}`) === block) found++;
          blocks.set(`${one} ${other}`, block);
        }
      }
    }
    // Of 3,600 blocks, each was decoded again after all others: the 64 that are kept were replaced long before.
    expect(found).toBeLessThanOrEqual(64);
  });
});
