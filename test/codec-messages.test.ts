/** Messages that need something of the codec beside their bytes. */
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { describe, expect, onTestFinished, test } from "vitest";
import { encodeByClosures } from "../src/codec/closure-encoder.ts";
import { compiledCodecs } from "../src/codec/compiled/compiled-codecs.ts";
import { runtime, setRuntime } from "../src/flow/runtime.ts";
import { codecTypes } from "./support/codec-types.ts";
import { bytesOf, compiledOf } from "./support/codecs.ts";
import { textType } from "./support/made-types.ts";
import { memoryInUse } from "./support/memory.ts";

type Init = MessageInitShape<DescMessage>;

const KIB = 1024;
const MIB = 1024 * KIB;

const desc = textType();
const { encode: encodeCompiled, encodeAny, decode: decodeCompiled } = compiledOf(desc);

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
    const use = () => {
      const bytes = encode({ text });
      compiledCodecs.giveBack(bytes);
      return bytes.length;
    };
    expect(use()).toBe(20 * MIB + 5);
    expect((await memoryInUse()) - before).toBeLessThan(2 * MIB);
    expect(() => encode({ text, child: "no message" })).toThrow();
    expect((await memoryInUse()) - before).toBeLessThan(2 * MIB);
  });
});

describe("the memory of a message that is given back", () => {
  const { giveBack } = compiledCodecs;

  /** Encodes a message and gives it back; returns its memory. */
  function used(text: string): ArrayBufferLike {
    const bytes = encodeCompiled({ text });
    giveBack(bytes);
    return bytes.buffer;
  }

  test("is used for the next message, also if that is larger and fits", () => {
    const memory = used("one");
    expect(used("two")).toBe(memory);
    expect(used("x".repeat(5000))).toBe(memory);
    const larger = used("x".repeat(100 * KIB));
    expect(larger).not.toBe(memory);
    expect(used("three")).toBe(larger);
  });

  test("is used without a new array for a short message of the same length", () => {
    const use = (text: string) => {
      const bytes = encodeCompiled({ text });
      const read = textOf(bytes.subarray(2));
      giveBack(bytes);
      return [bytes, read] as const;
    };
    const [first] = use("first");
    expect(use("longer")[1]).toBe("longer");
    const [again, text] = use("again");
    expect([again === first, text]).toEqual([true, "again"]);
    const [larger] = use("x".repeat(100 * KIB));
    expect(larger.length).toBeGreaterThan(100 * KIB);
    // The memory is another one now.
    expect(use("other")).toMatchObject([{ buffer: larger.buffer }, "other"]);
  });

  test("is used for no other message before, nor if it is given back after the next one was encoded", () => {
    const [one, two, three] = ["one", "two", "three"].map((text) => encodeCompiled({ text }));
    for (const bytes of [one, two, three]) giveBack(bytes as Uint8Array);
    const next = [encodeCompiled({ text: "next" }), encodeCompiled({ text: "last" })];
    expect(new Set([one, two, ...next].map((bytes) => bytes?.buffer)).size).toBe(4);
    expect(next.map((bytes) => textOf(bytes.subarray(2)))).toEqual(["next", "last"]);
    expect([one, two].map((bytes) => textOf((bytes as Uint8Array).subarray(2)))).toEqual([
      "one",
      "two",
    ]);
  });

  test("is used for no message that a getter encodes meanwhile", () => {
    const message = (text: string) => ({
      get text() {
        used("within");
        return text;
      },
    });
    const bytes = encodeCompiled(message("around"));
    used("after");
    expect(textOf(bytes.subarray(2))).toBe("around");
  });

  test("is used after a message that could not be encoded", () => {
    const memory = used("one");
    expect(() => encodeCompiled({ text: "two", child: "no message" })).toThrow();
    expect(used("three")).toBe(memory);
  });

  test("is overwritten, and used for no other message, in a program that poisons", () => {
    const before = runtime;
    onTestFinished(() => setRuntime(before));
    setRuntime({ ...runtime, poison: (memory) => void memory.fill(0xdd) });
    const bytes = encodeCompiled({ text: "one" });
    giveBack(bytes);
    expect(new Set(bytes)).toEqual(new Set([0xdd]));
    expect(used("two")).not.toBe(bytes.buffer);
  });
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

test.each(["x", "é"])("strings of each length are read, with %s at any place", (character) => {
  for (let length = 0; length <= 70; length++) {
    for (let at = 0; at < Math.max(length, 1); at += 3) {
      const text = "a".repeat(at) + character + "b".repeat(Math.max(length - at - 1, 0));
      const bytes = toBinary(desc, create(desc, { text } as Init));
      expect(decodeCompiled(bytes)).toMatchObject({ text });
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
