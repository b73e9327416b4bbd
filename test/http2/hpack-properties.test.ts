/** HPACK with random lists and tables: encoder against decoder, each against an independent peer, and hostile octets. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { HpackEncoder } from "../../src/http2/hpack/encoder.ts";
import { HpackError } from "../../src/http2/hpack/error.ts";
import { encodeHeaders, HeaderDecoder } from "../support/hpack.ts";
import { blockOf, decoderWith, literal, sizeUpdate } from "./hpack-octets.ts";
import { PeerDecoder } from "./hpack-peer.ts";
import { WildEncoder } from "./hpack-wild-encoder.ts";

const names = fc.constantFrom(
  ...[":method", ":path", ":status", ":authority", "te", "content-type", "grpc-timeout"],
  ...["cookie", "authorization", "date", "x-a", "x-b", "x-c", "x-long-name-of-a-field", ""],
);

/** Values that come again, that never do, that Huffman makes shorter and that it does not. */
const valuesOf = (unit: fc.Arbitrary<string>) =>
  fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom("GET", "POST", "/", "", "200", "one", "two", "three") },
    { weight: 2, arbitrary: fc.nat(40).map((at) => `value ${at}`) },
    { weight: 1, arbitrary: fc.nat(6).map((at) => `Bearer ${"token".repeat(at * 10)}`) },
    { weight: 2, arbitrary: fc.string({ unit, maxLength: 300 }) },
  );

const byte = fc.nat(255).map((one) => String.fromCharCode(one));
const printable = fc.integer({ min: 32, max: 126 }).map((one) => String.fromCharCode(one));

const listsOf = (unit: fc.Arbitrary<string>) =>
  fc.array(fc.tuple(names, valuesOf(unit)), { maxLength: 12 }).map((fields) => fields.flat());

const sizes = fc.oneof(fc.constantFrom(0, 31, 32, 64, 4096), fc.nat(600), fc.nat(20_000));

test("the decoder gives what the encoder was given, whatever the sizes of the table are and become", () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ list: listsOf(byte), fixedAt: fc.nat(5) }) },
    { weight: 1, arbitrary: fc.record({ tableBytes: sizes }) },
  );
  const fixedLists = fc.array(listsOf(byte), { minLength: 2, maxLength: 2 });
  fc.assert(
    fc.property(
      sizes,
      fixedLists,
      fc.array(step, { maxLength: 60 }),
      (maxTableBytes, fixed, steps) => {
        const encoder = new HpackEncoder({ maxTableBytes });
        const decoder = new PeerDecoder();
        for (const one of steps) {
          if ("tableBytes" in one) {
            encoder.setPeerTableBytes(one.tableBytes);
            decoder.setTableBytes(one.tableBytes);
            continue;
          }
          // Two thirds of the lists have no fixed fields.
          const before = fixed[one.fixedAt] ?? [];
          const list = [...before, ...one.list];
          const block = encoder.encode(one.list, before);
          const { fields, listBytes, isTooLarge } = decoder.decode(block);
          expect(fields).toEqual(list);
          expect(listBytes).toBe(list.join("").length + list.length * 16);
          expect(isTooLarge).toBe(false);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test("an independent decoder gives what the encoder was given", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(0, 200, 4096),
      fc.array(listsOf(printable), { maxLength: 30 }),
      (maxTableBytes, lists) => {
        const encoder = new HpackEncoder({ maxTableBytes });
        const peer = new HeaderDecoder();
        for (const list of lists) {
          expect(peer.decode(Buffer.from(encoder.encode(list))).flat()).toEqual(list);
        }
      },
    ),
    { numRuns: 200 },
  );
});

test("the decoder gives what an independent encoder was given", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(names, valuesOf(byte))), (list) => {
      const { decode } = decoderWith({ maxListBytes: 1_000_000 });
      expect(decode(encodeHeaders(list)).fields).toEqual(list.flat());
    }),
    { numRuns: 200 },
  );
});

/** What an encoder may write next: the choices of all encoders. `at` selects an entry of both tables. */
const choices = fc.oneof(
  fc.record({ kind: fc.constant("indexed" as const), at: fc.nat() }),
  fc.record({
    kind: fc.constantFrom("incremental" as const, "without" as const, "never" as const),
    at: fc.option(fc.nat(), { nil: undefined }),
    name: names,
    value: valuesOf(byte),
    isHuffman: fc.boolean(),
  }),
);
const wildBlocks = fc.array(
  fc.record({
    updates: fc.oneof(
      { weight: 5, arbitrary: fc.constant<number[]>([]) },
      { weight: 1, arbitrary: fc.array(fc.nat(1000), { maxLength: 3 }) },
    ),
    choices: fc.array(choices, { maxLength: 20 }),
  }),
  { maxLength: 20 },
);

