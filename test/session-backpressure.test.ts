/** Handlers that write more than the connection takes, and what becomes of them when the connection is lost. */
import { expect, test } from "vitest";
import { Code } from "../src/index.ts";
import type { HandlerContext } from "../src/server.ts";
import { gate, stillAt } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { sessionWorld } from "./support/session-world.ts";

/** All together are more than node:http2 takes before it asks its writer to wait, and more than a session's window. */
const MESSAGES = 100;
const PADDING = "x".repeat(20_000);

/** A Chat whose handler writes MESSAGES replies, and what the test sees of it. */
class Flood {
  written = 0;
  readonly #left = gate<unknown>();
  /** Resolves when the handler has ended, with the reason of its signal. */
  readonly left = this.#left.opened;

  readonly chat = async function* (this: Flood, _requests: unknown, { signal }: HandlerContext) {
    try {
      while (this.written < MESSAGES) yield { reply: `${this.written++} ${PADDING}` };
    } finally {
      this.#left.open(signal.reason);
    }
  }.bind(this);
}

test.each(["rst", "fin"] as const)(
  "a handler that waits until its connection takes more continues on the next connection, after a cut by %s",
  async (kind) => {
    const flood = new Flood();
    await using world = await sessionWorld({ linked: true, greeter: { chat: flood.chat } });
    const chat = world.greeter.chat();
    await chat.send({ content: "begin" });
    expect(await next(chat)).toMatchObject({ reply: `0 ${PADDING}` });
    const stall = world.link.stall("down");
    expect(await stillAt(() => flood.written)).toBeLessThan(MESSAGES);
    const cut = world.link.cut(kind);
    stall[Symbol.dispose]();
    await cut;
    const numbers = (await all(chat)).map(({ reply }) => Number.parseInt(reply, 10));
    expect(numbers).toEqual([...Array(MESSAGES).keys()].slice(1));
    await flood.left;
    expect(world.asked.map(({ attach }) => attach)).toEqual([1, 2]);
  },
);

test("without a session, a handler that waits until its connection takes more ends with the loss, which is not logged", async () => {
  const flood = new Flood();
  await using world = await sessionWorld({
    linked: true,
    greeter: { chat: flood.chat },
    transport: { sessions: false },
  });
  const chat = world.greeter.chat();
  await chat.send({ content: "begin" });
  expect(await next(chat)).toMatchObject({ reply: `0 ${PADDING}` });
  const stall = world.link.stall("down");
  expect(await stillAt(() => flood.written)).toBeLessThan(MESSAGES);
  const cut = world.link.cut();
  stall[Symbol.dispose]();
  await cut;
  expect(await failureOf(chat)).toMatchObject({ code: Code.Unavailable });
  expect(await flood.left).toMatchObject({
    code: Code.Canceled,
    rawMessage: expect.stringMatching(/^the connection to the client was lost/),
  });
  expect(flood.written).toBeLessThan(MESSAGES);
  expect(world.logged).toEqual([]);
});
