/** Which names the rooms accept, and what the terminal shows of texts. */
import { createClient as createStockClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { rooms } from "../examples/rooms/handlers.ts";
import { faultOf } from "../examples/rooms/names.ts";
import { oneLine } from "../examples/terminal/one-line.ts";
import { RoomService } from "../gen/chat/v1/room_pb.js";
import { memoryLog } from "../src/topics.ts";
import { protocols } from "./support/stock-protocols.ts";
import { start } from "./support/world.ts";

test.each([
  ...["ada", "Ada Lovelace", "Zoë", "O'Brien", "anna-müller_2", "🚢🚢", "#general!", "100 %"],
  ...["Ольга", "Ελένη", "שרה", "فاطمة", "सीता", "ปัญญา", "ኢትዮጵያ", "ᏣᎳᎩ"],
  ...["佐藤さくら", "田中 Ken", "王小明 A", "김민수", "ㄅㄆㄇ 王"],
])("%s is a name", (name) => {
  expect(faultOf(name.normalize("NFKC"))).toBeUndefined();
});

test.each([
  ["a Cyrillic letter among Latin ones", "p\u0430ypal", "mixes scripts"],
  ["a Greek letter among Latin ones", "\u03bfmega", "mixes scripts"],
  ["a script that is not common among Latin letters", "a\u13a0", "mixes scripts"],
  ["a fullwidth letter", "\uff41da", "is not in Unicode's normal form NFKC"],
  ["a letter and its accent", "e\u0301", "is not in Unicode's normal form NFKC"],
  ["a zero-width space", "ad\u200ba", "holds U+200B"],
  ["a joiner", "ad\u200da", "holds U+200D"],
  ["a selector of style", "ada\ufe0f", "holds U+FE0F"],
  ["a change of direction", "\u202eada", "holds U+202E"],
  ["an isolate", "\u2066ada", "holds U+2066"],
  ["a filler", "\u3164", "holds U+3164"],
  ["an empty pattern of Braille", "\u2800", "holds U+2800"],
  ["a tag", "ada\u{e0041}", "holds U+E0041"],
  ["a control character", "a\nb", "holds U+000A"],
  ["half a character", "a\ud800", "holds U+D800"],
  ["a private character", "\ue000", "holds U+E000"],
  ["a space at the end", "ada ", "has a space at an end"],
  ["two spaces", "ada  l", "has a space at an end, or two in a row"],
])("%s is in no name", (_, name, why) => {
  expect(faultOf(name)).toContain(why);
});

test("the terminal shows what hides in a text, and what its language needs", () => {
  expect(oneLine("a\u200b\u00ad\u2060b")).toBe("a\\u200b\\u00ad\\u2060b");
  expect(oneLine("\u202eabc\u2066")).toBe("\\u202eabc\\u2066");
  expect(oneLine("a\u{e0041}")).toBe("a\\udb40\\udc41");
  expect(oneLine("\u3164\u2800")).toBe("\\u3164\\u2800");
  expect(oneLine("👩\u200d👧 ❤\ufe0f می\u200cخواهم")).toBe("👩\u200d👧 ❤\ufe0f می\u200cخواهم");
  const text = "a\u{e0041}\u202e\n";
  expect(JSON.parse(oneLine(JSON.stringify(text)))).toBe(text);
});

describe("a producer belongs to its caller", () => {
  /** Rooms whose callers are what their tokens say, and the post of a message by one of them. */
  async function world(authenticated: boolean) {
    const log = memoryLog();
    const chat = rooms(log);
    const world = await start({
      server: {
        routes: (router) => router.service(RoomService, chat.service),
        ...(authenticated && {
          authenticate: ({ header }) => ({ identity: String(header.get("x-user")) }),
        }),
      },
    });
    const client = world.client(RoomService);
    const post = (user: string, text: string) =>
      client.post(
        { room: "lobby", name: "n", text, producer: "p", sequence: 1n },
        { headers: { "x-user": user } },
      );
    return {
      ...{ world, client, post },
      async [Symbol.asyncDispose]() {
        await world[Symbol.asyncDispose]();
        await chat[Symbol.asyncDispose]();
        await log[Symbol.asyncDispose]();
      },
    };
  }

  test("the same producer of another caller makes no repeat", async () => {
    await using there = await world(true);
    expect(await there.post("ada", "one")).toMatchObject({ repeated: false });
    expect(await there.post("eve", "two")).toMatchObject({ repeated: false });
    expect(await there.post("ada", "one")).toMatchObject({ repeated: true });
  });

  test("of imports and of other protocols too", async () => {
    await using there = await world(true);
    const stock = createStockClient(
      RoomService,
      protocols["Connect over HTTP/2"]?.(there.world.url) as never,
    );
    const message = { room: "lobby", name: "n", text: "one", producer: "p", sequence: 1n };
    async function* one() {
      yield message;
    }
    const as = (user: string) => ({ headers: { "x-user": user } });
    expect(await stock.import(one(), as("ada"))).toMatchObject({ messages: 1n, repeated: 0n });
    expect(await stock.import(one(), as("eve"))).toMatchObject({ messages: 1n, repeated: 0n });
    expect(await there.post("eve", "one")).toMatchObject({ repeated: true });
  });

  test("if nobody is authenticated, the text alone counts", async () => {
    await using there = await world(false);
    expect(await there.post("ada", "one")).toMatchObject({ repeated: false });
    expect(await there.post("eve", "two")).toMatchObject({ repeated: true });
  });
});
