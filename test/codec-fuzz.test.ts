/**
 * The compiled codec, the closures and protobuf-es do the same: with arbitrary messages of every kind of field, and with
 * arbitrary bytes. support/replay.ts says how to play a failure again. codec-fuzz-types.test.ts does the same with arbitrary
 * types.
 */
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { encodeByClosures } from "../src/codec/closure-encoder.ts";
import { changed, decodeOptions, messageOf, shape } from "./support/arbitrary-message.ts";
import { codecTypes, vectors } from "./support/codec-types.ts";
import {
  bytesOf,
  compiledOf,
  decodeClosures,
  decodeLibrary,
  type EncodeOptions,
  type Outcome,
  outcome,
} from "./support/codecs.ts";
import { replay } from "./support/replay.ts";

/** A busy machine takes several times as long. */
vi.setConfig({ testTimeout: 60_000 });

type Init = MessageInitShape<DescMessage>;

/**
 * Where protobuf-es differs from upb, which the codec follows. Each has a vector in test/protobuf/vectors.json, which has
 * more of its kind. After the first difference both read other fields, so a refused field may come of any of them.
 */
const DIFFERENCES = {
  "a value that overruns its message": {
    vector: "a string past the end of its message",
    refused: /announced where|is cut off|ends that did not begin/,
  },
  "a length or a varint with too many bytes": {
    vector: "field 14 with a length in 6 bytes",
    refused: /more than (32 bits|10 bytes)/,
  },
  "a depth that is counted in another way": {
    vector: "maps of messages, 51 deep",
    refused: /nested deeper/,
  },
  "a known field with another's wire type, which protobuf-es reads as its own": {
    vector: "field 20 as length-delimited",
    refused: /wire type|the number 0|not valid UTF-8/,
  },
  "a known field that is kept as an unknown one": {
    vector: "an entry with an unknown field",
    refused: undefined,
  },
  "a number or a group that protobuf-es refuses": {
    vector: "an unknown group of field number 0",
    refused: undefined,
  },
} as const;

test("each difference to protobuf-es is in the vectors", () => {
  for (const { vector } of Object.values(DIFFERENCES)) {
    expect(vectors.vectors.find(({ name }) => name === vector)?.es, vector).toBeDefined();
  }
});

test("readUnknownFields also holds in the values of maps", () => {
  const desc = codecTypes[0] as DescMessage;
  const bytes = new Uint8Array(Buffer.from("fa010708011203c03e05", "hex"));
  for (const readUnknownFields of [true, false]) {
    const theirs = decodeLibrary(desc, bytes, { readUnknownFields });
    expect(compiledOf(desc).decode(bytes, { readUnknownFields })).toStrictEqual(theirs);
    const ours = decodeClosures(desc, bytes, { readUnknownFields });
    expect(ours).toStrictEqual(theirs);
  }
});

/** Whether a message, or one within it, keeps a field as unknown that its type has. */
function keepsKnown(desc: DescMessage, value: unknown): boolean {
  const message = value as Record<string, unknown>;
  const unknown = (message.$unknown ?? []) as { no: number }[];
  if (unknown.some(({ no }) => desc.fields.some(({ number }) => number === no))) return true;
  return desc.fields.some((field) => {
    const child = field.message;
    if (child === undefined) return false;
    const set =
      field.oneof && (message[field.oneof.localName] as { case?: string; value?: unknown });
    const own =
      set === undefined ? message[field.localName] : set.case === field.localName && set.value;
    if (typeof own !== "object" || own === null) return false;
    const all = field.fieldKind === "message" ? [own] : Object.values(own);
    return all.some((one) => typeof one === "object" && one !== null && keepsKnown(child, one));
  });
}

/** Whether protobuf-es may read these bytes in another way. */
function isDifferent(desc: DescMessage, ours: Outcome<unknown>, theirs: Outcome<unknown>): boolean {
  if ("error" in ours) {
    return Object.values(DIFFERENCES).some(({ refused }) => refused?.test(ours.error) === true);
  }
  if (keepsKnown(desc, ours.is)) return true;
  return (
    "error" in theirs &&
    /illegal tag|invalid wire type|cant skip|can't skip|end group/i.test(theirs.error)
  );
}

