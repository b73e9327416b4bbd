/** Bytes that are not a usual message, as upb reads or refuses them: test/protobuf/ has them, and says how they were made. */
import { readFileSync } from "node:fs";
import { fromBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { decode } from "../src/codec/decode.ts";
import { typesOf, type Vectors, written } from "./support/protobuf-vectors.ts";

const file = new URL("./protobuf/vectors.json", import.meta.url);
const vectors = JSON.parse(readFileSync(file, "utf8")) as Vectors;
const typeOf = typesOf(vectors);

/** Decodes the bytes in the middle of a larger buffer, as in a frame. */
function ours(typeName: string, hex: string): string | null {
  const type = typeOf(typeName);
  return written(type, hex, (bytes) => {
    const around = Buffer.concat([Buffer.alloc(7, 0x0a), bytes, Buffer.alloc(5, 0x0a)]);
    return decode(type, { bytes: around, start: 7, end: 7 + bytes.length });
  });
}

test.each(vectors.vectors)("$name", ({ type, bytes, again }) => {
  expect(ours(type, bytes)).toBe(again);
});

test("random bytes are read and refused as upb does", () => {
  for (const { bytes, again } of vectors.fuzz) {
    // upb keeps the tag of an unknown field as it came; here it has its shortest form.
    const plain = again === null ? null : ours("vectors.All", again);
    expect(ours("vectors.All", bytes), bytes).toBe(plain);
  }
});

test("the vectors say where protobuf-es differs", () => {
  for (const { name, type, bytes, again, es } of vectors.vectors) {
    const desc = typeOf(type);
    const theirs = written(desc, bytes, (bytes) => fromBinary(desc, bytes));
    const how = theirs === null ? "refuses" : again === null ? "accepts" : "reads another message";
    expect(theirs === again ? undefined : how, name).toBe(es);
  }
});
