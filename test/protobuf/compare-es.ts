/** Adds to vectors (see make-vectors.py) where protobuf-es' fromBinary() differs: node compare-es.ts FILE. */
import { readFileSync } from "node:fs";
import { fromBinary } from "@bufbuild/protobuf";
import { typesOf, type Vectors, written } from "../support/protobuf-vectors.ts";

const vectors = JSON.parse(readFileSync(process.argv[2] as string, "utf8")) as Vectors;
const typeOf = typesOf(vectors);
for (const vector of vectors.vectors) {
  const type = typeOf(vector.type);
  const theirs = written(type, vector.bytes, (bytes) => fromBinary(type, bytes));
  if (theirs === vector.again) continue;
  if (theirs === null) vector.es = "refuses";
  else vector.es = vector.again === null ? "accepts" : "reads another message";
}
const { vectors: list, fuzz, ...head } = vectors;
const lines = (values: readonly object[]) => values.map((value) => JSON.stringify(value));
process.stdout.write(
  `${JSON.stringify(head, null, 2).slice(0, -2)},\n  "vectors": [\n    ` +
    `${lines(list).join(",\n    ")}\n  ],\n  "fuzz": [\n    ${lines(fuzz).join(",\n    ")}\n  ]\n}\n`,
);
