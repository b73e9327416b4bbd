import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Code } from "../src/server.ts";
import { cursorsOf, EPOCH_DIGITS, newEpoch } from "../src/topics/cursor.ts";

const EPOCH = "0123456789abcdef";
const INVALID = expect.objectContaining({ code: Code.InvalidArgument });

/** What reading a cursor gives: a position, "foreign" for another epoch, or "refused". */
function outcome(read: () => number | undefined): number | string {
  try {
    return read() ?? "foreign";
  } catch (error) {
    expect(error).toEqual(INVALID);
    return "refused";
  }
}

test("an epoch is random, of 16 hexadecimal digits", () => {
  expect(newEpoch()).toMatch(new RegExp(`^[0-9a-f]{${EPOCH_DIGITS}}$`));
  expect(newEpoch()).not.toBe(newEpoch());
});

describe("a cursor", () => {
  const cursors = cursorsOf(EPOCH, "lobby");

  test("gives back any position up to 2^53 - 1", () => {
    for (const position of [0, 1, 255, 2 ** 32 - 1, 2 ** 32, 2 ** 48 - 1, 2 ** 48, 2 ** 53 - 1]) {
      expect(cursors.read(cursors.write(position))).toBe(position);
    }
    fc.assert(
      fc.property(fc.maxSafeNat(), (position) => {
        expect(cursors.read(cursors.write(position))).toBe(position);
      }),
    );
  });

  test("of a larger position, which no log gives, is refused", () => {
    for (const position of [2 ** 53, 2 ** 64 - 2 ** 12]) {
      expect(outcome(() => cursors.read(cursors.write(position)))).toBe("refused");
    }
  });

  test("is short, and fit for a URL", () => {
    expect(cursors.write(2 ** 53 - 1)).toMatch(/^[\w-]{32}$/);
  });

  test("with any bit flipped is refused, or of another epoch", () => {
    for (const position of [0, 12_345, 2 ** 53 - 1]) {
      const bytes = Buffer.from(cursors.write(position), "base64url");
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const flipped = Buffer.from(bytes);
        flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
        const text = flipped.toString("base64url");
        expect(outcome(() => cursors.read(text))).toMatch(/refused|foreign/);
      }
    }
  });

  test.each([
    ["nothing", ""],
    ["too short", cursors.write(7).slice(0, -4)],
    ["too long", `${cursors.write(7)}AAAA`],
    ["with padding", `${cursors.write(7)}=`],
    ["with a space", ` ${cursors.write(7)}`],
    ["in the other alphabet", "+/".repeat(16)],
    ["a text", "the cursor that was given to me!"],
  ])("%s is refused", (_, text) => {
    expect(() => cursors.read(text)).toThrow(/malformed/);
    expect(outcome(() => cursors.read(text))).toBe("refused");
  });

  test("of any text is refused, and nothing else happens", () => {
    fc.assert(fc.property(fc.string(), (text) => outcome(() => cursors.read(text)) === "refused"));
  });

  test("of another topic is refused, whatever its epoch", () => {
    for (const epoch of [EPOCH, "fedcba9876543210"]) {
      const other = cursorsOf(epoch, "lobbz").write(7);
      expect(() => cursors.read(other)).toThrow(/something else/);
      expect(outcome(() => cursors.read(other))).toBe("refused");
    }
  });

  test("of another epoch is known as such", () => {
    expect(cursors.read(cursorsOf("fedcba9876543210", "lobby").write(7))).toBeUndefined();
    expect(cursorsOf(EPOCH, "lobby").read(cursors.write(7))).toBe(7);
  });
});