test("the decoder's tables are those of the simplest model, with an encoder that makes any choice", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1000 }), wildBlocks, (tableBytes, blocks) => {
      const { decode } = decoderWith({ tableBytes: 1000, maxListBytes: 10_000_000 });
      const model = new WildEncoder();
      decode(model.update(tableBytes));
      for (const one of blocks) {
        const updates = one.updates.map((size) => model.update(size));
        const written = one.choices.map((choice) => model.write(choice));
        const block = blockOf(...updates, ...written.map(({ octets }) => octets));
        expect(decode(block).fields).toEqual(written.flatMap(({ field }) => field));
        // Once more, without what changes the table: what the cache holds is right.
        const indexes = model.indexes();
        const all = blockOf(...indexes.map(({ octets }) => octets));
        for (let round = 0; round < 2; round++) {
          expect(decode(all).fields).toEqual(indexes.flatMap(({ field }) => field));
        }
      }
    }),
    { numRuns: 300 },
  );
});

/** Octets that look like a block. */
const nearlyBlocks = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 20 }),
    fc.nat(255).map((octet) => Uint8Array.of(octet)),
    fc.tuple(names, valuesOf(byte)).map(([name, value]) => blockOf(literal(name, value))),
    fc.nat(5000).map((size) => blockOf(sizeUpdate(size))),
    fc.nat(80).map((index) => Uint8Array.of(0x80 | index)),
  ),
  { maxLength: 20 },
);

/** Decodes blocks until one is not valid. Anything but an HpackError is thrown. */
function decodeAll(blocks: readonly Uint8Array[]): void {
  const { decoder } = decoderWith({ maxListBytes: 500 });
  for (const block of blocks) {
    try {
      const { fields, listBytes, isTooLarge } = decoder.decode(block, 0, block.length);
      const keptBytes = fields.join("").length + fields.length * 16;
      expect(keptBytes).toBeLessThanOrEqual(500);
      expect(isTooLarge).toBe(listBytes > 500);
      if (!isTooLarge) expect(keptBytes).toBe(listBytes);
    } catch (error) {
      if (error instanceof HpackError) return;
      throw error;
    }
  }
}

test("octets of any kind give fields within the limit or an HpackError, and nothing else", () => {
  const blocks = fc.array(
    nearlyBlocks.map((parts) => blockOf(...parts)),
    { maxLength: 5 },
  );
  fc.assert(fc.property(blocks, decodeAll), { numRuns: 2000 });
});

test("a flipped bit in the blocks of an encoder gives fields within the limit or an HpackError, and nothing else", () => {
  const flips = fc.array(fc.nat(), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(fc.array(listsOf(byte), { minLength: 1, maxLength: 6 }), flips, (lists, bits) => {
      const encoder = new HpackEncoder();
      const blocks = lists.map((list) => encoder.encode(list).slice());
      const octets = blocks.reduce((sum, { length }) => sum + length, 0);
      for (const bit of bits) {
        let at = Math.floor(bit / 8) % Math.max(octets, 1);
        const block = blocks.find(({ length }) => {
          at -= length;
          return at < 0;
        });
        if (block !== undefined) (block[block.length + at] as number) ^= 1 << (bit % 8);
      }
      decodeAll(blocks);
    }),
    { numRuns: 1000 },
  );
});

test("a block of many octets takes time in proportion to them, whatever they are", () => {
  const length = 200_000;
  const entry = literal("a", "v".repeat(10));
  const repeated = (octets: readonly number[]) =>
    Uint8Array.from({ length }, (_, at) => octets[at % octets.length] as number);
  const blocks = [
    repeated([0xbe]),
    repeated([0x82]),
    repeated(entry),
    repeated([0x40, 0x00, 0x00]),
    repeated(literal("a", "v".repeat(4000))),
    repeated([0x7e, 0x00]),
    repeated([0x20]),
    repeated([0x3f, 0xe1, 0x1f, 0x20]),
    blockOf(0x00, 0x00, 0x7f, 0x80 | ((length - 127) & 0x7f), ...[0x80, 0x80, 0x80, 0x00]),
  ];
  for (const block of blocks) {
    const { decoder, decode } = decoderWith();
    decode(entry);
    const begin = process.cpuUsage();
    try {
      decoder.decode(block, 0, block.length);
    } catch (error) {
      expect(error).toBeInstanceOf(HpackError);
    }
    // 5 µs an octet: the slowest of them takes 0.2. In proportion to their square, it would be minutes.
    expect(process.cpuUsage(begin).user).toBeLessThan(5 * length);
  }
});
