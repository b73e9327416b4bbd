import * as fc from "fast-check";
import { expect, test } from "vitest";
import { compareTopics, placeInTopics } from "../src/topics.ts";

/** Texts that often begin alike, with characters of one to four bytes in UTF-8. */
const name = fc
  .array(
    fc.constantFrom(
      "a",
      "b",
      "\u007f",
      "é",
      "\ud7ff",
      "\ue000",
      "\uffff",
      "\u{10000}",
      "\u{1f600}",
    ),
    {
      maxLength: 4,
    },
  )
  .map((letters) => letters.join(""));

test("names of topics are compared by their UTF-8", () => {
  fc.assert(
    fc.property(name, name, (a, b) => {
      expect(Math.sign(compareTopics(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
    { numRuns: 2000 },
  );
});

test("a name is placed in a list of topics where the order of UTF-8 has it", () => {
  fc.assert(
    fc.property(fc.uniqueArray(name), name, (names, added) => {
      const sorted = names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      const place = placeInTopics(sorted, added);
      if (sorted.includes(added)) expect(sorted[place]).toBe(added);
      expect(sorted.toSpliced(place, 0, added)).toEqual(sorted.concat(added).sort(compareTopics));
    }),
  );
});
