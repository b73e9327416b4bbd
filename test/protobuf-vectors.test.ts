/** Bytes that are not a usual message, as upb reads or refuses them: test/protobuf/ has them, and says how they were made. */
import { readFileSync } from "node:fs";
import { fromBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { encodeByClosures } from "../src/codec/closure-encoder.ts";
import { compiledOf, decodeClosures } from "./support/codecs.ts";
import { typesOf, type Vectors, written } from "./support/protobuf-vectors.ts";

const file = new URL("./protobuf/vectors.json", import.meta.url);
const vectors = JSON.parse(readFileSync(file, "utf8")) as Vectors;
const typeOf = typesOf(vectors);

/** What the compiled codec makes of the bytes, and the closures: the same. */
function ours(typeName: string, hex: string): string | null {
  const type = typeOf(typeName);
  const { decode, encode } = compiledOf(type);
  const again = written(type, hex, decode);
  expect(written(type, hex, (bytes) => decodeClosures(type, bytes))).toBe(again);
  if (again !== null) {
    const message = decode(Buffer.from(hex, "hex"));
    expect(Buffer.from(encode(message)).toString("hex")).toBe(again);
    expect(Buffer.from(encodeByClosures(type, message)).toString("hex")).toBe(again);
  }
  return again;
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
