/** The decoder's tables, the updates of their size, and its limits (RFC 7541, 2.3, 4 and 6). */
import { describe, expect, test } from "vitest";
import { HpackError } from "../../src/http2/hpack/error.ts";
import { decoderWith, indexed, integer, literal, sizeUpdate, text } from "./hpack-octets.ts";

/** The index of the newest entry of the dynamic table. */
const NEWEST = 62;

/** A field whose entry has 64 bytes. */
const entry = (name: string) => literal(name, "v".repeat(31));
const isEntry = (name: string) => [name, "v".repeat(31)];

describe("an index", () => {
  test.each([
    ["a field", indexed(0), "a field has the index 0"],
    [
      "a field beyond the static table",
      indexed(62),
      "the index 62 is beyond the tables, whose last one is 61",
    ],
    [
      "a name beyond the static table",
      [...integer(0x40, 6, 62), ...text("v")],
      "the index 62 is beyond",
    ],
    ["a name without indexing", [...integer(0x00, 4, 62), ...text("v")], "the index 62 is beyond"],
    ["a name never indexed", [...integer(0x10, 4, 4000), ...text("v")], "the index 4000 is beyond"],
  ])("of %s that is in no table is an error", (_, octets, error) => {
    const { decode } = decoderWith();
    expect(() => decode(octets)).toThrow(HpackError);
    expect(() => decoderWith().decode(octets)).toThrow(error);
  });

  test("after the last entry of the dynamic table is an error", () => {
    const { decode } = decoderWith();
    decode(entry("a"), entry("b"));
    expect(decode(indexed(NEWEST + 1)).fields).toEqual(isEntry("a"));
    expect(() => decode(indexed(NEWEST + 2))).toThrow(
      "the index 64 is beyond the tables, whose last one is 63",
    );
  });

  test("gives each entry of the static table", () => {
    const { decode } = decoderWith();
    for (let index = 1; index <= 61; index++) {
      const [name, value] = decode(indexed(index)).fields;
      expect(decode(integer(0x10, 4, index), text("other")).fields).toEqual([name, "other"]);
      expect(decode(integer(0x40, 6, index), text("")).fields).toEqual([name, ""]);
      expect(value === "" || index <= 16).toBe(true);
    }
  });
});

test("only fields with incremental indexing enter the table", () => {
  const { decode } = decoderWith();
  decode(literal("a", "1", 0x00), literal("b", "2", 0x10), literal("c", "3", 0x40));
  expect(decode(indexed(NEWEST)).fields).toEqual(["c", "3"]);
  expect(() => decode(indexed(NEWEST + 1))).toThrow(HpackError);
});

