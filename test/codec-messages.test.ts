/** Messages that need something of the codec beside their bytes. */
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { encodeByClosures } from "../src/codec/closure-encoder.ts";
import { codecTypes } from "./support/codec-types.ts";
import { bytesOf, compiledOf } from "./support/codecs.ts";
import { textType } from "./support/made-types.ts";
import { memoryInUse } from "./support/memory.ts";

type Init = MessageInitShape<DescMessage>;

const KIB = 1024;
const MIB = 1024 * KIB;

const desc = textType();
const { encode: encodeCompiled, encodeAny } = compiledOf(desc);

const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

describe.each([
  ["the compiled codec", (message: object) => encodeAny(message)],
  ["the closures", (message: object) => encodeByClosures(desc, message)],
])("%s", (_, encode) => {
  test("encodes a message whose getter encodes another message", () => {
    const inner: string[] = [];
    const message = {
      text: "before",
      get child() {
        inner.push(textOf(encode({ text: "another message, which is longer" })));
        return { text: "within" };
      },
    };
    for (let at = 0; at < 3; at++) {
      expect(textOf(encode(message))).toBe("\n\x06before\x12\x08\n\x06within");
      expect(textOf(encode({ text: "after" }))).toBe("\n\x05after");
    }
    expect(new Set(inner)).toEqual(new Set(["\n\x20another message, which is longer"]));
  });

  test("passes on the error of a getter, and encodes the next message", () => {
    const message = {
      text: "before",
      get child(): object {
        throw new Error("no child today");
      },
    };
    expect(() => encode(message)).toThrow("no child today");
    expect(textOf(encode({ text: "after" }))).toBe("\n\x05after");
  });

  test("refuses an array in the place of a message", () => {
    expect(() => encode({ child: ["text"] })).toThrow("cannot use field n.One.text with message");
  });

  test("keeps no memory of a large message, also if it could not be encoded", async () => {
    const text = Buffer.alloc(20 * MIB, "x").toString("latin1");
    encode({ text: "small" });
    const before = await memoryInUse();
    expect(encode({ text }).length).toBe(20 * MIB + 5);
    expect((await memoryInUse()) - before).toBeLessThan(2 * MIB);
    expect(() => encode({ text, child: "no message" })).toThrow();
    expect((await memoryInUse()) - before).toBeLessThan(2 * MIB);
  });
});

test("a small message keeps at most 16 KiB in memory", () => {
  for (let at = 0; at < 500; at++) {
    const { buffer } = encodeCompiled({ text: `message ${at}` });
    expect(buffer.byteLength).toBeLessThanOrEqual(16 * KIB);
  }
  const bytes = encodeCompiled({ text: "x".repeat(17 * KIB) });
  expect(bytes.buffer.byteLength).toBe(bytes.length);
});

test("a large message does not change those after it", () => {
  for (const length of [10, 5000, 20_000, 3_000_000, 10, 900, 8100, 16_300, 10]) {
    for (const character of ["x", "é"]) {
      const message = { text: character.repeat(length) };
      const expected = Buffer.from(toBinary(desc, create(desc, message as Init)));
      expect(expected.equals(encodeCompiled(message))).toBe(true);
    }
  }
});

test("a message stays as it is while others are encoded", () => {
  const all = Array.from({ length: 2000 }, (_, at) => encodeCompiled({ text: `message ${at}` }));
  for (const [at, bytes] of all.entries()) {
    expect(textOf(bytes.subarray(2))).toBe(`message ${at}`);
  }
});

test("a property of a map whose name is no key is encoded, or refused, as by protobuf-es", () => {
  const type = codecTypes[0] as DescMessage;
  const names = ["0x10", "5", "-1", "1e3", " 7 ", "07", "5 apples", "", "true", "TRUE", "1.5"];
  const maps = type.fields.filter(({ fieldKind }) => fieldKind === "map");
  expect(maps.length).toBeGreaterThan(3);
  for (const { localName, message } of maps) {
    for (const name of names) {
      for (const value of [5, "text", message && {}]) {
        const init = { [localName]: { [name]: value } } as Init;
        const theirs = bytesOf(() => toBinary(type, create(type, init)));
        expect(
          bytesOf(() => compiledOf(type).encodeAny(init)),
          `${localName} "${name}"`,
        ).toEqual(theirs);
      }
    }
  }
});
