/** The compiled codec, the closures and protobuf-es do the same with types that nobody thought of: see codec-fuzz.test.ts. */
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { encodeByClosures } from "../src/codec/closure-encoder.ts";
import { hasInherited } from "../src/codec/complete.ts";
import { changed, decodeOptions, messageOf, shape } from "./support/arbitrary-message.ts";
import { anyType } from "./support/arbitrary-type.ts";
import { bytesOf, compiledOf, decodeClosures, decodeLibrary, outcome } from "./support/codecs.ts";
import { replay } from "./support/replay.ts";

/** A busy machine takes several times as long. */
vi.setConfig({ testTimeout: 60_000 });

type Init = MessageInitShape<DescMessage>;

const compiledType = anyType.filter((desc) => !hasInherited(desc));

/** A type with some of its messages. `odd` is the share of values that are not valid, in hundredths. */
function typeAndMessages(odd: number) {
  return compiledType.chain((desc) => {
    const message = messageOf(desc, { odd, depth: 2 });
    return fc.tuple(fc.constant(desc), fc.array(message, { minLength: 6, maxLength: 6 }));
  });
}

/** What the fields of a type are, for the report of a failure. */
function textOf(desc: DescMessage): string {
  return desc.fields
    .map((field) => `${field}: ${field.fieldKind} of type ${field.scalar}, number ${field.number}`)
    .join("\n");
}

test("valid messages are written and read as by protobuf-es, by generated code alone", () => {
  fc.assert(
    fc.property(typeAndMessages(0), ([desc, inits]) => {
      const compiled = compiledOf(desc);
      for (const init of inits) {
        const message = create(desc, init as Init);
        const theirs = bytesOf(() => toBinary(desc, message));
        // A required message is missing, because of the depth.
        if ("error" in theirs) continue;
        for (const given of [message, init]) {
          expect(
            bytesOf(() => compiled.encode(given)),
            textOf(desc),
          ).toEqual(theirs);
          expect(
            bytesOf(() => encodeByClosures(desc, given)),
            textOf(desc),
          ).toEqual(theirs);
        }
        const bytes = Buffer.from(theirs.is, "hex");
        const read = decodeLibrary(desc, bytes);
        expect(compiled.decode(bytes), textOf(desc)).toStrictEqual(read);
        expect(decodeClosures(desc, bytes), textOf(desc)).toStrictEqual(read);
      }
    }),
    replay(60),
  );
});

test("values that are not valid have the same result, or the same error", () => {
  fc.assert(
    fc.property(typeAndMessages(3), shape, ([desc, inits], { make }) => {
      const compiled = compiledOf(desc);
      for (const init of inits) {
        const made = outcome(() => make(desc, init));
        if ("error" in made) continue;
        const ours = bytesOf(() => compiled.encodeAny(made.is));
        expect(ours, textOf(desc)).toEqual(bytesOf(() => encodeByClosures(desc, made.is)));
      }
    }),
    replay(60),
  );
});

test("changed bytes are read or refused in the same way", () => {
  const typeAndBytes = typeAndMessages(0).chain(([desc, inits]) => {
    const all = inits.map((init) => {
      const valid = outcome(() => toBinary(desc, create(desc, init as Init)));
      return changed("is" in valid ? valid.is : new Uint8Array([8, 1]));
    });
    return fc.tuple(fc.constant(desc), fc.tuple(...all));
  });
  fc.assert(
    fc.property(typeAndBytes, decodeOptions, ([desc, all], options) => {
      const compiled = compiledOf(desc);
      for (const bytes of all) {
        const ours = outcome(() => compiled.decode(bytes, options));
        const theirs = outcome(() => decodeClosures(desc, bytes, options));
        expect(ours, textOf(desc)).toStrictEqual(theirs);
      }
    }),
    replay(60),
  );
});