describe("the dynamic table", () => {
  test("evicts its oldest entries when a new one needs their bytes", () => {
    const { decode } = decoderWith({ tableBytes: 4 * 64 });
    for (const name of "abcdefgh") decode(entry(name));
    const all = [0, 1, 2, 3].map((position) => indexed(NEWEST + position));
    expect(decode(...all).fields).toEqual(["h", "g", "f", "e"].flatMap(isEntry));
    expect(() => decode(indexed(NEWEST + 4))).toThrow(HpackError);
  });

  test("counts 32 bytes beside the name and the value of each entry", () => {
    const { decode } = decoderWith({ tableBytes: 2 * 34 });
    decode(literal("a", "1"), literal("b", "2"));
    expect(decode(indexed(NEWEST + 1)).fields).toEqual(["a", "1"]);
    // One byte more than the other entries have.
    decode(literal("c", "33"));
    expect(decode(indexed(NEWEST)).fields).toEqual(["c", "33"]);
    expect(() => decode(indexed(NEWEST + 1))).toThrow(HpackError);
  });

  test("is emptied by an entry that is larger than the table, which is no error", () => {
    const { decode } = decoderWith({ tableBytes: 128 });
    decode(entry("a"), entry("b"));
    const large = "v".repeat(96);
    expect(decode(literal("c", large)).fields).toEqual(["c", large]);
    expect(() => decode(indexed(NEWEST))).toThrow("whose last one is 61");
  });

  test("takes an entry of exactly its size", () => {
    const { decode } = decoderWith({ tableBytes: 64 });
    decode(entry("a"));
    decode(entry("b"));
    expect(decode(indexed(NEWEST)).fields).toEqual(isEntry("b"));
  });

  test("gives a new entry the name of an entry that the new one evicts", () => {
    const { decode } = decoderWith({ tableBytes: 64 });
    decode(literal("name", "v".repeat(28)));
    for (const value of ["1".repeat(28), "2".repeat(28)]) {
      expect(decode(integer(0x40, 6, NEWEST), text(value)).fields).toEqual(["name", value]);
      expect(decode(indexed(NEWEST)).fields).toEqual(["name", value]);
    }
    const large = "3".repeat(29);
    expect(decode(integer(0x40, 6, NEWEST), text(large)).fields).toEqual(["name", large]);
    expect(() => decode(indexed(NEWEST))).toThrow(HpackError);
  });

  test("holds all entries that fit, in whatever order they came and went", () => {
    const { decode } = decoderWith({ tableBytes: 16_384 });
    const expected: string[] = [];
    for (let at = 0; at < 2000; at++) {
      decode(literal(`n${at}`, `${at}`));
      expected.unshift(`n${at}`);
    }
    let bytes = 0;
    const fit = expected.filter((name) => {
      bytes += name.length * 2 - 1 + 32;
      return bytes <= 16_384;
    });
    const names = fit.map((_, position) => decode(indexed(NEWEST + position)).fields[0]);
    expect(names).toEqual(fit);
    expect(() => decode(indexed(NEWEST + fit.length))).toThrow(HpackError);
  });

  test("of 0 bytes holds nothing", () => {
    const { decode } = decoderWith({ tableBytes: 0 });
    expect(decode(literal("a", "")).fields).toEqual(["a", ""]);
    expect(() => decode(indexed(NEWEST))).toThrow(HpackError);
  });
});

describe("an update of the table's size", () => {
  test("evicts what does not fit any more, and what is added later has the new size", () => {
    const { decode } = decoderWith();
    decode(entry("a"), entry("b"), entry("c"));
    expect(decode(sizeUpdate(128), indexed(NEWEST + 1)).fields).toEqual(isEntry("b"));
    expect(() => decode(indexed(NEWEST + 2))).toThrow("whose last one is 63");
    decode(sizeUpdate(4096), entry("d"));
    expect(decode(indexed(NEWEST + 2)).fields).toEqual(isEntry("b"));
  });

  test("to 0 empties the table, and several may follow each other", () => {
    const { decode } = decoderWith();
    decode(entry("a"));
    expect(decode(sizeUpdate(0), sizeUpdate(4096), sizeUpdate(4000), 0x82).fields).toEqual([
      ":method",
      "GET",
    ]);
    expect(() => decode(indexed(NEWEST))).toThrow(HpackError);
  });

  test.each([
    ["an indexed field", [0x82]],
    ["a field that enters the table", literal("a", "b")],
    ["a field that does not", literal("a", "b", 0x00)],
    ["a field that never does", literal("a", "b", 0x10)],
  ])("after %s is an error", (_, field) => {
    const { decode } = decoderWith();
    expect(() => decode(sizeUpdate(100), field, sizeUpdate(100))).toThrow("comes after a field");
    expect(() => decoderWith().decode(field, sizeUpdate(4096), 0x84)).toThrow(HpackError);
  });

  test("over our setting is an error", () => {
    const { decode } = decoderWith({ tableBytes: 100 });
    decode(sizeUpdate(100));
    expect(() => decode(sizeUpdate(101))).toThrow("to 101 is over SETTINGS_HEADER_TABLE_SIZE, 100");
  });

  test("may make a block of its own", () => {
    const { decode } = decoderWith();
    expect(decode(sizeUpdate(10))).toEqual({ fields: [], listBytes: 0, isTooLarge: false });
  });
});