describe.each(codecTypes.map((desc) => [desc.typeName, desc] as const))("%s", (_, desc) => {
  const compiled = compiledOf(desc);

  test("valid messages are written as protobuf-es writes them, by generated code alone", () => {
    fc.assert(
      fc.property(messageOf(desc, { odd: 0, depth: 3 }), (init) => {
        const message = create(desc, init as Init);
        const theirs = { is: Buffer.from(toBinary(desc, message)).toString("hex") };
        expect(bytesOf(() => compiled.encode(message))).toEqual(theirs);
        expect(bytesOf(() => compiled.encode(init))).toEqual(theirs);
        expect(bytesOf(() => encodeByClosures(desc, message))).toEqual(theirs);
        expect(bytesOf(() => encodeByClosures(desc, init))).toEqual(theirs);
      }),
      replay(300),
    );
  });

  test("values that are not valid have the same result, or the same error", () => {
    fc.assert(
      fc.property(messageOf(desc, { odd: 4, depth: 3 }), shape, (init, { make }) => {
        const made = outcome(() => make(desc, init));
        if ("error" in made) return;
        expect(bytesOf(() => compiled.encodeAny(made.is))).toEqual(
          bytesOf(() => encodeByClosures(desc, made.is)),
        );
      }),
      replay(300),
    );
  });

  test("what protobuf-es writes is read as protobuf-es reads it", () => {
    fc.assert(
      fc.property(messageOf(desc, { odd: 0, depth: 3 }), (init) => {
        const bytes = toBinary(desc, create(desc, init as Init));
        const theirs = decodeLibrary(desc, bytes);
        expect(compiled.decode(bytes)).toStrictEqual(theirs);
        expect(decodeClosures(desc, bytes)).toStrictEqual(theirs);
      }),
      replay(300),
    );
  });

  test("changed bytes are read or refused by both in the same way, and as protobuf-es but for the differences", () => {
    const bytes = messageOf(desc, { odd: 0, depth: 3 }).chain((init) =>
      changed(toBinary(desc, create(desc, init as Init))),
    );
    const compareAll = (bytes: Uint8Array, options: object) => {
      const ours = outcome(() => compiled.decode(bytes, options));
      expect(ours).toStrictEqual(outcome(() => decodeClosures(desc, bytes, options)));
      // A Struct that has become an object has lost its unknown fields, so no difference could be told.
      if (Object.keys(options).length > 0 || desc.typeName === "fuzz.Forms") return;
      const theirs = outcome(() => decodeLibrary(desc, bytes));
      if ("error" in ours && "error" in theirs) return;
      if (!isDifferent(desc, ours, theirs)) expect(ours).toStrictEqual(theirs);
    };
    fc.assert(
      fc.property(bytes, fc.oneof(fc.constant({}), decodeOptions), compareAll),
      replay(300),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.constant({}), compareAll),
      replay(300),
    );
  });

  test("unknown fields are kept, and written unless writeUnknownFields says otherwise", () => {
    const options = fc.constantFrom<EncodeOptions>(
      undefined,
      {},
      { writeUnknownFields: true },
      { writeUnknownFields: false },
      { writeUnknownFields: undefined } as never,
    );
    const unknown = fc.array(
      fc.record({ no: fc.integer({ min: 1, max: 2 ** 29 - 1 }), data: fc.uint8Array() }),
    );
    fc.assert(
      fc.property(
        messageOf(desc, { odd: 0, depth: 2 }),
        unknown,
        options,
        (init, fields, given) => {
          const message = create(desc, init as Init);
          message.$unknown = fields.map((one) => ({ wireType: 2, ...one }));
          const theirs = Buffer.from(toBinary(desc, message, given)).toString("hex");
          expect(bytesOf(() => compiled.encode(message, given))).toEqual({ is: theirs });
          expect(bytesOf(() => encodeByClosures(desc, message, given))).toEqual({ is: theirs });
        },
      ),
      replay(300),
    );
  });
});
