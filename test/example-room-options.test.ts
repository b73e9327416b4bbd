import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { appearanceOn } from "../examples/rooms/client/appearance.ts";
import { lineOf } from "../examples/rooms/client/event-line.ts";
import { readName } from "../examples/rooms/client/options.ts";
import { countdown } from "../examples/rooms/client/rejoin.ts";
import { unfit } from "../examples/rooms/client/typed.ts";
import { GapSchema } from "../gen/chat/v1/room_pb.js";

test.each([
  ["", undefined],
  ["🚢".repeat(4096), undefined],
  ["a\tb\nc", undefined],
  ["🚢".repeat(4097), "4096 characters at most, this one has 4097"],
  ["a\u001bb", "no control characters, this one has \\u001b"],
])("a message has at most 4096 characters, none of them a control character", (text, why) => {
  if (why === undefined) expect(unfit(text)).toBeUndefined();
  else expect(unfit(text)).toContain(why);
});

test.each([
  ["", "write 1 to 64 characters"],
  ["x".repeat(65), "write 1 to 64 characters"],
  ["a\u001bb", "it holds U+001B: leave out characters that are not seen"],
])("%j is not a name", (text, why) => {
  expect(() => readName(text)).toThrow(why);
});

test("a name is taken in the form that its user most likely means", () => {
  expect(readName("\uff41\uff44\uff41")).toBe("ada");
  expect(readName("e\u0301a")).toBe("\u00e9a");
  expect(readName("ada \u2764\ufe0f")).toBe("ada \u2764");
});

test("a name has the same colour everywhere, and none on a screen without colours", () => {
  const screen = (colours: boolean) => ({ isTTY: true, hasColors: () => colours }) as never;
  const { name } = appearanceOn(screen(true));
  expect(name("ada")).toBe("\u001b[31mada\u001b[39m");
  expect(name("bob")).toBe("\u001b[94mbob\u001b[39m");
  expect(appearanceOn(screen(false)).name("ada")).toBe("ada");
  expect(appearanceOn({ isTTY: false } as never).name("ada")).toBe("ada");
});

test("the rest of a deadline is given in whole milliseconds", () => {
  expect(countdown(undefined)()).toBeUndefined();
  const leftMs = countdown(60_000)();
  expect(leftMs).toBe(Math.ceil(leftMs as number));
});

test("messages that are no longer kept leave a mark", () => {
  const plain = appearanceOn({ isTTY: false } as never);
  expect(lineOf({ case: "gap", value: create(GapSchema) }, plain)).toBe(
    "… messages are missing here",
  );
});
