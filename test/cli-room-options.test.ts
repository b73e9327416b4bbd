import { create } from "@bufbuild/protobuf";
import { expect, test, vi } from "vitest";
import { appearanceOn, lineOf } from "../examples/rooms/client/appearance.ts";
import { readName, unfit } from "../examples/rooms/client/options.ts";
import { countdown } from "../examples/rooms/client/rejoin.ts";
import { readUrls } from "../examples/terminal/values.ts";
import { GapSchema } from "../gen/chat/v1/room_pb.js";
import { hawser } from "./support/program.ts";

// Each test starts programs, and a busy machine takes its time for that.
vi.setConfig({ testTimeout: 60_000 });

test.each([
  ["http://a:1", ["http://a:1"]],
  ["http://a:1,https://b:2,unix:/c,d", ["http://a:1", "https://b:2", "unix:/c,d"]],
])("%s are addresses", (text, urls) => {
  expect(readUrls(text)).toEqual(urls);
});

test.each(["http://a:1,", ",http://a:1", "http://a:1,b:2"])("%j are no addresses", (text) => {
  expect(() => readUrls(text)).toThrow("http://127.0.0.1:50051");
});

test.each([
  ["", undefined],
  ["🚢".repeat(4096), undefined],
  ["a\tb\nc", undefined],
  ["🚢".repeat(4097), "4096 characters at most, this one has 4097"],
  ["a\u001bb", "no control characters, this one has \\u001b"],
])("a text is fit to be a message, or told why not", (text, why) => {
  if (why === undefined) expect(unfit(text)).toBeUndefined();
  else expect(unfit(text)).toContain(why);
});

test.each(["", "x".repeat(65), "a\u001bb"])("%j is no name", (text) => {
  expect(() => readName(text)).toThrow("1 to 64 characters without control characters");
});

test.each([
  [["room", "jion"], "unknown command 'jion' (Did you mean join?)"],
  [["room", "join", "lobby", "--name", "a\u001bb"], "without control characters"],
  [["room", "watch", "lobby", "--oldest", "--after", "x"], "cannot be used with option '--oldest'"],
  [["room", "post", "lobby", "x", "--sequence", "1"], "--producer and --sequence belong together"],
  [["room", "import", "lobby", "no-such.txt"], "no such file: no-such.txt"],
  [["room", "list", "--url", "http://127.0.0.1:1"], 'Start one with "hawser serve"'],
])("hawser %j is told what is wrong in one line, exit code 1", async (args, complaint) => {
  await using program = hawser(...args);
  expect(await program.ended).toBe(1);
  expect(program.stdout).toBe("");
  expect(program.stderr).toMatch(/^hawser: (invalid_argument|not_found|unavailable): .*\n$/);
  expect(program.stderr).toContain(complaint);
});

test.each(["join", "watch", "post", "import", "list"])(
  "room %s --help gives its options and examples",
  async (command) => {
    await using program = hawser("room", command, "--help");
    expect(await program.ended).toBe(0);
    expect(program.stdout).toMatch(new RegExp(`^Usage: hawser room ${command} `));
    expect(program.stdout).toMatch(new RegExp(`^Examples:\n  \\$ .*hawser room ${command}`, "m"));
    expect(program.stdout).toContain("--json");
    expect(program.stderr).toBe("");
  },
);

test("a name has its colour everywhere, and none where the screen has none", () => {
  const screen = (colours: boolean) => ({ isTTY: true, hasColors: () => colours }) as never;
  const { name } = appearanceOn(screen(true));
  expect(name("ada")).toBe("\u001b[92mada\u001b[39m");
  expect(name("bob")).toBe("\u001b[93mbob\u001b[39m");
  expect(appearanceOn(screen(false)).name("ada")).toBe("ada");
  expect(appearanceOn({ isTTY: false } as never).name("ada")).toBe("ada");
});

test("what is left of a deadline is told in whole milliseconds", () => {
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
