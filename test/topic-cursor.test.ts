import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Code } from "../src/server.ts";
import { cursorsOf, EPOCH_DIGITS, newEpoch } from "../src/topics/cursor.ts";

const EPOCH = "0123456789abcdef";
const INVALID = expect.objectContaining({ code: Code.InvalidArgument });

/** Reads a cursor: its position, "foreign" (another epoch), or "refused" (INVALID_ARGUMENT). */
function readOutcome(read: () => number | undefined): number | string {
  try {
    return read() ?? "foreign";
  } catch (error) {
    expect(error).toEqual(INVALID);
    return "refused";
  }
}

test("a new epoch has 16 random hexadecimal digits", () => {
  expect(newEpoch()).toMatch(new RegExp(`^[0-9a-f]{${EPOCH_DIGITS}}$`));
  expect(newEpoch()).not.toBe(newEpoch());
});

describe("a cursor", () => {
  const cursors = cursorsOf(EPOCH, "lobby");

  test("a cursor keeps any position up to 2^53 - 1", () => {
    for (const position of [0, 1, 255, 2 ** 32 - 1, 2 ** 32, 2 ** 48 - 1, 2 ** 48, 2 ** 53 - 1]) {
      expect(cursors.read(cursors.write(position))).toBe(position);
    }
    fc.assert(
      fc.property(fc.maxSafeNat(), (position) => {
        expect(cursors.read(cursors.write(position))).toBe(position);
      }),
    );
  });

  test("a topic refuses a cursor above 2^53 - 1", () => {
    for (const position of [2 ** 53, 2 ** 64 - 2 ** 12]) {
      expect(readOutcome(() => cursors.read(cursors.write(position)))).toBe("refused");
    }
  });

  test("a cursor has 32 characters that are safe in a URL", () => {
    expect(cursors.write(2 ** 53 - 1)).toMatch(/^[\w-]{32}$/);
  });

  test("a flipped bit never gives a position", () => {
    for (const position of [0, 12_345, 2 ** 53 - 1]) {
      const bytes = Buffer.from(cursors.write(position), "base64url");
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const flipped = Buffer.from(bytes);
        flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
        const text = flipped.toString("base64url");
        expect(readOutcome(() => cursors.read(text))).toMatch(/refused|foreign/);
      }
    }
  });

  test.each([
    ["an empty text", ""],
    ["a cursor that is too short", cursors.write(7).slice(0, -4)],
    ["a cursor that is too long", `${cursors.write(7)}AAAA`],
    ["a cursor with padding", `${cursors.write(7)}=`],
    ["a cursor after a space", ` ${cursors.write(7)}`],
    ["text in the alphabet of standard base64", "+/".repeat(16)],
    ["text that is not base64", "the cursor that was given to me!"],
  ])("a topic refuses %s as malformed", (_, text) => {
    expect(() => cursors.read(text)).toThrow(/malformed/);
    expect(readOutcome(() => cursors.read(text))).toBe("refused");
  });

  test("a topic refuses any other text with INVALID_ARGUMENT", () => {
    fc.assert(
      fc.property(fc.string(), (text) => readOutcome(() => cursors.read(text)) === "refused"),
    );
  });

  test("a topic refuses a cursor of another topic, whatever its epoch", () => {
    for (const epoch of [EPOCH, "fedcba9876543210"]) {
      const other = cursorsOf(epoch, "lobbz").write(7);
      expect(() => cursors.read(other)).toThrow(/belongs to another topic/);
      expect(readOutcome(() => cursors.read(other))).toBe("refused");
    }
  });

  test("a cursor of another epoch has no position", () => {
    expect(cursors.read(cursorsOf("fedcba9876543210", "lobby").write(7))).toBeUndefined();
    expect(cursorsOf(EPOCH, "lobby").read(cursors.write(7))).toBe(7);
  });
});
